/* pg_life.h - for each test, an agent that is registered and owns a partition. */
#ifndef TESTS_PG_LIFE_H
#define TESTS_PG_LIFE_H

#include "tests/unit/agent/pg/pg_fixture.h"

/* One agent that owns the partitions of one topic. */
typedef struct Life {
    ShPg *pg;
    ShUuid topic_id;
    ShUuid wal_uuid;
    int64_t incarnation;
    int64_t calls;
    ShPgPartition partition;
} Life;

static ShUuid random_uuid(void)
{
    ShUuid uuid;
    assert_int_equal(sh_uuid_random(&uuid, NULL), SH_OK);
    return uuid;
}

static int64_t register_agent(Life *life, int64_t incarnation_no)
{
    ShError err;
    ShPgRegistered registered;
    ShPgRegister request = {.agent_id = "a1",
                            .wal_uuid = life->wal_uuid,
                            .incarnation_no = incarnation_no,
                            .address = "127.0.0.1:50051",
                            .http_address = "127.0.0.1:8080",
                            .zone = "z1",
                            .boot_id = "boot",
                            .version = "0.1.0",
                            .calls_seen = life->calls};
    assert_ok(sh_pg_register(life->pg, &request, &registered, &err));
    assert_true(registered.lease_ticks > 0);
    assert_true(registered.tick_interval_ms > 0);
    assert_false(sh_uuid_is_zero(&registered.cluster_id));
    assert_true(registered.calls > life->calls);
    life->calls = registered.calls;
    return registered.incarnation;
}

static int begin(void **state)
{
    ShError err;
    Life *life = calloc(1, sizeof *life);
    life->pg = fixture_pg(fixture_conninfo, 10000);
    life->wal_uuid = random_uuid();
    fixture_sql("UPDATE streamhouse.lease SET ticks_left = 0");
    life->incarnation = register_agent(life, 1);
    ShPgCreateTopic request = {
        .name = "orders", .partitions = 2, .durability = "", .retention = "7 days", .segment_size = "32MB"};
    assert_ok(sh_pg_create_topic(life->pg, &request, &life->topic_id, &err));

    life->partition = (ShPgPartition){.topic_id = life->topic_id, .partition = 1};
    ShPgEpoch epoch;
    assert_ok(sh_pg_grant(life->pg, life->incarnation, &life->partition, 1, &epoch, &err));
    assert_int_equal(epoch.result, SH_EPOCH_GRANTED);
    assert_int_equal(epoch.start_offset, 0);
    assert_true(epoch.limit_offset > 0);
    life->partition.epoch = epoch.epoch;
    assert_ok(sh_pg_open(life->pg, life->incarnation, &life->partition, 1, &epoch, &err));
    assert_int_equal(epoch.result, SH_EPOCH_OPEN);
    *state = life;
    return 0;
}

static int end(void **state)
{
    Life *life = *state;
    fixture_sql("SELECT streamhouse.drop_topic(topic) FROM streamhouse.topics");
    sh_pg_free(life->pg);
    free(life);
    return 0;
}

#endif
