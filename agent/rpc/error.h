/*
 * error.h - ShError as gRPC clients see it: a status for a call, a PartitionError for a part of one.
 */
#ifndef SH_AGENT_RPC_ERROR_H
#define SH_AGENT_RPC_ERROR_H

#include <grpc/status.h>

#include "agent/log/engine.h"
#include "agent/rpc/call.h"
#include "core/status.h"
#include "proto/streamhouse.pb-c.h"

/* Where damaged bytes came from decides whose fault they are. */
typedef enum ShBytesFrom { SH_FROM_CLIENT, SH_FROM_STORE } ShBytesFrom;

/* The gRPC status of an error, as core/status.h lists them. */
grpc_status_code sh_rpc_code(ShStatus status, ShBytesFrom from);

/* SH_EXHAUSTED with a delay: a client for whom there was no room should come again. */
ShStatus sh_fail_for_room(ShError *err, const char *text);

/* A PartitionError with the memory that it points into. */
typedef struct ShPartitionError {
    Streamhouse__V1__PartitionError error;
    Streamhouse__V1__Owner owner;
    char message[2 * SH_ERROR_MESSAGE_BYTES];
} ShPartitionError;

/* Fill `out` from an error and, for SH_NOT_OWNER, from the owner where it is known. It borrows from
 * `redirect`. */
void sh_partition_error_fill(ShPartitionError *out, const ShError *err, const ShOwner *redirect,
                             ShBytesFrom from);

/* End the call with this error, and a retry delay where it has one. */
void sh_call_fail(ShCall *call, const ShError *err);

/* End the call with one partition's error: as above, and `streamhouse-error-bin` holds the PartitionError. */
void sh_call_fail_partition(ShCall *call, const ShPartitionError *partition);

#endif
