/*
 * health.c - grpc.health.v1: Check answers once, Watch tells every change.
 *
 * The agent serves until it drains. Its services share one state; a name that is none of them is NOT_FOUND in
 * Check and SERVICE_UNKNOWN in Watch, as the protocol asks.
 */
#include <string.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/wire.h"

enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };
enum { REQUEST_SERVICE = 1, RESPONSE_STATUS = 1 };

typedef struct WatchCall {
    ShCall call;
    bool known;
    int told; /* the last status that was written; 0: none yet */
} WatchCall;

static void start_check(ShCall *call, grpc_byte_buffer *message);
static void start_watch(ShCall *call, grpc_byte_buffer *message);
static void tell_change(ShCall *call);
static void forget(ShCall *call);
static bool read_request(ShCall *call, grpc_byte_buffer *message, bool *known);
static bool is_service(ShWireBytes name);
static int current_status(const ShCall *call);
static grpc_byte_buffer *response(int status);

static const char *const services[] = {"", "streamhouse.v1.StreamHouse", "streamhouse.v1.Admin"};

const ShMethod sh_method_health_check = {
    .path = "/grpc.health.v1.Health/Check",
    .name = "HealthCheck",
    .call_bytes = sizeof(ShCall),
    .start = start_check,
};

const ShMethod sh_method_health_watch = {
    .path = "/grpc.health.v1.Health/Watch",
    .name = "HealthWatch",
    .call_bytes = sizeof(WatchCall),
    .writes_stream = true,
    .start = start_watch,
    .written = tell_change,
    .notified = tell_change,
    .cancelled = forget,
};

static void start_check(ShCall *call, grpc_byte_buffer *message)
{
    bool known = false;
    if (!read_request(call, message, &known))
        return;
    if (known)
        sh_call_answer(call, response(current_status(call)));
    else
        sh_call_end(call, GRPC_STATUS_NOT_FOUND, "this agent has no such service");
}

static void start_watch(ShCall *call, grpc_byte_buffer *message)
{
    WatchCall *self = (WatchCall *)call;
    if (!read_request(call, message, &self->known))
        return;
    sh_call_listen(call);
    tell_change(call);
}

/* Write the status if it is not what was written last. */
static void tell_change(ShCall *call)
{
    WatchCall *self = (WatchCall *)call;
    int status = self->known ? current_status(call) : SERVICE_UNKNOWN;
    if (status != self->told && !call->writing) {
        self->told = status;
        sh_call_write(call, response(status), false);
    }
    if (sh_rpc_phase(call->worker->rpc) == SH_PHASE_STOPPING)
        sh_call_end(call, GRPC_STATUS_UNAVAILABLE, "the agent is shutting down");
}

static void forget(ShCall *call)
{
    (void)call; /* a watch holds nothing beside its call */
}

/* Read HealthCheckRequest; false when the call was ended with an error. */
static bool read_request(ShCall *call, grpc_byte_buffer *message, bool *known)
{
    ShBuf *bytes = message != NULL ? sh_message_join(message) : NULL;
    ShWireReader reader = bytes != NULL ? sh_wire_reader(bytes->data, bytes->length) : (ShWireReader){0};
    ShWireBytes service = {0};
    ShWireField field;
    ShError err = {0};
    bool more;
    ShStatus status;
    do {
        status = sh_wire_next(&reader, &field, &more, &err);
        if (status == SH_OK && more && field.number == REQUEST_SERVICE) {
            status = sh_wire_expect(&field, SH_WIRE_BYTES, &err);
            service = field.bytes;
        }
    } while (status == SH_OK && more);

    *known = is_service(service);
    if (status != SH_OK)
        sh_call_fail(call, &err);
    sh_buf_unref(bytes);
    return status == SH_OK;
}

static bool is_service(ShWireBytes name)
{
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (strlen(services[i]) == name.length &&
            (name.length == 0 || memcmp(services[i], name.data, name.length) == 0))
            return true;
    }
    return false;
}

static int current_status(const ShCall *call)
{
    return sh_rpc_phase(call->worker->rpc) == SH_PHASE_SERVING ? SERVING : NOT_SERVING;
}

static grpc_byte_buffer *response(int status)
{
    ShOut out;
    sh_out_init(&out, 0);
    sh_out_varint(&out, RESPONSE_STATUS, (uint64_t)status);
    return sh_out_finish(&out);
}
