/*
 * session.h - what the benchmarks of an agent share: its address, a topic of one's own, records of a size.
 */
#ifndef SH_BENCH_SESSION_H
#define SH_BENCH_SESSION_H

#include <stdint.h>

#include "client/streamhouse.h"

/* The record sizes that every figure is given for. */
#define SH_BENCH_SIZES                                                                                       \
    {                                                                                                        \
        100, 1024                                                                                            \
    }
#define SH_BENCH_PARTITIONS 4
#define SH_BENCH_TIMEOUT_MS 120000

/* A client of the agent at `address` ("host:port"); exits with a word on failure, as all here do. */
ShClient *sh_bench_connect(const char *address);

/* Stop with the error's message on stderr unless `status` is SH_OK. */
void sh_bench_check(ShStatus status, const ShError *err, const char *what);

/* Create the topic with `partitions`, deleting an older one. */
void sh_bench_topic(ShClient *client, const char *name, int partitions);

/* "1GB", "64MB" or a number of bytes from the environment's SH_BENCH_BYTES (BENCH_BYTES of `make bench`), or
 * `bytes` where that is not set. */
int64_t sh_bench_bytes(int64_t bytes);

/* A producer whose deliveries are counted; a failed one ends the program. */
typedef struct ShBenchDeliveries {
    _Atomic int64_t count;
} ShBenchDeliveries;
ShProducer *sh_bench_producer(ShClient *client, ShProducerOptions *options, ShBenchDeliveries *deliveries);

/* Append `count` records of `bytes` each, over the topic's partitions, and wait for their acknowledgement;
 * the seconds it took. Progress goes to stderr when it is a terminal. */
double sh_bench_fill(ShProducer *producer, const char *topic, int bytes, int64_t count);

#endif
