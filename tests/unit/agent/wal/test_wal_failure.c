/* What the WAL does when the disk fails, fills up or is slow. */
#include <sys/mount.h>

#include "agent/base/metrics.h"
#include "tests/unit/agent/wal/wal_fixture.h"

static int64_t metric(const char *name)
{
    return sh_metric_value(sh_metric_counter(name, NULL, ""));
}

static void expect_recovered_in_order(Fixture *fixture, int64_t count)
{
    fixture_open(fixture);
    fixture_recover(fixture);
    assert_int_equal(fixture->recovered_count, count);
    for (int64_t id = 0; id < count; id++)
        assert_int_equal(fixture->recovered[id], id);
}

static void test_what_waits_during_a_sync_becomes_one_group(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 100);
    fixture_wait(&fixture, &fixture.written, 1);
    assert_ok(sh_fault_arm("wal.fdatasync=stall:400", err));
    fixture_append(&fixture, 1, 1000, 100);
    fixture_wait(&fixture, &fixture.written, 1001);
    assert_in_range(fixture.groups, 2, 4);
    assert_false(fixture.out_of_order);
    fixture_free(&fixture);
}

/* Fail `spec` between the first and the second half of the batches, and expect that nobody notices. */
static void expect_rewritten(ShWalSync sync, const char *spec)
{
    Fixture fixture;
    fixture_init(&fixture, sync);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 500, 200);
    fixture_wait(&fixture, &fixture.written, 500);
    int64_t dead_before = metric("streamhouse_wal_files_dead_total");
    assert_ok(sh_fault_arm(spec, err));
    fixture_append(&fixture, 500, 20, 200);
    fixture_wait(&fixture, &fixture.written, 520);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    int64_t id = 520;
    while (metric("streamhouse_wal_files_dead_total") == dead_before && sh_clock_now_ms() < deadline_ms) {
        fixture_append(&fixture, id, 1, 200);
        fixture_wait(&fixture, &fixture.written, ++id);
    }
    assert_int_equal(metric("streamhouse_wal_files_dead_total"), dead_before + 1);
    fixture_append(&fixture, id, 500, 200);
    fixture_wait(&fixture, &fixture.written, id + 500);
    assert_false(fixture.out_of_order);
    assert_int_equal(fixture.failed, 0);
    assert_int_equal(sh_wal_batches(fixture.wal), id + 500);
    fixture_close(&fixture);

    assert_true(id + 500 < 4096);
    expect_recovered_in_order(&fixture, id + 500);
    assert_ok(sh_wal_start(fixture.wal, err));
    for (int64_t i = 0; i < id + 500; i++)
        sh_wal_release(fixture.wal, fixture.file_of[i], 1);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 0);
    fixture_free(&fixture);
}

static void test_a_failed_sync_is_written_again(void **state)
{
    (void)state;
    expect_rewritten(SH_WAL_SYNC_ALWAYS, "wal.fdatasync=error:1");
    expect_rewritten(SH_WAL_SYNC_INTERVAL, "wal.fdatasync=error:1");
    expect_rewritten(SH_WAL_SYNC_NEVER, "wal.fdatasync=error:1");
}

static void test_a_failed_write_is_written_again(void **state)
{
    (void)state;
    expect_rewritten(SH_WAL_SYNC_ALWAYS, "wal.write=error:1");
    expect_rewritten(SH_WAL_SYNC_INTERVAL, "wal.write=error:1");
    expect_rewritten(SH_WAL_SYNC_NEVER, "wal.write=error:1");
}

static void test_released_batches_of_a_dead_file_let_all_files_go(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_INTERVAL);
    fixture.options.sync_interval_ms = 50;
    fixture_start(&fixture);
    assert_ok(sh_fault_arm("wal.fdatasync=error:1", err));
    int64_t dead_before = metric("streamhouse_wal_files_dead_total");
    fixture_append(&fixture, 0, 100, 200);
    fixture_wait(&fixture, &fixture.written, 100);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (metric("streamhouse_wal_files_dead_total") == dead_before && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    for (int64_t id = 0; id < 100; id++)
        sh_wal_release(fixture.wal, fixture.file_of[id], 1);
    assert_int_equal(sh_wal_batches(fixture.wal), 0);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 0);
    fixture_free(&fixture);
}

static void test_a_second_failure_is_the_end(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 10, 200);
    fixture_wait(&fixture, &fixture.written, 10);
    assert_ok(sh_fault_arm("wal.fdatasync=error:2", err));
    fixture_append(&fixture, 10, 1, 200);
    fixture_wait(&fixture, &fixture.failed, 1);
    ShError refusal = {0};
    assert_int_equal(fixture_try_append(&fixture, 11, 200, &refusal), SH_IO);
    assert_non_null(strstr(refusal.message, "the WAL has failed"));
    fixture_close(&fixture);
    fixture_open(&fixture);
    fixture_recover(&fixture);
    for (int64_t id = 0; id < 10; id++)
        assert_int_equal(fixture.recovered[id], id);
    fixture_free(&fixture);
}

/* Append batches of 1000 bytes from `id` on until the WAL refuses one; returns its id. Does not run far ahead
 * of the writer, nor wait for it for long: what was accepted may have to wait for space. */
static int64_t append_until_refused(Fixture *fixture, int64_t id, ShError *refusal)
{
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (fixture_try_append(fixture, id, 1000, refusal) == SH_OK && sh_clock_now_ms() < deadline_ms) {
        id++;
        pthread_mutex_lock(&fixture->lock);
        if (id - fixture->written > 100)
            sh_cond_wait_ms(&fixture->changed, &fixture->lock, 10);
        pthread_mutex_unlock(&fixture->lock);
    }
    assert_int_equal(refusal->status, SH_EXHAUSTED);
    return id;
}

static void append_until_accepted(Fixture *fixture, int64_t id)
{
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    ShError refusal = {0};
    while (fixture_try_append(fixture, id, 1000, &refusal) == SH_EXHAUSTED &&
           sh_clock_now_ms() < deadline_ms) {
        pthread_mutex_lock(&fixture->lock);
        sh_cond_wait_ms(&fixture->changed, &fixture->lock, 10);
        pthread_mutex_unlock(&fixture->lock);
    }
    fixture_wait(fixture, &fixture->written, id + 1);
}

/* Without space for another file the WAL takes what fits, pushes back, and goes on when there is space. */
static void test_a_lack_of_space_pushes_back(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 1000);
    fixture_wait(&fixture, &fixture.written, 1);
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    ShError refusal = {0};
    char why[SH_ERROR_MESSAGE_BYTES] = "";
    assert_false(sh_wal_lacks_room(fixture.wal, why, sizeof why)); /* what comes may fit yet */
    int64_t id = append_until_refused(&fixture, 1, &refusal);
    assert_true(refusal.retriable && refusal.retry_after_ms > 0);
    assert_non_null(strstr(refusal.message, "gets no space"));
    assert_true(sh_wal_lacks_room(fixture.wal, why, sizeof why));
    assert_string_equal(why + strlen("the write-ahead log"), refusal.message + strlen("the WAL"));

    assert_ok(sh_fault_arm(NULL, err));
    fixture_wait(&fixture, &fixture.written, id); /* those that waited in the queue for a file among them */
    append_until_accepted(&fixture, id);
    assert_false(sh_wal_lacks_room(fixture.wal, why, sizeof why));
    assert_int_equal(fixture.failed, 0);
    fixture_close(&fixture);
    expect_recovered_in_order(&fixture, id + 1);
    fixture_free(&fixture);
}

/* The last file that there is room for would stay full for ever: nothing that does not fit is admitted. */
static void test_a_full_file_without_batches_is_used_again(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 1000);
    fixture_wait(&fixture, &fixture.written, 1);
    assert_ok(sh_fault_arm("wal.fallocate=error,wal.recycle.aside=error", err));
    ShError refusal = {0};
    int64_t id = append_until_refused(&fixture, 1, &refusal);
    fixture_wait(&fixture, &fixture.written, id);
    uint64_t last = fixture.file_of[id - 1];
    for (int64_t i = 0; i < id; i++)
        if (fixture.file_of[i] != last)
            sh_wal_release(fixture.wal, fixture.file_of[i], 1);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (sh_wal_bytes(fixture.wal) > fixture.options.file_bytes && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    assert_int_equal(sh_wal_bytes(fixture.wal), fixture.options.file_bytes);
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    assert_int_equal(fixture_try_append(&fixture, id, 1000, &refusal), SH_EXHAUSTED);
    for (int64_t i = 0; i < id; i++)
        if (fixture.file_of[i] == last)
            sh_wal_release(fixture.wal, last, 1);
    append_until_accepted(&fixture, id);
    assert_int_equal(fixture.failed, 0);
    fixture_close(&fixture);
    assert_ok(sh_fault_arm(NULL, err));
    fixture_free(&fixture);
}

/* Asked before the log is started; what files hold may be published, which makes room. */
static void test_a_start_may_ask_for_room(void **state)
{
    (void)state;
    Fixture fixture;
    ShError refusal = {0};
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_open(&fixture);
    assert_ok(sh_wal_check_room(fixture.wal, err));
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    assert_int_equal(sh_wal_check_room(fixture.wal, &refusal), SH_EXHAUSTED);
    assert_true(refusal.retriable);
    assert_non_null(strstr(refusal.message, fixture.dir));
    assert_non_null(strstr(refusal.message, "No space left"));
    fixture_close(&fixture);
    assert_ok(sh_fault_arm(NULL, err));
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 1000);
    fixture_wait(&fixture, &fixture.written, 1);
    fixture_close(&fixture);
    fixture_open(&fixture);
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    assert_ok(sh_wal_check_room(fixture.wal, err));
    assert_ok(sh_fault_arm(NULL, err));
    fixture_recover(&fixture);
    assert_int_equal(fixture.recovered_count, 1);
    fixture_close(&fixture);
    fixture_free(&fixture);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    if (mount("tmpfs", fixture.dir, "tmpfs", 0, "size=2m") != 0)
        fail_msg("this test needs the right to mount a tmpfs: run it as root");
    fixture_start(&fixture);
    ShError refusal = {0};
    int64_t id = append_until_refused(&fixture, 0, &refusal);
    assert_true(id > 1000);

    /* Publishing goes on, files go, and so there is space again. */
    fixture_wait(&fixture, &fixture.written, 1000);
    for (int64_t i = 0; i < 1000; i++)
        sh_wal_release(fixture.wal, fixture.file_of[i], 1);
    append_until_accepted(&fixture, id);
    assert_int_equal(fixture.failed, 0);
    fixture_close(&fixture);
    assert_int_equal(umount(fixture.dir), 0);
    fixture_free(&fixture);
}

static void test_closing_without_space_gives_back_what_waits(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    fixture_start(&fixture);
    ShError refusal = {0};
    int64_t id = 0;
    while (fixture_try_append(&fixture, id, 100, &refusal) == SH_OK)
        id++;
    assert_int_equal(refusal.status, SH_EXHAUSTED);
    fixture_close(&fixture);
    assert_int_equal(fixture.failed, id);
    assert_int_equal(fixture.written, 0);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_during_a_sync_becomes_one_group),
        cmocka_unit_test(test_a_failed_sync_is_written_again),
        cmocka_unit_test(test_a_failed_write_is_written_again),
        cmocka_unit_test(test_released_batches_of_a_dead_file_let_all_files_go),
        cmocka_unit_test(test_a_second_failure_is_the_end),
        cmocka_unit_test(test_a_lack_of_space_pushes_back),
        cmocka_unit_test(test_a_full_file_without_batches_is_used_again),
        cmocka_unit_test(test_a_start_may_ask_for_room),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_closing_without_space_gives_back_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
