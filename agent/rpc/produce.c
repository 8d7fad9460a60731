#include "agent/base/fault.h"
#include "agent/rpc/produce_request.h"
#include "agent/rpc/server.h"

static void start(ShCall *call, grpc_byte_buffer *message);
static void on_answered(ShWake *wake);

/* A produce that has begun cannot be taken back, so nobody asks whether the client still waits. */
const ShMethod sh_method_produce = {
    .path = "/streamhouse.v1.StreamHouse/Produce",
    .name = "Produce",
    .call_bytes = sizeof(ShCall),
    .hot = true,
    .start = start,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    ShProduceRequest *request = NULL;
    if (message == NULL) {
        sh_call_end(call, GRPC_STATUS_INVALID_ARGUMENT, "the request message is missing");
        return;
    }
    if (sh_produce_request_new(call, message, &request, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    sh_call_hold(call);
    sh_produce_request_append(request, NULL, on_answered);
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
