/*
 * server.h - the inside of ShRpc, for the files of this folder.
 */
#ifndef SH_AGENT_RPC_SERVER_H
#define SH_AGENT_RPC_SERVER_H

#include <grpc/grpc.h>
#include <stdatomic.h>

#include "agent/rpc/acceptor.h"
#include "agent/rpc/call.h"
#include "agent/rpc/probe.h"
#include "agent/rpc/room.h"
#include "agent/rpc/rpc.h"
#include "agent/rpc/worker.h"

/* The life of the server. It only moves on; calls that listen are told. */
typedef enum ShPhase { SH_PHASE_SERVING, SH_PHASE_DRAINING, SH_PHASE_STOPPING } ShPhase;

/* What a client may send on a stream before the agent reads it. */
#define SH_RPC_WINDOW_BYTES (64 << 10)
/* What gRPC holds of a ProduceStream that sends all it may: the window, the message that is being read beyond
 * it, and the buffers of the connection. Measured. */
#define SH_RPC_STREAM_BYTES (256 << 10)
/* What gRPC and the kernel hold of a connection, and gRPC and the agent of a call, without messages.
 * Measured. */
#define SH_RPC_CONNECTION_BYTES (32 << 10)
#define SH_RPC_CALL_BYTES       (16 << 10)

/* Calls of one connection; clients hold back the others. */
#define SH_RPC_STREAMS_MAX 1000

#define SH_RPC_SLOW_TOPICS 64

/* Calls of ListOffsets that wait for their turn (list_offsets.c). */
typedef struct ShListTurns {
    atomic_long calls; /* under way */
    pthread_mutex_t mutex;
    int64_t running; /* by `mutex`, as the next: calls whose turn it is */
    ShRounds waiting;
} ShListTurns;

struct ShRpc {
    const ShConfig *config;
    ShEngine *engine;
    grpc_server *server;
    ShAcceptor *acceptor;
    ShProbe *_Atomic probe; /* asked by other threads while the server starts */
    bool serving;           /* the threads run */

    ShWorker *workers;
    size_t worker_count;
    size_t workers_started;
    ShMethodEntry *methods;

    atomic_int phase;
    atomic_ullong answers;      /* requests of clients that were answered */
    atomic_llong request_bytes; /* that requests to produce hold (produce_request.h) */
    atomic_long fetch_streams;  /* open */
    int64_t calls_max;          /* admitted at once, of those who have many */
    ShRoom calls_room;          /* memory of calls beside what each has at least */
    ShRoom answers_room;        /* unary answers on their way */
    ShRoom streams_room;        /* answers of FetchStreams on their way */
    ShListTurns lists;
    atomic_long admin_calls; /* of administration, under way */
    ShChecker *checker;
    /* Until when requests for topics, by a hash of their names, are checked there (produce_request.c). */
    atomic_llong slow_topics_until_us[SH_RPC_SLOW_TOPICS];
    atomic_llong slow_until_us; /* ... and the last of them */

    atomic_long calls_open;     /* that are not freed yet, refused ones among them */
    atomic_long calls_admitted; /* of them, those that calls_max bounds */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool shut_down; /* by `mutex`: no more calls will come */
    ShTag shutdown_tag;
};

static inline ShPhase sh_rpc_phase(const ShRpc *rpc)
{
    return (ShPhase)atomic_load_explicit(&rpc->phase, memory_order_relaxed);
}

/* A call was freed; sh_rpc_stop waits for the last one. */
void sh_rpc_call_closed(ShRpc *rpc);

/* All methods, by the files that serve them. */
extern const ShMethod sh_method_produce, sh_method_produce_stream;
extern const ShMethod sh_method_fetch, sh_method_fetch_stream;
extern const ShMethod sh_method_list_offsets, sh_method_metadata;
extern const ShMethod sh_method_create_topic, sh_method_delete_topic, sh_method_describe_topics,
    sh_method_init_producer;
extern const ShMethod sh_method_health_check, sh_method_health_watch;
extern const ShMethod sh_method_reflection_v1, sh_method_reflection_v1alpha;
extern const ShMethod sh_method_unknown;

#endif
