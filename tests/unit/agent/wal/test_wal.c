/* The everyday life of a WAL: append, acknowledge, close, recover, release. */
#include "tests/unit/agent/base/captured.h"
#include "agent/wal/wal_internal.h"
#include "tests/unit/agent/wal/wal_fixture.h"

static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};

static void test_what_was_appended_is_recovered_under_every_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Fixture fixture;
        fixture_init(&fixture, policies[i]);
        fixture_start(&fixture);
        for (int64_t id = 0; id < 1200; id++)
            fixture_append(&fixture, id, 1, 61 + (size_t)(id * 37 % 900));
        fixture_wait(&fixture, &fixture.written, 1200);
        assert_false(fixture.out_of_order);
        assert_int_equal(sh_wal_batches(fixture.wal), 1200);
        fixture_close(&fixture);

        fixture_open(&fixture);
        assert_false(fixture.identity.clean);
        assert_int_equal(fixture.identity.previous_sync, policies[i]);
        ShWalRecovery stats = fixture_recover(&fixture);
        assert_int_equal(stats.batches, 1200);
        assert_int_equal(stats.torn_bytes, 0);
        assert_true(stats.files > 1);
        for (int64_t id = 0; id < 1200; id++)
            assert_int_equal(fixture.recovered[id], id);
        fixture_free(&fixture);
    }
}

static void test_a_batch_larger_than_a_file_gets_a_file_of_its_size(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 100);
    fixture_append(&fixture, 1, 1, 3 * 1024 * 1024 + 5);
    fixture_append(&fixture, 2, 1, 100);
    fixture_wait(&fixture, &fixture.written, 3);
    fixture_close(&fixture);
    fixture_open(&fixture);
    assert_int_equal(fixture_recover(&fixture).bytes, 3 * 1024 * 1024 + 205);
    for (int64_t id = 0; id < 3; id++)
        assert_int_equal(fixture.recovered[id], id);
    fixture_free(&fixture);
}

static void test_the_budget_pushes_back_until_files_are_released(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture.options.budget_bytes = 1024 * 1024;
    fixture_start(&fixture);
    ShError err = {0};
    int64_t id = 0;
    while (fixture_try_append(&fixture, id, 1000, &err) == SH_OK) {
        fixture_wait(&fixture, &fixture.written, ++id);
        assert_true(sh_wal_bytes(fixture.wal) <= fixture.options.budget_bytes);
    }
    assert_int_equal(err.status, SH_EXHAUSTED);
    assert_true(err.retriable && err.retry_after_ms >= 100 && err.retry_after_ms <= 1000);
    assert_in_range(id, 400, 600);

    for (int64_t i = 0; i < id; i++)
        sh_wal_release(fixture.wal, fixture.file_of[i], 1);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (fixture_try_append(&fixture, id, 1000, &err) != SH_OK && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    fixture_wait(&fixture, &fixture.written, id + 1);

    assert_int_equal(fixture_try_append(&fixture, id, 1024 * 1024, &err), SH_TOO_LARGE);
    assert_int_equal(fixture_try_append(&fixture, id, 60, &err), SH_INVALID);
    fixture_free(&fixture);
}

static void test_a_file_goes_when_its_last_batch_is_released(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 600, 1000);
    fixture_wait(&fixture, &fixture.written, 600);
    fixture_wait_files(&fixture, 4); /* two full ones, the current and the prepared */
    uint64_t second = fixture.file_of[300];
    assert_int_not_equal(second, fixture.file_of[0]);
    int64_t in_second = 0;
    for (int64_t id = 0; id < 600; id++)
        in_second += fixture.file_of[id] == second;
    capture_lines();
    sh_wal_release(fixture.wal, second, in_second - 1);
    assert_null(strstr(captured_lines(), "wal_release_unknown"));
    capture_lines();
    sh_wal_release(fixture.wal, 0x7777, 1); /* unknown: reported, nothing else */
    assert_non_null(strstr(captured_lines(), "wal_release_unknown"));
    assert_int_equal(fixture_file_count(&fixture), 4);
    sh_wal_release(fixture.wal, second, 1);
    fixture_wait_files(&fixture, 3);
    assert_int_equal(sh_wal_batches(fixture.wal), 600 - in_second);
    fixture_close(&fixture);

    fixture_open(&fixture);
    fixture_recover(&fixture);
    assert_int_equal(fixture.recovered_count, 600 - in_second);
    fixture_free(&fixture);
}

static void test_a_clean_close_leaves_no_log_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Fixture fixture;
        fixture_init(&fixture, policies[i]);
        fixture_start(&fixture);
        fixture_append(&fixture, 0, 700, 700);
        fixture_wait(&fixture, &fixture.written, 700);
        for (int64_t id = 0; id < 700; id++)
            sh_wal_release(fixture.wal, fixture.file_of[id], 1);
        sh_wal_note_calls(fixture.wal, 99);
        fixture_close(&fixture);
        assert_int_equal(fixture_file_count(&fixture), 0);

        fixture_open(&fixture);
        assert_true(fixture.identity.clean);
        assert_int_equal(fixture.identity.calls_seen, 99);
        assert_int_equal(fixture_recover(&fixture).batches, 0);
        fixture_free(&fixture);
    }
}

/* A process that is killed never closes the log. */
static void test_the_call_counter_is_stored_while_the_log_is_open(void **state)
{
    (void)state;
    Fixture fixture;
    ShWalIdentityFile stored = {0};
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    sh_wal_note_calls(fixture.wal, 99);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (stored.calls != 99 && sh_clock_now_ms() < deadline_ms) {
        assert_ok(sh_wal_identity_load(fixture.dir, fixture.wal->dir_fd, &stored, err));
        usleep(1000);
    }
    assert_int_equal(stored.calls, 99);
    fixture_free(&fixture);
}

static void test_close_writes_what_is_queued(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1000, 500);
    fixture_close(&fixture);
    assert_int_equal(fixture.written, 1000);
    fixture_open(&fixture);
    fixture_recover(&fixture);
    assert_int_equal(fixture.recovered_count, 1000);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_appended_is_recovered_under_every_policy),
        cmocka_unit_test(test_a_batch_larger_than_a_file_gets_a_file_of_its_size),
        cmocka_unit_test(test_the_budget_pushes_back_until_files_are_released),
        cmocka_unit_test(test_a_file_goes_when_its_last_batch_is_released),
        cmocka_unit_test(test_a_clean_close_leaves_no_log_file),
        cmocka_unit_test(test_the_call_counter_is_stored_while_the_log_is_open),
        cmocka_unit_test(test_close_writes_what_is_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
