/*
 * fetch_stream.c - reading on and on, the hot path of readers.
 *
 * One fetch follows the other, each from where the one before ended, and the next begins when gRPC has taken
 * the answer: a reader that stalls holds one answer, of which the payload is the log's own memory. It is fast
 * because an answer is as large as what there is (up to RESPONSE_BYTES_MAX), is not copied, and costs two
 * events: the engine's and the write's.
 */
#include "agent/rpc/fetch_request.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"

/* Of one answer, unless the client asks for another bound. */
#define RESPONSE_BYTES_MAX (1 << 20)

typedef struct FetchStream {
    ShCall call;
    ShFetchRequest request;
    bool fetching;
} FetchStream;

static void start(ShCall *call, grpc_byte_buffer *message);
static void fetch_next(FetchStream *stream);
static void on_answered(ShWake *wake);
static void on_written(ShCall *call);
static void notified(ShCall *call);
static void cancelled(ShCall *call);
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
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    FetchStream *stream = (FetchStream *)call;
    ShError err = {0};
    if (sh_fetch_request_init(&stream->request, call, message, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    ShFetch *fetch = &stream->request.fetch;
    if (!stream->request.bytes_asked && fetch->bytes_max > RESPONSE_BYTES_MAX)
        fetch->bytes_max = RESPONSE_BYTES_MAX;
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
    sh_call_hold(&stream->call);
    sh_fetch_request_start(&stream->request, on_answered);
}

static void on_answered(ShWake *wake)
{
    ShFetchRequest *request = (ShFetchRequest *)wake;
    ShCall *call = wake->call;
    FetchStream *stream = (FetchStream *)call;
    stream->fetching = false;

    bool news = !call->ended && sh_fetch_request_has_news(request);
    if (news)
        sh_call_write(call, sh_fetch_request_answer(request, true), false);
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

static void on_written(ShCall *call)
{
    fetch_next((FetchStream *)call);
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

static void move_on(ShFetchRequest *request)
{
    for (size_t i = 0; i < request->fetch.part_count; i++)
        request->fetch.parts[i].offset = request->fetch.parts[i].next_offset;
}

static void end_with_failure(FetchStream *stream, const ShFetchPart *failed)
{
    ShPartitionError error;
    sh_partition_error_fill(&error, &failed->error, &failed->redirect, SH_FROM_STORE);
    sh_call_fail_partition(&stream->call, &error);
}
