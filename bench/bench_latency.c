/*
 * bench_latency.c - from produce to consume at the tail, under `always`, at a tenth of full load: one record
 * after the other is timed while a steady load of batches goes through the same agent.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/json_line.h"
#include "bench/pump.h"
#include "bench/reading.h"
#include "bench/session.h"

#define KIB          1024
#define BATCH_BYTES  (16 * KIB)
#define FULL_BYTES   (100ll * 1000 * 1000)
#define LOAD_SECONDS 8
#define PROBES       1000

typedef struct Background {
    ShClient *client;
    const ShBenchAgent *agent;
    ShBenchLoad load;
    ShBenchPumped pumped;
} Background;

static void *pump(void *arg)
{
    Background *background = arg;
    sh_bench_pump(background->client, background->agent->address, &background->load, &background->pumped);
    return NULL;
}

/* Records one at a time to a partition of their own, each timed until the consumer has it. */
static void probe(ShClient *client, const char *load_name, double sync_p99_ms)
{
    static int64_t samples[PROBES];
    char figure[96];
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.linger_ms = 0;
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    ShConsumer *consumer = sh_bench_consume(client, "latency-probe", 1, SH_START_LATEST);
    sh_bench_fill(producer, "latency-probe", 100, 1);
    sh_bench_read(consumer, 1);
    for (int i = 0; i < PROBES; i++) {
        int64_t begun = sh_bench_now_us();
        sh_bench_fill(producer, "latency-probe", 100, 1);
        sh_bench_read(consumer, 1);
        samples[i] = sh_bench_now_us() - begun;
    }
    sh_consumer_close(consumer);
    sh_producer_close(producer);
    snprintf(figure, sizeof figure, "produce to consume, %s: p50", load_name);
    sh_bench_line("latency", figure, (double)sh_bench_percentile(samples, PROBES, 50) / 1e3, "ms");
    snprintf(figure, sizeof figure, "produce to consume, %s: p99", load_name);
    sh_bench_line_against("latency", figure, (double)sh_bench_percentile(samples, PROBES, 99) / 1e3, "ms",
                          "fdatasync p99 + 3 ms", sync_p99_ms + 3);
}

int main(void)
{
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchDisk disk, beside;
    ShBenchAgent agent;
    sh_bench_directory("latency", directory);
    sh_bench_disk_measure(directory, 64 * KIB, false, &disk);
    sh_bench_disk_lines("latency", "alone", &disk);
    sh_bench_disk_measure(directory, 64 * KIB, true, &beside);
    sh_bench_disk_lines("latency", "neighbour", &beside);
    sh_bench_agent_start(&agent, directory, "wal_sync: always\n", NULL);
    ShClient *client = sh_bench_connect(agent.address);
    sh_bench_topic(client, "latency-load", SH_BENCH_PARTITIONS);
    sh_bench_topic(client, "latency-probe", 1);
    probe(client, "idle agent", disk.sync_p99_ms);

    Background background = {.client = client,
                             .agent = &agent,
                             .load = {.topic = "latency-load",
                                      .partitions = SH_BENCH_PARTITIONS,
                                      .record_bytes = 100,
                                      .batch_records = sh_bench_batch_records(100, BATCH_BYTES),
                                      .connections = 1,
                                      .in_flight = 256,
                                      .requests = FULL_BYTES / BATCH_BYTES}};
    pump(&background);
    double tenth = (double)background.load.requests / background.pumped.seconds / 10;
    sh_bench_agent_settle(&agent);
    sh_bench_line("latency", "a tenth of full load", tenth * background.load.batch_records, "records/s");
    background.load.requests_per_second = tenth;
    background.load.requests = (int64_t)(tenth * LOAD_SECONDS);
    pthread_t thread;
    if (pthread_create(&thread, NULL, pump, &background) != 0)
        exit(1);
    pthread_setname_np(thread, "bench-load");
    probe(client, "a tenth of full load", beside.sync_p99_ms);
    pthread_join(thread, NULL);
    sh_bench_line("latency", "acknowledgement of the load: p99", background.pumped.ack_p99_ms, "ms");
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
    return 0;
}
