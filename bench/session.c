/*
 * session.c - what the benchmarks of an agent share.
 */
#include "bench/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/json_line.h"

#define PROGRESS_EVERY_US 500000

ShClient *sh_bench_connect(const char *address)
{
    ShClient *client = NULL;
    ShError err;
    sh_bench_check(sh_client_new(address, &client, &err), &err, "connect");
    return client;
}

void sh_bench_check(ShStatus status, const ShError *err, const char *what)
{
    if (status == SH_OK)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, err->message);
    exit(1);
}

void sh_bench_topic(ShClient *client, const char *name, int partitions)
{
    ShError err;
    ShStatus status = sh_client_delete_topic(client, name, SH_BENCH_TIMEOUT_MS, &err);
    if (status != SH_NOT_FOUND)
        sh_bench_check(status, &err, "delete topic");
    ShTopicOptions options = {.name = name, .partitions = partitions};
    sh_bench_check(sh_client_create_topic(client, &options, SH_BENCH_TIMEOUT_MS, &err), &err, "create topic");
}

int64_t sh_bench_bytes(int64_t bytes)
{
    const char *text = getenv("SH_BENCH_BYTES");
    if (text == NULL || *text == '\0')
        return bytes;
    char *unit;
    int64_t number = strtoll(text, &unit, 10);
    int64_t scale = strcmp(unit, "GB") == 0 ? 1000000000 : strcmp(unit, "MB") == 0 ? 1000000 : 1;
    if (number <= 0 || (scale == 1 && *unit != '\0')) {
        fprintf(stderr, "bench: SH_BENCH_BYTES=%s is not a size such as 5GB\n", text);
        exit(2);
    }
    return number * scale;
}

static void on_delivery(const ShDelivery *delivery, void *context)
{
    ShBenchDeliveries *deliveries = context;
    sh_bench_check(delivery->error == NULL ? SH_OK : delivery->error->status, delivery->error, "produce");
    atomic_fetch_add_explicit(&deliveries->count, 1, memory_order_relaxed);
}

ShProducer *sh_bench_producer(ShClient *client, ShProducerOptions *options, ShBenchDeliveries *deliveries)
{
    ShProducer *producer = NULL;
    ShError err;
    options->on_delivery = on_delivery;
    options->on_delivery_context = deliveries;
    sh_bench_check(sh_producer_new(client, options, &producer, &err), &err, "producer");
    return producer;
}

double sh_bench_fill(ShProducer *producer, const char *topic, int bytes, int64_t count)
{
    ShError err;
    uint8_t *value = malloc((size_t)bytes);
    if (value == NULL) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    memset(value, 'x', (size_t)bytes);
    ShRecord record = {.value = value, .value_length = (size_t)bytes};
    bool terminal = isatty(STDERR_FILENO) != 0;
    int64_t begun = sh_bench_now_us();
    int64_t shown = begun;
    for (int64_t i = 0; i < count; i++) {
        ShStatus status = sh_producer_produce(producer, topic, SH_PARTITION_ANY, &record, NULL, 0, NULL,
                                              &err);
        sh_bench_check(status, &err, "produce");
        if (terminal && i % 4096 == 0 && sh_bench_now_us() - shown > PROGRESS_EVERY_US) {
            shown = sh_bench_now_us();
            fprintf(stderr, "\r%s: %lld of %lld records ", topic, (long long)i, (long long)count);
        }
    }
    sh_bench_check(sh_producer_flush(producer, SH_BENCH_TIMEOUT_MS, &err), &err, "flush");
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    if (terminal)
        fprintf(stderr, "\r\033[K");
    free(value);
    return seconds;
}
