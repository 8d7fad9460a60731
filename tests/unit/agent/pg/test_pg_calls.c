/* Every call once through an agent's life, against a real server. */
#include "agent/pg/pg_internal.h"
#include "agent/pg/pg_marker.h"
#include "tests/unit/agent/pg/pg_fixture.h"
#include "tests/unit/agent/pg/pg_life.h"

#include "agent/base/fault.h"

static ShPgRun run_of(const Life *life, int64_t first_offset)
{
    return (ShPgRun){.topic_id = life->topic_id,
                     .partition = 1,
                     .epoch = life->partition.epoch,
                     .first_offset = first_offset,
                     .offset_count = 10,
                     .record_count = 10,
                     .position = 100,
                     .length = 1000,
                     .min_timestamp_ms = 5000,
                     .max_timestamp_ms = 6000};
}

static ShPgPublish publish_of(const Life *life, int64_t publish_no, const ShPgRun *runs, size_t run_count)
{
    static char key[64];
    ShUuid object_id = random_uuid();
    strcpy(key, "ab/");
    sh_uuid_format(&object_id, key + 3);
    return (ShPgPublish){.incarnation = life->incarnation,
                         .publish_no = publish_no,
                         .object_id = object_id,
                         .object_key = key,
                         .object_bytes = 4096,
                         .runs = runs,
                         .run_count = run_count};
}

static void test_published_runs_are_found_by_offset_and_time(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgRun runs[] = {run_of(life, 0), run_of(life, 30)};
    ShPgPublish publish = publish_of(life, 1, runs, 2);
    ShPgRunResult results[2];
    assert_ok(sh_pg_publish(life->pg, &publish, results, &err));
    assert_int_equal(results[0].result, SH_PUBLISH_PUBLISHED);
    assert_int_equal(results[0].first_offset, 0);
    assert_int_equal(results[0].published_end, 10);
    assert_int_equal(results[1].result, SH_PUBLISH_GAP);

    ShPgSegment segments[4];
    size_t count;
    assert_ok(sh_pg_read_index(life->pg, &life->topic_id, 1, 5, 4, segments, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(segments[0].first_offset, 0);
    assert_int_equal(segments[0].last_offset, 9);
    assert_int_equal(segments[0].epoch, life->partition.epoch);
    assert_string_equal(segments[0].object_key, publish.object_key);
    assert_int_equal(segments[0].position, 100);
    assert_int_equal(segments[0].length, 1000);
    assert_int_equal(segments[0].max_timestamp_ms, 6000);
    assert_ok(sh_pg_read_index(life->pg, &life->topic_id, 1, 10, 4, segments, &count, &err));
    assert_int_equal(count, 0);

    bool found;
    assert_ok(sh_pg_find_timestamp(life->pg, &life->topic_id, 1, 5500, 0, &segments[0], &found, &err));
    assert_true(found);
    assert_int_equal(segments[0].first_offset, 0);
    assert_ok(sh_pg_find_timestamp(life->pg, &life->topic_id, 1, 5500, 5, &segments[0], &found, &err));
    assert_true(found);
    assert_int_equal(segments[0].first_offset, 5);
    assert_ok(sh_pg_find_timestamp(life->pg, &life->topic_id, 1, 5500, 10, &segments[0], &found, &err));
    assert_false(found);
    assert_ok(sh_pg_find_timestamp(life->pg, &life->topic_id, 1, 6001, 0, &segments[0], &found, &err));
    assert_false(found);

    ShPgPartition asked[] = {
        {.topic_id = random_uuid()}, life->partition, {.topic_id = life->topic_id, .partition = 7}};
    ShPgBounds bounds[3];
    assert_ok(sh_pg_read_bounds(life->pg, asked, 3, bounds, &err));
    assert_false(bounds[0].found);
    assert_true(bounds[1].found);
    assert_int_equal(bounds[1].published_end, 10);
    assert_int_equal(bounds[1].epoch, life->partition.epoch);
    assert_false(bounds[2].found);
}

static void test_a_publish_whose_reply_is_lost_gives_the_same_results_again(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgRun run = run_of(life, 0);
    ShPgPublish publish = publish_of(life, 1, &run, 1);
    ShPgRunResult result;
    assert_ok(sh_fault_arm("pg.publish.reply=error:1", &err));
    assert_int_equal(sh_pg_publish(life->pg, &publish, &result, &err), SH_UNAVAILABLE);
    assert_true(err.retriable);
    assert_ok(sh_pg_publish(life->pg, &publish, &result, &err));
    assert_int_equal(result.result, SH_PUBLISH_PUBLISHED);
    assert_int_equal(result.first_offset, 0);
    assert_int_equal(result.published_end, 10);
    assert_ok(sh_fault_arm(NULL, &err));

    publish = publish_of(life, 2, &run, 1);
    assert_ok(sh_pg_publish(life->pg, &publish, &result, &err));
    assert_int_equal(result.result, SH_PUBLISH_DUPLICATE);
}

static void test_void_runs_move_the_published_end(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgRun run = run_of(life, 0);
    run.is_void = true;
    run.record_count = 0;
    ShPgPublish publish = publish_of(life, 1, &run, 1);
    ShPgRunResult result;
    assert_ok(sh_pg_publish(life->pg, &publish, &result, &err));
    assert_int_equal(result.result, SH_PUBLISH_VOID);
    assert_int_equal(result.published_end, 10);
}

static void test_ownerless_runs_get_their_offsets(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgCreateTopic request = {.name = "clicks", .durability = "object", .retention = "", .segment_size = ""};
    ShUuid topic_id;
    assert_ok(sh_pg_create_topic(life->pg, &request, &topic_id, &err));
    ShPgPartition partition = {.topic_id = topic_id};
    ShPgBounds bounds;
    assert_ok(sh_pg_read_bounds(life->pg, &partition, 1, &bounds, &err));

    ShPgRun runs[2] = {run_of(life, -1), run_of(life, -1)};
    for (int i = 0; i < 2; i++) {
        runs[i].topic_id = topic_id;
        runs[i].partition = 0;
        runs[i].epoch = bounds.epoch;
    }
    ShPgPublish publish = publish_of(life, 1, runs, 2);
    ShPgRunResult results[2];
    assert_ok(sh_pg_publish(life->pg, &publish, results, &err));
    assert_int_equal(results[0].result, SH_PUBLISH_PUBLISHED);
    assert_int_equal(results[0].first_offset, 0);
    assert_int_equal(results[1].first_offset, 10);
}

static void test_what_producers_have_stored_is_told_and_claimed(void **state)
{
    Life *life = *state;
    ShError err;
    int64_t id;
    int16_t epoch;
    assert_ok(sh_pg_init_producer(life->pg, life->incarnation, &id, &epoch, &err));
    assert_int_equal(id >> 52, 1);
    assert_int_equal(epoch, 0);
    int64_t other;
    assert_ok(sh_pg_init_producer(life->pg, life->incarnation, &other, &epoch, &err));

    ShPgRun run = run_of(life, 0);
    ShPgPublish publish = publish_of(life, 1, &run, 1);
    ShPgStretch stretches[] = {{.producer_id = id, .base_sequence = 0, .count = 2, .base_offset = 1},
                               {.producer_id = id, .base_sequence = 2, .count = 3, .base_offset = 5}};
    ShPgRunResult result;
    publish.stretches = stretches;
    publish.stretch_count = 2;
    assert_ok(sh_pg_publish(life->pg, &publish, &result, &err));
    assert_int_equal(result.result, SH_PUBLISH_PUBLISHED);

    ShPgProducer *producers = NULL;
    size_t count;
    ShPgPartition asked[] = {{.topic_id = life->topic_id, .partition = 7, .epoch = 1}, life->partition};
    assert_ok(sh_pg_producers(life->pg, life->incarnation, asked, 2, 10, &producers, &count, &err));
    assert_int_equal(count, 2);
    assert_int_equal(producers[1].place, 1);
    assert_false(producers[1].unresolved);
    assert_int_equal(producers[1].producer_id, id);
    assert_int_equal(producers[1].base_sequence, 2);
    assert_int_equal(producers[1].count, 3);
    assert_int_equal(producers[1].base_offset, 5);
    free(producers);

    ShPgStranger strangers[] = {{.partition = life->partition, .producer_id = other ^ 1},
                                {.partition = life->partition, .producer_id = id},
                                {.partition = life->partition, .producer_id = other}};
    ShPgStrangerAnswer *found = NULL;
    assert_ok(sh_pg_lookup_producers(life->pg, life->incarnation, strangers, 3, &found, &count, &err));
    assert_int_equal(count, 4);
    assert_int_equal(found[0].id, SH_PG_ID_UNKNOWN);
    assert_int_equal(found[1].id, SH_PG_ID_KNOWN);
    assert_int_equal(found[2].place, 1);
    assert_int_equal(found[2].base_offset, 5);
    assert_int_equal(found[2].count, 3);
    assert_int_equal(found[3].id, SH_PG_ID_KNOWN);
    assert_int_equal(found[3].count, 0);
    free(found);
    /* One of an older term, and no room to take it for given. */
    fixture_sql("INSERT INTO streamhouse.term (term, reason, ticks_left) VALUES (1, 'test', 0);"
                "SELECT setval('streamhouse.producer_number', last_value + 2000000000)"
                "FROM streamhouse.producer_number");
    strangers[0].producer_id = 5;
    assert_ok(sh_pg_lookup_producers(life->pg, life->incarnation, strangers, 1, &found, &count, &err));
    assert_int_equal(found[0].id, SH_PG_ID_UNDECIDED);
    free(found);
    fixture_sql("DELETE FROM streamhouse.term;"
                "SELECT setval('streamhouse.producer_number', last_value - 2000000000)"
                "FROM streamhouse.producer_number");

    ShPgClaim claims[] = {{.partition = life->partition, .producer_id = id, .first_unacked_seq = 4},
                          {.partition = life->partition, .producer_id = other, .first_unacked_seq = 9}};
    ShPgClaimAnswer *answers = NULL;
    assert_ok(sh_pg_claim(life->pg, life->incarnation, claims, 2, &answers, &count, &err));
    assert_int_equal(count, 3);
    assert_int_equal(answers[1].id, SH_PG_ID_KNOWN);
    assert_int_equal(answers[1].claimed_from, -1); /* 4 is stored */
    assert_int_equal(answers[1].base_offset, 5);
    assert_int_equal(answers[2].claimed_from, 9);
    assert_int_equal(answers[2].count, 0);
    free(answers);

    ShPgVoid *claimed = NULL;
    assert_ok(sh_pg_claims(life->pg, life->incarnation, &life->partition, 1, &claimed, &count, &err));
    assert_int_equal(count, 0); /* an epoch's own claims do not bind it */
    free(claimed);

    ShPgSeal seal = {.partition = life->partition, .end_offset = 10};
    ShPgEpoch next;
    assert_ok(sh_pg_seal(life->pg, life->incarnation, &seal, 1, &next, &err));
    assert_ok(sh_pg_grant(life->pg, life->incarnation, &life->partition, 1, &next, &err));
    claims[1].partition.epoch = next.epoch;
    assert_ok(sh_pg_open(life->pg, life->incarnation, &claims[1].partition, 1, &next, &err));
    assert_ok(sh_pg_claim(life->pg, life->incarnation, &claims[1], 1, &answers, &count, &err));
    assert_int_equal(answers[0].claimed_from, 9);
    free(answers);
    assert_ok(sh_pg_claims(life->pg, life->incarnation, &life->partition, 1, &claimed, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(claimed[0].producer_id, other);
    assert_int_equal(claimed[0].first_unacked_seq, 9);
    free(claimed);
}

static void test_assignments_tell_what_to_do(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgAssignments all;
    assert_ok(sh_pg_assignments(life->pg, life->incarnation, 0, &all, &err));
    assert_true(all.whole);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.rows[0].topic, "orders");
    assert_int_equal(all.rows[0].action, SH_ACTION_GRANT);
    assert_int_equal(all.rows[0].epoch, 0);
    assert_false(all.rows[0].open);
    assert_int_equal(all.rows[1].action, SH_ACTION_OWN);
    assert_int_equal(all.rows[1].epoch, life->partition.epoch);
    assert_true(all.rows[1].open);
    assert_int_equal(all.rows[1].retention_ms, 7LL * 24 * 3600 * 1000);
    assert_int_equal(all.rows[1].segment_bytes, 32 << 20);
    free(all.rows);

    /* The next incarnation of the WAL inherits what is open. */
    life->incarnation = register_agent(life, 2);
    assert_ok(sh_pg_assignments(life->pg, life->incarnation, 0, &all, &err));
    assert_int_equal(all.rows[1].action, SH_ACTION_RECOVER);
    free(all.rows);
}

static void test_a_superseded_incarnation_is_fenced(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgHeartbeat heartbeat;
    assert_ok(sh_pg_heartbeat(life->pg, life->incarnation, life->calls, 0, &heartbeat, &err));
    assert_true(heartbeat.calls > life->calls);
    life->calls = heartbeat.calls;
    assert_ok(sh_pg_lacks_room(life->pg, life->incarnation, true, &err));
    fixture_sql(
        "SELECT 1 / count(*) FROM streamhouse.agent WHERE lacks_room"); /* an error if there is none */
    assert_ok(sh_pg_lacks_room(life->pg, life->incarnation, false, &err));
    fixture_sql("SELECT 1 / count(*) FROM streamhouse.agent WHERE NOT lacks_room");
    int64_t old = life->incarnation;
    life->incarnation = register_agent(life, 2);
    assert_int_equal(sh_pg_heartbeat(life->pg, old, life->calls, 0, &heartbeat, &err), SH_FENCED);
    assert_false(err.retriable);
    assert_int_equal(sh_pg_lacks_room(life->pg, old, true, &err), SH_FENCED);

    ShPgRun run = run_of(life, 0);
    ShPgPublish publish = publish_of(life, 1, &run, 1);
    publish.incarnation = old;
    ShPgRunResult result;
    assert_int_equal(sh_pg_publish(life->pg, &publish, &result, &err), SH_FENCED);
}

static void test_lost_calls_are_noticed_at_the_next_answer(void **state)
{
    Life *life = *state;
    ShError err;
    atomic_int_fast64_t calls = life->calls;
    sh_pg_guard(life->pg, life->incarnation, &calls);
    ShPgRun run = run_of(life, 0);
    ShPgPublish publish = publish_of(life, 1, &run, 1);
    ShPgRunResult result;
    assert_ok(sh_pg_publish(life->pg, &publish, &result, &err));
    int64_t after_publish = atomic_load(&calls);
    assert_true(after_publish > life->calls);
    ShPgProducer *producers;
    size_t count;
    assert_ok(
        sh_pg_producers(life->pg, life->incarnation, &life->partition, 1, 10, &producers, &count, &err));
    assert_int_equal(count, 0);
    free(producers);
    assert_int_equal(atomic_load(&calls), after_publish + 1);

    fixture_sql("UPDATE streamhouse.lease SET calls = calls - 1");
    assert_int_equal(sh_pg_publish(life->pg, &publish, &result, &err), SH_OUTDATED);
    assert_message("lost history");
    /* Another connection does not even begin. */
    ShPg *other = fixture_pg(fixture_conninfo, 10000);
    fixture_sql("UPDATE streamhouse.lease SET calls = calls - 1");
    sh_pg_guard(other, life->incarnation, &calls);
    assert_int_equal(
        sh_pg_producers(other, life->incarnation, &life->partition, 1, 10, &producers, &count, &err),
        SH_OUTDATED);
    sh_pg_free(other);
    life->calls = atomic_load(&calls);
}

static void test_an_agent_that_found_a_loss_begins_a_term(void **state)
{
    Life *life = *state;
    int64_t term = life->incarnation >> 40;
    life->calls |= SH_PG_LOSS_FOUND;
    life->incarnation = register_agent(life, 2);
    assert_true(life->incarnation >> 40 > term);
    assert_string_equal(fixture_sql("SELECT reason FROM streamhouse.term ORDER BY term DESC LIMIT 1"),
                        "forgotten: an agent found that what it had published is not known");
    fixture_sql("SELECT streamhouse.accept_term_boundary()");
}

static void test_another_server_process_has_other_prepared_statements(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgHeartbeat heartbeat;
    PGresult *result;
    assert_ok(sh_pg_heartbeat(life->pg, life->incarnation, life->calls, 0, &heartbeat, &err));
    assert_ok(sh_pg_query(life->pg, "DEALLOCATE ALL", 0, NULL, &result, &err));
    PQclear(result);
    assert_int_equal(sh_pg_heartbeat(life->pg, life->incarnation, life->calls, 0, &heartbeat, &err),
                     SH_UNAVAILABLE);
    assert_true(err.retriable);
    assert_false(sh_pg_is_connected(life->pg));
    assert_ok(sh_pg_query(life->pg, "PREPARE heartbeat AS SELECT 1", 0, NULL, &result, &err));
    PQclear(result);
    assert_int_equal(sh_pg_heartbeat(life->pg, life->incarnation, life->calls, 0, &heartbeat, &err),
                     SH_UNAVAILABLE);
    assert_ok(sh_pg_heartbeat(life->pg, life->incarnation, life->calls, 0, &heartbeat, &err));
    life->calls = heartbeat.calls;
}

/* What a database may be set to, and what would go wrong: stale snapshots, writes refused, times and
 * intervals, nulls of arrays and names written otherwise. */
static void test_settings_of_the_database_change_nothing(void **state)
{
    static const char *const settings[] = {"default_transaction_isolation = 'serializable'",
                                           "default_transaction_read_only = on",
                                           "lock_timeout = 1",
                                           "search_path = 'nowhere'",
                                           "synchronous_commit = off",
                                           "datestyle = 'SQL, DMY'",
                                           "intervalstyle = 'sql_standard'",
                                           "timezone = 'Asia/Kolkata'",
                                           "bytea_output = 'escape'",
                                           "array_nulls = off",
                                           "quote_all_identifiers = on",
                                           "standard_conforming_strings = off",
                                           "row_security = off",
                                           "transform_null_equals = on",
                                           "extra_float_digits = -15"};
    Life *life = *state;
    ShError err;
    char sql[256];
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        snprintf(sql, sizeof sql, "ALTER DATABASE agent_pg_%d SET %s", (int)getpid(), settings[i]);
        fixture_sql_in(fixture_server(), sql);
    }
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    ShPgHeartbeat heartbeat;
    assert_ok(sh_pg_check(pg, &err));
    assert_ok(sh_pg_heartbeat(pg, life->incarnation, life->calls, 0, &heartbeat, &err));
    life->calls = heartbeat.calls;
    ShPgRun runs[] = {run_of(life, 0),
                      {.topic_id = life->topic_id,
                       .partition = 1,
                       .epoch = 7,
                       .first_offset = -1,
                       .offset_count = 1,
                       .record_count = 1,
                       .length = 1}};
    ShPgPublish publish = publish_of(life, 1, runs, 2);
    ShPgRunResult results[2];
    assert_ok(sh_pg_publish(pg, &publish, results, &err));
    assert_int_equal(results[0].result, SH_PUBLISH_PUBLISHED);
    assert_int_equal(results[1].result, SH_PUBLISH_FENCED);
    ShPgPartitionSize *sizes;
    size_t count;
    assert_ok(sh_pg_describe(pg, NULL, 0, &sizes, &count, &err));
    assert_string_equal(sizes[0].retention, "7 days");
    free(sizes);
    sh_pg_free(pg);
    snprintf(sql, sizeof sql, "ALTER DATABASE agent_pg_%d RESET ALL", (int)getpid());
    fixture_sql_in(fixture_server(), sql);
}

static void test_seal_and_end(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgEpoch sealed[2];
    assert_int_equal(sh_pg_end(life->pg, life->incarnation, &err), SH_INVALID);
    assert_message("open epochs");

    ShPgSeal seals[] = {{.partition = life->partition, .end_offset = 3},
                        {.partition = {.topic_id = random_uuid(), .epoch = 1}}};
    assert_ok(sh_pg_seal(life->pg, life->incarnation, seals, 2, sealed, &err));
    assert_int_equal(sealed[0].result, SH_EPOCH_MISMATCH);
    assert_int_equal(sealed[0].published_end, 0);
    assert_int_equal(sealed[1].result, SH_EPOCH_DROPPED);
    seals[0].end_offset = 0;
    assert_ok(sh_pg_seal(life->pg, life->incarnation, seals, 1, sealed, &err));
    assert_int_equal(sealed[0].result, SH_EPOCH_SEALED);
    assert_ok(sh_pg_end(life->pg, life->incarnation, &err));
}

static void test_metadata_names_owners(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgMetadata *metadata;
    assert_ok(sh_pg_metadata(life->pg, 0, &metadata, &err));
    assert_true(metadata->version > 0);
    assert_int_equal(metadata->partition_count, 2);
    assert_string_equal(metadata->partitions[0].owner, "");
    assert_string_equal(metadata->partitions[1].topic, "orders");
    assert_string_equal(metadata->partitions[1].owner, "a1");
    assert_string_equal(metadata->partitions[1].address, "127.0.0.1:50051");
    assert_string_equal(metadata->partitions[1].zone, "z1");
    assert_int_equal(metadata->partitions[1].epoch, life->partition.epoch);
    assert_false(metadata->partitions[1].object_durability);
    assert_int_equal(metadata->agent_count, 1);
    assert_string_equal(metadata->agents[0].agent_id, "a1");
    sh_pg_metadata_free(metadata);
}

static void test_topics_are_described_and_dropped(void **state)
{
    Life *life = *state;
    ShError err;
    const char *const names[] = {"no \"such\\ topic", "orders"};
    ShPgPartitionSize *sizes;
    size_t count;
    assert_ok(sh_pg_describe(life->pg, names, 2, &sizes, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(sizes[1].topic, "orders");
    assert_string_equal(sizes[1].durability, "wal");
    assert_string_equal(sizes[1].retention, "7 days");
    assert_int_equal(sizes[1].segment_bytes, 32 << 20);
    assert_string_equal(sizes[1].owner, "a1");
    free(sizes);
    assert_ok(sh_pg_describe(life->pg, NULL, 0, &sizes, &count, &err));
    assert_int_equal(count, 2);
    free(sizes);

    assert_ok(sh_pg_drop_topic(life->pg, "orders", &err));
    assert_int_equal(sh_pg_drop_topic(life->pg, "orders", &err), SH_NOT_FOUND);
    assert_message("orders");
    ShPgEpoch epoch;
    assert_ok(sh_pg_grant(life->pg, life->incarnation, &life->partition, 1, &epoch, &err));
    assert_int_equal(epoch.result, SH_EPOCH_DROPPED);
}

static void test_bad_topics_are_refused_in_words(void **state)
{
    Life *life = *state;
    ShError err;
    ShUuid id;
    ShPgCreateTopic request = {.name = "orders", .durability = "", .retention = "", .segment_size = ""};
    assert_int_equal(sh_pg_create_topic(life->pg, &request, &id, &err), SH_EXISTS);
    request.name = "a'; DROP TABLE streamhouse.topic; --";
    assert_int_equal(sh_pg_create_topic(life->pg, &request, &id, &err), SH_INVALID);
    assert_message("A name consists of");
    request.name = "fine";
    request.retention = "soon";
    assert_int_equal(sh_pg_create_topic(life->pg, &request, &id, &err), SH_INVALID);
    assert_message("interval");
    request.retention = "";
    request.durability = "paper";
    assert_int_equal(sh_pg_create_topic(life->pg, &request, &id, &err), SH_INVALID);
    assert_message("paper");
}

/* A directory's name is any bytes. */
static void test_a_store_at_a_place_of_any_bytes(void **state)
{
    Life *life = *state;
    ShError err = {0};
    const ShUuid seen = {.bytes = {7}};
    ShPgStore known;
    assert_ok(sh_pg_store(life->pg, NULL, NULL, &known, &err));
    assert_true(sh_uuid_is_zero(&known.id));
    assert_ok(sh_pg_store(life->pg, &seen, "directory /a\xff\xe4\n", &known, &err));
    assert_true(sh_uuid_equal(&known.id, &seen));
    assert_string_equal(known.place, "directory /a???");
}

int main(void)
{
#define each(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        each(test_published_runs_are_found_by_offset_and_time),
        each(test_a_publish_whose_reply_is_lost_gives_the_same_results_again),
        each(test_void_runs_move_the_published_end),
        each(test_ownerless_runs_get_their_offsets),
        each(test_what_producers_have_stored_is_told_and_claimed),
        each(test_assignments_tell_what_to_do),
        each(test_a_superseded_incarnation_is_fenced),
        each(test_lost_calls_are_noticed_at_the_next_answer),
        each(test_an_agent_that_found_a_loss_begins_a_term),
        each(test_another_server_process_has_other_prepared_statements),
        each(test_settings_of_the_database_change_nothing),
        each(test_seal_and_end),
        each(test_metadata_names_owners),
        each(test_topics_are_described_and_dropped),
        each(test_a_store_at_a_place_of_any_bytes),
        each(test_bad_topics_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
