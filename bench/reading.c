#include "bench/reading.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/session.h"

#define SILENCE_MS 10000
#define POLL_MS    100

static void *read_on(void *arg);

ShConsumer *sh_bench_consume(ShClient *client, const char *topic, int partitions, ShStartAt at)
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

void sh_bench_read(ShConsumer *consumer, int64_t count)
{
    ShError err;
    const ShMessage *messages;
    size_t got;
    uint64_t seen_bytes = 0;
    for (int64_t seen = 0; seen < count; seen += (int64_t)got) {
        sh_bench_check(sh_consumer_poll(consumer, SILENCE_MS, &messages, &got, &err), &err, "poll");
        for (size_t i = 0; i < got; i++)
            seen_bytes += messages[i].record.value[0];
        if (got == 0) {
            fprintf(stderr, "bench: nothing came for %d ms after %lld of %lld records\n", SILENCE_MS,
                    (long long)seen, (long long)count);
            exit(1);
        }
    }
    if (seen_bytes == 0)
        fprintf(stderr, "bench: the records are empty\n");
}

void sh_bench_reader_start(ShBenchReader *reader, ShConsumer *consumer)
{
    reader->consumer = consumer;
    atomic_store(&reader->stopping, false);
    atomic_store(&reader->records, 0);
    if (pthread_create(&reader->thread, NULL, read_on, reader) != 0) {
        fprintf(stderr, "bench: no thread\n");
        exit(1);
    }
    pthread_setname_np(reader->thread, "bench-reader");
}

void sh_bench_reader_stop(ShBenchReader *reader)
{
    atomic_store(&reader->stopping, true);
    pthread_join(reader->thread, NULL);
    sh_consumer_close(reader->consumer);
}

static void *read_on(void *arg)
{
    ShBenchReader *reader = arg;
    ShError err;
    const ShMessage *messages;
    size_t got;
    while (!atomic_load(&reader->stopping)) {
        sh_bench_check(sh_consumer_poll(reader->consumer, POLL_MS, &messages, &got, &err), &err, "poll");
        atomic_fetch_add(&reader->records, (int64_t)got);
    }
    return NULL;
}
