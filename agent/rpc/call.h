/*
 * call.h - one call from its arrival to its end, and the table of what each method does with it.
 *
 * A method has a struct of its own that begins with a ShCall, and functions for the events of its calls. They
 * run on the call's worker and never block. A call ends once: by an answer, by sh_call_end, or by the client
 * going away (then sends are dropped in silence). It is freed when it has ended, no gRPC operation is under
 * way, and every hold that the method took for the engine is released.
 */
#ifndef SH_AGENT_RPC_CALL_H
#define SH_AGENT_RPC_CALL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <sys/queue.h>

#include "agent/base/metrics.h"
#include "agent/log/engine.h"
#include "agent/rpc/connection.h"
#include "agent/rpc/room.h"
#include "agent/rpc/worker.h"

typedef struct ShCall ShCall;

typedef struct ShMethod {
    const char *path;     /* "/package.Service/Method"; NULL: any other path */
    const char *name;     /* of metrics */
    size_t call_bytes;    /* of the method's struct */
    bool reads_stream;    /* many requests: the method calls sh_call_read */
    bool writes_stream;   /* many responses: sh_call_write, then sh_call_end */
    bool counts_messages; /* the method itself counts and times its requests (sh_call_count) */
    bool hot;             /* expects many new calls at once */

    /* The call is there; `request` is its message (NULL with reads_stream), freed afterwards. */
    void (*start)(ShCall *call, grpc_byte_buffer *request);
    /* A message of the stream, freed afterwards; NULL: the client has sent its last. */
    void (*read)(ShCall *call, grpc_byte_buffer *message);
    /* The headers or a message of sh_call_write are on their way: the next may be written. */
    void (*written)(ShCall *call);
    /* The server's phase has changed (server.h). Only after sh_call_listen. */
    void (*notified)(ShCall *call);
    /* The client has gone, or its deadline has passed. NULL: never asked for. */
    void (*cancelled)(ShCall *call);
    /* The time of sh_call_set_due is over. NULL: never set. */
    void (*due)(ShCall *call);
    /* Free what the struct holds. May be NULL. */
    void (*destroy)(ShCall *call);
} ShMethod;

/* A method at this server. */
typedef struct ShMethodEntry {
    const ShMethod *method;
    void *handle;           /* gRPC's, of the registered path */
    ShMetric *requests[17]; /* by gRPC status code */
    ShMetric *duration;
    ShMetric *streams; /* open; NULL for unary methods */
} ShMethodEntry;

struct ShCall {
    const ShMethod *method;
    ShMethodEntry *entry;
    ShWorker *worker;
    grpc_call *call;
    ShConnection *connection; /* a reference; NULL: unknown */
    int64_t arrived_us;
    int64_t started_us; /* when its request was there, of a unary call */

    /* what gRPC fills in */
    grpc_metadata_array metadata;
    grpc_call_details details; /* of a call without a method */
    gpr_timespec deadline;
    grpc_byte_buffer *incoming;
    int close_cancelled;

    ShTag new_tag, read_tag, write_tag, end_tag, close_tag;
    int refs; /* the call's own until it has ended, one for each operation under way, one for each hold */
    bool headers_sent;
    bool writing;
    bool ending; /* the status is set; it is sent when the write under way is done */
    bool ended;  /* the status is sent, or the client has gone */
    bool listening;
    TAILQ_ENTRY(ShCall) listeners_link;

    /* The client's part of a unary call has to come to its end: its request until it is here, then the
     * answer. */
    int64_t due_us; /* 0: in no list */
    TAILQ_ENTRY(ShCall) timed_link;
    bool awaits_request;
    bool begun;       /* `start` has run */
    bool is_admitted; /* counted among those that may be */

    struct ShCallChunk *chunks; /* sh_call_alloc's */
    int64_t chunk_bytes;
    bool lacks_memory;    /* it gave no chunk for want of room */
    int64_t held_bytes;   /* counted by the engine until the call is freed */
    ShRoomShare memory;   /* of the room for the chunks of calls */
    ShRoomShare answer;   /* of the room for unary answers and ProduceStreams' */
    int64_t answer_bytes; /* of a stream's answer, counted by the engine */

    /* how the call ends */
    grpc_status_code code;
    grpc_slice details_text;
    grpc_metadata trailing[2];
    size_t trailing_count;
};

/* Wait for one more call of a method on this worker. */
void sh_call_expect(ShWorker *worker, ShMethodEntry *entry);

ShEngine *sh_call_engine(const ShCall *call);
const ShConfig *sh_call_config(const ShCall *call);

/* Keep the call alive while the engine works for it. */
void sh_call_hold(ShCall *call);
void sh_call_release(ShCall *call);

/* Read the next message of the stream; one at a time. */
void sh_call_read(ShCall *call);

/* Send the response headers of a stream now, so that the client knows that it stands. `written` follows. */
void sh_call_send_headers(ShCall *call);
/* Send a message of the stream; one at a time. `more_follow` lets gRPC gather it with the next. Takes the
 * message. */
void sh_call_write(ShCall *call, grpc_byte_buffer *message, bool more_follow);

/* Send a message of a stream whose headers are sent, and read the next: one packet, and one event, `read`,
 * when both are done. Nothing else may be written or read until then; the call may be ended. Takes the
 * message. */
void sh_call_write_and_read(ShCall *call, grpc_byte_buffer *message);

/* End a unary call with its answer, or for want of room for it with SH_EXHAUSTED. Takes the message. What
 * sh_call_alloc gave is freed. */
void sh_call_answer(ShCall *call, grpc_byte_buffer *message);

/* End the call with a status and a text. Only the first end counts. */
void sh_call_end(ShCall *call, grpc_status_code code, const char *text);
/* Before sh_call_end: add trailing metadata. `key` is static. The value is copied. */
void sh_call_add_trailing(ShCall *call, const char *key, const void *value, size_t length);

/* The client's stream of requests failed rather than ended. */
bool sh_call_read_failed(const ShCall *call);

/* Have `notified` called when the server's phase changes. Ends with the call. */
void sh_call_listen(ShCall *call);

/* Count one request and its time, for methods that do it themselves. */
void sh_call_count(ShCall *call, grpc_status_code code, int64_t started_us);

/* Memory that lives as long as the call, or until sh_call_answer, aligned for everything and counted against
 * the memory budget. NULL when memory is short, also because other calls have too much of it. */
void *sh_call_alloc(ShCall *call, size_t bytes);

/* Free it. The call's own. */
void sh_call_free_memory(ShCall *call);
/* Have so many bytes more counted against the memory budget until the call is freed, or fewer. */
void sh_call_count_memory(ShCall *call, int64_t bytes);

/* Have room for a unary answer of so many bytes before it is made, with what it takes to make it. If there is
 * none, `err` is SH_EXHAUSTED with a delay: too many answers wait for clients that do not take them. */
ShStatus sh_call_reserve_answer(ShCall *call, int64_t bytes, ShError *err) SH_MUST_CHECK;

/* Have an answer of a stream counted until its client has taken it, as unary ones are: before it is written.
 * As above when there is no room. */
ShStatus sh_call_keep_answer(ShCall *call, int64_t bytes, ShError *err) SH_MUST_CHECK;
/* It is taken. */
void sh_call_forget_answer(ShCall *call);

/* Until an answer is taken. */
#define SH_CALL_ANSWER_TIMEOUT_US (60 * 1000000LL)

/* Have `due` called so long from now, once; not sooner than the worker looks, once a second. */
void sh_call_set_due(ShCall *call, int64_t timeout_us);
/* ... or not. */
void sh_call_clear_due(ShCall *call);

/* The time for the client's part of a call is over: it is ended, or its method told. The worker's, once a
 * second. */
void sh_call_check_time(ShCall *call, int64_t now_us);

/* Parse a small request by protobuf-c into the call's memory. At most SH_RPC_ENTRIES_MAX fields
 * `repeated_field`, at most SH_RPC_SMALL_REQUEST_BYTES_MAX in all, and no string with a NUL in it or that is
 * not UTF-8 (sh_text_check), for the parsed ones end at their first NUL. NULL: `err` says why. */
#define SH_RPC_ENTRIES_MAX             10000
#define SH_RPC_SMALL_REQUEST_BYTES_MAX (4 << 20)
ProtobufCMessage *sh_call_parse(ShCall *call, grpc_byte_buffer *request,
                                const ProtobufCMessageDescriptor *type, uint32_t repeated_field,
                                ShError *err);

#endif
