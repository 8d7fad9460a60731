#include "agent/rpc/call.h"

#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/offenders.h"
#include "agent/rpc/server.h"

/* Until a unary call's request is here. */
#define REQUEST_TIMEOUT_US (30 * 1000000LL)
#define PREFIX_BYTES       5 /* of each message */
/* Who gives a call up so soon after it came has not waited for it. */
#define TORN_US (500 * 1000LL)
/* Calls of hosts that have many. */
#define MOST_CALLS(rpc) (2 * (rpc)->calls_max - (rpc)->calls_max / 4)
static void on_new(void *owner, bool ok);
static bool admit(ShCall *call);
static void give_place_up(ShCall *call);
static bool may_begin(ShRpc *rpc, int64_t all, int64_t of_connection, int64_t of_host);
static bool is_excess(const ShCall *call);
static bool has_too_many(const ShConnection *connection);
static void drop(ShCall *call);
static void await_request(ShCall *call);
static void begin_read(ShCall *call);
static void end_read(ShCall *call);
static ShStatus take_answer_room(ShCall *call, int64_t bytes, bool is_answered, ShError *err) SH_MUST_CHECK;
static void on_read(void *owner, bool ok);
static void on_written(void *owner, bool ok);
static void on_end(void *owner, bool ok);
static void on_close(void *owner, bool ok);
static bool start_batch(ShCall *call, const grpc_op *ops, size_t count, ShTag *tag);
static void send_end(ShCall *call, grpc_byte_buffer *message);
static void mark_ended(ShCall *call);
static void stop_listening(ShCall *call);
static grpc_op headers_op(void);
static grpc_op message_op(grpc_byte_buffer *message, bool more_follow);
static grpc_op close_op(ShCall *call);
static void unref(ShCall *call);
static void free_call(ShCall *call);

void sh_call_expect(ShWorker *worker, ShMethodEntry *entry)
{
    ShRpc *rpc = worker->rpc;
    ShCall *call = gpr_zalloc(entry->method->call_bytes);
    call->method = entry->method;
    call->entry = entry;
    call->worker = worker;
    call->refs = 1;
    call->details_text = grpc_empty_slice();
    call->new_tag = (ShTag){.run = on_new, .owner = call};
    call->read_tag = (ShTag){.run = on_read, .owner = call};
    call->write_tag = (ShTag){.run = on_written, .owner = call};
    call->end_tag = (ShTag){.run = on_end, .owner = call};
    call->close_tag = (ShTag){.run = on_close, .owner = call};
    grpc_metadata_array_init(&call->metadata);
    grpc_call_details_init(&call->details);

    grpc_call_error error;
    if (entry->method->path == NULL)
        error = grpc_server_request_call(rpc->server, &call->call, &call->details, &call->metadata,
                                         worker->queue, worker->queue, &call->new_tag);
    else
        error = grpc_server_request_registered_call(rpc->server, entry->handle, &call->call, &call->deadline,
                                                    &call->metadata, NULL, worker->queue, worker->queue,
                                                    &call->new_tag);
    if (error != GRPC_CALL_OK) {
        sh_log_error("rpc_expect_failed", "method=%s error=\"%s\"", entry->method->name,
                     grpc_call_error_to_string(error));
        free_call(call);
    }
}

ShEngine *sh_call_engine(const ShCall *call)
{
    return call->worker->rpc->engine;
}

const ShConfig *sh_call_config(const ShCall *call)
{
    return call->worker->rpc->config;
}

void sh_call_hold(ShCall *call)
{
    call->refs++;
}

void sh_call_release(ShCall *call)
{
    unref(call);
}

void sh_call_read(ShCall *call)
{
    if (call->ended)
        return;
    begin_read(call);
}

void sh_call_send_headers(ShCall *call)
{
    grpc_op op = headers_op();
    call->headers_sent = true;
    call->writing = start_batch(call, &op, 1, &call->write_tag);
}

void sh_call_write(ShCall *call, grpc_byte_buffer *message, bool more_follow)
{
    if (!call->ended && !call->ending) {
        grpc_op ops[2];
        size_t count = 0;
        if (!call->headers_sent)
            ops[count++] = headers_op();
        ops[count++] = message_op(message, more_follow);
        call->headers_sent = true;
        call->writing = start_batch(call, ops, count, &call->write_tag);
    }
    grpc_byte_buffer_destroy(message);
}

void sh_call_write_and_read(ShCall *call, grpc_byte_buffer *message)
{
    if (!call->ended && !call->ending) {
        grpc_op ops[] = {message_op(message, false),
                         {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->incoming}};
        if (start_batch(call, ops, 2, &call->read_tag) && call->connection != NULL)
            atomic_fetch_add(&call->connection->reading, 1);
    }
    grpc_byte_buffer_destroy(message);
}

void sh_call_answer(ShCall *call, grpc_byte_buffer *message)
{
    if (!call->ended && !call->ending) {
        ShError err = {0};
        int64_t bytes = (int64_t)grpc_byte_buffer_length(message);
        if (take_answer_room(call, bytes, true, &err) == SH_OK) {
            call->ending = true;
            call->code = GRPC_STATUS_OK;
            if (bytes >= SH_ROOM_COUNTED_BYTES)
                sh_call_count_memory(call, bytes);
            sh_call_set_due(call, SH_CALL_ANSWER_TIMEOUT_US);
            send_end(call, message);
        } else {
            sh_call_fail(call, &err);
        }
        sh_call_free_memory(call);
    }
    grpc_byte_buffer_destroy(message);
}

void sh_call_end(ShCall *call, grpc_status_code code, const char *text)
{
    if (call->ended || call->ending)
        return;
    call->ending = true;
    call->code = code;
    call->details_text = grpc_slice_from_copied_string(text);
    if (!call->writing)
        send_end(call, NULL);
}

void sh_call_add_trailing(ShCall *call, const char *key, const void *value, size_t length)
{
    if (call->ended || call->ending ||
        call->trailing_count == sizeof call->trailing / sizeof call->trailing[0])
        return;
    grpc_metadata *entry = &call->trailing[call->trailing_count++];
    entry->key = grpc_slice_from_static_string(key);
    entry->value = grpc_slice_from_copied_buffer(value, length);
}

bool sh_call_read_failed(const ShCall *call)
{
    return grpc_call_failed_before_recv_message(call->call) != 0;
}

void sh_call_listen(ShCall *call)
{
    ShWorker *worker = call->worker;
    pthread_mutex_lock(&worker->listeners_mutex);
    TAILQ_INSERT_TAIL(&worker->listeners, call, listeners_link);
    pthread_mutex_unlock(&worker->listeners_mutex);
    call->listening = true;
}

void sh_call_count(ShCall *call, grpc_status_code code, int64_t started_us)
{
    ShMethodEntry *entry = call->entry;
    atomic_fetch_add_explicit(&call->worker->rpc->answers, 1, memory_order_relaxed);
    sh_metric_add(entry->requests[code <= GRPC_STATUS_UNAUTHENTICATED ? code : GRPC_STATUS_UNKNOWN], 1);
    sh_metric_observe_us(entry->duration, sh_clock_now_us() - started_us);
}

ShStatus sh_call_reserve_answer(ShCall *call, int64_t bytes, ShError *err)
{
    return take_answer_room(call, bytes, false, err);
}

ShStatus sh_call_keep_answer(ShCall *call, int64_t bytes, ShError *err)
{
    ShStatus status = take_answer_room(call, bytes, true, err);
    if (status == SH_OK && bytes >= SH_ROOM_COUNTED_BYTES) {
        call->answer_bytes = bytes;
        sh_call_count_memory(call, bytes);
    }
    return status;
}

void sh_call_forget_answer(ShCall *call)
{
    if (call->answer_bytes == 0)
        return;
    sh_call_count_memory(call, -call->answer_bytes);
    call->answer_bytes = 0;
    sh_room_release(&call->worker->rpc->answers_room, &call->answer);
}

void sh_call_set_due(ShCall *call, int64_t timeout_us)
{
    call->due_us = sh_clock_now_us() + timeout_us;
    TAILQ_INSERT_TAIL(&call->worker->timed, call, timed_link);
}

void sh_call_clear_due(ShCall *call)
{
    if (call->due_us == 0)
        return;
    TAILQ_REMOVE(&call->worker->timed, call, timed_link);
    call->due_us = 0;
}

void sh_call_check_time(ShCall *call, int64_t now_us)
{
    if (call->due_us > now_us)
        return;
    sh_call_clear_due(call);
    if (call->awaits_request)
        sh_call_end(call, GRPC_STATUS_DEADLINE_EXCEEDED, "the request has not come in time");
    else if (call->method->due != NULL)
        call->method->due(call);
    else
        grpc_call_cancel(call->call, NULL);
}

static void on_new(void *owner, bool ok)
{
    ShCall *call = owner;
    if (!ok) {
        free_call(call);
        return;
    }
    sh_call_expect(call->worker, call->entry);
    call->arrived_us = call->started_us = sh_clock_now_us();
    if (call->entry->streams != NULL)
        sh_metric_add(call->entry->streams, 1);
    bool admitted = admit(call);
    if (is_excess(call)) {
        drop(call);
        return;
    }
    if (call->method->cancelled != NULL) {
        grpc_op op = close_op(call);
        start_batch(call, &op, 1, &call->close_tag);
    }
    sh_call_hold(call);
    if (!admitted) {
        ShError err;
        (void)sh_fail_for_room(&err, "the agent serves too many calls at once");
        sh_call_fail(call, &err);
    } else if (call->method->reads_stream || call->method->path == NULL) {
        call->begun = true;
        call->method->start(call, NULL);
    } else {
        await_request(call);
    }
    unref(call);
}

/* Is it of a connection that has ended, or that has more than a client can have that knows what is allowed?
 * Calls that were answered or given up count until gRPC has said so of each operation: they may be as many
 * again. Nor is a refusal sent where too many of those that were have not been taken. */
static bool is_excess(const ShCall *call)
{
    ShRpc *rpc = call->worker->rpc;
    if (call->connection == NULL || atomic_load(&call->connection->is_over) || has_too_many(call->connection))
        return true;
    return !call->is_admitted && !call->connection->is_own &&
           atomic_load(&rpc->calls_open) - atomic_load(&rpc->calls_admitted) > rpc->calls_max / 4;
}

static bool has_too_many(const ShConnection *connection)
{
    return atomic_load(&connection->calls) > 2 * SH_RPC_STREAMS_MAX;
}

/* End the call without an operation, which costs gRPC far less than an answer. What was refused because of
 * others was not torn by its client. */
static void drop(ShCall *call)
{
    call->close_cancelled = call->connection == NULL || has_too_many(call->connection);
    if (call->connection != NULL && atomic_load(&call->connection->is_over)) /* nobody looks at it any more */
        atomic_fetch_add(&call->connection->host->offences, SH_OFFENCE);
    call->code = GRPC_STATUS_RESOURCE_EXHAUSTED;
    grpc_call_cancel_with_status(call->call, call->code, "there are too many calls at once", NULL);
    mark_ended(call);
}

/* Count the call. False: there are too many, of all, of its connection's or of its host's. */
static bool admit(ShCall *call)
{
    ShRpc *rpc = call->worker->rpc;
    ShConnection *connection = sh_acceptor_connection_of(rpc->acceptor, call->call);
    atomic_fetch_add_explicit(&rpc->calls_open, 1, memory_order_relaxed);
    sh_call_count_memory(call, SH_RPC_CALL_BYTES);
    call->connection = connection;
    if (connection == NULL)
        return true; /* it is dropped */
    atomic_fetch_add(&connection->calls, 1);
    atomic_fetch_add(&connection->taken_calls, 1);
    if (connection->is_own)
        return true; /* the agent's own look is one call */
    int64_t all = atomic_fetch_add(&rpc->calls_admitted, 1);
    int64_t of_connection = atomic_fetch_add(&connection->admitted, 1);
    int64_t of_host = atomic_fetch_add(&connection->host->calls, 1);
    call->is_admitted = true;
    if (may_begin(rpc, all, of_connection, of_host))
        return true;
    sh_acceptor_call_refused(rpc->acceptor, connection, of_host);
    give_place_up(call);
    return false;
}

/* What is refused may take long to be gone, and keeps nobody else out. */
static void give_place_up(ShCall *call)
{
    if (!call->is_admitted)
        return;
    atomic_fetch_sub(&call->worker->rpc->calls_admitted, 1);
    atomic_fetch_sub(&call->connection->admitted, 1);
    atomic_fetch_sub(&call->connection->host->calls, 1);
    call->is_admitted = false;
}

/* The last eighth is for hosts that have few calls, however many connections others make. */
static bool may_begin(ShRpc *rpc, int64_t all, int64_t of_connection, int64_t of_host)
{
    return sh_connection_may_take(of_connection, all, 1, MOST_CALLS(rpc)) ||
           sh_connection_may_take(of_host, all, 1, 2 * rpc->calls_max);
}

/* The one request of a call is received as those of streams are: so calls whose request does not come are
 * known, and end. */
static void await_request(ShCall *call)
{
    call->awaits_request = true;
    sh_call_set_due(call, REQUEST_TIMEOUT_US);
    begin_read(call);
}

static void begin_read(ShCall *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->incoming};
    if (start_batch(call, &op, 1, &call->read_tag) && call->connection != NULL)
        atomic_fetch_add(&call->connection->reading, 1);
}

static void end_read(ShCall *call)
{
    if (call->connection == NULL)
        return;
    if (call->incoming != NULL)
        atomic_fetch_add(&call->connection->taken_bytes,
                         (long long)grpc_byte_buffer_length(call->incoming) + PREFIX_BYTES);
    else
        atomic_fetch_add(&call->connection->lost_reads, 1);
    atomic_fetch_sub(&call->connection->reading, 1);
}

static ShStatus take_answer_room(ShCall *call, int64_t bytes, bool is_answered, ShError *err)
{
    ShRoom *room = &call->worker->rpc->answers_room;
    if (bytes < SH_ROOM_COUNTED_BYTES) {
        sh_room_release(room, &call->answer);
        return SH_OK;
    }
    if (sh_room_take(room, &call->answer, call, bytes, is_answered))
        return SH_OK;
    char text[160];
    snprintf(text, sizeof text,
             "there is no memory for an answer of %lld bytes beside those that clients have not taken yet",
             (long long)bytes);
    return sh_fail_for_room(err, text);
}

static void on_read(void *owner, bool ok)
{
    ShCall *call = owner;
    end_read(call);
    grpc_byte_buffer *message = call->incoming;
    call->incoming = NULL;
    bool is_request = call->awaits_request;
    if (is_request) {
        call->awaits_request = false;
        sh_call_clear_due(call);
    }
    if (call->ended || call->ending) {
        /* nobody waits for it */
    } else if (!is_request) {
        call->method->read(call, ok ? message : NULL);
    } else if (message == NULL && sh_call_read_failed(call)) {
        sh_call_end(call, GRPC_STATUS_CANCELLED, "the request has not come as a whole");
    } else {
        call->begun = true;
        call->started_us = sh_clock_now_us();
        call->method->start(call, ok ? message : NULL);
    }
    grpc_byte_buffer_destroy(message);
    unref(call);
}

static void on_written(void *owner, bool ok)
{
    ShCall *call = owner;
    call->writing = false;
    if (call->ending && !call->ended)
        send_end(call, NULL);
    else if (ok && !call->ended)
        call->method->written(call);
    unref(call);
}

static void on_end(void *owner, bool ok)
{
    (void)ok;
    unref(owner);
}

static void on_close(void *owner, bool ok)
{
    (void)ok;
    ShCall *call = owner;
    if (call->close_cancelled && !call->ended) {
        call->code = GRPC_STATUS_CANCELLED;
        if (call->begun)
            call->method->cancelled(call);
        mark_ended(call);
    }
    unref(call);
}

/* Start operations; the call lives until they are complete. A refusal means that the call is beyond use. */
static bool start_batch(ShCall *call, const grpc_op *ops, size_t count, ShTag *tag)
{
    grpc_call_error error = grpc_call_start_batch(call->call, ops, count, tag, NULL);
    if (error == GRPC_CALL_OK) {
        call->refs++;
        return true;
    }
    sh_log_error("rpc_call_failed", "method=%s error=\"%s\"", call->method->name,
                 grpc_call_error_to_string(error));
    grpc_call_cancel(call->call, NULL);
    return false;
}

/* Send the status, with the headers and the answer where they are still to be sent. */
static void send_end(ShCall *call, grpc_byte_buffer *message)
{
    grpc_op ops[4];
    size_t count = 0;
    if (!call->headers_sent)
        ops[count++] = headers_op();
    if (message != NULL)
        ops[count++] = message_op(message, false);
    if (call->method->cancelled == NULL)
        ops[count++] = close_op(call);
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count].data.send_status_from_server.status = call->code;
    ops[count].data.send_status_from_server.status_details = &call->details_text;
    ops[count].data.send_status_from_server.trailing_metadata = call->trailing;
    ops[count].data.send_status_from_server.trailing_metadata_count = call->trailing_count;
    count++;
    call->headers_sent = true;
    start_batch(call, ops, count, &call->end_tag);
    mark_ended(call);
}

/* The call has its end: count it, and give up its own reference. The caller holds another. */
static void mark_ended(ShCall *call)
{
    call->ended = true;
    stop_listening(call);
    if (!call->method->counts_messages)
        sh_call_count(call, call->code, call->started_us);
    unref(call);
}

static void stop_listening(ShCall *call)
{
    if (!call->listening)
        return;
    ShWorker *worker = call->worker;
    pthread_mutex_lock(&worker->listeners_mutex);
    TAILQ_REMOVE(&worker->listeners, call, listeners_link);
    pthread_mutex_unlock(&worker->listeners_mutex);
    call->listening = false;
}

static grpc_op headers_op(void)
{
    return (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
}

static grpc_op message_op(grpc_byte_buffer *message, bool more_follow)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .flags = more_follow ? GRPC_WRITE_BUFFER_HINT : 0};
    op.data.send_message.send_message = message;
    return op;
}

static grpc_op close_op(ShCall *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->close_cancelled;
    return op;
}

static void unref(ShCall *call)
{
    if (--call->refs > 0)
        return;
    ShRpc *rpc = call->worker->rpc;
    if (call->entry->streams != NULL)
        sh_metric_add(call->entry->streams, -1);
    if (call->method->destroy != NULL && call->begun)
        call->method->destroy(call);
    sh_call_clear_due(call);
    if (call->connection != NULL) {
        atomic_fetch_sub(&call->connection->calls, 1);
        give_place_up(call);
        if (call->close_cancelled && sh_clock_now_us() - call->arrived_us < TORN_US)
            atomic_fetch_add(&call->connection->torn, 1);
    }
    sh_call_free_memory(call);
    sh_room_release(&rpc->answers_room, &call->answer);
    sh_call_count_memory(call, -call->held_bytes);
    free_call(call);
    sh_rpc_call_closed(rpc);
}

static void free_call(ShCall *call)
{
    for (size_t i = 0; i < call->trailing_count; i++)
        grpc_slice_unref(call->trailing[i].value);
    grpc_slice_unref(call->details_text);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_details_destroy(&call->details);
    grpc_byte_buffer_destroy(call->incoming);
    if (call->call != NULL)
        grpc_call_unref(call->call);
    sh_connection_unref(call->connection);
    gpr_free(call);
}
