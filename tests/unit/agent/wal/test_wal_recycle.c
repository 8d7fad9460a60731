/* Released files become the next ones: how many are kept, when, and what happens when a step fails. */
#include "agent/base/metrics.h"
#include "agent/wal/wal_scan.h"
#include "tests/unit/agent/wal/wal_fixture.h"

#define BATCH_BYTES      4000
#define BATCHES_PER_FILE 64 /* of the fixture's 256 KiB, with their frame headers */

static int64_t recycled_files(void)
{
    return sh_metric_value(sh_metric_counter("streamhouse_wal_files_recycled_total", NULL, ""));
}

static void append_and_wait(Fixture *fixture, int64_t first_id, int64_t count)
{
    fixture_append(fixture, first_id, count, BATCH_BYTES);
    fixture_wait(fixture, &fixture->written, first_id + count);
}

static void release(Fixture *fixture, int64_t first_id, int64_t count)
{
    for (int64_t id = first_id; id < first_id + count; id++)
        sh_wal_release(fixture->wal, fixture->file_of[id % 4096], 1);
}

/* Wait until the files take no more than that on the disk, spares included. */
static void wait_for_bytes(const Fixture *fixture, int64_t bytes)
{
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (sh_wal_bytes(fixture->wal) > bytes && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    assert_true(sh_wal_bytes(fixture->wal) <= bytes);
}

/* Append file after file, and release each when the next but one is full. */
static int64_t run_through(Fixture *fixture, int64_t files)
{
    int64_t id = 0;
    for (int64_t file = 0; file < files; file++) {
        append_and_wait(fixture, id, BATCHES_PER_FILE);
        id += BATCHES_PER_FILE;
        if (file >= 2)
            release(fixture, id - 3 * BATCHES_PER_FILE, BATCHES_PER_FILE);
    }
    return id;
}

static void test_released_files_come_again_under_every_policy(void **state)
{
    (void)state;
    static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};
    for (size_t i = 0; i < 3; i++) {
        Fixture fixture;
        fixture_init(&fixture, policies[i]);
        fixture_start(&fixture);
        int64_t recycled_before = recycled_files();
        int64_t count = run_through(&fixture, 40);
        assert_in_range(recycled_files() - recycled_before, 25, 40);
        wait_for_bytes(&fixture, 9 * fixture.options.file_bytes);
        fixture_close(&fixture);
        assert_int_equal(fixture_spare_count(&fixture), 0);

        fixture_open(&fixture);
        assert_int_equal(fixture_recover(&fixture).torn_bytes, 0);
        int64_t held = fixture.recovered_count;
        assert_in_range(held, 2 * BATCHES_PER_FILE, 4 * BATCHES_PER_FILE);
        for (int64_t k = 0; k < held; k++)
            assert_int_equal(fixture.recovered[k], count - held + k);
        fixture_free(&fixture);
    }
}

static void test_few_spares_are_kept_and_none_behind_a_clean_close(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_INTERVAL);
    fixture_start(&fixture);
    append_and_wait(&fixture, 0, 20 * BATCHES_PER_FILE);
    release(&fixture, 0, 20 * BATCHES_PER_FILE);
    fixture_wait_files(&fixture, 2); /* the current one and the prepared */
    assert_in_range(fixture_spare_count(&fixture), 1, 4);
    wait_for_bytes(&fixture, 6 * fixture.options.file_bytes);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 0);
    assert_int_equal(fixture_spare_count(&fixture), 0);
    fixture_open(&fixture);
    assert_true(fixture.identity.clean);
    fixture_free(&fixture);
}

/* Spares fill no part of the budget that a larger file needs. */
static void test_a_larger_file_takes_the_place_of_the_spares(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture.options.budget_bytes = 4 * 1024 * 1024;
    fixture_start(&fixture);
    append_and_wait(&fixture, 0, 10 * BATCHES_PER_FILE);
    release(&fixture, 0, 10 * BATCHES_PER_FILE);
    fixture_wait_files(&fixture, 2);
    assert_true(fixture_spare_count(&fixture) > 0);
    fixture_append(&fixture, 10 * BATCHES_PER_FILE, 1, 3 * 1024 * 1024);
    fixture_wait(&fixture, &fixture.written, 10 * BATCHES_PER_FILE + 1);
    assert_int_equal(fixture_spare_count(&fixture), 0);
    assert_true(sh_wal_bytes(fixture.wal) <= fixture.options.budget_bytes);
    fixture_free(&fixture);
}

/* So that no write waits for a page of the file's former life to be read. */
static void test_a_write_goes_on_to_the_end_of_its_page(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    int64_t count = run_through(&fixture, 20);
    append_and_wait(&fixture, count, 1);
    char name[64], path[160];
    snprintf(name, sizeof name, "%016" PRIx64 ".wal", fixture.file_of[count]);
    fixture_path(&fixture, name, path);

    size_t length;
    uint8_t *bytes = read_whole(path, &length);
    ShWalFileHeader header;
    ShWalScan scan;
    assert_ok(sh_wal_decode_file_header(bytes, length, &header, err));
    assert_int_not_equal(header.former_no, 0);
    sh_wal_scan(&header, bytes, length, &scan);
    assert_int_equal(scan.batches, 1);
    assert_int_equal(scan.torn_bytes, 0);
    for (int64_t at = scan.end; at % 4096 != 0; at++)
        assert_int_equal(bytes[at], 0);
    free(bytes);
    fixture_free(&fixture);
}

static void test_a_failed_step_costs_a_spare_and_nothing_else(void **state)
{
    (void)state;
    static const char *const points[] = {"wal.recycle.aside=error:3", "wal.recycle.header=error:3",
                                         "wal.recycle.rename=error:3", "wal.recycle.sync=error:3"};
    for (size_t i = 0; i < 4; i++) {
        Fixture fixture;
        fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
        fixture_start(&fixture);
        assert_ok(sh_fault_arm(points[i], err));
        int64_t recycled_before = recycled_files();
        int64_t count = run_through(&fixture, 20);
        assert_true(recycled_files() > recycled_before);
        assert_int_equal(fixture.failed, 0);
        assert_false(fixture.out_of_order);

        /* What the WAL counts is what lies there. */
        release(&fixture, count - 2 * BATCHES_PER_FILE, 2 * BATCHES_PER_FILE);
        fixture_close(&fixture);
        assert_int_equal(fixture_file_count(&fixture), 0);
        assert_int_equal(fixture_spare_count(&fixture), 0);
        fixture_free(&fixture);
    }
}

static void test_a_failed_file_is_not_used_again(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    assert_ok(sh_fault_arm("wal.fdatasync=error:1", err));
    append_and_wait(&fixture, 0, 1);
    assert_int_equal(fixture.file_of[0], 0x100000002);
    char path[160];
    fixture_path(&fixture, "0000000100000001.wal", path);
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (access(path, F_OK) == 0 && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(fixture_spare_count(&fixture), 0);
    fixture_free(&fixture);
}

static void test_files_of_an_earlier_incarnation_are_not_used_again(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    append_and_wait(&fixture, 0, 3 * BATCHES_PER_FILE);
    fixture_close(&fixture);

    fixture_start(&fixture);
    fixture_wait_files(&fixture, 4);
    release(&fixture, 0, 3 * BATCHES_PER_FILE);
    fixture_wait_files(&fixture, 1); /* the prepared one */
    assert_int_equal(fixture_spare_count(&fixture), 0);
    fixture_free(&fixture);
}

static void test_spares_that_a_crash_left_are_removed(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_open(&fixture);
    fixture_close(&fixture);
    char path[160];
    fixture_path(&fixture, "0000000100000001.wal.spare", path);
    write_whole(path, (const uint8_t *)"anything", 8);
    fixture_start(&fixture);
    assert_int_equal(fixture_spare_count(&fixture), 0);
    assert_int_equal(fixture.recovered_count, 0);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_released_files_come_again_under_every_policy),
        cmocka_unit_test(test_few_spares_are_kept_and_none_behind_a_clean_close),
        cmocka_unit_test(test_a_larger_file_takes_the_place_of_the_spares),
        cmocka_unit_test(test_a_write_goes_on_to_the_end_of_its_page),
        cmocka_unit_test(test_a_failed_step_costs_a_spare_and_nothing_else),
        cmocka_unit_test(test_a_failed_file_is_not_used_again),
        cmocka_unit_test(test_files_of_an_earlier_incarnation_are_not_used_again),
        cmocka_unit_test(test_spares_that_a_crash_left_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
