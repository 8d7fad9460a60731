/* The calls of a new term, against a real server: outdated, registered again, presented. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include "agent/pg/pg_present.h"
#include "core/segment.h"

static ShUuid random_uuid(void)
{
    ShUuid uuid;
    assert_int_equal(sh_uuid_random(&uuid, NULL), SH_OK);
    return uuid;
}

static ShPgRegistered register_agent(ShPg *pg, const ShUuid *wal_uuid, int64_t number, int64_t calls)
{
    ShError err;
    ShPgRegistered registered;
    ShPgRegister request = {.agent_id = "a1",
                            .wal_uuid = *wal_uuid,
                            .incarnation_no = number,
                            .address = "127.0.0.1:50051",
                            .http_address = "",
                            .zone = "",
                            .boot_id = "boot",
                            .version = "0.1.0",
                            .calls_seen = calls};
    assert_ok(sh_pg_register(pg, &request, &registered, &err));
    return registered;
}

static void test_a_new_term(void **state)
{
    (void)state;
    ShError err;
    bool awaited = true;
    ShUuid wal_uuid = random_uuid();
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    ShPgCreateTopic topic = {
        .name = "t", .partitions = 1, .durability = "", .retention = "", .segment_size = ""};
    ShPgPartition partition = {.epoch = (INT64_C(1) << 40) + 7};
    assert_ok(sh_pg_create_topic(pg, &topic, &partition.topic_id, &err));
    ShPgRegistered first = register_agent(pg, &wal_uuid, 1, 0);
    assert_ok(sh_pg_awaited(pg, first.incarnation, &awaited, &err));
    assert_false(awaited);

    /* A connection that is guarded does nothing in a database that has forgotten calls, or that began a term.
     */
    atomic_int_fast64_t calls = first.calls + 1000;
    ShPg *guarded = fixture_pg(fixture_conninfo, 10000);
    sh_pg_guard(guarded, first.incarnation, &calls);
    assert_int_equal(sh_pg_awaited(guarded, first.incarnation, &awaited, &err), SH_OUTDATED);
    atomic_store(&calls, first.calls);
    assert_ok(sh_pg_awaited(guarded, first.incarnation, &awaited, &err));
    fixture_sql("SELECT streamhouse.new_term()");
    assert_int_equal(sh_pg_awaited(guarded, first.incarnation, &awaited, &err), SH_OUTDATED);
    sh_pg_free(guarded);

    ShPgRegistered second = register_agent(pg, &wal_uuid, 2, first.calls);
    assert_int_equal(second.term, first.term + 1);
    bool is_ours = false;
    ShPgTerm term;
    assert_ok(sh_pg_term_to_take(pg, second.incarnation, &term, &err));
    assert_int_equal(term.number, second.term);
    assert_false(sh_uuid_is_zero(&term.nonce));
    assert_non_null(strstr(term.body, "streamhouse term 2 "));
    assert_ok(sh_pg_term_taken(pg, second.incarnation, second.term - 1, &is_ours, &err));
    assert_true(is_ours);
    assert_ok(sh_pg_term_to_take(pg, second.incarnation, &term, &err));
    assert_int_equal(term.number, 0);
    assert_ok(sh_pg_awaited(pg, second.incarnation, &awaited, &err));
    assert_true(awaited);
    const char *keys[] = {"00/a1/1/1-x.seg", "01/a1/1/2-y.seg"};
    bool unknown[2] = {false, false};
    assert_ok(sh_pg_unknown_keys(pg, second.incarnation, keys, 2, unknown, &err));
    assert_true(unknown[0] && unknown[1]);

    /* An object of a forgotten epoch: what begins above the end waits. */
    ShPgRun run = {.topic_id = partition.topic_id,
                   .epoch = partition.epoch,
                   .first_offset = 10,
                   .offset_count = 5,
                   .record_count = 5,
                   .position = 80,
                   .length = 100};
    ShPgEpochOrigin origin = {0};
    ShPgPublish object = {.incarnation = second.incarnation,
                          .object_id = random_uuid(),
                          .object_key = keys[0],
                          .object_bytes = 300,
                          .runs = &run,
                          .run_count = 1};
    ShPgPresented presented = {.writer_wal = wal_uuid, .writer_agent = "a1", .origins = &origin};
    bool placed;
    bool waits;
    assert_ok(sh_pg_present_object(pg, &object, &presented, &placed, &waits, &err));
    assert_true(waits && !placed);
    run.first_offset = 0;
    assert_ok(sh_pg_present_object(pg, &object, &presented, &placed, &waits, &err));
    assert_true(placed && !waits);
    /* Nobody was told of the one without offsets, but what was left out of it had been. */
    run.first_offset = SH_OFFSET_UNASSIGNED;
    object.object_id = random_uuid();
    object.object_key = keys[1];
    presented.left_out = 2;
    assert_ok(sh_pg_present_object(pg, &object, &presented, &placed, &waits, &err));
    assert_false(waits);
    presented.left_out = 0;
    presented.acknowledged = true;
    object.object_id = random_uuid();
    object.object_key = "02/a1/1/3-z.seg";
    assert_ok(sh_pg_present_object(pg, &object, &presented, &placed, &waits, &err));
    assert_false(waits);

    ShPgEpoch epoch;
    assert_ok(sh_pg_present_epoch(pg, second.incarnation, &partition, 0, &epoch, &err));
    assert_int_equal(epoch.result, SH_EPOCH_OPEN);
    assert_int_equal(epoch.published_end, 5);
    partition.epoch++;
    assert_ok(sh_pg_present_epoch(pg, second.incarnation, &partition, 3, &epoch, &err));
    assert_int_equal(epoch.result, SH_EPOCH_FENCED);

    ShPgTwice twice;
    bool found = true;
    assert_ok(sh_pg_next_twice(pg, second.incarnation, &twice, &found, &err));
    assert_false(found);
    fixture_sql("INSERT INTO streamhouse.stored_twice SELECT topic_id, 0, 1, 3 FROM streamhouse.topic");
    assert_ok(sh_pg_next_twice(pg, second.incarnation, &twice, &found, &err));
    assert_true(found && sh_uuid_equal(&twice.topic_id, &partition.topic_id));
    assert_int_equal(twice.void_from, 1);
    assert_int_equal(twice.void_end, 3);
    assert_int_equal(twice.segment.last_offset, 4);
    assert_int_equal(twice.segment.position, 80);
    assert_int_equal(twice.segment.length, 100);
    assert_string_equal(twice.segment.object_key, keys[0]);
    const ShPgPiece pieces[] = {{.first_offset = 0, .last_offset = 0, .length = 20, .records = 1},
                                {.first_offset = 3, .last_offset = 4, .length = 100, .records = 2}};
    assert_ok(sh_pg_void_twice(pg, second.incarnation, &twice, pieces, 2, &err));
    assert_string_equal(
        fixture_sql("SELECT string_agg(concat_ws('-', first_offset, last_offset, bytes, records), ' ' "
                    "ORDER BY first_offset) FROM streamhouse.segment"),
        "0-0-20-1 3-4-100-2");
    assert_ok(sh_pg_next_twice(pg, second.incarnation, &twice, &found, &err));
    assert_false(found);

    /* A forgotten epoch of objects that have no offsets themselves is nobody's. */
    run.epoch = partition.epoch + 1;
    run.first_offset = 100;
    origin = (ShPgEpochOrigin){.start_offset = 90, .is_ownerless = true};
    object.object_id = random_uuid();
    object.object_key = "03/a1/1/4-o.seg";
    assert_ok(sh_pg_present_object(pg, &object, &presented, &placed, &waits, &err));
    assert_true(waits && !placed);
    assert_string_equal(fixture_sql("SELECT durability || ' ' || start_offset FROM streamhouse.epoch "
                                    "WHERE incarnation_id IS NULL AND NOT streamhouse.is_boundary(epoch)"),
                        "object 90");

    int64_t unresolved = 0;
    assert_ok(sh_pg_presented(pg, second.incarnation, 1, &unresolved, &err));
    assert_int_equal(unresolved, 8);
    assert_string_equal(fixture_sql("SELECT presented || '/' || unresolved FROM streamhouse.term_status"),
                        "1/8");
    sh_pg_free(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_new_term)};
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
