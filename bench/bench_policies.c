/*
 * bench_policies.c - producing with `always` against `interval`, with as much in flight as the windows take.
 *
 * A disk that is shared changes from second to second, so the policies take turns, each on an agent of its
 * own, and the medians of the rounds are compared. A load begins once one like it has gone through, so that
 * the WAL's files are recycled ones.
 */
#include <stdio.h>

#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/session.h"

#define KIB          1024
#define WARM_BYTES   150000000ll
#define BYTES        250000000ll
#define WINDOW_BYTES (16 * 1024 * KIB) /* of each of two connections */
#define WINDOW_MAX   256
#define ROUNDS       3

typedef struct Case {
    int record_bytes;
    int batch_bytes;
} Case;

static const Case cases[] = {
    {100, 16 * KIB}, {100, 64 * KIB}, {100, 1024 * KIB}, {1024, 64 * KIB}, {1024, 1024 * KIB},
};
#define CASES (sizeof cases / sizeof cases[0])

static const char *const policies[] = {"interval", "always"};

/* Records a second, by case and round. */
typedef int64_t Rates[CASES][ROUNDS];

static int64_t measure(const ShBenchAgent *agent, ShClient *client, const Case *run)
{
    char topic[64];
    int in_flight = WINDOW_BYTES / run->batch_bytes;
    ShBenchPumped pumped;
    ShBenchLoad load = {
        .topic = topic,
        .partitions = SH_BENCH_PARTITIONS,
        .record_bytes = run->record_bytes,
        .batch_records = sh_bench_batch_records(run->record_bytes, run->batch_bytes),
        .connections = 2,
        .in_flight = in_flight > WINDOW_MAX ? WINDOW_MAX : in_flight,
        .requests = WARM_BYTES / run->batch_bytes,
    };
    snprintf(topic, sizeof topic, "policies-%d-%d", run->record_bytes, run->batch_bytes);
    sh_bench_topic(client, topic, load.partitions);
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_settle(agent);
    load.requests = BYTES / run->batch_bytes;
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_settle(agent);
    return (int64_t)((double)pumped.records / pumped.seconds);
}

static void measure_all(const char *policy, int round, Rates rates)
{
    char settings[64];
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    sh_bench_directory("policies", directory);
    snprintf(settings, sizeof settings, "wal_sync: %s\n", policy);
    sh_bench_agent_start(&agent, directory, settings, NULL);
    ShClient *client = sh_bench_connect(agent.address);
    for (size_t i = 0; i < CASES; i++)
        rates[i][round] = measure(&agent, client, &cases[i]);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
}

int main(void)
{
    Rates rates[2];
    for (int round = 0; round < ROUNDS; round++) {
        for (int turn = 0; turn < 2; turn++) {
            int policy = (round + turn) % 2; /* neither is always the first */
            measure_all(policies[policy], round, rates[policy]);
        }
    }
    for (size_t i = 0; i < CASES; i++) {
        char figure[128];
        snprintf(figure, sizeof figure, "always, acknowledged: %d B records by %d KiB", cases[i].record_bytes,
                 cases[i].batch_bytes / KIB);
        sh_bench_line_against("policies", figure, (double)sh_bench_percentile(rates[1][i], ROUNDS, 50),
                              "records/s", "interval", (double)sh_bench_percentile(rates[0][i], ROUNDS, 50));
    }
    return 0;
}
