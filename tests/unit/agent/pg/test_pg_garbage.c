/* The calls for data on its way out, against a real server: a compaction, a retirement, a deletion. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include "agent/pg/pg_garbage.h"

typedef struct Life {
    ShPg *pg;
    ShUuid topic_id;
    int64_t incarnation;
    ShPgPartition partition;
} Life;

static ShUuid random_uuid(void)
{
    ShUuid uuid;
    assert_int_equal(sh_uuid_random(&uuid, NULL), SH_OK);
    return uuid;
}

static void key_of(char key[128], const ShUuid *object_id, int64_t incarnation, const char *name)
{
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(object_id, uuid);
    snprintf(key, 128, "%.2s/a1/%lld/%s-%s.seg", uuid, (long long)incarnation, name, uuid);
}

static void publish(Life *life, int64_t publish_no, int64_t first_offset)
{
    ShError err;
    char key[128];
    ShPgRunResult result;
    ShPgRun run = {.topic_id = life->topic_id,
                   .epoch = life->partition.epoch,
                   .first_offset = first_offset,
                   .offset_count = 10,
                   .record_count = 10,
                   .position = 80,
                   .length = 100,
                   .min_timestamp_ms = 1,
                   .max_timestamp_ms = 2};
    ShPgPublish request = {.incarnation = life->incarnation,
                           .publish_no = publish_no,
                           .object_id = random_uuid(),
                           .object_key = key,
                           .object_bytes = 300,
                           .runs = &run,
                           .run_count = 1};
    key_of(key, &request.object_id, life->incarnation, "1");
    assert_ok(sh_pg_publish(life->pg, &request, &result, &err));
    assert_int_equal(result.result, SH_PUBLISH_PUBLISHED);
}

static int begin(void **state)
{
    ShError err;
    Life *life = calloc(1, sizeof *life);
    fixture_sql("DO $$ DECLARE setting text; BEGIN FOREACH setting IN ARRAY ARRAY['garbage_grace = 0', "
                "'compaction_delay = 0', 'compaction_objects = 2', 'scan_interval = 0', "
                "'require_store_marker = off', 'snapshot_interval = 0'] LOOP "
                "EXECUTE format('ALTER DATABASE %I SET streamhouse.', current_database()) || setting; "
                "END LOOP; END $$");
    life->pg = fixture_pg(fixture_conninfo, 10000);
    ShPgRegistered registered;
    ShPgRegister request = {.agent_id = "a1",
                            .wal_uuid = random_uuid(),
                            .incarnation_no = 1,
                            .address = "127.0.0.1:50051",
                            .http_address = "",
                            .zone = "",
                            .boot_id = "boot",
                            .version = "0.1.0"};
    assert_ok(sh_pg_register(life->pg, &request, &registered, &err));
    life->incarnation = registered.incarnation;
    ShPgCreateTopic topic = {
        .name = "t", .partitions = 1, .durability = "", .retention = "1 hour", .segment_size = ""};
    assert_ok(sh_pg_create_topic(life->pg, &topic, &life->topic_id, &err));
    life->partition = (ShPgPartition){.topic_id = life->topic_id};
    ShPgEpoch epoch;
    assert_ok(sh_pg_grant(life->pg, life->incarnation, &life->partition, 1, &epoch, &err));
    life->partition.epoch = epoch.epoch;
    assert_ok(sh_pg_open(life->pg, life->incarnation, &life->partition, 1, &epoch, &err));
    *state = life;
    return 0;
}

static int end(void **state)
{
    Life *life = *state;
    sh_pg_free(life->pg);
    free(life);
    return 0;
}

static ShPgSwap swap_of(const Life *life, const ShPgSource *sources, size_t count, ShPgCompacted *row,
                        char key[128])
{
    *row = (ShPgCompacted){.first_offset = sources[0].first_offset,
                           .base_offset = sources[0].base_offset,
                           .last_offset = sources[count - 1].last_offset,
                           .epoch = sources[0].epoch,
                           .position = 80,
                           .length = 200};
    ShPgSwap swap = {.incarnation = life->incarnation,
                     .object_id = random_uuid(),
                     .object_key = key,
                     .object_bytes = 500,
                     .sources = sources,
                     .source_count = count,
                     .rows = row,
                     .row_count = 1};
    key_of(key, &swap.object_id, life->incarnation, "compact");
    return swap;
}

static void test_segments_are_claimed_and_swapped(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgSource *sources = NULL;
    size_t count = 0;
    publish(life, 1, 0);
    publish(life, 2, 10);
    assert_ok(sh_pg_compaction_claim(life->pg, life->incarnation, 1 << 20, &sources, &count, &err));
    assert_int_equal(count, 2);
    assert_true(sh_uuid_equal(&sources[0].topic_id, &life->topic_id));
    assert_int_equal(sources[1].first_offset, 10);
    assert_int_equal(sources[1].base_offset, 10);
    assert_int_equal(sources[1].last_offset, 19);
    assert_int_equal(sources[1].epoch, life->partition.epoch);
    assert_int_equal(sources[1].position, 80);
    assert_int_equal(sources[1].length, 100);
    assert_non_null(strstr(sources[1].object_key, ".seg"));

    char key[128];
    ShPgCompacted row;
    bool swapped = false;
    ShPgSwap swap = swap_of(life, sources, count, &row, key);
    assert_ok(sh_pg_compaction_swap(life->pg, &swap, &swapped, &err));
    assert_false(swapped); /* not announced */
    assert_ok(sh_pg_announce_object(life->pg, life->incarnation, &swap.object_id, key, 400, &err));
    row.last_offset--;
    assert_int_equal(sh_pg_compaction_swap(life->pg, &swap, &swapped, &err), SH_INVALID);
    row.last_offset++;
    assert_ok(sh_pg_compaction_swap(life->pg, &swap, &swapped, &err));
    assert_true(swapped);
    swapped = false;
    assert_ok(sh_pg_compaction_swap(life->pg, &swap, &swapped, &err));
    assert_true(swapped);
    assert_ok(sh_pg_give_up_object(life->pg, life->incarnation, &swap.object_id, &err));
    assert_ok(sh_pg_compaction_swap(life->pg, &swap, &swapped, &err));
    assert_true(swapped); /* it stays what it is */
    ShPgSwap late = swap_of(life, sources, count, &row, key);
    assert_ok(sh_pg_announce_object(life->pg, life->incarnation, &late.object_id, key, 500, &err));
    assert_ok(sh_pg_compaction_swap(life->pg, &late, &swapped, &err));
    assert_false(swapped);
    free(sources);
    assert_ok(sh_pg_compaction_claim(life->pg, life->incarnation, 1 << 20, &sources, &count, &err));
    assert_int_equal(count, 0);
    free(sources);
}

static void test_log_starts_and_garbage(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgLogStart *starts = NULL;
    ShPgGarbage *garbage = NULL;
    size_t count = 0;
    fixture_sql("UPDATE streamhouse.segment SET arrived_ms = 0");
    fixture_sql("SELECT streamhouse.apply_retention()");
    assert_ok(sh_pg_log_starts(life->pg, 0, &starts, &count, &err));
    assert_int_equal(count, 1);
    assert_true(sh_uuid_equal(&starts[0].topic_id, &life->topic_id));
    assert_int_equal(starts[0].partition, 0);
    assert_int_equal(starts[0].log_start, 20);
    int64_t version = starts[0].version;
    free(starts);
    assert_ok(sh_pg_log_starts(life->pg, version, &starts, &count, &err));
    assert_int_equal(count, 0);
    free(starts);

    /* Two sources, the object that took their place, and the one that came late. */
    assert_ok(sh_pg_garbage(life->pg, life->incarnation, 10, &garbage, &count, &err));
    assert_int_equal(count, 4);
    ShUuid ids[4];
    for (size_t i = 0; i < count; i++) {
        assert_true(garbage[i].bytes >= 300);
        assert_non_null(strstr(garbage[i].object_key, "/a1/"));
        ids[i] = garbage[i].object_id;
    }
    free(garbage);
    assert_ok(sh_pg_garbage_done(life->pg, life->incarnation, ids, 4, &err));
    assert_ok(sh_pg_garbage_done(life->pg, life->incarnation, ids, 4, &err));
    assert_ok(sh_pg_garbage(life->pg, life->incarnation, 10, &garbage, &count, &err));
    assert_int_equal(count, 0);
    free(garbage);
    assert_int_equal(sh_pg_garbage(life->pg, 99, 10, &garbage, &count, &err), SH_OUTDATED);
}

static void test_the_store_is_compared(void **state)
{
    Life *life = *state;
    ShError err;
    bool claimed = false;
    size_t given_up = 9;
    ShPgStored stored[2] = {{.object_key = "check/x", .bytes = 1}, {.bytes = 2}};
    ShUuid id = random_uuid();
    key_of(stored[1].object_key, &id, life->incarnation, "7");
    assert_ok(sh_pg_scan_claim(life->pg, life->incarnation, &claimed, &err));
    assert_true(claimed);
    assert_ok(sh_pg_unknown_objects(life->pg, life->incarnation, stored, 2, &given_up, &err));
    assert_int_equal(given_up, 0);
    fixture_sql("INSERT INTO streamhouse.incarnation (wal_uuid, incarnation_no, agent_id, state) "
                "SELECT wal_uuid, 99, agent_id, 'fenced' FROM streamhouse.incarnation");
    int64_t dead = atoll(fixture_sql("SELECT max(incarnation_id) FROM streamhouse.incarnation"));
    key_of(stored[1].object_key, &id, dead, "7");
    assert_ok(sh_pg_unknown_objects(life->pg, life->incarnation, stored, 2, &given_up, &err));
    assert_int_equal(given_up, 1);
    assert_ok(sh_pg_scan_done(life->pg, life->incarnation, &err));
}

static int begin_all(void **state)
{
    int status = fixture_make_database(state);
    return status == 0 ? begin(state) : status;
}

static int end_all(void **state)
{
    end(state);
    return fixture_drop_database(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_claimed_and_swapped),
        cmocka_unit_test(test_log_starts_and_garbage),
        cmocka_unit_test(test_the_store_is_compared),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
