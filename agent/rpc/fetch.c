#include "agent/rpc/fetch_request.h"
#include "agent/rpc/server.h"

typedef struct FetchCall {
    ShCall call;
    ShFetchRequest request;
} FetchCall;

static void start(ShCall *call, grpc_byte_buffer *message);
static void on_answered(ShWake *wake);
static void on_unfolded(ShWake *wake);
static bool has_room(ShFetchRequest *request);
static void stop_waiting(ShCall *call);
static void notified(ShCall *call);

const ShMethod sh_method_fetch = {
    .path = "/streamhouse.v1.StreamHouse/Fetch",
    .name = "Fetch",
    .call_bytes = sizeof(FetchCall),
    .hot = true,
    .start = start,
    .cancelled = stop_waiting,
    .notified = notified,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    FetchCall *self = (FetchCall *)call;
    ShError err = {0};
    if (sh_fetch_request_init(&self->request, call, message, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    sh_call_listen(call);
    sh_call_hold(call);
    sh_fetch_request_start(&self->request, on_answered);
    notified(call);
}

static void on_answered(ShWake *wake)
{
    ShFetchRequest *request = (ShFetchRequest *)wake;
    ShCall *call = wake->call;
    if (sh_fetch_request_code(request) == GRPC_STATUS_OK) {
        if (has_room(request))
            sh_fetch_request_unfold(request, on_unfolded);
        return;
    }
    ShPartitionError error;
    const ShFetchPart *failed = sh_fetch_request_failed_part(request);
    sh_partition_error_fill(&error, &failed->error, &failed->redirect, SH_FROM_STORE);
    sh_call_fail_partition(call, &error);
    sh_fetch_release(&request->fetch);
    sh_call_release(call);
}

static void on_unfolded(ShWake *wake)
{
    ShFetchRequest *request = (ShFetchRequest *)wake;
    ShCall *call = wake->call;
    if (!has_room(request))
        return;
    sh_call_answer(call, sh_fetch_request_answer(request, false));
    sh_call_release(call);
}

/* False: there is no room for the answer, or nobody for it, and the call is let go. */
static bool has_room(ShFetchRequest *request)
{
    ShCall *call = request->wake.call;
    ShError err = {0};
    if (!call->ended && sh_call_reserve_answer(call, sh_fetch_request_bytes(request, false), &err) == SH_OK)
        return true;
    sh_call_fail(call, &err);
    sh_fetch_request_discard(request);
    sh_call_release(call);
    return false;
}

static void stop_waiting(ShCall *call)
{
    FetchCall *self = (FetchCall *)call;
    sh_fetch_request_cancel(&self->request);
}

/* A server that stops answers with what is there. */
static void notified(ShCall *call)
{
    if (sh_rpc_phase(call->worker->rpc) == SH_PHASE_STOPPING)
        stop_waiting(call);
}
