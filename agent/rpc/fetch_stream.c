/*
 * fetch_stream.c - reading on and on, the hot path of readers.
 *
 * One fetch follows the other, each from where the one before ended, and the next begins when gRPC has taken
 * the answer: a reader that stalls holds one answer, of which the payload is the log's own memory. It is fast
 * because an answer is as large as what there is (up to RESPONSE_BYTES_MAX), is not copied, and costs two
 * events: the engine's and the write's. The answers of all streams together take a quarter of the memory
 * budget at most (room.h), so that with many streams each has a smaller share.
 *
 * An answer may be larger than its share: one batch or one record at least comes, and what a batch unfolds to
 * is known when it is unfolded. If there is no room for it, it is given up, and made again when there is.
 */
#include "agent/base/clock.h"
#include "agent/rpc/fetch_request.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"

/* Of one answer, unless the client asks for another bound. */
#define RESPONSE_BYTES_MAX (1 << 20)
/* Every stream's share, however many there are. */
#define SHARE_BYTES_MIN (64 << 10)
/* How often a stream that waits for room has those looked at that hold it, and when it waits no longer. */
#define ROOM_CHECK_US   1000000
#define ROOM_TIMEOUT_US (30 * 1000000LL)

typedef struct FetchStream {
    ShCall call;
    ShFetchRequest request;
    bool fetching;
    int64_t bytes_max;
    int64_t bytes_min;
    int64_t held_bytes; /* of the answer that is on its way */
    ShRoomShare share;  /* of the room for answers */
    ShWake has_room;
    bool lacks_room;
    bool waiting; /* for room: holds the call */
    int64_t waits_since_us;
    int64_t wanted_bytes; /* the room that the answer needs */
} FetchStream;

static void start(ShCall *call, grpc_byte_buffer *message);
static void fetch_next(FetchStream *stream);
static int64_t share_bytes(const FetchStream *stream);
static void on_answered(ShWake *wake);
static void on_unfolded(ShWake *wake);
static bool has_news(const FetchStream *stream);
static void go_on(FetchStream *stream);
static void write_answer(FetchStream *stream);
static bool take_room(FetchStream *stream);
static void release_answer(FetchStream *stream);
static void wait_for_room(FetchStream *stream);
static void on_room(ShWake *wake);
static void check_room(ShCall *call);
static bool stop_waiting(FetchStream *stream);
static void on_written(ShCall *call);
static void notified(ShCall *call);
static void cancelled(ShCall *call);
static void stop_work(FetchStream *stream);
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
    .due = check_room,
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
    stream->bytes_min = fetch->bytes_min;
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
    if (stream->fetching || stream->waiting || stream->call.ending || stream->call.ended)
        return;
    stream->fetching = true;
    int64_t share = share_bytes(stream);
    stream->request.fetch.bytes_max = stream->bytes_max < share ? stream->bytes_max : share;
    /* With room that it has waited for it does not wait again: nobody else has the room meanwhile. */
    stream->request.fetch.bytes_min = stream->share.in_use ? 1 : stream->bytes_min;
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
    FetchStream *stream = (FetchStream *)wake->call;
    if (has_news(stream) && take_room(stream))
        sh_fetch_request_unfold(request, on_unfolded);
    else
        go_on(stream);
}

static void on_unfolded(ShWake *wake)
{
    FetchStream *stream = (FetchStream *)wake->call;
    if (!stream->request.decode || (has_news(stream) && take_room(stream)))
        write_answer(stream);
    go_on(stream);
}

static bool has_news(const FetchStream *stream)
{
    return !stream->call.ended && !stream->call.ending && sh_fetch_request_has_news(&stream->request);
}

/* After a fetch: its answer is written, or there is none. */
static void go_on(FetchStream *stream)
{
    ShCall *call = &stream->call;
    ShFetchRequest *request = &stream->request;
    stream->fetching = false;
    if (stream->lacks_room) {
        wait_for_room(stream);
        sh_call_release(call);
        return;
    }
    const ShFetchPart *failed = sh_fetch_request_failed_part(request);
    if (failed != NULL)
        end_with_failure(stream, failed);
    sh_fetch_request_discard(request);
    move_on(request);
    if (!call->writing) {
        release_answer(stream);
        fetch_next(stream);
    }
    sh_call_release(call);
}

static void write_answer(FetchStream *stream)
{
    grpc_byte_buffer *answer = sh_fetch_request_answer(&stream->request, true);
    stream->held_bytes = (int64_t)grpc_byte_buffer_length(answer);
    sh_engine_hold_memory(sh_call_engine(&stream->call), stream->held_bytes);
    sh_call_write(&stream->call, answer, false);
}

/* For the answer as far as it is known; what the stream waited for is its until then. False: it lacks room.
 */
static bool take_room(FetchStream *stream)
{
    ShRoom *room = &stream->call.worker->rpc->streams_room;
    int64_t bytes = sh_fetch_request_bytes(&stream->request, true);
    bool is_known = !stream->request.decode || stream->request.decoded != NULL;
    if (!is_known && bytes < stream->wanted_bytes)
        bytes = stream->wanted_bytes;
    stream->wanted_bytes = bytes;
    stream->lacks_room = bytes >= SH_ROOM_COUNTED_BYTES &&
                         !sh_room_take(room, &stream->share, &stream->call, bytes, is_known);
    if (bytes < SH_ROOM_COUNTED_BYTES)
        sh_room_release(room, &stream->share);
    return !stream->lacks_room;
}

static void release_answer(FetchStream *stream)
{
    if (stream->held_bytes > 0)
        sh_engine_hold_memory(sh_call_engine(&stream->call), -stream->held_bytes);
    stream->held_bytes = 0;
    stream->wanted_bytes = 0;
    sh_room_release(&stream->call.worker->rpc->streams_room, &stream->share);
}

/* It holds nothing meanwhile. */
static void wait_for_room(FetchStream *stream)
{
    ShCall *call = &stream->call;
    sh_fetch_request_discard(&stream->request);
    stream->lacks_room = false;
    stream->waiting = true;
    stream->waits_since_us = sh_clock_now_us();
    stream->has_room = (ShWake){.call = call, .run = on_room};
    sh_call_hold(call);
    sh_call_set_due(call, ROOM_CHECK_US);
    sh_room_wait(&call->worker->rpc->streams_room, &stream->share, call, stream->wanted_bytes,
                 &stream->has_room);
}

static void on_room(ShWake *wake)
{
    ShCall *call = wake->call;
    FetchStream *stream = (FetchStream *)call;
    stream->waiting = false;
    sh_call_clear_due(call);
    fetch_next(stream);
    sh_call_release(call);
}

/* Once a second while the stream waits. */
static void check_room(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    bool is_late = sh_clock_now_us() - stream->waits_since_us >= ROOM_TIMEOUT_US;
    if (!is_late)
        sh_room_press(&call->worker->rpc->streams_room);
    if (!is_late || !stop_waiting(stream)) {
        sh_call_set_due(call, ROOM_CHECK_US);
        return;
    }
    ShError err = {0};
    (void)sh_fail_for_room(&err,
                           "there is no memory for the next answer beside those that other streams have "
                           "not taken yet");
    sh_call_fail(call, &err);
    sh_call_release(call);
}

/* True: it does not wait any more, and the caller has its hold on the call. */
static bool stop_waiting(FetchStream *stream)
{
    if (!stream->waiting || !sh_room_stop_waiting(&stream->call.worker->rpc->streams_room, &stream->share))
        return false;
    stream->waiting = false;
    sh_call_clear_due(&stream->call);
    return true;
}

static void on_written(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    release_answer(stream);
    fetch_next(stream);
}

static void notified(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    if (sh_rpc_phase(call->worker->rpc) != SH_PHASE_STOPPING)
        return;
    sh_call_end(call, GRPC_STATUS_UNAVAILABLE,
                "the agent is shutting down; ask for the partitions' new owners");
    stop_work(stream);
}

static void cancelled(ShCall *call)
{
    FetchStream *stream = (FetchStream *)call;
    if (sh_room_has_cancelled(&call->worker->rpc->streams_room, &stream->share))
        call->code = GRPC_STATUS_RESOURCE_EXHAUSTED;
    stop_work(stream);
}

static void stop_work(FetchStream *stream)
{
    sh_fetch_request_cancel(&stream->request);
    if (stop_waiting(stream))
        sh_call_release(&stream->call);
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
