/*
 * bench_publish.c - what publishing costs PostgreSQL, with its defaults: the time of one call for an object
 * of 1, 100 and 1,000 partitions; then, through an agent, transactions and objects a second at two record
 * rates and two partition counts, which must not make them grow over what there is without any record.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/owner.h"
#include "bench/pump.h"
#include "bench/session.h"

#define CALLS  100
#define RATE_S 6

/* PostgreSQL's sessions tell their counts late, idle ones after ten seconds, and its workers clear away what
 * was dropped: before a rate counts, so long a time must have had as many transactions as the one before. */
#define QUIET_S      6
#define QUIET_S_MAX  120
#define QUIET_WITHIN 0.1

static void measure_calls(ShBenchOwner *owner, size_t partitions, double target_ms)
{
    int64_t samples[CALLS];
    char figure[96];
    char topic[32];
    ShError err;
    snprintf(topic, sizeof topic, "publish-%zu", partitions);
    sh_bench_owner_own(owner, topic, partitions);
    for (int i = 0; i < CALLS; i++) {
        sh_bench_owner_heartbeat(owner);
        samples[i] = sh_bench_owner_publish(owner, 0, partitions);
    }
    snprintf(figure, sizeof figure, "publish of %zu partitions: p50", partitions);
    sh_bench_line_against("publish", figure, (double)sh_bench_percentile(samples, CALLS, 50) / 1e3, "ms",
                          "target", target_ms);
    snprintf(figure, sizeof figure, "publish of %zu partitions: p99", partitions);
    sh_bench_line("publish", figure, (double)sh_bench_percentile(samples, CALLS, 99) / 1e3, "ms");
    sh_bench_check(sh_pg_drop_topic(owner->pg, topic, &err), &err, "drop topic");
}

static void measure_all_calls(void)
{
    ShBenchOwner owner;
    sh_bench_owner_start(&owner, "bench-publish");
    measure_calls(&owner, 1, 3);
    measure_calls(&owner, 100, 10);
    measure_calls(&owner, 1000, 50);
    sh_bench_owner_end(&owner);
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

static double rate_while_sleeping(void)
{
    int64_t begun = sh_bench_now_us();
    int64_t committed = transactions();
    nanosleep(&(struct timespec){.tv_sec = QUIET_S}, NULL);
    committed = transactions() - committed;
    return (double)committed / ((double)(sh_bench_now_us() - begun) / 1e6);
}

/* Transactions a second when nothing is produced and nothing is left to do. */
static double quiet_rate(void)
{
    double last = rate_while_sleeping();
    for (int seconds = QUIET_S; seconds < QUIET_S_MAX; seconds += QUIET_S) {
        double rate = rate_while_sleeping();
        if (fabs(rate - last) <= QUIET_WITHIN * last)
            return rate;
        last = rate;
    }
    fprintf(stderr, "bench: PostgreSQL did not come to rest within %d s\n", QUIET_S_MAX);
    exit(1);
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

    double quiet = quiet_rate();
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
    sh_bench_line_against("publish", figure, (double)committed / seconds, "transactions/s", "without records",
                          quiet);
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
