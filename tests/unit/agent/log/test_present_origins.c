/* Where epochs begin, as far as objects in the store show it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/log/present_origins.h"

#define TOPICS     2
#define PARTITIONS 3
#define EPOCHS     3
#define RUNS       400

static size_t place_of(size_t topic, size_t partition, size_t epoch)
{
    return (topic * PARTITIONS + partition) * EPOCHS + epoch;
}

/* Objects with runs of all epochs in no order, some of them without offsets (-1): each epoch gets its lowest
 * known one, and -1 when none is. */
static void each_epoch_begins_at_its_lowest_offset(void **state)
{
    (void)state;
    ShPresentOrigins origins = {0};
    ShPgRun runs[RUNS];
    ShPgEpochOrigin begins[RUNS];
    int64_t lowest[TOPICS * PARTITIONS * EPOCHS];
    size_t places[RUNS];
    for (size_t i = 0; i < TOPICS * PARTITIONS * EPOCHS; i++)
        lowest[i] = -1;
    uint32_t random = 5;
    for (size_t i = 0; i < RUNS; i++) {
        random = random * 1664525 + 1013904223;
        size_t topic = random >> 8 & 1;
        size_t partition = (random >> 10) % PARTITIONS;
        size_t epoch = (random >> 16) % EPOCHS;
        int64_t first = (random >> 20) % 5 == 0 || (partition == 1 && epoch == 1) ? -1
                                                                                  : (int64_t)(random >> 12);
        runs[i] = (ShPgRun){.partition = (int32_t)partition, .epoch = (int64_t)epoch, .first_offset = first};
        runs[i].topic_id.bytes[15] = (uint8_t)topic;
        places[i] = place_of(topic, partition, epoch);
        if (first >= 0 && (lowest[places[i]] < 0 || first < lowest[places[i]]))
            lowest[places[i]] = first;
    }
    for (size_t i = 0; i < RUNS; i += RUNS / 4) {
        ShPresentRuns object = {.runs = runs + i, .origins = begins + i, .count = RUNS / 4};
        assert_int_equal(sh_present_origins_add(&origins, &object, NULL), SH_OK);
    }
    ShPresentRuns all = {.runs = runs, .origins = begins, .count = RUNS};
    sh_present_origins_give(&origins, &all);
    for (size_t i = 0; i < RUNS; i++)
        assert_int_equal(begins[i].start_offset, lowest[places[i]]);
    sh_present_origins_free(&origins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_epoch_begins_at_its_lowest_offset)};
    return cmocka_run_group_tests_name("present_origins", tests, NULL, NULL);
}
