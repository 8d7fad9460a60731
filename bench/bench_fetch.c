/*
 * bench_fetch.c - reading over FetchStream, the consumer decoding every record: from the agent's memory, and
 * from the store after a restart, against a plain one-way gRPC stream of messages of the same size. Then what
 * a reader that catches up does to another one at the tail.
 *
 * The plain stream has the client library's own channel, flow control and message buffers, one stream on one
 * connection, and carries as many bytes, connecting included. Its server sends one message from memory again
 * and again; its reader, one thread, joins each into one buffer and looks at none of them.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/agent.h"
#include "bench/echo.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/reading.h"
#include "bench/session.h"

#define KIB              1024
#define BATCH_BYTES      (64 * KIB)
#define DATA_BYTES       (200ll * 1000 * 1000) /* stays in the agent's memory */
#define RESPONSE_BYTES   (1024 * KIB)          /* of a FetchStream's answer */
#define TAIL_BATCH_BYTES (16 * KIB)
#define TAIL_REQUESTS    20000

static int64_t fill(ShClient *client, const ShBenchAgent *agent, const char *topic, int record_bytes)
{
    ShBenchPumped pumped;
    ShBenchLoad load = {.topic = topic,
                        .partitions = SH_BENCH_PARTITIONS,
                        .record_bytes = record_bytes,
                        .batch_records = sh_bench_batch_records(record_bytes, BATCH_BYTES),
                        .connections = 1,
                        .in_flight = 64,
                        .requests = DATA_BYTES / BATCH_BYTES};
    sh_bench_topic(client, topic, load.partitions);
    sh_bench_pump(client, agent->address, &load, &pumped);
    sh_bench_agent_settle(agent);
    return pumped.records;
}

/* Read the topic from its beginning; batches' bytes a second against the plain stream's. */
static void measure(const ShBenchAgent *agent, const char *topic, int record_bytes, int64_t records,
                    const char *from)
{
    char figure[96];
    ShClient *client = sh_bench_connect(agent->address);
    double before = sh_bench_echo_one_way(RESPONSE_BYTES, DATA_BYTES / RESPONSE_BYTES);
    double agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total");
    double own_cpu = sh_bench_cpu_seconds();
    int64_t begun = sh_bench_now_us();
    ShConsumer *consumer = sh_bench_consume(client, topic, SH_BENCH_PARTITIONS, SH_START_EARLIEST);
    sh_bench_read(consumer, records);
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    own_cpu = sh_bench_cpu_seconds() - own_cpu;
    agent_cpu = sh_bench_agent_metric(agent, "streamhouse_agent_cpu_seconds_total") - agent_cpu;
    sh_consumer_close(consumer);
    sh_client_free(client);
    double after = sh_bench_echo_one_way(RESPONSE_BYTES, DATA_BYTES / RESPONSE_BYTES);

    snprintf(figure, sizeof figure, "%s, %d B records: decoded", from, record_bytes);
    sh_bench_line("fetch", figure, (double)records / seconds, "records/s");
    snprintf(figure, sizeof figure, "%s, %d B records: the agent's CPU", from, record_bytes);
    sh_bench_line("fetch", figure, agent_cpu / (double)records * 1e9, "ns/record");
    snprintf(figure, sizeof figure, "%s, %d B records: the consumer's CPU", from, record_bytes);
    sh_bench_line("fetch", figure, own_cpu / (double)records * 1e9, "ns/record");
    snprintf(figure, sizeof figure, "%s, %d B records: batches", from, record_bytes);
    sh_bench_line_against("fetch", figure, (double)DATA_BYTES / seconds / 1e6, "MB/s",
                          "one-way gRPC stream of 1 MiB messages",
                          (before + after) / 2 * RESPONSE_BYTES / 1e6);
}

/* Records a second from producer to tail reader, at a rate of requests (0: as fast as they go), while the
 * topic `beside` is read from the store by another reader; NULL: alone. */
static double tail_records(const ShBenchAgent *agent, double rate, const char *beside)
{
    ShClient *client = sh_bench_connect(agent->address);
    ShBenchReader tail, catching_up;
    ShBenchPumped pumped;
    ShBenchLoad load = {.topic = "fetch-tail",
                        .partitions = 1,
                        .record_bytes = 100,
                        .batch_records = sh_bench_batch_records(100, TAIL_BATCH_BYTES),
                        .connections = 1,
                        .in_flight = 64,
                        .requests = TAIL_REQUESTS,
                        .requests_per_second = rate};
    sh_bench_topic(client, load.topic, 1);
    int64_t begun = sh_bench_now_us();
    sh_bench_reader_start(&tail, sh_bench_consume(client, load.topic, 1, SH_START_EARLIEST));
    if (beside != NULL)
        sh_bench_reader_start(&catching_up,
                              sh_bench_consume(client, beside, SH_BENCH_PARTITIONS, SH_START_EARLIEST));
    sh_bench_pump(client, agent->address, &load, &pumped);
    while (atomic_load(&tail.records) < pumped.records)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    sh_bench_reader_stop(&tail);
    if (beside != NULL)
        sh_bench_reader_stop(&catching_up);
    sh_client_free(client);
    return (double)pumped.records / seconds;
}

static void measure_beside(const ShBenchAgent *agent, const char *beside)
{
    double full = tail_records(agent, 0, NULL);
    double full_beside = tail_records(agent, 0, beside);
    sh_bench_line_against("fetch", "tail at full load while another reader catches up", full_beside,
                          "records/s", "tail alone", full);
    double rate = full / sh_bench_batch_records(100, TAIL_BATCH_BYTES) / 4;
    double quarter = tail_records(agent, rate, NULL);
    double quarter_beside = tail_records(agent, rate, beside);
    sh_bench_line_against("fetch", "tail at a quarter of full load while another reader catches up",
                          quarter_beside, "records/s", "tail alone", quarter);
}

int main(void)
{
    static const int sizes[] = SH_BENCH_SIZES;
    static const char *const topics[] = {"fetch-100", "fetch-1024"};
    int64_t records[2];
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    sh_bench_echo_start();
    sh_bench_directory("fetch", directory);
    sh_bench_agent_start(&agent, directory, "memory_budget: 1GB\n", NULL);
    ShClient *client = sh_bench_connect(agent.address);
    for (int i = 0; i < 2; i++) {
        records[i] = fill(client, &agent, topics[i], sizes[i]);
        measure(&agent, topics[i], sizes[i], records[i], "memory");
    }
    sh_client_free(client);

    for (int i = 0; i < 2; i++) {
        sh_bench_agent_stop(&agent);
        sh_bench_agent_start(&agent, directory, "memory_budget: 1GB\n", NULL);
        measure(&agent, topics[i], sizes[i], records[i], "store");
    }

    sh_bench_agent_stop(&agent);
    sh_bench_agent_start(&agent, directory, "", NULL);
    measure_beside(&agent, topics[0]);
    sh_bench_agent_discard(&agent);
    return 0;
}
