/* Offsets by time: the lowest one, of what is kept, whose record is at the time or after it; whatever lies in
 * memory, in the store or is removed. */
#include "tests/unit/agent/log/log_fixture.h"

#define RECORDS_MAX 2000

static void list_done(ShListOffsets *list)
{
    signal_set(list->arg, SH_OK);
}

static ShListPart list(Fixture *fixture, int64_t timestamp_ms)
{
    Signal signal;
    signal_init(&signal);
    ShListPart part = {.target = target_of("t", 0), .timestamp_ms = timestamp_ms};
    ShListOffsets call = {.parts = &part, .part_count = 1, .done = list_done, .arg = &signal};
    sh_engine_list_offsets(fixture->engine, &call);
    assert_true(signal_wait(&signal, DEADLINE_MS));
    if (part.error.status != SH_OK)
        fail_msg("time %lld: %s", (long long)timestamp_ms, part.error.message);
    return part;
}

/* What was stored. */
static struct {
    int64_t times[RECORDS_MAX];
    int64_t log_start;
    int64_t end;
} model;

static void append_times(Fixture *fixture, const int64_t *times, int count)
{
    Append append = {0};
    signal_init(&append.signal);
    ShBatchBuilder *builder = sh_batch_builder_new(rand() % 2 ? SH_CODEC_NONE : SH_CODEC_LZ4);
    for (int i = 0; i < count; i++) {
        ShRecord record = {.timestamp_ms = times[i], .value = (const uint8_t *)"v", .value_length = 1};
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
        model.times[model.end++] = times[i];
    }
    assert_ok(sh_batch_builder_finish(builder, &append.part.owner, err));
    sh_batch_builder_free(builder);
    append.batch.data = append.part.owner->data;
    assert_ok(sh_batch_peek(append.batch.data, append.part.owner->length, &append.batch.header, err));
    append.part.target = target_of("t", 0);
    append.part.batches = &append.batch;
    append.part.batch_count = 1;
    append.call = (ShAppend){.parts = &append.part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append.call);
    assert_int_equal(append_end(&append), SH_OK);
    assert_int_equal(append.part.base_offset, model.end - count);
}

static void trim(int64_t log_start)
{
    FAKE_CHANGE(fake.topics[0].partitions[0].log_start = log_start);
    model.log_start = log_start;
}

static void flush(Fixture *fixture)
{
    sh_flush_now(fixture->engine);
    wait_until(fake_published(0) == model.end);
}

static void check(Fixture *fixture, int64_t timestamp_ms)
{
    int64_t offset = model.log_start;
    while (offset < model.end && model.times[offset] < timestamp_ms)
        offset++;
    ShListPart part = list(fixture, timestamp_ms);
    if (part.offset != offset)
        fail_msg("time %lld, from %lld to %lld: %lld instead of %lld", (long long)timestamp_ms,
                 (long long)model.log_start, (long long)model.end, (long long)part.offset, (long long)offset);
    assert_int_equal(part.found_timestamp_ms, offset == model.end ? -1 : model.times[offset]);
}

static int setup_model(void **state)
{
    memset(&model, 0, sizeof model);
    int status = setup(state);
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=1h");
    return status;
}

/* Below the log start a later time is kept, in memory and in the segment that the log begins in. */
static void test_what_is_removed_is_not_found_and_hides_nothing(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    append_times(fixture, (const int64_t[]){1000, 10}, 2);
    flush(fixture);
    for (int i = 2; i < 5; i++) {
        append_times(fixture, (const int64_t[]){10 * i}, 1);
        flush(fixture);
    }
    trim(1);
    for (int round = 0; round < 2; round++) {
        for (int64_t time = 0; time <= 1001; time += 5)
            check(fixture, time);
        stop(fixture);
        start(fixture);
    }
}

static void test_random_histories(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    srand(7);
    for (int step = 0; step < 120; step++) {
        int64_t times[8];
        int count = 1 + rand() % 8;
        for (int i = 0; i < count; i++)
            times[i] = rand() % (rand() % 10 == 0 ? 5000 : 500);
        append_times(fixture, times, count);
        if (rand() % 4 == 0)
            flush(fixture);
        if (rand() % 8 == 0 && fake_published(0) > model.log_start)
            trim(model.log_start + rand() % (fake_published(0) - model.log_start + 1));
        if (rand() % 20 == 0) { /* the tail leaves the memory, or the agent restarts */
            flush(fixture);
            stop(fixture);
            start(fixture);
            wait_until(append_to(fixture, "o", 1, 1) >= 0);
        }
        for (int i = 0; i < 12; i++)
            check(fixture, rand() % (i % 3 == 0 ? 5500 : 600));
    }
}

/* While it is searched, what was in memory alone is published and leaves it. */
static void test_what_is_published_meanwhile_is_found(void **state)
{
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=10ms");
    snprintf(fixture->extra[1], sizeof fixture->extra[1], "STREAMHOUSE_MEMORY_BUDGET=64MB");
    start(fixture);
    for (int64_t i = 0; i < 300; i++) {
        append_times(fixture, (const int64_t[]){i}, 1);
        sh_flush_now(fixture->engine);
        assert_false(sh_memory_reserve(fixture->engine, INT64_MAX / 4)); /* all that may go goes */
        check(fixture, i);
        check(fixture, i / 2);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_model, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_removed_is_not_found_and_hides_nothing),
        TEST(test_random_histories),
        TEST(test_what_is_published_meanwhile_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
