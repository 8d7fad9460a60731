#include "agent/base/fault.h"
#include "agent/rpc/produce_request.h"
#include "agent/rpc/server.h"

/* When a client that was refused for want of memory should come again. */
#define RETRY_MS 200

typedef struct ProduceCall {
    ShCall call;
    int64_t bytes; /* of the request, in the server's and the connection's count */
} ProduceCall;

static void start(ShCall *call, grpc_byte_buffer *message);
static bool take(ProduceCall *self, int64_t bytes);
static void destroy(ShCall *call);
static void on_answered(ShWake *wake);

/* A produce that has begun cannot be taken back, so nobody asks whether the client still waits. */
const ShMethod sh_method_produce = {
    .path = "/streamhouse.v1.StreamHouse/Produce",
    .name = "Produce",
    .call_bytes = sizeof(ProduceCall),
    .hot = true,
    .start = start,
    .destroy = destroy,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    ShProduceRequest *request = NULL;
    if (message == NULL) {
        sh_call_end(call, GRPC_STATUS_INVALID_ARGUMENT, "the request message is missing");
        return;
    }
    if (!take((ProduceCall *)call, (int64_t)grpc_byte_buffer_length(message))) {
        ShStatus status = sh_fail(&err, SH_EXHAUSTED,
                                  "there is no memory for the request beside those under way");
        (void)sh_fail_retry_after(&err, status, RETRY_MS);
        sh_call_fail(call, &err);
        return;
    }
    if (sh_produce_request_new(call, message, &request, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    sh_call_hold(call);
    sh_produce_request_append(request, NULL, on_answered);
}

/* Count the request, with those of streams, in a quarter of the memory budget. False: there is no room. */
static bool take(ProduceCall *self, int64_t bytes)
{
    ShRpc *rpc = self->call.worker->rpc;
    ShConnection *connection = self->call.connection;
    int64_t all = atomic_fetch_add(&rpc->request_bytes, bytes);
    int64_t own = connection != NULL ? atomic_fetch_add(&connection->request_bytes, bytes) : 0;
    self->bytes = bytes;
    return sh_connection_may_take(own, all, bytes, rpc->config->memory_budget_bytes / 4);
}

static void destroy(ShCall *call)
{
    ProduceCall *self = (ProduceCall *)call;
    atomic_fetch_sub(&call->worker->rpc->request_bytes, self->bytes);
    if (call->connection != NULL)
        atomic_fetch_sub(&call->connection->request_bytes, self->bytes);
}

static void on_answered(ShWake *wake)
{
    ShProduceRequest *request = (ShProduceRequest *)wake;
    ShCall *call = wake->call;
    ShPartitionError error;
    if (sh_fault_hit("rpc.produce.reply"))
        sh_call_end(call, GRPC_STATUS_UNAVAILABLE, "the answer was lost: fault rpc.produce.reply");
    else if (sh_produce_request_code(request, &error) == GRPC_STATUS_OK)
        sh_call_answer(call, sh_produce_request_answer(request));
    else
        sh_call_fail_partition(call, &error);
    sh_produce_request_free(request);
    sh_call_release(call);
}
