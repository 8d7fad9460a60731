/* Idempotent producers at the engine: when a duplicate is acknowledged, and what claims do. */
#include "tests/unit/agent/log/log_fixture.h"

#define ID 7

static void set(Fixture *fixture, size_t i, const char *setting)
{
    snprintf(fixture->extra[i], sizeof fixture->extra[i], "STREAMHOUSE_%s", setting);
}

/* Begin to append `count` records as the producer's batch `sequence`. */
static void begin_batch(Fixture *fixture, Append *append, const char *topic, int64_t id, int32_t sequence,
                        int32_t count, int32_t unacked)
{
    memset(append, 0, sizeof *append);
    signal_init(&append->signal);
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"v", .value_length = 1};
    for (int32_t i = 0; i < count; i++)
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
    sh_batch_builder_set_producer(builder, id, 0, sequence, false);
    assert_ok(sh_batch_builder_finish(builder, &append->part.owner, err));
    sh_batch_builder_free(builder);
    append->batch.data = append->part.owner->data;
    assert_ok(sh_batch_peek(append->batch.data, append->part.owner->length, &append->batch.header, err));
    append->part.target = target_of(topic, 0);
    append->part.batches = &append->batch;
    append->part.batch_count = 1;
    append->part.first_unacked_seq = unacked;
    append->call = (ShAppend){.parts = &append->part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append->call);
}

static void begin(Fixture *fixture, Append *append, const char *topic, int64_t id, int32_t sequence,
                  int32_t unacked)
{
    begin_batch(fixture, append, topic, id, sequence, 1, unacked);
}

static int64_t send_batch(Fixture *fixture, int32_t sequence, int32_t count, int32_t unacked)
{
    Append append;
    begin_batch(fixture, &append, "t", ID, sequence, count, unacked);
    ShStatus status = append_end(&append);
    return status == SH_OK ? append.part.base_offset : -(int64_t)status;
}

/* The offset, or minus the status. */
static int64_t send(Fixture *fixture, const char *topic, int64_t id, int32_t sequence, int32_t unacked)
{
    Append append;
    begin(fixture, &append, topic, id, sequence, unacked);
    ShStatus status = append_end(&append);
    return status == SH_OK ? append.part.base_offset : -(int64_t)status;
}

static void confirm(Fixture *fixture, const char *topic, int64_t id, int32_t unacked)
{
    ShConfirmation confirmation = {
        .target = target_of(topic, 0), .producer_id = id, .first_unacked_seq = unacked};
    sh_engine_confirm(fixture->engine, &confirmation);
}

static void test_a_duplicate_is_acknowledged_when_the_first_is_durable(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    assert_ok(sh_fault_arm("wal.fdatasync=stall:500", err));
    Append first;
    Append again;
    begin(fixture, &first, "t", ID, 0, 0);
    begin(fixture, &again, "t", ID, 0, 0);
    assert_false(signal_wait(&again.signal, 50));
    assert_int_equal(append_end(&again), SH_OK);
    assert_true(signal_wait(&first.signal, 0));
    assert_int_equal(append_end(&first), SH_OK);
    assert_int_equal(first.part.base_offset, 1);
    assert_int_equal(again.part.base_offset, 1);
    assert_ok(sh_fault_arm(NULL, err));
    assert_int_equal(send(fixture, "t", ID, 0, 0), 1); /* and at once when it is */
    assert_int_equal(send(fixture, "t", ID, 2, 0), -SH_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(send(fixture, "t", ID, 1, 1), 2);
    confirm(fixture, "t", ID, 2);
}

static void test_a_full_wal_leaves_no_trace_of_a_sequence(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "WAL_BUDGET=4MB");
    set(fixture, 1, "WAL_FILE_SIZE=1MB");
    set(fixture, 2, "FLUSH_INTERVAL=10ms");
    assert_ok(sh_fault_arm("flush.before_upload=error", err));
    start(fixture);
    int64_t stored = 0;
    while (append_patiently(fixture, "t", 1, 100000) >= 0 && stored < 24 &&
           sh_wal_bytes(fixture->engine->wal) < 2900000)
        stored++;
    int32_t sequence = 0;
    int64_t offset;
    while ((offset = send(fixture, "t", ID, sequence, sequence)) >= 0 && sequence < 100000)
        sequence++;
    assert_int_equal(offset, -SH_EXHAUSTED);
    assert_ok(sh_fault_arm(NULL, err));
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    do
        offset = send(fixture, "t", ID, sequence, sequence);
    while (offset == -SH_EXHAUSTED && sh_clock_now_ms() < until_ms);
    assert_true(offset > 0);
}

static void test_a_producer_is_claimed_once_after_a_takeover(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.unresolved = true);
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0); /* others need none */
    assert_int_equal(send(fixture, "t", ID, 9, 8), -SH_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(send(fixture, "t", ID, 8, 8), 1);
    assert_int_equal(FAKE_GET(fake.claims), 1);
    assert_int_equal(fake.last_claim.producer_id, ID);
    assert_int_equal(fake.last_claim.first_unacked_seq, 8);
    assert_int_equal(send(fixture, "t", ID, 9, 9), 2);
    assert_int_equal(send(fixture, "t", ID, 8, 8), 1);
    assert_int_equal(FAKE_GET(fake.claims), 1);
    assert_int_equal(send(fixture, "t", ID + 1, 0, 0), 3);
    assert_int_equal(FAKE_GET(fake.claims), 2);
}

static size_t count_claims_wanted(ShEngine *engine)
{
    pthread_mutex_lock(&engine->claims.lock);
    size_t count = engine->claims.count;
    pthread_mutex_unlock(&engine->claims.lock);
    return count;
}

/* It need not be asked for: PostgreSQL would tell what was published then, and the producer may be heard and
 * given up before that is applied. */
static void test_a_claim_that_is_made_is_not_asked_for_again(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(fake.unresolved = true);
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    assert_int_equal(send(fixture, "t", ID, 8, 8), 1);
    /* As a retry does that came while the claim was on its way. */
    ShTarget target = target_of("t", 0);
    ShResolved found = {0};
    assert_ok(sh_meta_resolve(fixture->engine, &target, &found, err));
    ShBatchHeader header = {.producer_id = ID, .base_sequence = 8};
    pthread_mutex_lock(&found.partition->mutex);
    assert_int_equal(sh_claims_want(fixture->engine, found.partition, &header, NULL), SH_UNAVAILABLE);
    pthread_mutex_unlock(&found.partition->mutex);
    sh_partition_unref(found.partition);
    wait_until(count_claims_wanted(fixture->engine) == 0);
    assert_int_equal(send(fixture, "t", ID + 1, 0, 0), 2);
    assert_int_equal(FAKE_GET(fake.claims), 2); /* one for each producer */
    assert_int_equal(send(fixture, "t", ID, 9, 9), 3);
    assert_int_equal(send(fixture, "t", ID, 8, 8), 1);
}

static void test_claimed_batches_are_left_out_of_a_late_publish(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    for (int32_t sequence = 0; sequence < 4; sequence++)
        assert_int_equal(send(fixture, "t", ID, sequence, 0), 1 + sequence);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 5);
    FAKE_CHANGE(fake.claimed_id = ID);
    FAKE_CHANGE(fake.claimed_from = 2);
    FAKE_CHANGE(fake.builds_fail = true);
    assert_ok(sh_engine_drain(fixture->engine, err));
    assert_false(sh_fault_hit("flush.build"));
    assert_int_equal(fake_published(0), 6);
    assert_int_equal(fake.voids, 1);
    assert_int_equal(fake.topics[0].partitions[0].segment_count, 2);
    assert_int_equal(fake.topics[0].partitions[0].segments[0].last_offset, 2);
    assert_int_equal(fake.topics[0].partitions[0].segments[1].first_offset, 5);
    assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
    stop(fixture);
    start(fixture);
    assert_int_equal(read_to(fixture, "t", 5, 6), 6);
}

/* Batches of sequences 0 to 3, 4 to 9 and 10, at those offsets, and a claim from each place on. */
static void test_a_claim_from_anywhere_leaves_out_what_it_names(void **state)
{
    (void)state;
    for (int32_t from = 0; from <= 12; from++) {
        Fixture *fixture;
        setup((void **)&fixture);
        set(fixture, 0, "FLUSH_INTERVAL=1h");
        start(fixture);
        int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
        int64_t offset;
        do
            offset = send_batch(fixture, 0, 4, 0);
        while (offset == -SH_UNAVAILABLE && sh_clock_now_ms() < until_ms);
        assert_int_equal(offset, 0);
        assert_int_equal(send_batch(fixture, 4, 6, 0), 4);
        assert_int_equal(send_batch(fixture, 10, 1, 0), 10);
        int64_t used = sh_memory_used(&fixture->engine->memory);
        FAKE_CHANGE(fake.claimed_id = ID);
        FAKE_CHANGE(fake.claimed_from = from);
        assert_ok(sh_engine_drain(fixture->engine, err));
        int64_t kept = 0;
        const FakePartition *partition = &fake.topics[0].partitions[0];
        for (size_t i = 0; i < partition->segment_count; i++)
            kept += partition->segments[i].records;
        if (fake_published(0) != 11 || kept != (from < 11 ? from : 11) || fake.refused != (from < 11))
            fail_msg("claimed from %d: published to %lld, %lld records, refused %d times", from,
                     (long long)fake_published(0), (long long)kept, fake.refused);
        assert_int_equal(fake.voids, from <= 10);
        assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
        assert_int_equal(atomic_load(&fixture->engine->control.unpublished), 0);
        assert_true(sh_memory_used(&fixture->engine->memory) <= used);
        teardown((void **)&fixture);
    }
}

/* How far readers get now. */
static int64_t readable(Fixture *fixture)
{
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 0, 0, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    int64_t end = fetch.part.next_offset;
    assert_int_equal(end, fetch.part.high_watermark);
    sh_fetch_release(&fetch.call);
    return end;
}

static void test_readers_wait_for_what_may_be_sent_elsewhere(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    assert_int_equal(readable(fixture), 1); /* no producer id: it is never claimed */
    assert_int_equal(send(fixture, "t", ID, 0, 0), 1);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 2);
    assert_int_equal(readable(fixture), 1); /* acknowledged, but who knows whether that arrived */
    assert_int_equal(send(fixture, "t", ID, 1, 1), 3);
    assert_int_equal(readable(fixture), 3); /* the next batch says so */
    confirm(fixture, "t", ID + 1, 2);
    confirm(fixture, "nowhere", ID, 2);
    confirm(fixture, "t", ID, 1);
    assert_int_equal(readable(fixture), 3);
    confirm(fixture, "t", ID, 2);
    assert_int_equal(readable(fixture), 4);
    confirm(fixture, "t", ID, 0); /* an old one */
    assert_int_equal(readable(fixture), 4);
    assert_int_equal(send(fixture, "t", ID, 2, 2), 4);
    assert_int_equal(send(fixture, "t", ID, 2, 3), 4); /* a duplicate says more, too */
    assert_int_equal(readable(fixture), 5);
    assert_int_equal(send_batch(fixture, 3, 4, 3), 5);
    confirm(fixture, "t", ID, 5); /* a claim may cut the batch there */
    assert_int_equal(readable(fixture), 5);
    confirm(fixture, "t", ID, 7);
    assert_int_equal(readable(fixture), 9);
}

static void test_the_tail_is_served_though_postgresql_leaves_at_once(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=1h");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0); /* opens the epoch; nobody has read yet */
    FAKE_CHANGE(fake.away = true);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 1);
    assert_int_equal(readable(fixture), 2);
    FAKE_CHANGE(fake.away = false);
}

static void test_what_is_published_is_readable(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    assert_int_equal(send(fixture, "t", ID, 0, 0), 1);
    assert_int_equal(read_to(fixture, "t", 0, 2), 2);
    assert_int_equal(readable(fixture), 2);
}

static void test_object_topics_leave_the_check_to_the_publish(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 0, "OBJECT_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(send(fixture, "o", ID, 0, 0), 0);
    assert_int_equal(send(fixture, "o", ID, 1, 1), 1);
    assert_int_equal(read_to(fixture, "o", 0, 2), 2);
}

/* Its topic became one with owners while a producer's calls waited, it gave some of them up and has sent them
 * to the owner. They have no offsets that could be left out. */
static void test_claimed_calls_of_an_object_topic_are_told_to_try_again(void **state)
{
    for (int32_t from = 0; from <= 3; from++) {
        Fixture *fixture = *state;
        set(fixture, 0, "OBJECT_FLUSH_INTERVAL=1min");
        start(fixture);
        Append other, appends[3];
        for (int32_t i = 0; i < 3; i++)
            begin(fixture, &appends[i], "o", ID, i, 0);
        begin(fixture, &other, "o", ID + 1, 0, 0);
        FAKE_CHANGE(fake.claimed_id = ID);
        FAKE_CHANGE(fake.claimed_from = from);
        assert_ok(sh_engine_drain(fixture->engine, err));
        for (int32_t i = 0; i < 3; i++) {
            assert_int_equal(append_end(&appends[i]), i < from ? SH_OK : SH_UNAVAILABLE);
            if (i < from)
                assert_int_equal(appends[i].part.base_offset, i);
        }
        assert_int_equal(append_end(&other), SH_OK);
        assert_int_equal(other.part.base_offset, from);
        assert_int_equal(fake_published(1), from + 1);
        assert_int_equal(fake.voids, 0);
        assert_int_equal(fake.refused, from < 3);
        teardown(state);
        setup(state);
    }
}

/* What waited when the topic's durability changed is another partition's than what has come since. */
static void test_claims_find_the_epoch_they_name(void **state)
{
    for (int64_t claimed_epoch = 5; claimed_epoch <= 6; claimed_epoch++) {
        Fixture *fixture = *state;
        set(fixture, 0, "FLUSH_INTERVAL=10ms");
        set(fixture, 1, "UPLOADS_MAX=1");
        FAKE_CHANGE(fake.topics[1].partitions[0].epoch = 5);
        start(fixture);
        /* Two objects wait for the store, and all else for one that follows them. */
        assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
        wait_until(fake_published(0) == 1);
        assert_ok(sh_fault_arm("flush.before_upload=error", err));
        for (int64_t i = 1; i <= 2; i++) {
            assert_int_equal(append_to(fixture, "t", 1, 10), i);
            wait_until(sh_flush_is_idle(fixture->engine));
        }
        Append before;
        begin(fixture, &before, "o", ID, 0, 0);
        make_wal(fixture, 1);
        int64_t offset;
        wait_until((offset = send(fixture, "o", ID, 0, 0)) >= 0);
        assert_int_equal(offset, 0);
        FAKE_CHANGE(fake.claimed_id = ID);
        FAKE_CHANGE(fake.claimed_epoch = claimed_epoch);
        assert_ok(sh_fault_arm(NULL, err));
        assert_int_equal(append_end(&before), SH_UNAVAILABLE);
        wait_until(fake_published(1) == 1);
        assert_int_equal(fake.refused, 1);
        assert_int_equal(fake.voids, claimed_epoch == 6);
        assert_ok(sh_engine_drain(fixture->engine, err));
        assert_int_equal(sh_wal_batches(fixture->engine->wal), 0);
        teardown(state);
        setup(state);
    }
}

static void test_an_id_that_was_not_given_is_refused(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    FAKE_CHANGE(fake.unknown_id = ID);
    assert_int_equal(send(fixture, "t", ID, 0, 0), -SH_UNKNOWN_PRODUCER_ID);
    assert_int_equal(FAKE_GET(fake.lookups), 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(send(fixture, "t", ID, i, i), -SH_UNKNOWN_PRODUCER_ID);
    assert_int_equal(FAKE_GET(fake.lookups), 1); /* that much is remembered */
    assert_int_equal(send(fixture, "t", ID + 1, 0, 0), 1);
    assert_int_equal(FAKE_GET(fake.lookups), 2);
    assert_int_equal(send(fixture, "t", ID + 1, 1, 1), 2);
    assert_int_equal(FAKE_GET(fake.lookups), 2);
}

typedef struct Given {
    Signal signal;
    int64_t id;
} Given;

static void note_id(void *arg, ShStatus status, const ShError *err, const void *result)
{
    Given *given = arg;
    (void)err;
    if (status == SH_OK)
        given->id = ((const ShProducerId *)result)->id;
    signal_set(&given->signal, status);
}

/* PostgreSQL soon forgets ids with which no batch has come: so it hears of each before the first is taken in.
 */
static void test_an_id_that_was_given_here_is_asked_about_too(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    Given given;
    signal_init(&given.signal);
    sh_engine_init_producer(fixture->engine, &(ShAdminCaller){.done = note_id, .arg = &given});
    assert_true(signal_wait(&given.signal, DEADLINE_MS));
    assert_int_equal(given.signal.status, SH_OK);
    assert_int_equal(send(fixture, "t", given.id, 0, 0), 1);
    assert_int_equal(FAKE_GET(fake.lookups), 1);
    assert_int_equal(send(fixture, "t", given.id, 1, 1), 2);
    assert_int_equal(FAKE_GET(fake.lookups), 1);
}

/* While PostgreSQL is asked about one, others come: all of them wait, and are taken in. */
static void test_producers_that_come_at_a_time_are_all_asked_about(void **state)
{
    Fixture *fixture = *state;
    Append appends[20];
    const int count = sizeof appends / sizeof *appends;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    pthread_mutex_lock(&fake.lock);
    for (int i = 0; i < count; i++)
        begin(fixture, &appends[i], "t", ID + i, 0, 0);
    pthread_mutex_unlock(&fake.lock);
    for (int i = 0; i < count; i++) {
        assert_int_equal(append_end(&appends[i]), SH_OK);
        assert_int_equal(appends[i].part.base_offset, 1 + i);
    }
    assert_int_equal(FAKE_GET(fake.lookups), count);
}

/* What was given up to make room is asked for again, so that a retry finds it. */
static void test_what_postgresql_knows_of_a_producer_is_asked_for(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 3, 10), 0);
    pthread_mutex_lock(&fake.lock);
    fake.stored_id = ID;
    fake.stored = (ShPgStrangerAnswer){.base_sequence = 0, .count = 2, .base_offset = 1};
    pthread_mutex_unlock(&fake.lock);
    sh_strangers_note(fixture->engine, ID,
                      SH_PG_ID_KNOWN); /* that the id was given does not tell what it has written */
    ShTarget target = target_of("t", 0);
    ShResolved found = {0};
    assert_ok(sh_meta_resolve(fixture->engine, &target, &found, err));
    pthread_mutex_lock(&found.partition->mutex);
    found.partition->producers.partial = true;
    pthread_mutex_unlock(&found.partition->mutex);
    sh_partition_unref(found.partition);
    assert_int_equal(send_batch(fixture, 0, 2, 0), 1);
    assert_int_equal(send_batch(fixture, 2, 1, 2), 3);
}

/* Of a producer that nobody knows here PostgreSQL is asked first; what comes for the same partition meanwhile
 * keeps its place behind it. */
static void test_what_comes_behind_a_stranger_waits_for_it(void **state)
{
    Fixture *fixture = *state;
    Append stranger;
    Append behind;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), 0);
    FAKE_CHANGE(fake.holds_grants = true);
    fake_topic("held", false);
    wait_until(FAKE_GET(fake.grants_held) > 0); /* and so no question is asked */
    begin(fixture, &stranger, "t", ID, 0, 0);
    append_begin(fixture, &behind, target_of("t", 0), 1, 10, 1000);
    int waiting = atomic_load(&fixture->engine->parked.count);
    FAKE_CHANGE(fake.holds_grants = false);
    assert_int_equal(waiting, 2);
    assert_int_equal(append_end(&stranger), SH_OK);
    assert_int_equal(append_end(&behind), SH_OK);
    assert_int_equal(stranger.part.base_offset, 1);
    assert_int_equal(behind.part.base_offset, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_comes_behind_a_stranger_waits_for_it),
        TEST(test_a_duplicate_is_acknowledged_when_the_first_is_durable),
        TEST(test_a_full_wal_leaves_no_trace_of_a_sequence),
        TEST(test_a_producer_is_claimed_once_after_a_takeover),
        TEST(test_a_claim_that_is_made_is_not_asked_for_again),
        TEST(test_claimed_batches_are_left_out_of_a_late_publish),
        cmocka_unit_test(test_a_claim_from_anywhere_leaves_out_what_it_names),
        TEST(test_readers_wait_for_what_may_be_sent_elsewhere),
        TEST(test_the_tail_is_served_though_postgresql_leaves_at_once),
        TEST(test_what_is_published_is_readable),
        TEST(test_object_topics_leave_the_check_to_the_publish),
        TEST(test_claimed_calls_of_an_object_topic_are_told_to_try_again),
        TEST(test_claims_find_the_epoch_they_name),
        TEST(test_an_id_that_was_not_given_is_refused),
        TEST(test_an_id_that_was_given_here_is_asked_about_too),
        TEST(test_producers_that_come_at_a_time_are_all_asked_about),
        TEST(test_what_postgresql_knows_of_a_producer_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
