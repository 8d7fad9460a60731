/*
 * produce_request.h - one ProduceRequest: from the message to the engine's append and back to the answer.
 *
 * The message is joined into one buffer, in which its batches stay until they are uploaded: the only copy of
 * the payload. Everything about the request stands in one allocation.
 */
#ifndef SH_AGENT_RPC_PRODUCE_REQUEST_H
#define SH_AGENT_RPC_PRODUCE_REQUEST_H

#include "agent/rpc/call.h"
#include "agent/rpc/error.h"

typedef struct ShProduceRequest {
    ShWake wake;                   /* first; posted when the answer is known */
    struct ShProduceRequest *next; /* for the stream's queue */
    uint64_t request_id;
    int64_t started_us;
    size_t held_bytes; /* memory that it holds, counted by the engine */
    ShBuf *message;
    ShAppend append;     /* its parts are the accepted ones */
    ShAppendPart *parts; /* all of them: the accepted ones in front, the refused ones behind */
    size_t part_count;
    uint32_t *places; /* where in `parts` each partition of the message is */
} ShProduceRequest;

/* Read and check a message. SH_INVALID when it cannot be understood as a whole; a partition that is wrong is
 * refused alone, in the answer. `message` is left to the caller. */
ShStatus sh_produce_request_new(ShCall *call, grpc_byte_buffer *message, ShProduceRequest **out,
                                ShError *err) SH_MUST_CHECK;
void sh_produce_request_free(ShProduceRequest *request);

/* Append. `answered` runs on the call's thread afterwards, in any case, with &request->wake; the caller holds
 * the call until then. */
void sh_produce_request_append(ShProduceRequest *request, void (*answered)(ShWake *wake));

/* The ProduceResponse. */
grpc_byte_buffer *sh_produce_request_answer(const ShProduceRequest *request);

/* The status of the request as a whole: that of its partitions if all failed with the same, else OK. `first`
 * (may be NULL) then has the first partition's error, which borrows from the request. */
grpc_status_code sh_produce_request_code(const ShProduceRequest *request, ShPartitionError *first);

#endif
