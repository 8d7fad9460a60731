/*
 * bench_sustained.c - producing on and on: ProduceStream, WAL, upload and publish with batches built
 * beforehand, under `interval`. What reaches the disk (WAL and objects) stands against what the disk
 * itself takes with the same neighbour; on tmpfs the disk is out of the picture, and records count.
 *
 * Disk and tmpfs each have an agent of their own. SH_BENCH_BYTES sets how much the long runs send (default
 * 5 GB on the disk, 1 GB on tmpfs, where it is memory).
 */
#include <stdio.h>
#include <string.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"

#define KIB          1024
#define LONG_BYTES   5000000000ll
#define TMPFS_BYTES  1000000000ll
#define SHORT_BYTES  200000000ll
#define WINDOW_BYTES (16 * 1024 * KIB)
#define WINDOW_MAX   256
#define TMPFS        "/dev/shm/streamhouse-bench"

typedef struct Case {
    int record_bytes;
    int batch_bytes;
    bool is_long;
} Case;

static const Case cases[] = {
    {100, 16 * KIB, false},  {100, 64 * KIB, true},     {100, 1024 * KIB, false},
    {1024, 64 * KIB, false}, {1024, 1024 * KIB, false},
};
#define CASES (sizeof cases / sizeof cases[0])

typedef struct Outcome {
    double records_per_second; /* acknowledged */
    double disk_mb_s;          /* WAL and objects, until the last is published */
} Outcome;

static void line(const char *name, const char *what, double value, const char *unit)
{
    char figure[160];
    snprintf(figure, sizeof figure, "%s: %s", name, what);
    sh_bench_line("sustained", figure, value, unit);
}

/* One case on a running agent. */
static Outcome measure(const ShBenchAgent *agent, ShClient *client, const Case *run, int64_t long_bytes,
                       const char *where)
{
    char name[96];
    char topic[64];
    int64_t bytes = run->is_long ? long_bytes : SHORT_BYTES;
    int in_flight = WINDOW_BYTES / run->batch_bytes;
    ShBenchLoad load = {
        .topic = topic,
        .partitions = SH_BENCH_PARTITIONS,
        .record_bytes = run->record_bytes,
        .batch_records = sh_bench_batch_records(run->record_bytes, run->batch_bytes),
        .connections = 2,
        .in_flight = in_flight > WINDOW_MAX ? WINDOW_MAX : in_flight,
        .requests = bytes / run->batch_bytes,
    };
    ShBenchPumped pumped;
    snprintf(topic, sizeof topic, "sustained-%d-%d", run->record_bytes, run->batch_bytes);
    sh_bench_topic(client, load.topic, load.partitions);
    double wal_bytes = sh_bench_agent_metric(agent, "streamhouse_wal_append_bytes_total");
    double groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total");
    int64_t objects = sh_bench_agent_store_bytes(agent, NULL);
    double agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    double own_cpu = sh_bench_cpu_seconds();
    int64_t begun = sh_bench_now_us();
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_settle(agent);
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    own_cpu = sh_bench_cpu_seconds() - own_cpu;
    agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total") - agent_cpu;
    wal_bytes = sh_bench_agent_metric(agent, "streamhouse_wal_append_bytes_total") - wal_bytes;
    groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total") - groups;
    objects = sh_bench_agent_store_bytes(agent, NULL) - objects;

    Outcome out = {.records_per_second = (double)pumped.records / pumped.seconds,
                   .disk_mb_s = (wal_bytes + (double)objects) / seconds / 1e6};
    snprintf(name, sizeof name, "%s, %d B records by %d KiB", where, run->record_bytes,
             run->batch_bytes / KIB);
    line(name, "acknowledged", out.records_per_second, "records/s");
    line(name, "batches", (double)pumped.bytes / pumped.seconds / 1e6, "MB/s");
    line(name, "WAL and objects until published", out.disk_mb_s, "MB/s");
    line(name, "one WAL write", wal_bytes / groups, "bytes");
    line(name, "the agent's CPU", agent_cpu / (double)pumped.records * 1e9, "ns/record");
    line(name, "the producer's CPU", own_cpu / (double)pumped.records * 1e9, "ns/record");
    line(name, "acknowledgement p50", pumped.ack_p50_ms, "ms");
    line(name, "acknowledgement p99", pumped.ack_p99_ms, "ms");
    if (pumped.pushed_back > 0)
        line(name, "pushed back", (double)pumped.pushed_back, "requests");
    return out;
}

static void measure_policy(const char *policy, const char *directory, const char *where, int64_t long_bytes,
                           Outcome *out)
{
    char settings[64];
    char name[64];
    ShBenchAgent agent;
    snprintf(settings, sizeof settings, "wal_sync: %s\n", policy);
    snprintf(name, sizeof name, "%s, %s", where, policy);
    sh_bench_agent_start(&agent, directory, settings, NULL);
    ShClient *client = sh_bench_connect(agent.address);
    for (size_t i = 0; i < CASES; i++)
        out[i] = measure(&agent, client, &cases[i], long_bytes, name);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
}

/* The long case against the disk as it was before and after. */
static void compare(const ShBenchDisk *before, const ShBenchDisk *after, const Outcome *interval)
{
    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].is_long)
            sh_bench_line_against("sustained", "interval: WAL and objects", interval[i].disk_mb_s, "MB/s",
                                  "the disk, with objects beside",
                                  (before->total_mb_s + after->total_mb_s) / 2);
    }
}

/* The disk as it is now, where WAL and objects of the runs are. */
static void measure_disk(const char *when, ShBenchDisk *out)
{
    char directory[SH_BENCH_PATH_BYTES];
    sh_bench_directory("sustained", directory);
    sh_bench_disk_measure(directory, 64 * KIB, true, out);
    sh_bench_disk_lines("sustained", when, out);
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchDisk before, after;
    Outcome interval[CASES], memory[CASES];
    sh_bench_directory("sustained", directory);
    measure_disk("before", &before);
    measure_policy("interval", directory, "disk", sh_bench_bytes(LONG_BYTES), interval);
    measure_disk("after", &after);
    compare(&before, &after, interval);
    measure_policy("interval", TMPFS, "tmpfs", TMPFS_BYTES, memory);
    return 0;
}
