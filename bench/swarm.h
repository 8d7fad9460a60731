/*
 * swarm.h - many small clients at once: one gRPC stream a connection, each with a window of single messages
 * under way, driven by one thread that costs little (http2.h).
 */
#ifndef SH_BENCH_SWARM_H
#define SH_BENCH_SWARM_H

#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"

typedef struct ShBenchSwarm ShBenchSwarm;

typedef struct ShBenchSwarmed {
    double seconds;
    int64_t messages;
    double p50_ms, p99_ms; /* from a message's send to its answer */
} ShBenchSwarmed;

/* Connect all to the server at `address` and wait until every stream stands; `seconds` is how long it took.
 * Connection i sends messages[i % message_count], again and again; `check` (NULL allowed) sees each answer.
 */
ShBenchSwarm *sh_bench_swarm_open(const char *address, const char *method, int connections,
                                  ShBuf *const *messages, int message_count,
                                  void (*check)(const uint8_t *answer, size_t length), double *seconds);
void sh_bench_swarm_close(ShBenchSwarm *swarm);

/* Send `messages` in all, by each connection as many (rounded up), `in_flight` of each under way. */
void sh_bench_swarm_run(ShBenchSwarm *swarm, int in_flight, int64_t messages, ShBenchSwarmed *out);

#endif
