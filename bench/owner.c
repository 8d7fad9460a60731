#include "bench/owner.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/session.h"

#define TIMEOUT_MS 60000
#define ASSIGN_S   60

static ShPgAssignment *assignments(ShBenchOwner *owner, const ShUuid *topic_id);
static void take(ShBenchOwner *owner, const ShUuid *topic_id);
static void forget(ShBenchOwner *owner);
static void *allocate(size_t count, size_t bytes);

void sh_bench_owner_start(ShBenchOwner *owner, const char *agent_id)
{
    ShError err;
    ShPgRegistered registered;
    ShPgRegister request = {.agent_id = agent_id,
                            .incarnation_no = 1,
                            .address = "127.0.0.1:1",
                            .http_address = "127.0.0.1:2",
                            .zone = "",
                            .boot_id = "bench",
                            .version = "bench"};
    *owner = (ShBenchOwner){0};
    sh_bench_check(sh_uuid_random(&request.wal_uuid, &err), &err, "uuid");
    const char *conninfo = sh_bench_environment("SH_BENCH_POSTGRES");
    sh_bench_check(sh_pg_new(conninfo, "bench", TIMEOUT_MS, &owner->pg, &err), &err, "PostgreSQL");
    sh_bench_check(sh_pg_register(owner->pg, &request, &registered, &err), &err, "register");
    owner->incarnation = registered.incarnation;
    owner->calls_seen = registered.calls;
}

void sh_bench_owner_own(ShBenchOwner *owner, const char *topic, size_t count)
{
    ShError err;
    ShUuid topic_id;
    ShPgCreateTopic request = {
        .name = topic, .partitions = (int32_t)count, .durability = "", .retention = "", .segment_size = ""};
    sh_bench_check(sh_pg_create_topic(owner->pg, &request, &topic_id, &err), &err, "create topic");
    forget(owner);
    owner->count = count;
    owner->partitions = allocate(count, sizeof *owner->partitions);
    owner->runs = allocate(count, sizeof *owner->runs);
    owner->results = allocate(count, sizeof *owner->results);
    take(owner, &topic_id);
}

int64_t sh_bench_owner_publish(ShBenchOwner *owner, size_t first, size_t count)
{
    ShError err;
    char key[64], text[SH_UUID_TEXT_BYTES];
    ShPgPublish request = {.incarnation = owner->incarnation,
                           .publish_no = ++owner->publish_no,
                           .confirmed_no = owner->publish_no - 1,
                           .object_key = key,
                           .object_bytes = 64 + count * SH_BENCH_RUN_BYTES,
                           .runs = owner->runs + first,
                           .run_count = count};
    sh_bench_check(sh_uuid_random(&request.object_id, &err), &err, "object id");
    sh_uuid_format(&request.object_id, text);
    snprintf(key, sizeof key, "bench/%s", text);
    int64_t begun = sh_bench_now_us();
    sh_bench_check(sh_pg_publish(owner->pg, &request, owner->results, &err), &err, "publish");
    int64_t took = sh_bench_now_us() - begun;
    for (size_t i = 0; i < count; i++) {
        if (owner->results[i].result != SH_PUBLISH_PUBLISHED) {
            fprintf(stderr, "bench: a publish was answered with result %d\n", owner->results[i].result);
            exit(1);
        }
        owner->runs[first + i].first_offset += SH_BENCH_RUN_OFFSETS;
    }
    return took;
}

void sh_bench_owner_heartbeat(ShBenchOwner *owner)
{
    ShError err;
    ShPgHeartbeat beat;
    sh_bench_check(sh_pg_heartbeat(owner->pg, owner->incarnation, owner->calls_seen, 0, &beat, &err), &err,
                   "heartbeat");
    owner->calls_seen = beat.calls;
}

void sh_bench_owner_end(ShBenchOwner *owner)
{
    forget(owner);
    sh_pg_free(owner->pg);
}

/* Wait until the topic's partitions are placed here; other topics' are not looked at. */
static ShPgAssignment *assignments(ShBenchOwner *owner, const ShUuid *topic_id)
{
    int64_t begun = sh_bench_now_us();
    for (;;) {
        ShError err;
        ShPgAssignments answer;
        size_t mine = 0;
        sh_bench_owner_heartbeat(owner);
        sh_bench_check(sh_pg_assignments(owner->pg, owner->incarnation, 0, &answer, &err), &err,
                       "assignments");
        ShPgAssignment *all = answer.rows;
        for (size_t i = 0; i < answer.count; i++) {
            if (sh_uuid_equal(&all[i].topic_id, topic_id))
                all[mine++] = all[i];
        }
        if (mine == owner->count)
            return all;
        free(all);
        if (sh_bench_now_us() - begun > ASSIGN_S * 1000000ll) {
            fprintf(stderr, "bench: %zu of %zu partitions were assigned\n", mine, owner->count);
            exit(1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static void take(ShBenchOwner *owner, const ShUuid *topic_id)
{
    ShError err;
    ShPgAssignment *assigned = assignments(owner, topic_id);
    ShPgEpoch *epochs = allocate(owner->count, sizeof *epochs);
    for (size_t i = 0; i < owner->count; i++)
        owner->partitions[i] = (ShPgPartition){.topic_id = *topic_id, .partition = assigned[i].partition};
    sh_bench_check(sh_pg_grant(owner->pg, owner->incarnation, owner->partitions, owner->count, epochs, &err),
                   &err, "grant");
    for (size_t i = 0; i < owner->count; i++)
        owner->partitions[i].epoch = epochs[i].epoch;
    sh_bench_check(sh_pg_open(owner->pg, owner->incarnation, owner->partitions, owner->count, epochs, &err),
                   &err, "open");
    for (size_t i = 0; i < owner->count; i++) {
        owner->runs[i] = (ShPgRun){.topic_id = *topic_id,
                                   .partition = owner->partitions[i].partition,
                                   .epoch = owner->partitions[i].epoch,
                                   .first_offset = epochs[i].published_end,
                                   .offset_count = SH_BENCH_RUN_OFFSETS,
                                   .record_count = SH_BENCH_RUN_OFFSETS,
                                   .position = 64 + i * SH_BENCH_RUN_BYTES,
                                   .length = SH_BENCH_RUN_BYTES,
                                   .min_timestamp_ms = 1,
                                   .max_timestamp_ms = 2};
    }
    free(epochs);
    free(assigned);
}

static void forget(ShBenchOwner *owner)
{
    free(owner->partitions);
    free(owner->runs);
    free(owner->results);
    owner->partitions = NULL;
    owner->runs = NULL;
    owner->results = NULL;
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        exit(1);
    return memory;
}
