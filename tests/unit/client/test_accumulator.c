/* Batches fall due by size and by age, within the bound of memory; and which partition a record goes to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "client/accumulator.h"
#include "client/partitioner.h"

static ShAccumulator small(void)
{
    return (ShAccumulator){
        .batch_bytes = 1000, .linger_ms = 5, .buffer_bytes = 10000, .codec = SH_CODEC_NONE};
}

static ShStatus append(ShAccumulator *accumulator, ShLane *lane, size_t value_bytes, int64_t now_ms,
                       bool *sealed)
{
    static const uint8_t value[4096];
    ShRecord record = {.value = value, .value_length = value_bytes};
    return sh_accumulator_append(accumulator, lane, &record, NULL, 0, lane, now_ms, sealed, NULL);
}

/* Release a list; returns how many batches it had. */
static int release(ShAccumulator *accumulator, ShPendingBatch *list)
{
    int count = 0;
    for (ShPendingBatch *next = NULL; list != NULL; list = next, count++) {
        next = list->next;
        sh_accumulator_return_builder(accumulator, list->builder);
        list->builder = NULL;
        sh_accumulator_release(accumulator, list);
    }
    return count;
}

static void batch_is_due_when_it_has_lingered(void **state)
{
    (void)state;
    ShAccumulator accumulator = small();
    ShLane lanes[2] = {0};
    bool sealed = true;
    assert_int_equal(sh_accumulator_due_ms(&accumulator), INT64_MAX);
    assert_int_equal(append(&accumulator, &lanes[0], 100, 50, &sealed), SH_OK);
    assert_false(sealed);
    assert_int_equal(append(&accumulator, &lanes[1], 100, 53, &sealed), SH_OK);
    assert_int_equal(sh_accumulator_due_ms(&accumulator), 55);
    assert_null(sh_accumulator_take(&accumulator, 54, false));
    ShPendingBatch *list = sh_accumulator_take(&accumulator, 55, false);
    assert_ptr_equal(list->lane, &lanes[0]);
    assert_int_equal(release(&accumulator, list), 1);
    assert_int_equal(sh_accumulator_due_ms(&accumulator), 58);
    assert_int_equal(release(&accumulator, sh_accumulator_take(&accumulator, 55, true)), 1);
    assert_int_equal(accumulator.used_bytes, 0);
    sh_accumulator_free(&accumulator);
}

static void batch_is_due_when_it_is_full(void **state)
{
    (void)state;
    ShAccumulator accumulator = small();
    ShLane lane = {0};
    bool sealed = false;
    assert_int_equal(append(&accumulator, &lane, 600, 0, &sealed), SH_OK);
    assert_int_equal(append(&accumulator, &lane, 600, 0, &sealed), SH_OK);
    assert_true(sealed); /* the second did not fit beside the first */
    assert_int_equal(sh_accumulator_due_ms(&accumulator), 0);
    ShPendingBatch *list = sh_accumulator_take(&accumulator, 0, false);
    assert_int_equal(list->count, 1);
    assert_ptr_equal(list->opaques[0], &lane);
    assert_int_equal(release(&accumulator, list), 1);

    assert_int_equal(append(&accumulator, &lane, 3000, 0, &sealed), SH_OK);
    assert_true(sealed); /* a record above batch_bytes is a batch of its own */
    assert_int_equal(release(&accumulator, sh_accumulator_take(&accumulator, 0, false)), 2);
    sh_accumulator_free(&accumulator);
}

static void full_buffer_takes_nothing_until_a_batch_is_released(void **state)
{
    (void)state;
    ShAccumulator accumulator = small();
    ShLane lane = {0};
    bool sealed = false;
    for (int i = 0; i < 2; i++)
        assert_int_equal(append(&accumulator, &lane, 4000, 0, &sealed), SH_OK);
    assert_int_equal(append(&accumulator, &lane, 4000, 0, &sealed), SH_EXHAUSTED);
    assert_int_equal(append(&accumulator, &lane, 100, 0, &sealed), SH_OK);
    assert_int_equal(release(&accumulator, sh_accumulator_take(&accumulator, 0, true)), 3);
    assert_int_equal(append(&accumulator, &lane, 4000, 0, &sealed), SH_OK);
    assert_int_equal(release(&accumulator, sh_accumulator_take(&accumulator, 0, true)), 1);
    sh_accumulator_free(&accumulator);
}

static void keys_go_where_kafka_puts_them(void **state)
{
    (void)state;
    ShPartitioner partitioner;
    sh_partitioner_init(&partitioner, 100, 1);
    /* murmur2 of "21" and "foobar", from the tests of Kafka's Java client: -973932308 and -790332482. */
    assert_int_equal(sh_partitioner_pick(&partitioner, "21", 2),
                     (int32_t)((uint32_t)-973932308 & 0x7fffffff) % 100);
    assert_int_equal(sh_partitioner_pick(&partitioner, "foobar", 6),
                     (int32_t)((uint32_t)-790332482 & 0x7fffffff) % 100);
}

static void records_without_a_key_stay_together_until_the_turn(void **state)
{
    (void)state;
    ShPartitioner partitioner;
    sh_partitioner_init(&partitioner, 4, 7);
    bool seen[4] = {false};
    for (int turn = 0; turn < 200; turn++) {
        int32_t now = sh_partitioner_pick(&partitioner, NULL, 0);
        assert_in_range(now, 0, 3);
        assert_int_equal(sh_partitioner_pick(&partitioner, NULL, 0), now);
        seen[now] = true;
        sh_partitioner_turn(&partitioner);
        assert_int_not_equal(sh_partitioner_pick(&partitioner, NULL, 0), now);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    sh_partitioner_init(&partitioner, 1, 7);
    sh_partitioner_turn(&partitioner);
    assert_int_equal(sh_partitioner_pick(&partitioner, NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_is_due_when_it_has_lingered),
        cmocka_unit_test(batch_is_due_when_it_is_full),
        cmocka_unit_test(full_buffer_takes_nothing_until_a_batch_is_released),
        cmocka_unit_test(keys_go_where_kafka_puts_them),
        cmocka_unit_test(records_without_a_key_stay_together_until_the_turn),
    };
    return cmocka_run_group_tests_name("accumulator", tests, NULL, NULL);
}
