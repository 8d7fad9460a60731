/*
 * bench_small.c - many small producers: 1,000 connections, each sending single records of 100 bytes over
 * ProduceStream without batching of its own, under `always`. Group commit has to make up for it. Producers
 * that wait for each acknowledgement, and such that send on; each against a plain gRPC echo of the same
 * shape.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/echo.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"
#include "bench/swarm.h"
#include "client/messages.h"
#include "client/transport.h"

#define TOPIC           "small"
#define RECORD_BYTES    100
#define CONNECTIONS     1000
#define RECORDS         200000
#define WARM_UP         20000
#define BUDGET_MB       256
#define DESCRIPTORS_MIN 4096

#define STRING_OF(number) #number
#define SETTINGS_OF(mb)   "wal_sync: always\nmemory_budget: " STRING_OF(mb) "MB\n"

static const int windows[] = {1, 8};

static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_MIN) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MIN ? limit.rlim_max : DESCRIPTORS_MIN;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* What it takes a process to get as many gRPC channels in, each with a record acknowledged. */
static void connect_channels(const ShBenchAgent *agent, ShClient *client)
{
    ShBenchPumped pumped;
    ShBenchLoad load = {.topic = TOPIC,
                        .partitions = SH_BENCH_PARTITIONS,
                        .record_bytes = RECORD_BYTES,
                        .batch_records = 1,
                        .connections = CONNECTIONS,
                        .in_flight = 1,
                        .requests = CONNECTIONS};
    double agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    double own_cpu = sh_bench_cpu_seconds();
    int64_t begun_us = sh_bench_now_us();
    sh_bench_pump(client, agent->address, &load, &pumped);
    double seconds = (double)(sh_bench_now_us() - begun_us) / 1e6;
    own_cpu = sh_bench_cpu_seconds() - own_cpu;
    agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total") - agent_cpu;
    sh_bench_line("small", "1,000 gRPC channels of one process opened at once: all answered", seconds, "s");
    sh_bench_line_against("small", "... CPU of that process", own_cpu, "s", "the agent's", agent_cpu);
}

/* A ProduceRequest of one record for the partition. */
static ShBuf *request_of(ShClient *client, int partition)
{
    ShError err;
    ShTopicShape shape;
    ShScratch head = {0};
    ShStatus status = sh_client_topic_shape(client, TOPIC, SH_BENCH_TIMEOUT_MS, &shape, &err);
    sh_bench_check(status, &err, "topic");
    ShBuf *batch = sh_bench_batch(RECORD_BYTES, 1);
    status = sh_message_put_produce(&head, 1, TOPIC, &shape.topic_id, partition, 0, batch->length, &err);
    sh_bench_check(status, &err, "request");
    ShBuf *request = sh_buf_new(head.length + batch->length);
    if (request == NULL)
        sh_bench_check(sh_fail(&err, SH_NO_MEMORY, "out of memory"), &err, "request");
    memcpy(request->data, head.data, head.length);
    memcpy(request->data + head.length, batch->data, batch->length);
    request->length = head.length + batch->length;
    sh_scratch_free(&head);
    sh_buf_unref(batch);
    return request;
}

static void check_answer(const uint8_t *data, size_t length)
{
    ShProduceAnswer answer;
    ShError err;
    sh_bench_check(sh_message_get_produced(data, length, &answer, &err), &err, "answer");
    if (answer.refused)
        sh_bench_check(answer.refusal.error.status, &answer.refusal.error, "produce");
}

static void measure(const ShBenchAgent *agent, ShBenchSwarm *swarm, int in_flight, const ShBenchDisk *disk)
{
    char figure[96], shape[64];
    double echo_cpu;
    ShBenchSwarmed done;
    snprintf(shape, sizeof shape, "%d connections, %d in flight each", CONNECTIONS, in_flight);
    sh_bench_swarm_run(swarm, in_flight, WARM_UP, &done);

    double groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total");
    double agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    double own_cpu = sh_bench_cpu_seconds();
    sh_bench_swarm_run(swarm, in_flight, RECORDS, &done);
    own_cpu = (sh_bench_cpu_seconds() - own_cpu) / RECORDS * 1e6;
    agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total") - agent_cpu;
    groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total") - groups;
    double echo = sh_bench_echo_connections(RECORD_BYTES, CONNECTIONS, in_flight, RECORDS, &echo_cpu);

    snprintf(figure, sizeof figure, "acknowledged records of %s", shape);
    sh_bench_line_against("small", figure, (double)done.messages / done.seconds, "records/s",
                          "gRPC echo of 100 bytes of the same shape", echo);
    snprintf(figure, sizeof figure, "the agent's CPU, %s", shape);
    sh_bench_line_against("small", figure, agent_cpu / RECORDS * 1e6, "us/record", "the echo server's",
                          echo_cpu);
    snprintf(figure, sizeof figure, "the producers' CPU, %s", shape);
    sh_bench_line("small", figure, own_cpu, "us/record");
    snprintf(figure, sizeof figure, "acknowledgement p50, %s", shape);
    sh_bench_line("small", figure, done.p50_ms, "ms");
    snprintf(figure, sizeof figure, "acknowledgement p99, %s", shape);
    sh_bench_line_against("small", figure, done.p99_ms, "ms", "fdatasync p99", disk->sync_p99_ms);
    snprintf(figure, sizeof figure, "records of one fdatasync, %s", shape);
    sh_bench_line("small", figure, RECORDS / groups, "records");
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchDisk disk;
    ShBenchAgent agent;
    ShBuf *requests[SH_BENCH_PARTITIONS];
    double connecting;
    allow_descriptors();
    sh_bench_echo_start();
    sh_bench_directory("small", directory);
    sh_bench_disk_measure(directory, 64 * 1024, false, &disk);
    sh_bench_disk_lines("small", "before", &disk);
    sh_bench_agent_start(&agent, directory, SETTINGS_OF(BUDGET_MB), NULL);
    ShClient *client = sh_bench_connect(agent.address);
    sh_bench_topic(client, TOPIC, SH_BENCH_PARTITIONS);
    for (int i = 0; i < SH_BENCH_PARTITIONS; i++)
        requests[i] = request_of(client, i);

    double idle = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    ShBenchSwarm *swarm = sh_bench_swarm_open(agent.address, SH_METHOD_PRODUCE_STREAM, CONNECTIONS, requests,
                                              SH_BENCH_PARTITIONS, check_answer, &connecting);
    sh_bench_line("small", "1,000 plain connections opened at once: all streams stand", connecting, "s");
    double connected = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    sh_bench_line_against("small", "the agent's memory with 1,000 idle streams", connected / 1e6, "MB",
                          "before the connections", idle / 1e6);
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
        measure(&agent, swarm, windows[i], &disk);
    double loaded = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    sh_bench_line_against("small", "the agent's memory after all of it", loaded / 1e6, "MB", "memory_budget",
                          BUDGET_MB * 1.048576);
    sh_bench_swarm_close(swarm);
    connect_channels(&agent, client);

    for (int i = 0; i < SH_BENCH_PARTITIONS; i++)
        sh_buf_unref(requests[i]);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
    return 0;
}
