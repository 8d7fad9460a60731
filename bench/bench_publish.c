/*
 * bench_publish.c - what publishing costs PostgreSQL, with its defaults: the time of one call for an object
 * of 1, 100 and 1,000 partitions; then, through an agent, transactions and objects a second at two record
 * rates and two partition counts, which must not make them grow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/pg/pg.h"
#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"

#define CALLS       100
#define RUN_OFFSETS 100
#define TIMEOUT_MS  30000
#define ASSIGN_S    60
#define RATE_S      6

/* An incarnation that owns `count` partitions, as an agent would. */
typedef struct Owner {
    ShPg *pg;
    int64_t incarnation;
    int64_t calls_seen;
    size_t count;
    ShPgPartition *partitions;
    ShPgRun *runs;
    ShPgRunResult *results;
    int64_t publish_no;
} Owner;

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        exit(1);
    return memory;
}

static void heartbeat(Owner *owner)
{
    ShError err;
    ShPgHeartbeat beat;
    sh_bench_check(sh_pg_heartbeat(owner->pg, owner->incarnation, owner->calls_seen, 0, &beat, &err), &err,
                   "heartbeat");
    owner->calls_seen = beat.calls;
}

/* Wait until the topic's partitions are placed here; other topics' are not looked at. */
static ShPgAssignment *assignments(Owner *owner, const ShUuid *topic_id)
{
    int64_t begun = sh_bench_now_us();
    for (;;) {
        ShError err;
        ShPgAssignment *all = NULL;
        size_t count = 0, mine = 0;
        heartbeat(owner);
        sh_bench_check(sh_pg_assignments(owner->pg, owner->incarnation, &all, &count, &err), &err,
                       "assignments");
        for (size_t i = 0; i < count; i++) {
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

/* Have the partitions granted and opened, and one run of each ready. */
static void own(Owner *owner, size_t count)
{
    ShError err;
    ShUuid topic_id;
    char name[32];
    snprintf(name, sizeof name, "publish-%zu", count);
    ShPgCreateTopic request = {
        .name = name, .partitions = (int32_t)count, .durability = "", .retention = "", .segment_size = ""};
    sh_bench_check(sh_pg_create_topic(owner->pg, &request, &topic_id, &err), &err, "create topic");
    owner->count = count;
    ShPgAssignment *assigned = assignments(owner, &topic_id);
    ShPgEpoch *epochs = allocate(count, sizeof *epochs);
    owner->partitions = allocate(count, sizeof *owner->partitions);
    owner->runs = allocate(count, sizeof *owner->runs);
    owner->results = allocate(count, sizeof *owner->results);
    for (size_t i = 0; i < count; i++)
        owner->partitions[i] = (ShPgPartition){.topic_id = topic_id, .partition = assigned[i].partition};
    sh_bench_check(sh_pg_grant(owner->pg, owner->incarnation, owner->partitions, count, epochs, &err), &err,
                   "grant");
    for (size_t i = 0; i < count; i++)
        owner->partitions[i].epoch = epochs[i].epoch;
    sh_bench_check(sh_pg_open(owner->pg, owner->incarnation, owner->partitions, count, epochs, &err), &err,
                   "open");
    for (size_t i = 0; i < count; i++) {
        owner->runs[i] = (ShPgRun){.topic_id = topic_id,
                                   .partition = owner->partitions[i].partition,
                                   .epoch = owner->partitions[i].epoch,
                                   .first_offset = epochs[i].published_end,
                                   .offset_count = RUN_OFFSETS,
                                   .record_count = RUN_OFFSETS,
                                   .position = 64 + i * 10000,
                                   .length = 10000,
                                   .min_timestamp_ms = 1,
                                   .max_timestamp_ms = 2};
    }
    free(epochs);
    free(assigned);
}

static int64_t publish(Owner *owner)
{
    ShError err;
    char key[64], text[SH_UUID_TEXT_BYTES];
    ShPgPublish request = {.incarnation = owner->incarnation,
                           .publish_no = ++owner->publish_no,
                           .confirmed_no = owner->publish_no - 1,
                           .object_key = key,
                           .object_bytes = 64 + owner->count * 10000,
                           .runs = owner->runs,
                           .run_count = owner->count};
    sh_bench_check(sh_uuid_random(&request.object_id, &err), &err, "object id");
    sh_uuid_format(&request.object_id, text);
    snprintf(key, sizeof key, "bench/%s", text);
    int64_t begun = sh_bench_now_us();
    sh_bench_check(sh_pg_publish(owner->pg, &request, owner->results, &err), &err, "publish");
    int64_t took = sh_bench_now_us() - begun;
    for (size_t i = 0; i < owner->count; i++) {
        if (owner->results[i].result != SH_PUBLISH_PUBLISHED) {
            fprintf(stderr, "bench: a publish was answered with result %d\n", owner->results[i].result);
            exit(1);
        }
        owner->runs[i].first_offset += RUN_OFFSETS;
    }
    return took;
}

static void measure_calls(Owner *owner, size_t partitions, double target_ms)
{
    int64_t samples[CALLS];
    char figure[96];
    own(owner, partitions);
    for (int i = 0; i < CALLS; i++) {
        heartbeat(owner);
        samples[i] = publish(owner);
    }
    snprintf(figure, sizeof figure, "publish of %zu partitions: p50", partitions);
    sh_bench_line_against("publish", figure, (double)sh_bench_percentile(samples, CALLS, 50) / 1e3, "ms",
                          "target", target_ms);
    snprintf(figure, sizeof figure, "publish of %zu partitions: p99", partitions);
    sh_bench_line("publish", figure, (double)sh_bench_percentile(samples, CALLS, 99) / 1e3, "ms");
    free(owner->partitions);
    free(owner->runs);
    free(owner->results);
}

static void measure_all_calls(void)
{
    Owner owner = {0};
    ShError err;
    ShPgRegistered registered;
    ShPgRegister request = {.agent_id = "bench-publish",
                            .incarnation_no = 1,
                            .address = "127.0.0.1:1",
                            .http_address = "127.0.0.1:2",
                            .zone = "",
                            .boot_id = "bench",
                            .version = "bench"};
    sh_bench_check(sh_uuid_random(&request.wal_uuid, &err), &err, "uuid");
    const char *conninfo = sh_bench_environment("SH_BENCH_POSTGRES");
    sh_bench_check(sh_pg_new(conninfo, "bench", TIMEOUT_MS, &owner.pg, &err), &err, "PostgreSQL");
    sh_bench_check(sh_pg_register(owner.pg, &request, &registered, &err), &err, "register");
    owner.incarnation = registered.incarnation;
    owner.calls_seen = registered.calls;
    measure_calls(&owner, 1, 3);
    measure_calls(&owner, 100, 10);
    measure_calls(&owner, 1000, 50);
    static const char *const topics[] = {"publish-1", "publish-100", "publish-1000"};
    for (size_t i = 0; i < 3; i++)
        sh_bench_check(sh_pg_drop_topic(owner.pg, topics[i], &err), &err, "drop topic");
    sh_pg_free(owner.pg);
}

/* Committed transactions of the database so far. */
static int64_t transactions(void)
{
    FILE *psql = popen("psql -XAtq -d \"$SH_BENCH_POSTGRES\" -c "
                       "'SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()'",
                       "r");
    long long count = -1;
    if (psql == NULL || fscanf(psql, "%lld", &count) != 1 || pclose(psql) != 0) {
        fprintf(stderr, "bench: psql does not tell the number of transactions\n");
        exit(1);
    }
    return count;
}

static void measure_rate(const ShBenchAgent *agent, int partitions, double requests_per_second)
{
    char topic[64];
    char figure[128];
    ShBenchPumped pumped;
    ShClient *client = sh_bench_connect(agent->address);
    snprintf(topic, sizeof topic, "rate-%d-%.0f", partitions, requests_per_second);
    ShBenchLoad load = {.topic = topic,
                        .partitions = partitions,
                        .record_bytes = 100,
                        .batch_records = 1,
                        .connections = 1,
                        .in_flight = 64,
                        .requests = partitions,
                        .requests_per_second = 0};
    sh_bench_topic(client, topic, partitions);
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_settle(agent);

    load.requests_per_second = requests_per_second;
    load.requests = (int64_t)(requests_per_second * RATE_S);
    int64_t begun = sh_bench_now_us();
    int64_t committed = transactions();
    int64_t objects, objects_before;
    sh_bench_agent_store_bytes(agent, &objects_before);
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_store_bytes(agent, &objects);
    committed = transactions() - committed;
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    snprintf(figure, sizeof figure, "%d partitions, %.0f records/s: PostgreSQL", partitions,
             requests_per_second);
    sh_bench_line("publish", figure, (double)committed / seconds, "transactions/s");
    snprintf(figure, sizeof figure, "%d partitions, %.0f records/s: store", partitions, requests_per_second);
    sh_bench_line("publish", figure, (double)(objects - objects_before) / seconds, "objects/s");
    ShError err;
    sh_bench_check(sh_client_delete_topic(client, topic, SH_BENCH_TIMEOUT_MS, &err), &err, "delete topic");
    sh_client_free(client);
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    measure_all_calls();
    sh_bench_directory("publish", directory);
    sh_bench_agent_start(&agent, directory, "", NULL);
    measure_rate(&agent, 1, 200);
    measure_rate(&agent, 1, 2000);
    measure_rate(&agent, 1000, 2000);
    sh_bench_agent_discard(&agent);
    return 0;
}
