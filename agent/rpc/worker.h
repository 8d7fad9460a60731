/*
 * worker.h - a thread with its completion queue, and the way back to it from the engine's threads.
 *
 * A call belongs to one worker from its first event to its last: only that thread touches its state, so calls
 * need no locks. The engine's callbacks come on other threads and do one thing, sh_worker_post: the wake goes
 * to the worker's inbox, and only the first one into an empty inbox wakes the worker. A group commit that
 * completes a thousand appends so costs one wake-up, and the thread that commits never writes to a socket.
 */
#ifndef SH_AGENT_RPC_WORKER_H
#define SH_AGENT_RPC_WORKER_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "agent/rpc/checker.h"
#include "core/status.h"

struct ShCall;
struct ShRpc;

/* What gRPC gives back when an operation is complete. */
typedef struct ShTag {
    void (*run)(void *owner, bool ok);
    void *owner;
} ShTag;

/* Something to run on the thread of `call`. Lives in the object that waits for the engine; at most once in an
 * inbox. */
typedef struct ShWake {
    struct ShWake *next;
    struct ShCall *call;
    void (*run)(struct ShWake *wake);
} ShWake;

typedef struct ShWorker {
    struct ShRpc *rpc;
    grpc_completion_queue *queue;
    pthread_t thread;

    _Atomic(ShWake *) inbox; /* newest first */
    ShTag inbox_tag;
    ShWake *posted_here; /* by this thread itself, oldest first; touched by it alone */
    ShWake **posted_here_end;

    /* Calls that want to hear of a new phase (call.h). Changed by this thread only; the mutex lets others
     * read. */
    pthread_mutex_t listeners_mutex;
    TAILQ_HEAD(ShListeners, ShCall) listeners;
    ShTag phase_tag;

    TAILQ_HEAD(ShTimed, ShCall) timed; /* calls whose clients have until call->due_us; this thread's */
    int64_t time_checked_us;
    size_t fetch_turn; /* whose turn it is to fill a unary fetch's answer */

    /* Reused from request to request by this thread. */
    ShCheckTools tools;
} ShWorker;

/* Prepare a worker; `index` is for its thread's name. */
void sh_worker_init(ShWorker *worker, struct ShRpc *rpc);
ShStatus sh_worker_start(ShWorker *worker, size_t index, ShError *err) SH_MUST_CHECK;

/* After the last call ended: empty the queue, end the thread, free. Also for a worker that was never started.
 */
void sh_worker_stop(ShWorker *worker, bool started);

/* Run `wake` on its call's thread, soon. Any thread; the call must stay alive until it has run. */
void sh_worker_post(ShWake *wake);

/* Have the listeners of this worker told, on its thread, that the phase has changed. Any thread. */
void sh_worker_announce(ShWorker *worker);

#endif
