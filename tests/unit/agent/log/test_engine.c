/* The engine as rpc/ sees it, over a real WAL and store and a fake PostgreSQL. */
#include "tests/unit/agent/log/log_fixture.h"

static void set(Fixture *fixture, size_t i, const char *setting)
{
    snprintf(fixture->extra[i], sizeof fixture->extra[i], "STREAMHOUSE_%s", setting);
}

static void test_appends_get_offsets_in_their_order(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    Append appends[50];
    for (int i = 0; i < 50; i++)
        append_begin(fixture, &appends[i], target_of("t", 0), 3, 10, 1000);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(append_end(&appends[i]), SH_OK);
        assert_int_equal(appends[i].part.base_offset, 3 * i);
    }
    assert_int_equal(read_to(fixture, "t", 0, 150), 150);
}

static void test_bad_appends_are_refused(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    Append append;
    append_begin(fixture, &append, target_of("nope", 0), 1, 10, 1000);
    assert_int_equal(append_end(&append), SH_NOT_FOUND);
    append_begin(fixture, &append, target_of("t", 2), 1, 10, 1000);
    assert_int_equal(append_end(&append), SH_NOT_FOUND);
    assert_non_null(strstr(append.part.error.message, "has 2 partitions"));
    ShTarget other = target_of("t", 0);
    other.has_topic_id = true;
    append_begin(fixture, &append, other, 1, 10, 1000);
    assert_int_equal(append_end(&append), SH_NOT_FOUND);
    assert_non_null(strstr(append.part.error.message, "dropped and created again"));
    assert_int_equal(append_to(fixture, "t", 1, 2 << 20), -SH_TOO_LARGE);
    assert_int_equal(append_to(fixture, "t", 1, 10), 0);
}

static void test_a_topic_made_a_moment_ago_is_found(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    fake_topic("new", false);
    assert_int_equal(append_to(fixture, "new", 1, 10), 0);
}

static void test_reads_come_from_memory_and_from_the_store(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_to(fixture, "t", 5, 1000), 5 * i);
    wait_until(fake_published(0) == 100);
    assert_int_equal(read_to(fixture, "t", 0, 100), 100);
    assert_ok(sh_engine_drain(fixture->engine, err));
    stop(fixture);
    start(fixture);
    assert_int_equal(read_to(fixture, "t", 0, 100), 100);
    assert_int_equal(read_to(fixture, "t", 42, 100), 100);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 100);
}

static void test_a_fetch_waits_and_is_woken(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 1, DEADLINE_MS, 1);
    assert_false(signal_wait(&fetch.signal, 50));
    assert_int_equal(append_to(fixture, "t", 1, 10), 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.next_offset, 2);
    sh_fetch_release(&fetch.call);

    fetch_begin(fixture, &fetch, "t", 2, 30, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 0);

    fetch_begin(fixture, &fetch, "t", 2, DEADLINE_MS, 1);
    sh_engine_fetch_cancel(fixture->engine, &fetch.call);
    assert_int_equal(fetch_end(&fetch), SH_CANCELLED);
}

static void test_offsets_outside_of_the_log(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_to(fixture, "t", 4, 10), 0);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 5, 0, 1);
    assert_int_equal(fetch_end(&fetch), SH_OUT_OF_RANGE);
    assert_non_null(strstr(fetch.part.error.message, "begins at 0 and ends before 4"));
    fetch_begin(fixture, &fetch, "t", -1, 0, 1);
    assert_int_equal(fetch_end(&fetch), SH_OUT_OF_RANGE);
}

static void test_memory_is_bounded_and_nothing_accepted_is_lost(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "MEMORY_BUDGET=16MB");
    set(fixture, 1, "FLUSH_SIZE=1MB");
    set(fixture, 2, "FLUSH_INTERVAL=10ms");
    assert_ok(sh_fault_arm("flush.before_upload=error", err));
    start(fixture);
    int64_t accepted = 0;
    int64_t offset;
    while ((offset = append_to(fixture, "t", 1, 500000)) >= 0)
        assert_int_equal(offset, accepted++);
    assert_int_equal(offset, -SH_EXHAUSTED);
    assert_in_range(accepted, 25, 34);
    assert_ok(sh_fault_arm(NULL, err));
    assert_int_equal(append_patiently(fixture, "t", 1, 500000), accepted);
    wait_until(fake_published(0) == accepted + 1);
    assert_int_equal(read_to(fixture, "t", 0, accepted + 1), accepted + 1);
    assert_true(sh_memory_used(&fixture->engine->memory) <= 16 << 20);
}

static void test_what_calls_hold_leaves_room_for_records(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "MEMORY_BUDGET=16MB");
    set(fixture, 1, "FLUSH_INTERVAL=10ms");
    start(fixture);
    ShMemory *memory = &fixture->engine->memory;
    for (int64_t i = 0; i < 14; i++)
        assert_int_equal(append_patiently(fixture, "t", 1, 500000), i);
    wait_until(fake_published(0) == 14 && sh_pipeline_is_empty(&fixture->engine->pipeline));
    assert_true(sh_memory_used(memory) > memory->budget_bytes / 2);
    sh_engine_hold_memory(fixture->engine, 1 << 30);
    assert_true(sh_memory_used(memory) <= memory->budget_bytes);
    assert_int_equal(append_patiently(fixture, "t", 1, 500000), 14);
    sh_engine_hold_memory(fixture->engine, -(1 << 30));
    assert_int_equal(read_to(fixture, "t", 0, 15), 15);
}

static void test_a_full_wal_pushes_back_and_keeps_calls_whole(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "WAL_BUDGET=4MB");
    set(fixture, 1, "WAL_FILE_SIZE=1MB");
    set(fixture, 2, "FLUSH_INTERVAL=10ms");
    assert_ok(sh_fault_arm("flush.before_upload=error", err));
    start(fixture);
    Triple calls[8];
    for (int i = 0; i < 8; i++)
        triple_begin(fixture, &calls[i], 120000);
    assert_true(signal_wait(&calls[7].append.signal, DEADLINE_MS));
    assert_int_equal(calls[7].append.part.error.status, SH_EXHAUSTED);
    assert_true(calls[7].append.part.error.retry_after_ms > 0);
    assert_ok(sh_fault_arm(NULL, err));
    int64_t accepted = 0;
    for (int i = 0; i < 8; i++) {
        if (append_end(&calls[i].append) != SH_OK)
            continue;
        assert_int_equal(calls[i].append.part.base_offset, accepted);
        accepted += 3;
    }
    assert_in_range(accepted, 6, 18);
    wait_until(fake_published(0) == accepted);
    assert_int_equal(read_to(fixture, "t", 0, accepted), accepted);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), accepted);
}

static void test_a_lost_reply_publishes_once(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    assert_ok(sh_fault_arm("publish.after=error:2", err));
    start(fixture);
    for (int i = 0; i < 5; i++)
        assert_int_equal(append_patiently(fixture, "t", 1, 10), i);
    wait_until(fake_published(0) == 5);
    assert_int_equal(read_to(fixture, "t", 0, 5), 5);
    assert_ok(sh_engine_drain(fixture->engine, err));
    assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
    assert_true(fake.ended);
}

static void test_an_abandoned_object_goes_up_again(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    FAKE_CHANGE(fake.abandon_next = true);
    assert_ok(sh_fault_arm("publish.before=error:2", err));
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    assert_ok(sh_fault_arm("flush.build=error:3", err)); /* by the time of the third attempt */
    wait_until(fake_published(0) == 1);
    assert_false(sh_fault_hit("flush.build"));
    assert_ok(sh_engine_drain(fixture->engine, err));
    stop(fixture);
    start(fixture);
    assert_int_equal(read_to(fixture, "t", 0, 1), 1);
}

static void test_a_restart_publishes_what_the_wal_had_left(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    for (int i = 0; i < 10; i++)
        assert_int_equal(append_patiently(fixture, "t", 2, 100), 2 * i);
    stop(fixture);
    assert_int_equal(fake_published(0), 0);
    start(fixture);
    assert_int_equal(fake_published(0), 20);
    assert_int_equal(read_to(fixture, "t", 0, 20), 20);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 20);
    wait_until(sh_wal_batches(fixture->engine->wal) == 1);
}

static void test_a_wal_of_an_unknown_epoch_is_not_discarded(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 100), 0);
    stop(fixture);
    FAKE_CHANGE(fake.topics[0].partitions[0].owned = false);
    FAKE_CHANGE(fake.topics[0].partitions[0].open = false);
    ShError err = {0};
    assert_int_equal(try_start(fixture, &err), SH_UNSUPPORTED);
    assert_non_null(strstr(err.message, "is not this write-ahead log's"));
    sh_config_free(fixture->config);
    FAKE_CHANGE(fake.topics[0].live = false);
    FAKE_CHANGE(fake.topics[0].dropped = true);
    start(fixture);
    wait_until(sh_wal_batches(fixture->engine->wal) == 0);
}

static void test_a_used_up_range_rolls_to_a_new_epoch(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.range = 8);
    start(fixture);
    for (int i = 0; i < 10; i++)
        assert_int_equal(append_patiently(fixture, "t", 3, 10), 3 * i);
    assert_int_equal(read_to(fixture, "t", 0, 30), 30);
    assert_true(fake.topics[0].partitions[0].epoch > 3);
}

static void test_a_released_partition_is_sealed_and_redirects(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 3, 10), 0);
    Fetch waiting;
    fetch_begin(fixture, &waiting, "t", 3, DEADLINE_MS, 1);
    FAKE_CHANGE(fake.elsewhere = true);
    assert_int_equal(fetch_end(&waiting), SH_NOT_OWNER);
    assert_string_equal(waiting.part.redirect.address, "there:2");
    Append append;
    append_begin(fixture, &append, target_of("t", 0), 1, 10, 1000);
    assert_int_equal(append_end(&append), SH_NOT_OWNER);
    assert_string_equal(append.part.redirect.agent_id, "other");
    assert_int_equal(fake_published(0), 3);
    assert_int_equal(read_to(fixture, "t", 0, 3), 3);
}

static void test_object_topics_are_acknowledged_with_their_publish(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "OBJECT_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_to(fixture, "o", 3, 10), 0);
    assert_int_equal(fake_published(1), 3);
    assert_int_equal(append_to(fixture, "o", 2, 10), 3);
    assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
    assert_int_equal(read_to(fixture, "o", 0, 5), 5);
}

/* The topic's durability becomes `wal`, and its partitions another agent's. */
static void test_a_partition_that_is_owned_elsewhere_now_redirects(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "OBJECT_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_to(fixture, "o", 3, 10), 0);
    Fetch waiting;
    fetch_begin(fixture, &waiting, "o", 3, DEADLINE_MS, 1);
    pthread_mutex_lock(&fake.lock);
    fake.elsewhere = true;
    fake.topics[1].object_durability = false;
    fake.version++;
    pthread_mutex_unlock(&fake.lock);
    assert_int_equal(fetch_end(&waiting), SH_NOT_OWNER);
    assert_string_equal(waiting.part.redirect.agent_id, "other");
    Append append;
    append_begin(fixture, &append, target_of("o", 0), 1, 10, 1000);
    assert_int_equal(append_end(&append), SH_NOT_OWNER);
    assert_string_equal(append.part.redirect.agent_id, "other");
    /* What the owner has written since is known only there. */
    FAKE_CHANGE(fake.topics[1].partitions[0].end = 5);
    fetch_begin(fixture, &waiting, "o", 5, DEADLINE_MS, 1);
    assert_int_equal(fetch_end(&waiting), SH_NOT_OWNER);
    assert_int_equal(read_to(fixture, "o", 0, 3), 3);
}

static void test_postgresql_away_delays_and_loses_nothing(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    FAKE_CHANGE(fake.away = true);
    for (int i = 1; i < 20; i++)
        assert_int_equal(append_to(fixture, "t", 1, 10), i);
    FAKE_CHANGE(fake.away = false);
    wait_until(fake_published(0) == 20);
    assert_int_equal(sh_engine_fatal(fixture->engine, NULL), SH_OK);
}

static int fake_number(const int *number)
{
    pthread_mutex_lock(&fake.lock);
    int value = *number;
    pthread_mutex_unlock(&fake.lock);
    return value;
}

static void test_the_lease_is_renewed_while_control_waits_for_a_lock(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake.holds_grants = true);
    fake_topic("new", false);
    wait_until(fake_number(&fake.grants_held) > 0);
    int before = fake_number(&fake.heartbeats);
    wait_until(fake_number(&fake.heartbeats) > before + 3);
    FAKE_CHANGE(fake.holds_grants = false);
    assert_int_equal(append_to(fixture, "new", 1, 10), 0);
}

static void test_a_registration_has_time_to_begin_a_term(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_true(FAKE_GET(fake.register_timeout_ms) >= 10 * 60 * 1000);
}

static void test_a_flood_of_news_makes_few_questions(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    int before = fake_number(&fake.looks);
    int beats = fake_number(&fake.heartbeats);
    int64_t begun_ms = sh_clock_now_ms();
    FAKE_CHANGE(fake.floods = true);
    wait_until(fake_number(&fake.looks) > before + 2);
    wait_until(fake_number(&fake.news_told) > 1000);
    int looks = fake_number(&fake.looks) - before;
    beats = fake_number(&fake.heartbeats) - beats;
    int64_t passed_ms = sh_clock_now_ms() - begun_ms;
    assert_true(looks <= passed_ms / 200 + 2);
    assert_true(beats <= passed_ms / fixture->config->heartbeat_interval_ms + 2);
    FAKE_CHANGE(fake.floods = false);
}

static void test_a_fenced_incarnation_is_fatal(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake.fenced = true);
    wait_until(sh_engine_fatal(fixture->engine, NULL) == SH_FENCED);
    char why[256];
    assert_false(sh_engine_ready(fixture->engine, why, sizeof why));
}

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
    return part;
}

static void test_offsets_are_found_by_time(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    Append append;
    for (int i = 0; i < 4; i++) {
        append_begin(fixture, &append, target_of("t", 0), 5, 10, 1000 * i);
        assert_int_equal(append_end(&append), SH_OK);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(list(fixture, SH_TIMESTAMP_EARLIEST).offset, 0);
        assert_int_equal(list(fixture, SH_TIMESTAMP_LATEST).offset, 20);
        assert_int_equal(list(fixture, 1002).offset, 7);
        assert_int_equal(list(fixture, 1005).offset, 10);
        assert_int_equal(list(fixture, 1005).found_timestamp_ms, 2000);
        assert_int_equal(list(fixture, 9999).offset, 20);
        assert_int_equal(list(fixture, 9999).found_timestamp_ms, -1);
        if (round == 0)
            sh_flush_now(fixture->engine);
        wait_until(fake_published(0) == 20);
    }
}

static void test_a_changed_topic_is_known_when_the_change_is_answered(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    Signal signal;
    signal_init(&signal);
    sh_engine_drop_topic(fixture->engine, "t", &(ShAdminCaller){.done = admin_done, .arg = &signal});
    assert_true(signal_wait(&signal, DEADLINE_MS));
    assert_int_equal(signal.status, SH_OK);
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_NOT_FOUND);
    ShTopicSpec spec = {.name = "t", .durability = ""};
    signal_init(&signal);
    sh_engine_create_topic(fixture->engine, &spec, &(ShAdminCaller){.done = admin_done, .arg = &signal});
    assert_true(signal_wait(&signal, DEADLINE_MS));
    assert_int_equal(append_to(fixture, "t", 1, 10), 0);
}

/* The servers wait for their calls before the engine stops: none may be held by it, and none be taken any
 * more. */
static void test_calls_that_wait_are_answered_before_the_stop(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "OBJECT_FLUSH_INTERVAL=1min");
    start(fixture);
    Append append;
    append_begin(fixture, &append, target_of("o", 0), 1, 10, 1000);
    assert_false(signal_wait(&append.signal, 20));

    sh_engine_end_calls(fixture->engine);
    assert_int_equal(append_end(&append), SH_CANCELLED);
    assert_true(append.part.error.retriable);
    assert_true(append.part.error.retry_after_ms > 0);
    assert_non_null(strstr(append.part.error.message, "whether they are stored is open"));
    assert_int_equal(append_to(fixture, "o", 1, 10), -SH_UNAVAILABLE);
    assert_int_equal(append_to(fixture, "t", 1, 10), -SH_UNAVAILABLE);
    assert_int_equal(append_to(fixture, "unheard-of", 1, 10), -SH_UNAVAILABLE);
    Signal signal;
    signal_init(&signal);
    sh_engine_drop_topic(fixture->engine, "t", &(ShAdminCaller){.done = admin_done, .arg = &signal});
    assert_true(signal_wait(&signal, DEADLINE_MS));
}

/* Its partition is another one from then on, and what it had waits for a publish. */
static void test_calls_of_a_topic_that_is_no_longer_object_are_answered_before_the_stop(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_ok(sh_fault_arm("flush.before_upload=error", err));
    Append append;
    append_begin(fixture, &append, target_of("o", 0), 1, 10, 1000);
    make_wal(fixture, 1);
    assert_false(signal_wait(&append.signal, 20));
    sh_engine_end_calls(fixture->engine);
    assert_int_equal(append_end(&append), SH_CANCELLED);
    assert_ok(sh_fault_arm(NULL, err));
}

/* PostgreSQL is not asked for what nobody waits for. */
static void test_a_description_that_was_given_up_is_left_out(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    for (int i = 0; i < 2; i++) {
        atomic_bool given_up = i == 0;
        Signal signal;
        signal_init(&signal);
        sh_engine_describe_topics(fixture->engine, NULL, 0, &given_up,
                                  &(ShAdminCaller){.done = admin_done, .arg = &signal});
        assert_true(signal_wait(&signal, DEADLINE_MS));
        assert_int_equal(signal.status, i == 0 ? SH_CANCELLED : SH_OK);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_appends_get_offsets_in_their_order),
        TEST(test_bad_appends_are_refused),
        TEST(test_a_topic_made_a_moment_ago_is_found),
        TEST(test_reads_come_from_memory_and_from_the_store),
        TEST(test_a_fetch_waits_and_is_woken),
        TEST(test_offsets_outside_of_the_log),
        TEST(test_memory_is_bounded_and_nothing_accepted_is_lost),
        TEST(test_what_calls_hold_leaves_room_for_records),
        TEST(test_a_full_wal_pushes_back_and_keeps_calls_whole),
        TEST(test_a_lost_reply_publishes_once),
        TEST(test_an_abandoned_object_goes_up_again),
        TEST(test_a_restart_publishes_what_the_wal_had_left),
        TEST(test_a_wal_of_an_unknown_epoch_is_not_discarded),
        TEST(test_a_used_up_range_rolls_to_a_new_epoch),
        TEST(test_a_released_partition_is_sealed_and_redirects),
        TEST(test_object_topics_are_acknowledged_with_their_publish),
        TEST(test_calls_that_wait_are_answered_before_the_stop),
        TEST(test_calls_of_a_topic_that_is_no_longer_object_are_answered_before_the_stop),
        TEST(test_a_partition_that_is_owned_elsewhere_now_redirects),
        TEST(test_postgresql_away_delays_and_loses_nothing),
        TEST(test_the_lease_is_renewed_while_control_waits_for_a_lock),
        TEST(test_a_registration_has_time_to_begin_a_term),
        TEST(test_a_flood_of_news_makes_few_questions),
        TEST(test_a_fenced_incarnation_is_fatal),
        TEST(test_offsets_are_found_by_time),
        TEST(test_a_changed_topic_is_known_when_the_change_is_answered),
        TEST(test_a_description_that_was_given_up_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
