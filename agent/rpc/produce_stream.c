/*
 * produce_stream.c - pipelined produce, the hot path of writers.
 *
 * The stream reads the next request while earlier ones are on their way to the disk, and answers each when it
 * is durable. It is fast because a message costs one read, one copy, one check and one write of a few bytes:
 * no thread hands it to another before the engine has it, and answers that are ready together leave in one
 * system call. A client that waits for each answer before it sends on is read together with the write of the
 * answer: gRPC would otherwise tell it at once, in a packet of its own, that it may send.
 *
 * What it guarantees: answers of one partition leave in the engine's order; at most REQUESTS_MAX requests and
 * STREAM_BYTES_MAX bytes of a stream are under way, and no stream reads on while all requests hold too much
 * (sh_produce_may_read_on), except that a stream with nothing under way reads one; what comes and finds no
 * room is refused. An answer is counted until the client has taken it, and a client that takes none for a
 * minute or two loses its stream.
 */
#include "agent/base/fault.h"
#include "agent/rpc/produce_request.h"
#include "agent/rpc/server.h"

#define REQUESTS_MAX     1024
#define STREAM_BYTES_MAX (16 << 20)
/* A client has waited for so many answers in a row: it is read ahead of its answer only now and then, to see
 * whether it still does. */
#define ALONE_REQUESTS 4
#define PROBE_REQUESTS 32

typedef struct ProduceStream {
    ShCall call;
    bool reading;
    bool read_all;   /* the client has sent its last, or nothing more is wanted from it */
    ShError failure; /* with read_all: why; it is told when everything before it is answered */
    size_t under_way;
    size_t under_way_bytes;
    bool is_checking;          /* a request whose check was postponed: no other may be appended before it */
    size_t alone;              /* requests in a row that came with none other under way */
    ShProduceRequest *answers; /* durable or refused, not yet written; oldest first */
    ShProduceRequest **answers_end;
    ShWake write; /* begins to write them */
    bool write_posted;
    uint64_t writes;      /* so far */
    uint64_t writes_seen; /* at the last look whether the client takes them */
} ProduceStream;

static void start(ShCall *call, grpc_byte_buffer *none);
static void on_read(ShCall *call, grpc_byte_buffer *message);
static ShStatus read_request(ProduceStream *stream, grpc_byte_buffer *message, ShProduceRequest **request);
static void on_checked(ShProduceRequest *request);
static void on_answered(ShWake *wake);
static void on_all_answered(ShWake *wake);
static void lose_answer(ProduceStream *stream, ShProduceRequest *request);
static void on_written(ShCall *call);
static void notified(ShCall *call);
static void cancelled(ShCall *call);
static void destroy(ShCall *call);
static void check_writing(ShCall *call);
static void read_on(ProduceStream *stream);
static bool may_read(const ProduceStream *stream);
static void write_next(ProduceStream *stream);
static void write_answer(ProduceStream *stream, grpc_byte_buffer *answer);
static bool keep_answer(ProduceStream *stream, int64_t bytes);
static void account(ProduceStream *stream, ShProduceRequest *request, int sign);
static ShProduceRequest *pop_answer(ProduceStream *stream);
static void end_if_done(ProduceStream *stream);

const ShMethod sh_method_produce_stream = {
    .path = "/streamhouse.v1.StreamHouse/ProduceStream",
    .name = "ProduceStream",
    .call_bytes = sizeof(ProduceStream),
    .reads_stream = true,
    .writes_stream = true,
    .counts_messages = true,
    .hot = true,
    .start = start,
    .read = on_read,
    .written = on_written,
    .notified = notified,
    .cancelled = cancelled,
    .due = check_writing,
    .destroy = destroy,
};

static void start(ShCall *call, grpc_byte_buffer *none)
{
    (void)none;
    ProduceStream *stream = (ProduceStream *)call;
    stream->answers_end = &stream->answers;
    stream->write = (ShWake){.call = call, .run = on_all_answered};
    sh_engine_hold_memory(sh_call_engine(call), SH_RPC_STREAM_BYTES);
    sh_call_send_headers(call);
    sh_call_listen(call);
    read_on(stream);
    notified(call);
}

static void on_read(ShCall *call, grpc_byte_buffer *message)
{
    ProduceStream *stream = (ProduceStream *)call;
    ShProduceRequest *request = NULL;
    stream->reading = false;
    if (message == NULL) {
        stream->read_all = true;
    } else if (read_request(stream, message, &request) != SH_OK) {
        /* Without its request_id a request cannot be answered, so the stream ends behind it. */
        stream->read_all = true;
        sh_call_count(call, sh_rpc_code(stream->failure.status, SH_FROM_CLIENT), call->started_us);
    } else {
        stream->alone = stream->under_way == 0 ? stream->alone + 1 : 0;
        account(stream, request, 1);
        sh_call_hold(call);
        stream->is_checking = request->is_postponed;
        sh_produce_request_append(request, on_checked, on_answered);
    }
    read_on(stream);
    end_if_done(stream);
}

/* One that finds no room is refused; where not even that has room, it ends the stream. */
static ShStatus read_request(ProduceStream *stream, grpc_byte_buffer *message, ShProduceRequest **request)
{
    ShCall *call = &stream->call;
    ShStatus status = sh_produce_request_new(call, message, request, &stream->failure);
    if (status == SH_EXHAUSTED)
        status = sh_produce_request_refuse(call, message, request, &stream->failure);
    if (status == SH_OK)
        sh_error_clear(&stream->failure);
    return status;
}

static void on_checked(ShProduceRequest *request)
{
    ProduceStream *stream = (ProduceStream *)request->wake.call;
    stream->is_checking = false;
    read_on(stream);
}

/* Nothing is written before all answers that came with this one are here, for they leave together. */
static void on_answered(ShWake *wake)
{
    ShProduceRequest *request = (ShProduceRequest *)wake;
    ShCall *call = wake->call;
    ProduceStream *stream = (ProduceStream *)call;
    if (sh_fault_hit("rpc.produce.reply")) {
        lose_answer(stream, request);
        sh_call_release(call);
        return;
    }
    request->next = NULL;
    *stream->answers_end = request;
    stream->answers_end = &request->next;
    if (call->writing || stream->write_posted) {
        sh_call_release(call);
        return;
    }
    stream->write_posted = true; /* with the request's hold on the call */
    sh_worker_post(&stream->write);
}

static void on_all_answered(ShWake *wake)
{
    ShCall *call = wake->call;
    ProduceStream *stream = (ProduceStream *)call;
    stream->write_posted = false;
    while (stream->answers != NULL && !call->writing)
        write_next(stream);
    sh_call_release(call);
}

/* The stream ends as if its connection had: the answer does not reach the client. */
static void lose_answer(ProduceStream *stream, ShProduceRequest *request)
{
    account(stream, request, -1);
    sh_produce_request_free(request);
    stream->read_all = true;
    sh_fail(&stream->failure, SH_UNAVAILABLE, "an answer was lost: fault rpc.produce.reply");
    end_if_done(stream);
}

static void on_written(ShCall *call)
{
    ProduceStream *stream = (ProduceStream *)call;
    sh_call_forget_answer(call);
    write_next(stream);
    read_on(stream);
    end_if_done(stream);
}

/* A server that stops takes no more requests, and answers those that it has. */
static void notified(ShCall *call)
{
    ProduceStream *stream = (ProduceStream *)call;
    if (sh_rpc_phase(call->worker->rpc) != SH_PHASE_STOPPING || stream->read_all)
        return;
    stream->read_all = true;
    sh_fail(&stream->failure, SH_UNAVAILABLE,
            "the agent is shutting down; ask for the partitions' new owners");
    end_if_done(stream);
}

static void cancelled(ShCall *call)
{
    ProduceStream *stream = (ProduceStream *)call;
    stream->read_all = true;
}

static void destroy(ShCall *call)
{
    ProduceStream *stream = (ProduceStream *)call;
    while (stream->answers != NULL) {
        ShProduceRequest *request = pop_answer(stream);
        account(stream, request, -1);
        sh_produce_request_free(request);
    }
    sh_engine_hold_memory(sh_call_engine(call), -SH_RPC_STREAM_BYTES);
}

/* Has the client taken an answer since the last look? Looks are far between, so that a write costs none. */
static void check_writing(ShCall *call)
{
    ProduceStream *stream = (ProduceStream *)call;
    if (!call->writing)
        return;
    if (stream->writes == stream->writes_seen) {
        grpc_call_cancel(call->call, NULL);
        return;
    }
    stream->writes_seen = stream->writes;
    sh_call_set_due(call, SH_CALL_ANSWER_TIMEOUT_US);
}

static void read_on(ProduceStream *stream)
{
    if (!stream->reading && !stream->read_all && may_read(stream)) {
        stream->reading = true;
        sh_call_read(&stream->call);
    }
}

static bool may_read(const ProduceStream *stream)
{
    if (stream->under_way == 0)
        return stream->call.answer_bytes == 0;
    if (stream->is_checking)
        return false;
    if (stream->alone >= ALONE_REQUESTS && stream->alone % PROBE_REQUESTS != 0)
        return false;
    return stream->under_way < REQUESTS_MAX && stream->under_way_bytes < STREAM_BYTES_MAX &&
           sh_produce_may_read_on(&stream->call);
}

/* Write the oldest answer. Its request is done with: its memory makes room for another to be read. */
static void write_next(ProduceStream *stream)
{
    ShCall *call = &stream->call;
    if (stream->answers == NULL)
        return;
    ShProduceRequest *request = pop_answer(stream);
    sh_call_count(call, sh_produce_request_code(request, NULL), request->started_us);
    grpc_byte_buffer *answer = sh_produce_request_answer(request);
    account(stream, request, -1);
    sh_produce_request_free(request);
    write_answer(stream, answer);
    read_on(stream);
}

/* One that is large is not written together with a read, so that it is known when it is taken. */
static void write_answer(ProduceStream *stream, grpc_byte_buffer *answer)
{
    ShCall *call = &stream->call;
    int64_t bytes = (int64_t)grpc_byte_buffer_length(answer);
    bool is_large = bytes >= SH_ROOM_COUNTED_BYTES;
    if (call->ended || call->ending || (is_large && !keep_answer(stream, bytes))) {
        grpc_byte_buffer_destroy(answer);
        return;
    }
    if (!is_large && stream->under_way == 0 && !stream->reading && !stream->read_all) {
        stream->reading = true;
        sh_call_write_and_read(call, answer);
        return;
    }
    sh_call_write(call, answer, stream->answers != NULL);
    stream->writes++;
    if (call->due_us == 0)
        sh_call_set_due(call, SH_CALL_ANSWER_TIMEOUT_US);
}

/* What a request holds grows while it is checked: what was added is what is taken away. */
/* False: there is no room for it, and the stream has ended. */
static bool keep_answer(ProduceStream *stream, int64_t bytes)
{
    ShError err = {0};
    if (sh_call_keep_answer(&stream->call, bytes, &err) == SH_OK)
        return true;
    stream->read_all = true;
    sh_call_fail(&stream->call, &err);
    return false;
}

static void account(ProduceStream *stream, ShProduceRequest *request, int sign)
{
    if (sign > 0)
        request->counted_bytes = request->held_bytes;
    stream->under_way += (size_t)sign;
    stream->under_way_bytes += (size_t)sign * request->counted_bytes;
}

static ShProduceRequest *pop_answer(ProduceStream *stream)
{
    ShProduceRequest *request = stream->answers;
    stream->answers = request->next;
    if (stream->answers == NULL)
        stream->answers_end = &stream->answers;
    return request;
}

/* The stream ends when no more is read and all that was read is answered. */
static void end_if_done(ProduceStream *stream)
{
    if (!stream->read_all || stream->under_way > 0)
        return;
    if (stream->failure.status == SH_OK)
        sh_call_end(&stream->call, GRPC_STATUS_OK, "");
    else
        sh_call_fail(&stream->call, &stream->failure);
}
