/*
 * fetch_request.h - one FetchRequest: from the message to the engine's fetch, once or again and again, and
 * the answers.
 *
 * Answers refer to the engine's slices, so batches go from the log's memory, or from what was read of the
 * store, to the socket without a copy.
 */
#ifndef SH_AGENT_RPC_FETCH_REQUEST_H
#define SH_AGENT_RPC_FETCH_REQUEST_H

#include "agent/rpc/call.h"
#include "agent/rpc/checker.h"
#include "agent/rpc/error.h"

/* Who may tell the engine to stop waiting, and who posts the wake: sh_engine_fetch_cancel must not begin once
 * `done` has, and both may come at the same moment from two threads. */
typedef enum ShFetchState {
    SH_FETCH_IDLE,
    SH_FETCH_WAITING,
    SH_FETCH_CANCELLING,
    SH_FETCH_DONE
} ShFetchState;

typedef struct ShFetchRequest {
    ShWake wake; /* first; posted when the engine has answered */
    ShFetch fetch;
    bool decode;
    bool bytes_asked; /* the client set max_bytes */
    atomic_int state;
    ShSlice *decoded; /* the records of each part once they are unfolded */
    ShCheckJob job;
} ShFetchRequest;

/* Parse and check a message into `request`, whose parts live as long as the call. */
ShStatus sh_fetch_request_init(ShFetchRequest *request, ShCall *call, grpc_byte_buffer *message,
                               ShError *err) SH_MUST_CHECK;

/* Fetch from the parts' offsets. `answered` runs on the call's thread afterwards; the caller holds the call
 * until then. */
void sh_fetch_request_start(ShFetchRequest *request, void (*answered)(ShWake *wake));

/* End the engine's wait if it still waits. On the call's thread. */
void sh_fetch_request_cancel(ShFetchRequest *request);

/* Unfold what the engine gave if records are asked for, here or where it keeps nobody waiting, and move each
 * part's next_offset to what the answer really reaches. `unfolded` runs on the call's thread afterwards,
 * perhaps before this returns; the caller holds the call until then. */
void sh_fetch_request_unfold(ShFetchRequest *request, void (*unfolded)(ShWake *wake));

/* The FetchResponse, with all parts or only those with records; it takes the slices. */
grpc_byte_buffer *sh_fetch_request_answer(ShFetchRequest *request, bool news_only);

/* Instead of an answer: release what it would have been made of. */
void sh_fetch_request_discard(ShFetchRequest *request);

/* What the answer has at most, with all parts or only those with news. Before the batches are unfolded it is
 * what they have until then. */
int64_t sh_fetch_request_bytes(const ShFetchRequest *request, bool news_only);

/* Has a part records, or is it led over a hole? Then an answer with news is worth sending. */
bool sh_fetch_request_has_news(const ShFetchRequest *request);

/* The status of the fetch as a whole: that of its parts if all failed with the same, else OK. */
grpc_status_code sh_fetch_request_code(const ShFetchRequest *request);

/* The first part that failed, or NULL. */
const ShFetchPart *sh_fetch_request_failed_part(const ShFetchRequest *request);

#endif
