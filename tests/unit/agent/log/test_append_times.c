/* The times of records against the topic's rule. */
#include "tests/unit/agent/log/log_fixture.h"

static ShStatus append_at(Fixture *fixture, Append *append, int64_t timestamp_ms)
{
    append_begin(fixture, append, target_of("t", 0), 5, 10, timestamp_ms);
    return append_end(append);
}

/* The first batch of t/0, as readers get it. */
static ShBatchHeader fetch_header(Fixture *fixture, int64_t offset)
{
    Fetch fetch;
    ShBatchHeader header;
    fetch_begin(fixture, &fetch, "t", offset, 2000, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    ShBatchLimits limits = {.batch_bytes_max = 1 << 20, .decompressed_bytes_max = 1 << 20};
    ShScratch scratch = {0};
    assert_ok(sh_batch_check(fetch.part.slices[0].data, fetch.part.slices[0].length, &limits, &scratch,
                             &header, err)); /* its CRC is right */
    assert_true(sh_batch_says_max_timestamp(fetch.part.slices[0].data, &header));
    sh_scratch_free(&scratch);
    sh_fetch_release(&fetch.call);
    return header;
}

static void test_records_too_far_from_the_clock_are_refused(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.time_rule.after_max_ms = 60000; fake.time_rule.before_max_ms = 3600000);
    start(fixture);
    int64_t now_ms = sh_clock_wall_ms();
    Append append;
    assert_int_equal(append_at(fixture, &append, now_ms), SH_OK);
    assert_int_equal(append_at(fixture, &append, now_ms + 30000), SH_OK);
    assert_int_equal(append_at(fixture, &append, now_ms - 3500000), SH_OK);

    assert_int_equal(append_at(fixture, &append, now_ms + 120000), SH_INVALID);
    assert_non_null(strstr(append.part.error.message, "batch 0: record 0"));
    assert_non_null(strstr(append.part.error.message, "timestamp_after_max"));
    assert_int_equal(append_at(fixture, &append, INT64_MAX - 10), SH_INVALID);
    assert_int_equal(append_at(fixture, &append, now_ms - 3700000), SH_INVALID);
    assert_non_null(strstr(append.part.error.message, "timestamp_before_max"));
    assert_int_equal(append_at(fixture, &append, INT64_MIN), SH_INVALID);
    /* One that has no time is no older than any; those behind it here are of 1970. */
    assert_int_equal(append_at(fixture, &append, -1), SH_INVALID);
    assert_non_null(strstr(append.part.error.message, "batch 0: record 1: its time 0 is"));
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_INVALID); /* of the second of 1970 */
    assert_int_equal(append_at(fixture, &append, now_ms), SH_OK);
    assert_int_equal(append.part.base_offset, 15); /* nothing of what was refused took an offset */
}

static void test_times_without_bounds_are_taken(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    Append append;
    assert_int_equal(append_at(fixture, &append, INT64_MAX - 10), SH_OK);
    assert_int_equal(append_at(fixture, &append, INT64_MIN), SH_OK);
    assert_int_equal(append_at(fixture, &append, -1), SH_OK);
    assert_int_equal(fetch_header(fixture, 0).max_timestamp_ms, INT64_MAX - 6);
}

static void test_append_time_replaces_the_producers(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(
        fake.time_rule = ((ShTimeRule){.is_append_time = true, .before_max_ms = 0, .after_max_ms = 0}));
    start(fixture);
    int64_t before_ms = sh_clock_wall_ms();
    Append append;
    assert_int_equal(append_at(fixture, &append, 1000), SH_OK);
    ShBatchHeader header = fetch_header(fixture, 0);
    assert_true(header.attributes & SH_BATCH_ATTR_LOG_APPEND_TIME);
    assert_in_range(header.max_timestamp_ms, before_ms, sh_clock_wall_ms());
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records_too_far_from_the_clock_are_refused),
        TEST(test_times_without_bounds_are_taken),
        TEST(test_append_time_replaces_the_producers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
