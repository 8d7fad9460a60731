/*
 * reading.h - consuming with libstreamhouse, every record decoded, and a reader in the background whose pace
 * is watched.
 */
#ifndef SH_BENCH_READING_H
#define SH_BENCH_READING_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/streamhouse.h"

/* A consumer of all partitions from `at` on. */
ShConsumer *sh_bench_consume(ShClient *client, const char *topic, int partitions, ShStartAt at);

/* Take records until `count` have come and look at each value's first byte; exits when the agent falls
 * silent. */
void sh_bench_read(ShConsumer *consumer, int64_t count);

/* A thread that reads what comes. */
typedef struct ShBenchReader {
    ShConsumer *consumer; /* its own until it is stopped */
    pthread_t thread;
    atomic_bool stopping;
    _Atomic int64_t records;
} ShBenchReader;

void sh_bench_reader_start(ShBenchReader *reader, ShConsumer *consumer);
/* Stop it and close its consumer. */
void sh_bench_reader_stop(ShBenchReader *reader);

#endif
