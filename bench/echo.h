/*
 * echo.h - what gRPC itself carries over loopback: a plain C core server in a process of its own, and one
 * client, with messages of the sizes that the agent sends and takes. The reference of produce and fetch.
 */
#ifndef SH_BENCH_ECHO_H
#define SH_BENCH_ECHO_H

#include <stddef.h>
#include <stdint.h>

/* Start the server. First thing in main(): it forks, and gRPC must not have started. It ends with the
 * benchmark. */
void sh_bench_echo_start(void);

/* Messages a second when each goes there and comes back, `streams` of them at once on one connection. */
double sh_bench_echo_both_ways(size_t message_bytes, int streams, int64_t count);

/* The same over `connections` with one stream each and `in_flight` messages of it, by a client that costs
 * little (swarm.h); `cpu_us` is the server's CPU time for each message. */
double sh_bench_echo_connections(size_t message_bytes, int connections, int in_flight, int64_t count,
                                 double *cpu_us);

/* Messages a second from the server to one client that joins each into one buffer, as the project's does. */
double sh_bench_echo_one_way(size_t message_bytes, int64_t count);

#endif
