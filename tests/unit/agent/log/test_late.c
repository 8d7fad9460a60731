/* What happens to a partition that others take over, or that is sealed by force; readers at a gap. */
#include "tests/unit/agent/log/log_fixture.h"

#define LEFTOVERS_START (2 * fake.range)

static void set(Fixture *fixture, int index, const char *setting)
{
    snprintf(fixture->extra[index], sizeof fixture->extra[index], "STREAMHOUSE_%s", setting);
}

static FakePartition *t0(void)
{
    return &fake.topics[0].partitions[0];
}

/* Has t/0 an open epoch with a number above that? */
static bool owns_epoch_above(int64_t epoch)
{
    pthread_mutex_lock(&fake.lock);
    bool owns = t0()->owned && t0()->open && t0()->epoch > epoch;
    pthread_mutex_unlock(&fake.lock);
    return owns;
}

/* t/0 is sealed by force at its published end. */
static void force_seal(void)
{
    FakePartition *partition = t0();
    FAKE_CHANGE(partition->forced_epoch = partition->epoch; partition->forced_end = partition->end;
                partition->owned = partition->open = false; partition->next_offset = 2 * fake.range);
}

static void start_with_two_published(Fixture *fixture)
{
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 100), 0);
    wait_until(fake_published(0) == 2);
}

/* 2 records are published; 6 more are in the WAL, in objects that cannot be published yet. */
static void start_with_leftovers(Fixture *fixture)
{
    start_with_two_published(fixture);
    assert_ok(sh_fault_arm("publish.before=error", err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append_to(fixture, "t", 2, 100), 2 + 2 * i);
        wait_until(sh_flush_is_idle(fixture->engine)); /* an object of its own */
    }
}

static void check_leftovers(Fixture *fixture)
{
    wait_until(fake_published(0) == LEFTOVERS_START + 6);
    assert_int_equal(t0()->segments[t0()->segment_count - 1].last_offset, LEFTOVERS_START + 5);
    for (size_t i = 1; i < t0()->segment_count; i++) {
        assert_int_equal(t0()->segments[i].epoch, t0()->forced_epoch + 1);
        assert_true(t0()->segments[i].first_offset >= LEFTOVERS_START);
    }
    wait_until(sh_wal_batches(fixture->engine->wal) == 0);
    /* It is sealed, and the next epoch begins behind it. */
    assert_int_equal(append_patiently(fixture, "t", 1, 10), LEFTOVERS_START + 6);
    assert_ok(sh_engine_fatal(fixture->engine, err));
}

static void test_leftovers_of_a_live_agent_move(void **state)
{
    Fixture *fixture = *state;
    start_with_leftovers(fixture);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    check_leftovers(fixture);
}

static void test_leftovers_in_the_wal_move(void **state)
{
    Fixture *fixture = *state;
    start_with_leftovers(fixture);
    stop(fixture);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    start(fixture);
    check_leftovers(fixture);
}

static void test_leftovers_move_once_across_a_crash(void **state)
{
    Fixture *fixture = *state;
    start_with_leftovers(fixture);
    FAKE_CHANGE(fake.lose_late_replies = true);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    wait_until(fake_published(0) > LEFTOVERS_START);
    stop(fixture);
    FAKE_CHANGE(fake.loses_replies = false);
    start(fixture);
    check_leftovers(fixture);
}

/* As long as they have no place nothing is accepted behind them. */
static void test_a_sealed_epoch_accepts_nothing(void **state)
{
    Fixture *fixture = *state;
    start_with_leftovers(fixture);
    FAKE_CHANGE(fake.lose_leftovers = 1 << 20);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    wait_until(atomic_load(&fixture->engine->control.refused) > 0);
    assert_true(append_to(fixture, "t", 1, 10) < 0);
    FAKE_CHANGE(fake.lose_leftovers = 0);
    check_leftovers(fixture);
}

/* The place was given, and the agent has not heard of it: asked again, it is the same one. */
static void test_leftovers_move_once_when_the_answer_is_lost(void **state)
{
    Fixture *fixture = *state;
    start_with_leftovers(fixture);
    FAKE_CHANGE(fake.lose_leftovers = 2);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    check_leftovers(fixture);
    assert_true(fake.leftovers_asked >= 3);
    assert_int_equal(t0()->epoch, t0()->forced_epoch + 2); /* the leftovers', and the one behind them */
}

/* The WAL has no room for all of a call, and will have none before what it holds is published: the rest is
 * not waited for. */
static void test_a_call_that_is_half_in_the_wal_holds_nothing_up(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "WAL_BUDGET=4MB");
    set(fixture, 1, "WAL_FILE_SIZE=1MB");
    set(fixture, 2, "FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_ok(sh_fault_arm("publish.before=error", err));
    Triple calls[12];
    size_t begun = 0;
    do
        triple_begin(fixture, &calls[begun++], 120000);
    while (begun < 12 && atomic_load(&fixture->engine->flusher.stalled) == 0);
    assert_int_equal(atomic_load(&fixture->engine->flusher.stalled), 1);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    int64_t accepted = 0;
    for (size_t i = 0; i + 1 < begun; i++) {
        assert_int_equal(append_end(&calls[i].append), SH_OK);
        accepted += 3;
    }
    assert_int_equal(append_end(&calls[begun - 1].append), SH_CANCELLED);
    assert_non_null(strstr(calls[begun - 1].append.part.error.message, "whether they are stored is open"));
    wait_until(sh_wal_batches(fixture->engine->wal) == 0);
    int64_t stored = t0()->segments[t0()->segment_count - 1].last_offset + 1 - LEFTOVERS_START;
    assert_in_range(stored, accepted + 1, accepted + 2);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), LEFTOVERS_START + stored);
    assert_int_equal(atomic_load(&fixture->engine->flusher.stalled), 0);
    assert_ok(sh_engine_fatal(fixture->engine, err));
}

/* Records that have no place are kept: the agent stops, and its write-ahead log has them when it comes again.
 */
static void test_records_without_a_place_stay_in_the_wal(void **state)
{
    Fixture *fixture = *state;
    ShError why = {0};
    start_with_leftovers(fixture);
    FAKE_CHANGE(fake.refuse_leftovers = SH_LEFTOVER_FENCED);
    force_seal();
    assert_ok(sh_fault_arm(NULL, err));
    wait_until(sh_engine_fatal(fixture->engine, &why) == SH_OUTDATED);
    assert_non_null(strstr(why.message, "lost history"));
    assert_non_null(strstr(why.message, "not this write-ahead log's"));
    assert_non_null(strstr(why.message, "keeps them"));
    assert_true(append_to(fixture, "t", 1, 10) < 0);
    stop(fixture);

    FAKE_CHANGE(fake.refuse_leftovers = SH_LEFTOVER_OPEN);
    if (try_start(fixture, &why) == SH_OK) /* it is told soon after the start, or before its end */
        wait_until(sh_engine_fatal(fixture->engine, &why) == SH_UNSUPPORTED);
    assert_int_equal(why.status, SH_UNSUPPORTED);
    assert_non_null(strstr(why.message, "not sealed"));
    stop(fixture);

    FAKE_CHANGE(fake.refuse_leftovers = 0);
    start(fixture);
    check_leftovers(fixture);
}

static void test_a_forced_seal_that_nothing_is_left_of(void **state)
{
    Fixture *fixture = *state;
    start_with_two_published(fixture);
    force_seal();
    wait_until(owns_epoch_above(t0()->forced_epoch));
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 2 * fake.range);
    assert_ok(sh_engine_fatal(fixture->engine, err));
}

/* It is told once that the partition is to be opened anew, and maybe while the sealed epoch is still there.
 */
static void test_a_partition_is_opened_again_once_its_sealed_epoch_is_gone(void **state)
{
    Fixture *fixture = *state;
    start_with_two_published(fixture);
    FAKE_CHANGE(fake.tells_changes = true);
    force_seal();
    wait_until(owns_epoch_above(t0()->forced_epoch));
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 2 * fake.range);
    assert_ok(sh_engine_fatal(fixture->engine, err));
}

static void test_a_partition_that_was_taken_over_is_published_late(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 100), 0);
    assert_int_equal(fake_published(0), 0);
    FAKE_CHANGE(t0()->orphaned = true; fake.elsewhere = true);
    wait_until(fake_published(0) == 2);
    wait_until(!owns_epoch_above(0));
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_NOT_OWNER);
    wait_until(sh_wal_batches(fixture->engine->wal) == 0);
    assert_ok(sh_engine_fatal(fixture->engine, err));
}

/* Placement changes its mind before the agent asks again. */
static void test_a_used_up_partition_may_go_elsewhere(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.range = 8);
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 8, 100), 0);
    assert_ok(sh_fault_arm("publish.before=error", err));
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_UNAVAILABLE);
    pthread_mutex_lock(&fake.lock);
    fake.elsewhere = true; /* without a new version */
    pthread_mutex_unlock(&fake.lock);
    assert_ok(sh_fault_arm(NULL, err));
    wait_until(!owns_epoch_above(0));
    wait_until(append_to(fixture, "t", 1, 10) == -SH_NOT_OWNER);
    assert_ok(sh_engine_drain(fixture->engine, err));
}

static void test_readers_stop_at_a_gap(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(t0()->next_offset = 100; t0()->epoch = 7; fake.gap_epoch = 7);
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 100), 100);
    wait_until(fake_published(0) == 102);
    Fetch at_gap, above;
    fetch_begin(fixture, &at_gap, "t", 0, 50, 1);
    fetch_begin(fixture, &above, "t", 100, 50, 1);
    assert_int_equal(fetch_end(&at_gap), SH_OK);
    assert_int_equal(fetch_end(&above), SH_OK);
    assert_int_equal(at_gap.part.slice_count + above.part.slice_count, 0);
    assert_int_equal(above.part.high_watermark, 0);

    fetch_begin(fixture, &at_gap, "t", 0, 10000, 1);
    int64_t resolved_ms = sh_clock_now_ms();
    FAKE_CHANGE(fake.gap_epoch = 0);
    assert_int_equal(fetch_end(&at_gap), SH_OK);
    assert_true(sh_clock_now_ms() - resolved_ms < 5000);
    assert_int_equal(at_gap.part.next_offset, 102);
    sh_fetch_release(&at_gap.call);
}

static void test_an_owner_stops_before_the_orphan_timeout(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.orphan_timeout_ms = 1000);
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 100), 0);
    assert_int_equal(read_to(fixture, "t", 0, 2), 2);
    FAKE_CHANGE(fake.away = true);
    int64_t away_ms = sh_clock_now_ms();
    int64_t end = 2;
    int64_t offset;
    while ((offset = append_to(fixture, "t", 1, 10)) >= 0)
        end = offset + 1;
    assert_true(offset == -SH_UNAVAILABLE ||
                offset == -SH_CANCELLED); /* the last is not known to be stored */
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_UNAVAILABLE);
    assert_in_range(sh_clock_now_ms() - away_ms, 0, 1000);
    /* Nor does it show what is not published. */
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 0, 20, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 0);
    FAKE_CHANGE(fake.away = false);
    assert_true(append_patiently(fixture, "t", 1, 10) >= end);
    assert_true(read_to(fixture, "t", 0, end) >= end);
}

/* PostgreSQL counts by a new time-out only when it knows that the owner has it. */
static void test_an_owner_tells_that_it_has_a_new_orphan_timeout(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    FAKE_CHANGE(fake.orphan_timeout_ms = 3600000);
    wait_until(FAKE_GET(fake.asked_after) == FAKE_GET(fake.version));
    FAKE_CHANGE(fake.orphan_timeout_ms = 0);
    wait_until(FAKE_GET(fake.asked_after) == FAKE_GET(fake.version));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_leftovers_of_a_live_agent_move),
        TEST(test_leftovers_in_the_wal_move),
        TEST(test_leftovers_move_once_across_a_crash),
        TEST(test_leftovers_move_once_when_the_answer_is_lost),
        TEST(test_a_sealed_epoch_accepts_nothing),
        TEST(test_a_call_that_is_half_in_the_wal_holds_nothing_up),
        TEST(test_records_without_a_place_stay_in_the_wal),
        TEST(test_a_forced_seal_that_nothing_is_left_of),
        TEST(test_a_partition_is_opened_again_once_its_sealed_epoch_is_gone),
        TEST(test_a_partition_that_was_taken_over_is_published_late),
        TEST(test_a_used_up_partition_may_go_elsewhere),
        TEST(test_readers_stop_at_a_gap),
        TEST(test_an_owner_stops_before_the_orphan_timeout),
        TEST(test_an_owner_tells_that_it_has_a_new_orphan_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
