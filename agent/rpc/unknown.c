#include <stdio.h>

#include <grpc/slice.h>

#include "agent/rpc/server.h"

static void start(ShCall *call, grpc_byte_buffer *none);

const ShMethod sh_method_unknown = {
    .path = NULL,
    .name = "unknown",
    .call_bytes = sizeof(ShCall),
    .start = start,
};

static void start(ShCall *call, grpc_byte_buffer *none)
{
    (void)none;
    char text[256];
    snprintf(
        text, sizeof text, "no method %.*s; server reflection lists what there is",
        (int)(GRPC_SLICE_LENGTH(call->details.method) < 160 ? GRPC_SLICE_LENGTH(call->details.method) : 160),
        (const char *)GRPC_SLICE_START_PTR(call->details.method));
    sh_call_end(call, GRPC_STATUS_UNIMPLEMENTED, text);
}
