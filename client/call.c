#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/grpc_internal.h"

struct ShClientCall {
    ShClientCall *next;
    ShClientCall *previous;
    ShLoop *loop;
    grpc_call *call;
    ShClientCallEvents events;
    char address[SH_CLIENT_ADDRESS_BYTES];
    int outstanding; /* operations whose tags have not come back */
    bool opened;     /* connected, the server may be written to */
    bool writing;
    bool writes_ended;
    bool reading;
    bool cancelled;
    bool finished; /* the status is here */
    bool bad_memory;
    grpc_byte_buffer *received;
    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code code;
    grpc_slice details;
    ShLoopTag opened_tag, headers_tag, wrote_tag, ended_tag, read_tag, status_tag;
};

static void start_op(ShClientCall *call, const grpc_op *op, ShLoopTag *tag);
static void on_opened(void *subject, bool succeeded);
static void on_wrote(void *subject, bool succeeded);
static void on_settled(void *subject, bool succeeded);
static void on_read(void *subject, bool succeeded);
static void on_status(void *subject, bool succeeded);
static void tell_writable(ShClientCall *call);
static ShBuf *join_received(ShClientCall *call, grpc_byte_buffer *received);
static void settle(ShClientCall *call);
static void describe_end(const ShClientCall *call, ShRefusal *why);
static bool is_metadata(const grpc_metadata *item, const char *key);
static grpc_slice slice_of(const ShSlice *piece);
static void release_piece(void *owner);

ShClientCall *sh_client_call_start(ShLoop *loop, const char *address, const char *method, int timeout_ms,
                                   const ShClientCallEvents *events)
{
    grpc_channel *channel = sh_transport_channel(sh_loop_transport(loop), address);
    ShClientCall *call = channel != NULL ? calloc(1, sizeof *call) : NULL;
    if (call == NULL)
        return NULL;

    call->loop = loop;
    call->events = *events;
    snprintf(call->address, sizeof call->address, "%s", address);
    call->opened_tag = (ShLoopTag){on_opened, call};
    call->headers_tag = (ShLoopTag){on_settled, call};
    call->wrote_tag = (ShLoopTag){on_wrote, call};
    call->ended_tag = (ShLoopTag){on_settled, call};
    call->read_tag = (ShLoopTag){on_read, call};
    call->status_tag = (ShLoopTag){on_status, call};
    grpc_metadata_array_init(&call->headers);
    grpc_metadata_array_init(&call->trailers);
    call->details = grpc_empty_slice();

    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (timeout_ms > 0)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    call->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, sh_loop_queue(loop),
                                          grpc_slice_from_static_string(method), NULL, deadline, NULL);

    ShClientCall **calls = sh_loop_calls(loop);
    call->next = *calls;
    if (call->next != NULL)
        call->next->previous = call;
    *calls = call;

    start_op(call, &(grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA}, &call->opened_tag);
    start_op(call,
             &(grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA,
                        .data.recv_initial_metadata.recv_initial_metadata = &call->headers},
             &call->headers_tag);
    start_op(call,
             &(grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                        .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                                       .status = &call->code,
                                                       .status_details = &call->details}},
             &call->status_tag);
    return call;
}

bool sh_client_call_writable(const ShClientCall *call)
{
    return call->opened && !call->writing && !call->writes_ended && !call->finished && !call->cancelled;
}

void sh_client_call_write(ShClientCall *call, const ShSlice *pieces, size_t count)
{
    grpc_slice slices[SH_CALL_PIECES_MAX];
    assert(count <= SH_CALL_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        slices[i] = slice_of(&pieces[i]);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(slices, count);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);

    call->writing = true;
    start_op(call, &(grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message},
             &call->wrote_tag);
    grpc_byte_buffer_destroy(message);
}

void sh_client_call_end_writes(ShClientCall *call)
{
    call->writes_ended = true;
    start_op(call, &(grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, &call->ended_tag);
}

void sh_client_call_read(ShClientCall *call)
{
    if (call->reading || call->finished)
        return;
    call->reading = true;
    start_op(call, &(grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received},
             &call->read_tag);
}

void sh_client_call_cancel(ShClientCall *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    grpc_call_cancel(call->call, NULL);
}

static void start_op(ShClientCall *call, const grpc_op *op, ShLoopTag *tag)
{
    /* It can only fail by misuse, and then no tag comes back. */
    if (grpc_call_start_batch(call->call, op, 1, tag, NULL) == GRPC_CALL_OK)
        call->outstanding++;
}

static void on_opened(void *subject, bool succeeded)
{
    ShClientCall *call = subject;
    call->opened = succeeded;
    tell_writable(call);
    settle(call);
}

static void on_wrote(void *subject, bool succeeded)
{
    ShClientCall *call = subject;
    call->writing = false;
    if (succeeded)
        tell_writable(call);
    settle(call);
}

static void on_settled(void *subject, bool succeeded)
{
    (void)succeeded;
    settle(subject);
}

static void on_read(void *subject, bool succeeded)
{
    ShClientCall *call = subject;
    call->reading = false;
    grpc_byte_buffer *received = call->received;
    call->received = NULL;
    if (succeeded && received != NULL && !call->cancelled) {
        ShBuf *message = join_received(call, received);
        if (message == NULL) {
            call->bad_memory = true;
            sh_client_call_cancel(call);
        } else if (call->events.on_message != NULL) {
            call->events.on_message(call->events.context, message);
        }
        sh_buf_unref(message);
    }
    if (received != NULL)
        grpc_byte_buffer_destroy(received);
    settle(call);
}

static void on_status(void *subject, bool succeeded)
{
    ShClientCall *call = subject;
    (void)succeeded;
    call->finished = true;
    settle(call);
}

static void tell_writable(ShClientCall *call)
{
    if (sh_client_call_writable(call) && call->events.on_writable != NULL)
        call->events.on_writable(call->events.context);
}

/* The one copy on the way in: from the pieces that came over the network into one buffer that batches stay
 * in. */
static ShBuf *join_received(ShClientCall *call, grpc_byte_buffer *received)
{
    grpc_byte_buffer_reader reader;
    ShBuf *message = sh_transport_buf(sh_loop_transport(call->loop), grpc_byte_buffer_length(received));
    if (message == NULL || !grpc_byte_buffer_reader_init(&reader, received)) {
        sh_buf_unref(message);
        return NULL;
    }
    grpc_slice *piece = NULL;
    while (grpc_byte_buffer_reader_peek(&reader, &piece)) {
        memcpy(message->data + message->length, GRPC_SLICE_START_PTR(*piece), GRPC_SLICE_LENGTH(*piece));
        message->length += GRPC_SLICE_LENGTH(*piece);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

/* One operation is done; after the last one the call is closed and freed. */
static void settle(ShClientCall *call)
{
    call->outstanding--;
    if (!call->finished || call->outstanding > 0)
        return;

    if (call->next != NULL)
        call->next->previous = call->previous;
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        *sh_loop_calls(call->loop) = call->next;

    ShRefusal why;
    describe_end(call, &why);
    if (call->events.on_closed != NULL)
        call->events.on_closed(call->events.context, &why);

    grpc_metadata_array_destroy(&call->headers);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->call);
    free(call);
}

/* The status, from the server's PartitionError where it sent one, and its retry delay. */
static void describe_end(const ShClientCall *call, ShRefusal *why)
{
    *why = (ShRefusal){0};
    if (call->bad_memory) {
        (void)sh_fail(&why->error, SH_NO_MEMORY, "no memory for an answer of %s", call->address);
        return;
    }
    if (call->code == GRPC_STATUS_OK)
        return;

    char pushback[16] = "";
    for (size_t i = 0; i < call->trailers.count; i++) {
        const grpc_metadata *item = &call->trailers.metadata[i];
        const uint8_t *value = GRPC_SLICE_START_PTR(item->value);
        size_t length = GRPC_SLICE_LENGTH(item->value);
        if (is_metadata(item, "streamhouse-error-bin"))
            sh_message_get_refusal(value, length, why);
        else if (is_metadata(item, "grpc-retry-pushback-ms"))
            snprintf(pushback, sizeof pushback, "%.*s", (int)(length < 15 ? length : 15),
                     (const char *)value);
    }
    if (why->error.status == SH_OK && call->code == GRPC_STATUS_UNAVAILABLE && !call->opened) {
        (void)sh_fail(&why->error, SH_UNAVAILABLE,
                      "no server answers at %s; is it running, is the address right?", call->address);
    } else if (why->error.status == SH_OK) {
        /* What the agent says stands for itself; what gRPC says of a connection needs to be told which. */
        ShStatus status = sh_message_status((int)call->code, "", 0);
        bool about_connection = status == SH_UNAVAILABLE || status == SH_TIMEOUT || status == SH_CANCELLED;
        size_t length = GRPC_SLICE_LENGTH(call->details);
        if (length > SH_ERROR_MESSAGE_BYTES)
            length = SH_ERROR_MESSAGE_BYTES;
        (void)sh_fail(&why->error, status, "%s%s%.*s", about_connection ? call->address : "",
                      about_connection ? ": " : "", (int)length,
                      (const char *)GRPC_SLICE_START_PTR(call->details));
    }
    int retry_after_ms = atoi(pushback);
    if (retry_after_ms > 0)
        (void)sh_fail_retry_after(&why->error, why->error.status, retry_after_ms);
}

static bool is_metadata(const grpc_metadata *item, const char *key)
{
    return grpc_slice_str_cmp(item->key, key) == 0;
}

static grpc_slice slice_of(const ShSlice *piece)
{
    if (piece->owner == NULL)
        return grpc_slice_from_copied_buffer((const char *)piece->data, piece->length);
    /* gRPC reads the bytes only; its interface has no const. */
    return grpc_slice_new_with_user_data((void *)(uintptr_t)piece->data, piece->length, release_piece,
                                         sh_buf_ref(piece->owner));
}

static void release_piece(void *owner)
{
    sh_buf_unref(owner);
}
