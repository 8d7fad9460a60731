#include "agent/rpc/error.h"

#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <string.h>

/* When a client that was refused for want of room should come again. */
#define ROOM_RETRY_MS 200

static void add_pushback(ShCall *call, int32_t retry_after_ms);

grpc_status_code sh_rpc_code(ShStatus status, ShBytesFrom from)
{
    switch (status) {
    case SH_OK:
        return GRPC_STATUS_OK;
    case SH_INVALID:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case SH_CORRUPT:
        return from == SH_FROM_CLIENT ? GRPC_STATUS_INVALID_ARGUMENT : GRPC_STATUS_DATA_LOSS;
    case SH_TOO_LARGE:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case SH_UNSUPPORTED:
        return GRPC_STATUS_UNIMPLEMENTED;
    case SH_NOT_FOUND:
        return GRPC_STATUS_NOT_FOUND;
    case SH_EXISTS:
        return GRPC_STATUS_ALREADY_EXISTS;
    case SH_OUT_OF_RANGE:
        return GRPC_STATUS_OUT_OF_RANGE;
    case SH_DUPLICATE_SEQUENCE:
        return GRPC_STATUS_ALREADY_EXISTS;
    case SH_NOT_OWNER:
    case SH_FENCED:
    case SH_OUT_OF_ORDER_SEQUENCE:
    case SH_INVALID_PRODUCER_EPOCH:
    case SH_UNKNOWN_PRODUCER_ID:
        return GRPC_STATUS_FAILED_PRECONDITION;
    case SH_DENIED:
        return GRPC_STATUS_PERMISSION_DENIED;
    case SH_EXHAUSTED:
    case SH_NO_MEMORY:
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    case SH_OUTDATED:
    case SH_UNAVAILABLE:
    case SH_CANCELLED: /* by this side: who gave up itself asks for no status */
        return GRPC_STATUS_UNAVAILABLE;
    case SH_TIMEOUT:
        return GRPC_STATUS_DEADLINE_EXCEEDED;
    case SH_IO:
    case SH_INTERNAL:
        return GRPC_STATUS_INTERNAL;
    }
    return GRPC_STATUS_UNKNOWN;
}

ShStatus sh_fail_for_room(ShError *err, const char *text)
{
    (void)sh_fail(err, SH_EXHAUSTED, "%s", text);
    return sh_fail_retry_after(err, SH_EXHAUSTED, ROOM_RETRY_MS);
}

void sh_partition_error_fill(ShPartitionError *out, const ShError *err, const ShOwner *redirect,
                             ShBytesFrom from)
{
    streamhouse__v1__partition_error__init(&out->error);
    streamhouse__v1__owner__init(&out->owner);
    out->error.code = (int32_t)sh_rpc_code(err->status, from);
    out->error.reason = (char *)(uintptr_t)sh_status_name(err->status);
    out->error.retry_after_ms = err->retriable ? err->retry_after_ms : 0;
    out->error.message = out->message;

    bool owner_known = err->status == SH_NOT_OWNER && redirect != NULL && redirect->address[0] != '\0';
    if (!owner_known) {
        snprintf(out->message, sizeof out->message, "%s", err->message);
        return;
    }
    snprintf(out->message, sizeof out->message, "%s (owner: agent %s at %s, epoch %lld)", err->message,
             redirect->agent_id, redirect->address, (long long)redirect->epoch);
    out->owner.agent_id = (char *)(uintptr_t)redirect->agent_id;
    out->owner.address = (char *)(uintptr_t)redirect->address;
    out->owner.zone = (char *)(uintptr_t)redirect->zone;
    out->owner.epoch = redirect->epoch;
    out->error.owner = &out->owner;
}

void sh_call_fail(ShCall *call, const ShError *err)
{
    if (err->retriable)
        add_pushback(call, err->retry_after_ms);
    sh_call_end(call, sh_rpc_code(err->status, SH_FROM_CLIENT), err->message);
}

void sh_call_fail_partition(ShCall *call, const ShPartitionError *partition)
{
    add_pushback(call, partition->error.retry_after_ms);
    size_t bytes = streamhouse__v1__partition_error__get_packed_size(&partition->error);
    uint8_t *packed = gpr_malloc(bytes + 1);
    streamhouse__v1__partition_error__pack(&partition->error, packed);
    sh_call_add_trailing(call, "streamhouse-error-bin", packed, bytes);
    gpr_free(packed);
    sh_call_end(call, (grpc_status_code)partition->error.code, partition->error.message);
}

static void add_pushback(ShCall *call, int32_t retry_after_ms)
{
    if (retry_after_ms <= 0)
        return;
    char text[16];
    int length = snprintf(text, sizeof text, "%d", retry_after_ms);
    sh_call_add_trailing(call, "grpc-retry-pushback-ms", text, (size_t)length);
}
