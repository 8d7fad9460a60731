/*
 * bench_fetch.c - reading through an agent: records a second from the beginning of a topic, each one decoded,
 * and the time from produce to consume of one record at the tail.
 *
 *   bench_fetch HOST:PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/json_line.h"
#include "bench/session.h"

#define READ_BYTES   (256ll * 1024 * 1024)
#define TAIL_RECORDS 500
#define POLL_MS      10000

static ShConsumer *consume(ShClient *client, const char *topic, int partitions, ShStartAt at)
{
    ShConsumer *consumer = NULL;
    ShConsumerOptions options;
    ShError err;
    sh_consumer_options_init(&options);
    sh_bench_check(sh_consumer_new(client, &options, &consumer, &err), &err, "consumer");
    for (int partition = 0; partition < partitions; partition++) {
        ShStart start = {.at = at};
        sh_bench_check(sh_consumer_assign(consumer, topic, partition, start, &err), &err, "assign");
    }
    return consumer;
}

/* Take records until `count` have come; exits when the agent falls silent. */
static void read_records(ShConsumer *consumer, int64_t count)
{
    ShError err;
    const ShMessage *messages;
    size_t got;
    for (int64_t seen = 0; seen < count; seen += (int64_t)got) {
        sh_bench_check(sh_consumer_poll(consumer, POLL_MS, &messages, &got, &err), &err, "poll");
        if (got == 0) {
            fprintf(stderr, "bench_fetch: nothing came for %d ms after %lld of %lld records\n", POLL_MS,
                    (long long)seen, (long long)count);
            exit(1);
        }
    }
}

static void measure_throughput(ShClient *client, int bytes)
{
    char topic[64];
    char figure[80];
    sh_bench_topic(client, "bench-fetch", bytes, SH_BENCH_PARTITIONS, topic);
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    int64_t count = READ_BYTES / bytes;
    sh_bench_fill(producer, topic, bytes, count);
    sh_producer_close(producer);

    int64_t begun = sh_bench_now_us();
    ShConsumer *consumer = consume(client, topic, SH_BENCH_PARTITIONS, SH_START_EARLIEST);
    read_records(consumer, count);
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    sh_consumer_close(consumer);
    snprintf(figure, sizeof figure, "consumed records of %d bytes", bytes);
    sh_bench_line("fetch", figure, (double)count / seconds, "records/s");
    snprintf(figure, sizeof figure, "consumed bytes, records of %d bytes", bytes);
    sh_bench_line("fetch", figure, (double)count * bytes / seconds / 1e6, "MB/s");
}

static void measure_tail(ShClient *client, int bytes)
{
    static int64_t samples[TAIL_RECORDS];
    char topic[64];
    char figure[80];
    sh_bench_topic(client, "bench-tail", bytes, 1, topic);
    ShBenchDeliveries deliveries = {0};
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.linger_ms = 0;
    ShProducer *producer = sh_bench_producer(client, &options, &deliveries);
    ShConsumer *consumer = consume(client, topic, 1, SH_START_EARLIEST);
    for (int i = 0; i < TAIL_RECORDS; i++) {
        int64_t begun = sh_bench_now_us();
        sh_bench_fill(producer, topic, bytes, 1);
        read_records(consumer, 1);
        samples[i] = sh_bench_now_us() - begun;
    }
    sh_consumer_close(consumer);
    sh_producer_close(producer);
    snprintf(figure, sizeof figure, "produce to consume, one record of %d bytes, p50", bytes);
    sh_bench_line("fetch", figure, (double)sh_bench_percentile(samples, TAIL_RECORDS, 50) / 1e3, "ms");
    snprintf(figure, sizeof figure, "produce to consume, one record of %d bytes, p99", bytes);
    sh_bench_line("fetch", figure, (double)sh_bench_percentile(samples, TAIL_RECORDS, 99) / 1e3, "ms");
}

int main(int argc, char **argv)
{
    static const int sizes[] = SH_BENCH_SIZES;
    ShClient *client = sh_bench_connect(argc, argv);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure_throughput(client, sizes[i]);
        measure_tail(client, sizes[i]);
    }
    sh_client_free(client);
    return 0;
}
