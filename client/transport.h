/*
 * transport.h - calls to agents. Only transport.c and loop.c know gRPC.
 *
 * A ShTransport holds one channel per address and is shared by all threads. A ShLoop is one thread's place to
 * wait for its calls; everything about a loop and its calls, but sh_loop_wake, belongs to the thread that
 * runs it. Every call is a ShClientCall: it writes messages one at a time, reads them one at a time, and is
 * closed once.
 */
#ifndef SH_CLIENT_TRANSPORT_H
#define SH_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/messages.h"
#include "core/bytes.h"
#include "core/status.h"

#define SH_METHOD_METADATA        "/streamhouse.v1.StreamHouse/Metadata"
#define SH_METHOD_PRODUCE_STREAM  "/streamhouse.v1.StreamHouse/ProduceStream"
#define SH_METHOD_INIT_PRODUCER   "/streamhouse.v1.StreamHouse/InitProducer"
#define SH_METHOD_FETCH_STREAM    "/streamhouse.v1.StreamHouse/FetchStream"
#define SH_METHOD_LIST_OFFSETS    "/streamhouse.v1.StreamHouse/ListOffsets"
#define SH_METHOD_CREATE_TOPIC    "/streamhouse.v1.Admin/CreateTopic"
#define SH_METHOD_DELETE_TOPIC    "/streamhouse.v1.Admin/DeleteTopic"
#define SH_METHOD_DESCRIBE_TOPICS "/streamhouse.v1.Admin/DescribeTopics"

#define SH_CALL_PIECES_MAX 64 /* of one message that is written */

typedef struct ShTransport ShTransport;
typedef struct ShLoop ShLoop;
typedef struct ShClientCall ShClientCall;

/* NULL when memory is short. */
ShTransport *sh_transport_new(void);
/* After all loops made from it. NULL allowed. */
void sh_transport_free(ShTransport *transport);

/* NULL when memory is short. */
ShLoop *sh_loop_new(ShTransport *transport);
/* Cancels the calls that are left and waits for their end; their on_closed comes. NULL allowed. */
void sh_loop_free(ShLoop *loop);
/* Handle events until none is left, waiting for the first until `deadline_ms`
 * (sh_client_now_ms) or a wake. */
void sh_loop_run(ShLoop *loop, int64_t deadline_ms);
/* Make sh_loop_run return soon. Any thread. */
void sh_loop_wake(ShLoop *loop);

/* What a call tells, each from sh_loop_run. NULL: not interested. */
typedef struct ShClientCallEvents {
    void (*on_writable)(void *context);                /* connected, or the message before is on its way */
    void (*on_message)(void *context, ShBuf *message); /* the answer to sh_client_call_read; borrowed */
    /* The last event; the call is gone afterwards. `why` has the server's words; status SH_OK: ended in good
     * order. */
    void (*on_closed)(void *context, const ShRefusal *why);
    void *context;
} ShClientCallEvents;

/* Start a call. `timeout_ms` 0: no deadline. NULL when the address is unusable or memory is short. */
ShClientCall *sh_client_call_start(ShLoop *loop, const char *address, const char *method, int timeout_ms,
                                   const ShClientCallEvents *events);
/* Whether a message may be written now. */
bool sh_client_call_writable(const ShClientCall *call);
/* Write one message made of pieces, which are not copied: each holds a reference on its owner, those without
 * an owner are copied. Only while writable. */
void sh_client_call_write(ShClientCall *call, const ShSlice *pieces, size_t count);
/* Nothing more will be written. Only while writable. */
void sh_client_call_end_writes(ShClientCall *call);
/* Ask for the next message; ignored while one is asked for. */
void sh_client_call_read(ShClientCall *call);
/* End it early; on_closed comes later, with SH_CANCELLED. */
void sh_client_call_cancel(ShClientCall *call);

/* A whole call with one message each way, on a loop of its own. Blocks. `*answer` is a new reference. */
ShStatus sh_transport_ask(ShTransport *transport, const char *address, const char *method, ShSlice request,
                          int timeout_ms, ShBuf **answer, ShRefusal *why) SH_MUST_CHECK;

/* CLOCK_MONOTONIC in milliseconds. */
int64_t sh_client_now_ms(void);

#endif
