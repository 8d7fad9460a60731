/*
 * produce_request.h - one ProduceRequest: from the message to the engine's append and back to the answer.
 *
 * The message is joined into one buffer, in which its batches stay until they are uploaded: the only copy of
 * the payload. Everything about the request stands in one allocation.
 */
#ifndef SH_AGENT_RPC_PRODUCE_REQUEST_H
#define SH_AGENT_RPC_PRODUCE_REQUEST_H

#include "agent/rpc/call.h"
#include "agent/rpc/checker.h"
#include "agent/rpc/error.h"
#include "agent/rpc/wire.h"

typedef struct ShProduceRequest {
    ShWake wake;                   /* first; posted when the answer is known */
    struct ShProduceRequest *next; /* for the stream's queue */
    uint64_t request_id;
    int64_t started_us;
    size_t held_bytes;     /* memory that it holds, counted by the engine, the server and the host */
    size_t counted_bytes;  /* of them, what its stream has counted */
    ShSchemaBudget budget; /* of the work to hold its records against schemas */
    ShBuf *message;
    ShAppend append;     /* its parts are the accepted ones */
    ShAppendPart *parts; /* all of them: the accepted ones in front, the refused ones behind */
    size_t part_count;
    uint32_t *places;          /* where in `parts` each partition of the message is */
    grpc_byte_buffer *refusal; /* the answer to one that found no room; it has no parts */

    /* How far the check is: the next partition of the message, where it and its batches are, and the end of
     * the refused parts. */
    size_t next_part;
    ShWireReader reader;
    ShAppendBatch *next_batch;
    size_t back;
    size_t unfolded_bytes; /* of compressed batches, so far */
    bool is_postponed;     /* the rest is for the checker */
    bool began_postponed;  /* nothing of it was checked on the worker */
    ShCheckJob job;
    void (*checked)(struct ShProduceRequest *request);
    void (*answered)(ShWake *wake);
} ShProduceRequest;

/* Read and check a message, or begin to: what takes longer than is good for everybody is checked by
 * sh_produce_request_append. SH_INVALID when it cannot be understood as a whole; a partition that is wrong is
 * refused alone, in the answer. SH_EXHAUSTED, with a delay, when there is no room for what it will hold: all
 * requests together have a quarter of the memory budget, of which the last eighth is for hosts that hold
 * little. `message` is left to the caller. */
ShStatus sh_produce_request_new(ShCall *call, grpc_byte_buffer *message, ShProduceRequest **out,
                                ShError *err) SH_MUST_CHECK;
/* One that found no room, refused by partition with `err`, which is kept when that would take too long an
 * answer. */
ShStatus sh_produce_request_refuse(ShCall *call, grpc_byte_buffer *message, ShProduceRequest **out,
                                   ShError *err) SH_MUST_CHECK;
void sh_produce_request_free(ShProduceRequest *request);

/* Count memory that the request holds until it is freed. */
void sh_produce_request_hold(ShProduceRequest *request, size_t bytes);

/* May a stream that has requests under way read another? Three quarters of the room are for whoever comes,
 * the rest for hosts that hold little and for what was awaited already. */
bool sh_produce_may_read_on(const ShCall *call);

/* Append, after what is left of the check. `answered` runs on the call's thread afterwards, in any case, with
 * &request->wake; the caller holds the call until then. Of a postponed request `checked` (NULL: nobody) runs
 * there when it has been handed to the engine: no later request of a stream may be appended before. */
void sh_produce_request_append(ShProduceRequest *request, void (*checked)(ShProduceRequest *request),
                               void (*answered)(ShWake *wake));

/* The ProduceResponse. */
grpc_byte_buffer *sh_produce_request_answer(const ShProduceRequest *request);

/* The status of the request as a whole: that of its partitions if all failed with the same, else OK. `first`
 * (may be NULL) then has the first partition's error, which borrows from the request. */
grpc_status_code sh_produce_request_code(const ShProduceRequest *request, ShPartitionError *first);

#endif
