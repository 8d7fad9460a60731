/*
 * bench_produce.c - appending through libstreamhouse, which builds the batches on the same two cores: records
 * a second with many in flight, and the time from produce to acknowledgement of one record at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/json_line.h"
#include "bench/session.h"

#define THROUGHPUT_BYTES (256ll * 1024 * 1024)
#define SINGLE_RECORDS   1000

static void measure_throughput(ShClient *client, int bytes)
{
    char topic[64];
    char figure[80];
    snprintf(topic, sizeof topic, "produce-%d", bytes);
    sh_bench_topic(client, topic, SH_BENCH_PARTITIONS);
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    int64_t count = THROUGHPUT_BYTES / bytes;
    double seconds = sh_bench_fill(producer, topic, bytes, count);
    if (deliveries.count != count) {
        fprintf(stderr, "bench_produce: %lld of %lld records acknowledged\n", (long long)deliveries.count,
                (long long)count);
        exit(1);
    }
    snprintf(figure, sizeof figure, "acknowledged records of %d bytes", bytes);
    sh_bench_line("produce", figure, (double)count / seconds, "records/s");
    snprintf(figure, sizeof figure, "acknowledged bytes, records of %d bytes", bytes);
    sh_bench_line("produce", figure, (double)count * bytes / seconds / 1e6, "MB/s");
    sh_producer_close(producer);
}

static void measure_latency(ShClient *client, const ShBenchDisk *disk)
{
    static int64_t samples[SINGLE_RECORDS];
    sh_bench_topic(client, "produce-single", 1);
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.linger_ms = 0;
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    sh_bench_fill(producer, "produce-single", 100, 10);
    for (int i = 0; i < SINGLE_RECORDS; i++) {
        int64_t begun = sh_bench_now_us();
        sh_bench_fill(producer, "produce-single", 100, 1);
        samples[i] = sh_bench_now_us() - begun;
    }
    sh_bench_line_against("produce", "produce to acknowledgement, one record, p50",
                          (double)sh_bench_percentile(samples, SINGLE_RECORDS, 50) / 1e3, "ms",
                          "fdatasync p50", disk->sync_p50_ms);
    sh_bench_line_against("produce", "produce to acknowledgement, one record, p99",
                          (double)sh_bench_percentile(samples, SINGLE_RECORDS, 99) / 1e3, "ms",
                          "fdatasync p99", disk->sync_p99_ms);
    sh_producer_close(producer);
}

int main(void)
{
    static const int sizes[] = SH_BENCH_SIZES;
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    ShBenchDisk disk;
    sh_bench_directory("produce", directory);
    sh_bench_disk_measure(directory, 64 * 1024, false, &disk);
    sh_bench_agent_start(&agent, directory, "wal_sync: always\n", NULL);
    ShClient *client = sh_bench_connect(agent.address);
    measure_latency(client, &disk);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        measure_throughput(client, sizes[i]);
    sh_client_free(client);
    sh_bench_agent_discard(&agent);
    return 0;
}
