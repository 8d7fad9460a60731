/* An agent whose disk has no room for the write-ahead log: not ready at once, and without partitions when it
 * lasts; but not while what fills the log waits to be published. */
#include "tests/unit/agent/log/log_fixture.h"

#define PATIENCE_MS 100
#define BATCH_BYTES 100000

/* No file can be made, and none used again. */
#define NO_ROOM "wal.fallocate=error,wal.recycle.aside=error"

static void start_small(Fixture *fixture)
{
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_WAL_FILE_SIZE=1MB");
    snprintf(fixture->extra[1], sizeof fixture->extra[1], "STREAMHOUSE_FLUSH_INTERVAL=50ms");
    start(fixture);
    atomic_store(&fixture->engine->disk_room.patience_ms, PATIENCE_MS);
    assert_true(append_patiently(fixture, "t", 1, 100) >= 0);
}

static void append_until_refused(Fixture *fixture)
{
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    int64_t offset;
    while ((offset = append_to(fixture, "t", 1, BATCH_BYTES)) >= 0 && sh_clock_now_ms() < until_ms)
        continue;
    assert_int_equal(offset, -(int64_t)SH_EXHAUSTED);
}

static bool is_ready(Fixture *fixture)
{
    char why[SH_ERROR_MESSAGE_BYTES] = "";
    bool ready = sh_engine_ready(fixture->engine, why, sizeof why);
    if (!ready)
        assert_non_null(strstr(why, "gets no space"));
    return ready;
}

static void test_partitions_go_while_there_is_no_room(void **state)
{
    Fixture *fixture = *state;
    start_small(fixture);
    assert_true(is_ready(fixture));
    assert_ok(sh_fault_arm(NO_ROOM, err));
    append_until_refused(fixture);
    wait_until(FAKE_GET(fake.lacks_room));
    assert_false(is_ready(fixture));
    assert_ok(sh_fault_arm(NULL, err));
    wait_until(!FAKE_GET(fake.lacks_room));
    assert_int_equal(FAKE_GET(fake.rooms_told), 2);
    assert_true(is_ready(fixture));
    assert_true(append_patiently(fixture, "t", 1, BATCH_BYTES) >= 0);
}

static void test_what_waits_for_the_store_keeps_them(void **state)
{
    Fixture *fixture = *state;
    start_small(fixture);
    assert_ok(sh_fault_arm(NO_ROOM ",store.put=error", err));
    append_until_refused(fixture);
    int beats = FAKE_GET(fake.heartbeats) + 3 * PATIENCE_MS / 50;
    wait_until(FAKE_GET(fake.heartbeats) >= beats);
    assert_false(is_ready(fixture));
    assert_int_equal(FAKE_GET(fake.rooms_told), 0);
    /* The store is back, what was kept is published, and somebody else has taken the room. */
    assert_ok(sh_fault_arm(NO_ROOM, err));
    wait_until(FAKE_GET(fake.lacks_room));
    assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
}

/* A moment is not worth a move; and one file is room enough to go on with, once what it held is published. */
static void test_the_file_that_is_there_is_used_again(void **state)
{
    Fixture *fixture = *state;
    start_small(fixture);
    assert_ok(sh_fault_arm("wal.fallocate=error", err));
    atomic_store(&fixture->engine->disk_room.patience_ms, DEADLINE_MS);
    for (int i = 0; i < 3; i++) {
        append_until_refused(fixture);
        wait_until(is_ready(fixture));
    }
    assert_true(append_patiently(fixture, "t", 1, BATCH_BYTES) >= 0);
    assert_int_equal(FAKE_GET(fake.rooms_told), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_partitions_go_while_there_is_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_waits_for_the_store_keeps_them, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_file_that_is_there_is_used_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
