/*
 * bench_small.c - many small producers: 1,000 connections, each with one record of 100 bytes in flight over
 * ProduceStream and no batching of its own, under `always`. Group commit has to make up for it.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/echo.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"

#define CONNECTIONS     1000
#define REQUESTS        100000
#define WARM_UP         5000
#define DESCRIPTORS_MIN 4096

static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_MIN) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MIN ? limit.rlim_max : DESCRIPTORS_MIN;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchDisk disk;
    ShBenchAgent agent;
    ShBenchPumped pumped;
    allow_descriptors();
    sh_bench_echo_start();
    sh_bench_directory("small", directory);
    sh_bench_disk_measure(directory, 64 * 1024, false, &disk);
    sh_bench_disk_lines("small", "before", &disk);
    sh_bench_agent_start(&agent, directory, "wal_sync: always\n", NULL);
    ShClient *client = sh_bench_connect(agent.address);
    ShBenchLoad load = {.topic = "small",
                        .partitions = SH_BENCH_PARTITIONS,
                        .record_bytes = 100,
                        .batch_records = 1,
                        .connections = CONNECTIONS,
                        .in_flight = 1,
                        .requests = WARM_UP};
    sh_bench_topic(client, load.topic, load.partitions);
    double idle = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    sh_bench_pump(client, agent.address, &load, &pumped);
    load.requests = REQUESTS;
    double groups = sh_bench_agent_metric(&agent, "streamhouse_wal_groups_total");
    double agent_cpu = sh_bench_agent_metric(&agent, "streamhouse_agent_cpu_seconds_total");
    double own_cpu = sh_bench_cpu_seconds();
    sh_bench_pump(client, agent.address, &load, &pumped);
    own_cpu = sh_bench_cpu_seconds() - own_cpu;
    agent_cpu = sh_bench_agent_metric(&agent, "streamhouse_agent_cpu_seconds_total") - agent_cpu;
    double loaded = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    groups = sh_bench_agent_metric(&agent, "streamhouse_wal_groups_total") - groups;

    sh_bench_line_against("small", "acknowledged records of 1,000 connections, one in flight each",
                          (double)pumped.records / pumped.seconds, "records/s",
                          "gRPC echo of 100 bytes over as many connections",
                          sh_bench_echo_connections(100, CONNECTIONS, REQUESTS));
    sh_bench_line("small", "acknowledgement p50", pumped.ack_p50_ms, "ms");
    sh_bench_line_against("small", "acknowledgement p99", pumped.ack_p99_ms, "ms", "fdatasync p99",
                          disk.sync_p99_ms);
    sh_bench_line("small", "records of one fdatasync", REQUESTS / groups, "records");
    sh_bench_line("small", "the agent's CPU", agent_cpu / REQUESTS * 1e6, "us/record");
    sh_bench_line("small", "the producers' CPU", own_cpu / REQUESTS * 1e6, "us/record");
    sh_bench_line_against("small", "the agent's memory", loaded / 1e6, "MB", "before the connections",
                          idle / 1e6);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
    return 0;
}
