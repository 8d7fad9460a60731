/*
 * bench_idle.c - 10,000 partitions on one agent that nobody uses: from start to ready, CPU, and memory a
 * partition.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/session.h"

#define PARTITIONS 10000
#define TOPICS     10
#define IDLE_S     10
#define SETTLED_S  60

static double cpu_percent(const ShBenchAgent *agent)
{
    double before = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    int64_t begun = sh_bench_now_us();
    nanosleep(&(struct timespec){.tv_sec = IDLE_S}, NULL);
    double after = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    return (after - before) / ((double)(sh_bench_now_us() - begun) / 1e6) * 100;
}

/* Until the agent has them all. */
static void wait_for_partitions(const ShBenchAgent *agent, double count)
{
    int64_t begun = sh_bench_now_us();
    while (sh_bench_agent_metric(agent, "streamhouse_partition_count") < count) {
        if (sh_bench_now_us() - begun > SETTLED_S * 1000000ll) {
            fprintf(stderr, "bench: the agent did not get %.0f partitions\n", count);
            exit(1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    char topic[32];
    ShBenchAgent agent;
    sh_bench_directory("idle", directory);
    sh_bench_agent_start(&agent, directory, "", NULL);
    double empty_bytes = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    sh_bench_line("idle", "CPU without partitions", cpu_percent(&agent), "%");
    ShClient *client = sh_bench_connect(agent.address);
    for (int i = 0; i < TOPICS; i++) {
        snprintf(topic, sizeof topic, "idle-%d", i);
        sh_bench_topic(client, topic, PARTITIONS / TOPICS);
    }
    sh_client_free(client);
    wait_for_partitions(&agent, PARTITIONS);
    sh_bench_agent_stop(&agent);

    sh_bench_agent_start(&agent, directory, "", NULL);
    int64_t begun = sh_bench_now_us();
    sh_bench_line_against("idle", "start to ready with 10,000 partitions", agent.start_seconds, "s", "target",
                          3);
    wait_for_partitions(&agent, PARTITIONS);
    double seconds = agent.start_seconds + (double)(sh_bench_now_us() - begun) / 1e6;
    sh_bench_line("idle", "start to all 10,000 owned", seconds, "s");
    sh_bench_line_against("idle", "CPU with 10,000 partitions", cpu_percent(&agent), "%", "target", 2);
    double bytes = sh_bench_agent_metric(&agent, "streamhouse_agent_memory_bytes");
    sh_bench_line_against("idle", "memory a partition", (bytes - empty_bytes) / PARTITIONS, "bytes", "target",
                          4096);
    sh_bench_agent_discard(&agent);
    return 0;
}
