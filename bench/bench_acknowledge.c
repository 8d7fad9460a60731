/*
 * bench_acknowledge.c - how long an acknowledgement takes with `always` and 64 KiB batches under load: at
 * half and at four fifths of what the agent takes, sent at a steady rate, and with windows as full as they
 * get, where the time is what is in flight divided by what gets through.
 *
 * The reference is the disk's own: writes as large as the WAL's groups were under that load, each
 * fdatasynced, with a neighbour that stores objects, just before and just after.
 */
#include <stdio.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"

#define KIB           1024
#define RECORD_BYTES  100
#define IN_FLIGHT     (16 * 1024 * KIB) /* of each of two connections */
#define FULL_BYTES    (400ll * 1000 * 1000)
#define TRIAL_SECONDS 2
#define LOAD_SECONDS  6
#define SYNC          "streamhouse_wal_sync_duration_seconds"
#define APPEND        "streamhouse_producer_latency_seconds"

#define BATCH_BYTES (64 * KIB)
static const int percents[] = {50, 80, 100}; /* of full load; 100: as fast as the windows let them */

/* What one run showed. */
typedef struct Outcome {
    ShBenchPumped pumped;
    double group_bytes; /* of the WAL, on average, as the next two */
    double sync_ms;
    double agent_ms; /* from the batch's acceptance to its answer */
} Outcome;

/* The mean of what a histogram has taken since it had `before`. */
typedef struct Mean {
    double seconds;
    double count;
} Mean;

static Mean read_mean(const ShBenchAgent *agent, const char *histogram, Mean before)
{
    char name[96];
    snprintf(name, sizeof name, "%s_sum", histogram);
    Mean now = {.seconds = sh_bench_agent_metric(agent, name) - before.seconds};
    snprintf(name, sizeof name, "%s_count", histogram);
    now.count = sh_bench_agent_metric(agent, name) - before.count;
    return now;
}

static Outcome send_load(const ShBenchAgent *agent, ShClient *client, const ShBenchLoad *load)
{
    Outcome out;
    double bytes = sh_bench_agent_metric(agent, "streamhouse_wal_append_bytes_total");
    double groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total");
    Mean sync = read_mean(agent, SYNC, (Mean){0});
    Mean append = read_mean(agent, APPEND, (Mean){0});
    sh_bench_pump(client, agent->address, load, &out.pumped);
    sync = read_mean(agent, SYNC, sync);
    append = read_mean(agent, APPEND, append);
    groups = sh_bench_agent_metric(agent, "streamhouse_wal_groups_total") - groups;
    bytes = sh_bench_agent_metric(agent, "streamhouse_wal_append_bytes_total") - bytes;
    out.group_bytes = bytes / groups;
    out.sync_ms = sync.seconds / sync.count * 1e3;
    out.agent_ms = append.seconds / append.count * 1e3;
    sh_bench_agent_settle(agent);
    return out;
}

static void line(const char *load_name, const char *what, double value, const char *unit)
{
    char figure[160];
    snprintf(figure, sizeof figure, "%s: %s", load_name, what);
    sh_bench_line("acknowledge", figure, value, unit);
}

/* At `percent` of `full` requests a second. A short trial tells how large the groups will be. */
static void measure(const ShBenchAgent *agent, ShClient *client, ShBenchLoad load, double full, int percent)
{
    char name[96], figure[160];
    ShBenchDisk before, after;
    double rate = full * percent / 100;
    snprintf(name, sizeof name, "always, %d %% of full load", percent);
    load.requests_per_second = percent == 100 ? 0 : rate;
    load.requests = (int64_t)(rate * TRIAL_SECONDS);
    size_t group_bytes = (size_t)send_load(agent, client, &load).group_bytes;

    sh_bench_disk_syncs(agent->directory, group_bytes, true, &before);
    load.requests = (int64_t)(rate * LOAD_SECONDS);
    Outcome out = send_load(agent, client, &load);
    sh_bench_disk_syncs(agent->directory, (size_t)out.group_bytes, true, &after);

    line(name, "acknowledged", (double)out.pumped.records / out.pumped.seconds, "records/s");
    line(name, "one group", out.group_bytes, "bytes");
    line(name, "one fdatasync of the WAL, mean", out.sync_ms, "ms");
    line(name, "within the agent, mean", out.agent_ms, "ms");
    snprintf(figure, sizeof figure, "%s: p50", name);
    sh_bench_line_against("acknowledge", figure, out.pumped.ack_p50_ms, "ms",
                          "write and fdatasync of a group, p50",
                          (before.sync_p50_ms + after.sync_p50_ms) / 2);
    snprintf(figure, sizeof figure, "%s: p99", name);
    sh_bench_line_against("acknowledge", figure, out.pumped.ack_p99_ms, "ms",
                          "write and fdatasync of a group, p99",
                          (before.sync_p99_ms + after.sync_p99_ms) / 2);
}

static void measure_all(const ShBenchAgent *agent, ShClient *client)
{
    ShBenchLoad load = {
        .topic = "acknowledge",
        .partitions = SH_BENCH_PARTITIONS,
        .record_bytes = RECORD_BYTES,
        .batch_records = sh_bench_batch_records(RECORD_BYTES, BATCH_BYTES),
        .connections = 2,
        .in_flight = IN_FLIGHT / BATCH_BYTES,
        .requests = FULL_BYTES / BATCH_BYTES,
    };
    sh_bench_topic(client, load.topic, load.partitions);
    send_load(agent, client, &load); /* until the WAL's files are recycled ones */
    Outcome full = send_load(agent, client, &load);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++)
        measure(agent, client, load, (double)load.requests / full.pumped.seconds, percents[i]);
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    sh_bench_directory("acknowledge", directory);
    sh_bench_agent_start(&agent, directory, "wal_sync: always\n", NULL);
    ShClient *client = sh_bench_connect(agent.address);
    measure_all(&agent, client);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
    return 0;
}
