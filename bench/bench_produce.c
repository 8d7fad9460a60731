/*
 * bench_produce.c - appending through an agent with the policy it runs under: records a second with many in
 * flight, and the time from produce to acknowledgement of one record at a time.
 *
 *   bench_produce HOST:PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/json_line.h"
#include "bench/session.h"

#define THROUGHPUT_BYTES (256ll * 1024 * 1024)
#define SINGLE_RECORDS   1000

static void measure_throughput(ShClient *client, int bytes)
{
    char topic[64];
    char figure[80];
    sh_bench_topic(client, "bench-produce", bytes, SH_BENCH_PARTITIONS, topic);
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

static void measure_latency(ShClient *client, int bytes)
{
    static int64_t samples[SINGLE_RECORDS];
    char topic[64];
    char figure[80];
    sh_bench_topic(client, "bench-latency", bytes, 1, topic);
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.linger_ms = 0;
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    sh_bench_fill(producer, topic, bytes, 10);
    for (int i = 0; i < SINGLE_RECORDS; i++) {
        int64_t begun = sh_bench_now_us();
        sh_bench_fill(producer, topic, bytes, 1);
        samples[i] = sh_bench_now_us() - begun;
    }
    snprintf(figure, sizeof figure, "produce to acknowledgement, one record of %d bytes, p50", bytes);
    sh_bench_line("produce", figure, (double)sh_bench_percentile(samples, SINGLE_RECORDS, 50) / 1e3, "ms");
    snprintf(figure, sizeof figure, "produce to acknowledgement, one record of %d bytes, p99", bytes);
    sh_bench_line("produce", figure, (double)sh_bench_percentile(samples, SINGLE_RECORDS, 99) / 1e3, "ms");
    sh_producer_close(producer);
}

int main(int argc, char **argv)
{
    static const int sizes[] = SH_BENCH_SIZES;
    ShClient *client = sh_bench_connect(argc, argv);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure_throughput(client, sizes[i]);
        measure_latency(client, sizes[i]);
    }
    sh_client_free(client);
    return 0;
}
