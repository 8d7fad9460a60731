#include "bench/echo_server.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/rpc/abseil.h"

#define MESSAGE_BYTES_MAX (64 * 1024 * 1024)

/* A call waits for one batch of operations at a time, whose tag is the call itself. */
typedef struct Call {
    enum { ACCEPTING, ASKED, ECHOING, STREAMING, ENDING } state;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message; /* received; of a stream: what is sent again and again */
    int64_t left;              /* of a stream */
} Call;

static void accept_call(grpc_server *server, grpc_completion_queue *queue);
static void go_on(Call *call);
static void listen_first(Call *call);
static void echo(Call *call);
static void start_stream(Call *call);
static void stream(Call *call);
static void end(Call *call);
static void release(Call *call);

void sh_bench_echo_serve(int port_fd)
{
    sh_abseil_stop_lock_checks(); /* as the agent does */
    grpc_init();
    grpc_arg values[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = "grpc.max_receive_message_length",
         .value.integer = MESSAGE_BYTES_MAX},
        {.type = GRPC_ARG_INTEGER, .key = "grpc.so_reuseport", .value.integer = 0},
    };
    grpc_channel_args args = {.num_args = sizeof values / sizeof values[0], .args = values};
    grpc_server *server = grpc_server_create(&args, NULL);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server, "127.0.0.1:0", credentials);
    grpc_server_start(server);
    if (write(port_fd, &port, sizeof port) != sizeof port)
        _exit(1);

    accept_call(server, queue);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        Call *call = event.tag;
        if (call->state == ACCEPTING)
            accept_call(server, queue);
        if (event.success != 0 && call->state != ENDING)
            go_on(call);
        else
            release(call);
    }
}

static void accept_call(grpc_server *server, grpc_completion_queue *queue)
{
    Call *call = calloc(1, sizeof *call);
    if (call == NULL)
        _exit(1);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    grpc_server_request_call(server, &call->call, &call->details, &call->metadata, queue, queue, call);
}

static void go_on(Call *call)
{
    switch (call->state) {
    case ACCEPTING:
        listen_first(call);
        break;
    case ASKED:
        if (grpc_slice_str_cmp(call->details.method, SH_BENCH_STREAM_METHOD) == 0)
            start_stream(call);
        else
            echo(call);
        break;
    case ECHOING:
        echo(call);
        break;
    default:
        stream(call);
    }
}

static void listen_first(Call *call)
{
    grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                     {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->message}};
    call->state = ASKED;
    grpc_call_start_batch(call->call, ops, 2, call, NULL);
}

/* Send back what came, and hear the next in the same batch. */
static void echo(Call *call)
{
    grpc_byte_buffer *message = call->message;
    if (message == NULL) {
        end(call);
        return;
    }
    grpc_op ops[] = {{.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message},
                     {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->message}};
    call->state = ECHOING;
    grpc_call_start_batch(call->call, ops, 2, call, NULL);
    grpc_byte_buffer_destroy(message);
}

static void start_stream(Call *call)
{
    ShBenchStreamRequest request = {0};
    grpc_byte_buffer_reader reader;
    if (call->message != NULL && grpc_byte_buffer_reader_init(&reader, call->message)) {
        grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
        if (GRPC_SLICE_LENGTH(bytes) == sizeof request)
            memcpy(&request, GRPC_SLICE_START_PTR(bytes), sizeof request);
        grpc_slice_unref(bytes);
        grpc_byte_buffer_reader_destroy(&reader);
        grpc_byte_buffer_destroy(call->message);
    }
    if (request.message_bytes > MESSAGE_BYTES_MAX)
        request.message_bytes = MESSAGE_BYTES_MAX;
    grpc_slice bytes = grpc_slice_malloc(request.message_bytes);
    memset(GRPC_SLICE_START_PTR(bytes), 'x', request.message_bytes);
    call->message = grpc_raw_byte_buffer_create(&bytes, 1);
    grpc_slice_unref(bytes);
    call->left = request.count;
    call->state = STREAMING;
    stream(call);
}

static void stream(Call *call)
{
    if (call->left-- <= 0) {
        end(call);
        return;
    }
    /* Sending empties the buffer; a copy shares its bytes. */
    grpc_byte_buffer *message = grpc_byte_buffer_copy(call->message);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message};
    grpc_call_start_batch(call->call, &op, 1, call, NULL);
    grpc_byte_buffer_destroy(message);
}

static void end(Call *call)
{
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                  .data.send_status_from_server.status = GRPC_STATUS_OK};
    call->state = ENDING;
    grpc_call_start_batch(call->call, &op, 1, call, NULL);
}

static void release(Call *call)
{
    if (call->message != NULL)
        grpc_byte_buffer_destroy(call->message);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    if (call->call != NULL)
        grpc_call_unref(call->call);
    free(call);
}
