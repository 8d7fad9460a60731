/* Under `always` the next group is written while the last one is synced: what then stands in the file, and
 * what becomes of both when the sync fails or the WAL closes. */
#include "agent/base/metrics.h"
#include "agent/wal/wal_internal.h"
#include "tests/unit/agent/wal/wal_fixture.h"

#define LARGE    200000 /* a batch that the writer does not sync itself, nor leaves for the next group */
#define BATCHES  60
#define STALLED  "wal.fdatasync=stall:1000"
#define STUMBLES "wal.fdatasync=stall:1000,wal.fdatasync=error:1"
#define FAILS    "wal.fdatasync=stall:300,wal.fdatasync=error:2"

static void start(Fixture *fixture, const char *faults)
{
    fixture_init(fixture, SH_WAL_SYNC_ALWAYS);
    fixture->options.file_bytes = 16 * 1024 * 1024;
    fixture_start(fixture);
    /* The first file is there, and synced, before a sync may be slow. */
    fixture_append(fixture, 0, 1, 100);
    fixture_wait(fixture, &fixture->written, 1);
    assert_ok(sh_fault_arm(faults, err));
}

static void free_all(Fixture *fixture)
{
    assert_ok(sh_fault_arm(NULL, err));
    fixture_free(fixture);
}

/* Read the frames of the first log file into `frames`, up to `max`; returns how many are whole. */
static int read_frames(const Fixture *fixture, ShWalFrame *frames, int64_t *positions, int max)
{
    char names[8][64], path[160];
    size_t length;
    ShWalFileHeader header;
    assert_true(fixture_files(fixture, ".wal", names, 8) > 0);
    fixture_path(fixture, names[0], path);
    uint8_t *bytes = read_whole(path, &length);
    assert_ok(sh_wal_decode_file_header(bytes, length, &header, err));
    int64_t position = SH_WAL_FILE_HEADER_BYTES;
    int count = 0;
    while (count < max && sh_wal_decode_frame(&header.id, bytes, length, position, &frames[count]) &&
           sh_wal_batch_intact(bytes + position + SH_WAL_FRAME_HEADER_BYTES, frames[count].batch_length)) {
        positions[count] = position;
        position += sh_wal_frame_bytes(frames[count++].batch_length);
    }
    free(bytes);
    return count;
}

static int64_t count_written(Fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    int64_t written = fixture->written;
    pthread_mutex_unlock(&fixture->lock);
    return written;
}

/* Append two large batches, the second when the first is in the file, and wait until both are, while the
 * first is still being synced. */
static void write_two_during_a_sync(Fixture *fixture)
{
    ShWalFrame frames[3];
    int64_t positions[3];
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    for (int id = 1; id <= 2; id++) {
        fixture_append(fixture, id, 1, LARGE);
        while (read_frames(fixture, frames, positions, 3) < id + 1 && sh_clock_now_ms() < deadline_ms)
            usleep(1000);
    }
    assert_int_equal(read_frames(fixture, frames, positions, 3), 3);
    assert_int_equal(count_written(fixture), 1);
}

static void expect_recovered(Fixture *fixture, int64_t count)
{
    fixture_open(fixture);
    fixture_recover(fixture);
    assert_int_equal(fixture->recovered_count, count);
    for (int64_t id = 0; id < count; id++)
        assert_int_equal(fixture->recovered[id], id);
}

static void test_what_is_written_during_a_sync_is_not_synced_by_it(void **state)
{
    (void)state;
    Fixture fixture;
    ShWalFrame frames[4];
    int64_t positions[4];
    start(&fixture, STALLED);
    write_two_during_a_sync(&fixture);
    fixture_wait(&fixture, &fixture.written, 2);
    assert_int_equal(count_written(&fixture), 2); /* the other needs a sync that began behind it */
    assert_ok(sh_fault_arm(NULL, err));
    fixture_wait(&fixture, &fixture.written, 3);
    fixture_append(&fixture, 3, 1, 100);
    fixture_wait(&fixture, &fixture.written, 4);
    assert_int_equal(read_frames(&fixture, frames, positions, 4), 4);
    assert_int_equal(frames[1].synced, positions[1]);
    assert_int_equal(frames[2].synced, positions[1]);
    assert_int_equal(frames[3].synced, positions[3]);
    assert_false(fixture.out_of_order);
    free_all(&fixture);
}

static void test_a_failed_sync_has_the_next_group_written_again_too(void **state)
{
    (void)state;
    Fixture fixture;
    ShMetric *files_dead = sh_metric_counter("streamhouse_wal_files_dead_total", NULL, "");
    int64_t dead_before = sh_metric_value(files_dead);
    start(&fixture, STUMBLES);
    write_two_during_a_sync(&fixture);
    fixture_append(&fixture, 3, 10, 100);
    fixture_wait(&fixture, &fixture.written, 13);
    assert_int_equal(sh_metric_value(files_dead), dead_before + 1);
    assert_int_equal(fixture.failed, 0);
    assert_false(fixture.out_of_order);
    assert_true(fixture.file_of[1] > fixture.file_of[0]);
    assert_true(fixture.file_of[2] == fixture.file_of[1]);
    assert_ok(sh_fault_arm(NULL, err));
    fixture_close(&fixture);

    expect_recovered(&fixture, 13);
    assert_ok(sh_wal_start(fixture.wal, err));
    for (int64_t id = 0; id < 13; id++)
        sh_wal_release(fixture.wal, fixture.file_of[id], 1);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 0);
    free_all(&fixture);
}

static void test_a_wal_that_dies_gives_back_both_groups(void **state)
{
    (void)state;
    Fixture fixture;
    start(&fixture, FAILS);
    fixture_append(&fixture, 1, 1, LARGE);
    fixture_append(&fixture, 2, 1, LARGE);
    fixture_append(&fixture, 3, 1, 100);
    fixture_wait(&fixture, &fixture.failed, 3);
    assert_int_equal(fixture.written, 1);
    assert_false(fixture.out_of_order);
    fixture_close(&fixture);
    fixture_open(&fixture);
    fixture_recover(&fixture);
    assert_true(fixture.recovered_count >= 1);
    free_all(&fixture);
}

static void close_in_flight(const char *faults)
{
    Fixture fixture;
    start(&fixture, faults);
    fixture_append(&fixture, 1, BATCHES, LARGE);
    fixture_close(&fixture);
    assert_int_equal(fixture.written, 1 + BATCHES);
    assert_int_equal(fixture.failed, 0);
    assert_false(fixture.out_of_order);
    expect_recovered(&fixture, 1 + BATCHES);
    free_all(&fixture);
}

static void test_closing_acknowledges_what_is_in_flight(void **state)
{
    (void)state;
    close_in_flight("wal.fdatasync=stall:20");
    close_in_flight("wal.fdatasync=stall:20,wal.fdatasync=error:1");
    close_in_flight("wal.write=error:1");
}

/* While a sync lasts, no more is written behind it than the next one may take: 16 MiB and the group that
 * exceeds them. */
static void test_the_writer_is_bounded_ahead_of_its_syncs(void **state)
{
    (void)state;
    enum { MIB = 1 << 20, COUNT = 30 };
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture.options.file_bytes = 64 * MIB;
    fixture.options.budget_bytes = 256 * MIB;
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 100);
    fixture_wait(&fixture, &fixture.written, 1);
    assert_ok(sh_fault_arm(STALLED, err));
    fixture_append(&fixture, 1, COUNT, MIB);
    int64_t ahead = 0;
    do {
        pthread_mutex_lock(&fixture.wal->lock);
        if (fixture.wal->unsynced.frame_bytes > ahead)
            ahead = fixture.wal->unsynced.frame_bytes;
        pthread_mutex_unlock(&fixture.wal->lock);
    } while (count_written(&fixture) == 1);
    assert_in_range(ahead, MIB, 18 * MIB);
    assert_ok(sh_fault_arm(NULL, err));
    fixture_wait(&fixture, &fixture.written, 1 + COUNT);
    free_all(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_during_a_sync_is_not_synced_by_it),
        cmocka_unit_test(test_a_failed_sync_has_the_next_group_written_again_too),
        cmocka_unit_test(test_a_wal_that_dies_gives_back_both_groups),
        cmocka_unit_test(test_closing_acknowledges_what_is_in_flight),
        cmocka_unit_test(test_the_writer_is_bounded_ahead_of_its_syncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
