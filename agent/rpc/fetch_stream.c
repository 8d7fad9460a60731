/*
 * fetch_stream.c - reading on and on, the hot path of readers.
 *
 * One fetch follows the other, each from where the one before ended, and the next begins when gRPC has taken
 * the answer: a reader that stalls holds one answer, of which the payload is the log's own memory. It is fast
 * because an answer is as large as what there is (up to RESPONSE_BYTES_MAX), is not copied, and costs two
 * events: the engine's and the write's. The answers of all streams together take a quarter of the memory
 * budget at most, so that with many streams each has a smaller share.
 */
#include "agent/rpc/fetch_request.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"

/* Of one answer, unless the client asks for another bound. */
#define RESPONSE_BYTES_MAX (1 << 20)
/* Every stream's share, however many there are. */
#define SHARE_BYTES_MIN (64 << 10)

typedef struct FetchStream {
    ShCall call;
    ShFetchRequest request;
    bool fetching;
    int64_t bytes_max;
    int64_t held_bytes; /* of the answer that is on its way */
} FetchStream;

static void start(ShCall *call, grpc_byte_buffer *message);
static void fetch_next(FetchStream *stream);
static int64_t share_bytes(const FetchStream *stream);
static void write_answer(FetchStream *stream);
static void release_answer(FetchStream *stream);
static void on_answered(ShWake *wake);
static void on_written(ShCall *call);
static void notified(ShCall *call);
static void cancelled(ShCall *call);
static void destroy(ShCall *call);
static void move_on(ShFetchRequest *request);
static void end_with_failure(FetchStream *stream, const ShFetchPart *failed);

const ShMethod sh_method_fetch_stream = {
    .path = "/streamhouse.v1.StreamHouse/FetchStream",
    .name = "FetchStream",
    .call_bytes = sizeof(FetchStream),
    .writes_stream = true,
    .start = start,
    .written = on_written,
    .notified = notified,
    .cancelled = cancelled,
    .destroy = destroy,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    FetchStream *stream = (FetchStream *)call;
    ShError err = {0};
    atomic_fetch_add(&call->worker->rpc->fetch_streams, 1);
    if (sh_fetch_request_init(&stream->request, call, message, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    ShFetch *fetch = &stream->request.fetch;
    stream->bytes_max = fetch->bytes_max;
    if (!stream->request.bytes_asked && stream->bytes_max > RESPONSE_BYTES_MAX)
        stream->bytes_max = RESPONSE_BYTES_MAX;
    /* A stream waits anyway: the longer the engine does it, the fewer times it is asked for nothing. */
    if (fetch->wait_max_ms == 0)
        fetch->wait_max_ms = sh_call_config(call)->fetch_wait_max_ms;
    sh_call_listen(call);
    sh_call_send_headers(call);
    notified(call);
}

static void fetch_next(FetchStream *stream)
{
    if (stream->fetching || stream->call.ending || stream->call.ended)
        return;
    stream->fetching = true;
    int64_t share = share_bytes(stream);
    stream->request.fetch.bytes_max = stream->bytes_max < share ? stream->bytes_max : share;
    sh_call_hold(&stream->call);
    sh_fetch_request_start(&stream->request, on_answered);
}

static int64_t share_bytes(const FetchStream *stream)
{
    ShRpc *rpc = stream->call.worker->rpc;
    int64_t share = rpc->config->memory_budget_bytes / 4 / atomic_load(&rpc->fetch_streams);
    return share > SHARE_BYTES_MIN ? share : SHARE_BYTES_MIN;
}

static void on_answered(ShWake *wake)
{
    ShFetchRequest *request = (ShFetchRequest *)wake;
    ShCall *call = wake->call;
    FetchStream *stream = (FetchStream *)call;
    stream->fetching = false;

    bool news = !call->ended && sh_fetch_request_has_news(request);
    if (news)
        write_answer(stream);
    const ShFetchPart *failed = sh_fetch_request_failed_part(request);
    if (failed != NULL)
        end_with_failure(stream, failed);
    if (!news)
        sh_fetch_release(&request->fetch);
    move_on(request);
    if (!call->writing)
        fetch_next(stream);
    sh_call_release(call);
}

static void write_answer(FetchStream *stream)
{
    grpc_byte_buffer *answer = sh_fetch_request_answer(&stream->request, true);
    stream->held_bytes = (int64_t)grpc_byte_buffer_length(answer);
    sh_engine_hold_memory(sh_call_engine(&stream->call), stream->held_bytes);
    sh_call_write(&stream->call, answer, false);
}

static void on_written(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    release_answer(stream);
    fetch_next(stream);
}

static void release_answer(FetchStream *stream)
{
    sh_engine_hold_memory(sh_call_engine(&stream->call), -stream->held_bytes);
    stream->held_bytes = 0;
}

static void notified(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    if (sh_rpc_phase(call->worker->rpc) != SH_PHASE_STOPPING)
        return;
    sh_call_end(call, GRPC_STATUS_UNAVAILABLE,
                "the agent is shutting down; ask for the partitions' new owners");
    sh_fetch_request_cancel(&stream->request);
}

static void cancelled(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    sh_fetch_request_cancel(&stream->request);
}

static void destroy(ShCall *call)
{
    release_answer((FetchStream *)call);
    atomic_fetch_sub(&call->worker->rpc->fetch_streams, 1);
}

/* The next answer is filled from the next partition on: one that has much shall not keep the others waiting.
 */
static void move_on(ShFetchRequest *request)
{
    request->fetch.first_part = (request->fetch.first_part + 1) % request->fetch.part_count;
    for (size_t i = 0; i < request->fetch.part_count; i++)
        request->fetch.parts[i].offset = request->fetch.parts[i].next_offset;
}

static void end_with_failure(FetchStream *stream, const ShFetchPart *failed)
{
    ShPartitionError error;
    sh_partition_error_fill(&error, &failed->error, &failed->redirect, SH_FROM_STORE);
    sh_call_fail_partition(&stream->call, &error);
}
