/*
 * echo_server.h - the server of echo.h.
 */
#ifndef SH_BENCH_ECHO_SERVER_H
#define SH_BENCH_ECHO_SERVER_H

#include <stdint.h>

#define SH_BENCH_ECHO_METHOD   "/bench/Echo"   /* sends each message back */
#define SH_BENCH_STREAM_METHOD "/bench/Stream" /* answers a ShBenchStreamRequest with so many messages */

typedef struct ShBenchStreamRequest {
    uint64_t message_bytes;
    int64_t count;
} ShBenchStreamRequest;

/* Serve until the process is ended; the port goes to the pipe `port_fd`. */
void sh_bench_echo_serve(int port_fd) __attribute__((noreturn));

#endif
