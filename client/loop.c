#include <grpc/grpc_security.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "client/grpc_internal.h"

#define EVENTS_PER_RUN_MAX 256 /* so that its caller gets its turn under load */

struct ShLoop {
    ShTransport *transport;
    grpc_completion_queue *queue;
    grpc_channel *waker;      /* never connects; see sh_loop_wake */
    atomic_bool wake_pending; /* a wake's event is not yet taken */
    ShLoopTag wake_tag;
    ShClientCall *calls;
};

static void on_wake(void *subject, bool succeeded);
static bool handle_next(ShLoop *loop, gpr_timespec deadline);

ShLoop *sh_loop_new(ShTransport *transport)
{
    ShLoop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->transport = transport;
    loop->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    loop->waker = grpc_channel_create("unix:waker", credentials, NULL);
    grpc_channel_credentials_release(credentials);
    loop->wake_tag = (ShLoopTag){on_wake, loop};
    return loop;
}

void sh_loop_free(ShLoop *loop)
{
    if (loop == NULL)
        return;
    for (int64_t forever = INT64_MAX; loop->calls != NULL;) {
        sh_client_call_cancel(loop->calls);
        sh_loop_run(loop, forever);
    }
    grpc_completion_queue_shutdown(loop->queue);
    while (handle_next(loop, gpr_inf_future(GPR_CLOCK_MONOTONIC)))
        ;
    grpc_channel_destroy(loop->waker);
    grpc_completion_queue_destroy(loop->queue);
    free(loop);
}

void sh_loop_run(ShLoop *loop, int64_t deadline_ms)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline_ms != INT64_MAX) {
        int64_t wait_ms = deadline_ms - sh_client_now_ms();
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(wait_ms > 0 ? wait_ms : 0, GPR_TIMESPAN));
    }
    for (int handled = 0; handled < EVENTS_PER_RUN_MAX && handle_next(loop, deadline); handled++)
        deadline = gpr_inf_past(GPR_CLOCK_MONOTONIC);
}

void sh_loop_wake(ShLoop *loop)
{
    /* gRPC core offers C no event of one's own. A watch of a channel's state whose time is up is the
     * cheapest. */
    if (!atomic_exchange(&loop->wake_pending, true))
        grpc_channel_watch_connectivity_state(loop->waker, GRPC_CHANNEL_IDLE, gpr_now(GPR_CLOCK_MONOTONIC),
                                              loop->queue, &loop->wake_tag);
}

grpc_completion_queue *sh_loop_queue(ShLoop *loop)
{
    return loop->queue;
}
ShTransport *sh_loop_transport(ShLoop *loop)
{
    return loop->transport;
}
ShClientCall **sh_loop_calls(ShLoop *loop)
{
    return &loop->calls;
}

static void on_wake(void *subject, bool succeeded)
{
    ShLoop *loop = subject;
    (void)succeeded;
    atomic_store(&loop->wake_pending, false);
}

/* False when there was no event in time, or the queue has ended. */
static bool handle_next(ShLoop *loop, gpr_timespec deadline)
{
    grpc_event event = grpc_completion_queue_next(loop->queue, deadline, NULL);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    ShLoopTag *tag = event.tag;
    tag->on_done(tag->subject, event.success != 0);
    return true;
}
