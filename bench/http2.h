/*
 * http2.h - one gRPC stream on a connection of its own, in hand-written HTTP/2.
 *
 * What a load generator costs is taken from what it measures, on a machine of few cores above all. This
 * client knows no more of HTTP/2 than one open stream needs: it sends what fits the server's windows, gives
 * the server a window that never ends, answers settings and pings, and takes headers of a stream only as "it
 * stands" or "it has ended". A message costs it a share of one send and one receive.
 */
#ifndef SH_BENCH_HTTP2_H
#define SH_BENCH_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SH_BENCH_ANSWER_BYTES_MAX 1024

typedef struct ShBenchHttp2 {
    int fd;
    bool stands; /* the response's headers have come */

    /* What is to be sent, and how many bytes of messages the server lets in. */
    uint8_t *out;
    size_t out_bytes;
    size_t out_capacity;
    int64_t stream_window;
    int64_t connection_window;
    int64_t initial_window;

    /* The frame that is being received: its header, then its payload. */
    uint8_t frame[9];
    size_t frame_bytes;
    size_t payload_left;
    uint8_t control[64]; /* the payload of a frame that is not DATA, as far as it is of interest */
    size_t control_bytes;

    /* The gRPC message that is being received: its prefix of five bytes, and what follows. */
    uint8_t answer[5 + SH_BENCH_ANSWER_BYTES_MAX];
    size_t answer_bytes;

    void (*take_answer)(void *context, const uint8_t *answer, size_t length);
    void *context;
} ShBenchHttp2;

/* Begin to connect to `address` ("host:port") and to call `method`; `connection` has take_answer and context
 * set. Exits with a word on failure, as all here do. */
void sh_bench_http2_start(ShBenchHttp2 *connection, const char *address, const char *method);
void sh_bench_http2_close(ShBenchHttp2 *connection);

/* Put a message behind what is to be sent; false when the server has no window for it now. */
bool sh_bench_http2_put(ShBenchHttp2 *connection, const uint8_t *message, size_t length);
/* Send what was put; false while the socket takes no more. */
bool sh_bench_http2_flush(ShBenchHttp2 *connection);
/* Receive what is there, and hand out its answers. */
void sh_bench_http2_receive(ShBenchHttp2 *connection);

#endif
