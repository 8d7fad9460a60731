/*
 * grpc_client.h - a blocking gRPC client for tests, over the C core: unary calls and streams of raw messages.
 */
#ifndef SH_TESTS_RPC_GRPC_CLIENT_H
#define SH_TESTS_RPC_GRPC_CLIENT_H

#include <grpc/byte_buffer_reader.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_TIMEOUT_MS 20000

typedef struct ClientCall {
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    bool headers_read;
    grpc_status_code status;
    char text[1024];
} ClientCall;

static inline grpc_channel *client_connect(const char *address)
{
    static int connection;
    grpc_arg args[] = {
        {GRPC_ARG_INTEGER, (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, {.integer = -1}},
        {GRPC_ARG_INTEGER, (char *)(uintptr_t) "test.connection", {.integer = ++connection}},
        {GRPC_ARG_INTEGER, (char *)(uintptr_t) "grpc.use_local_subchannel_pool", {.integer = 1}},
        {GRPC_ARG_INTEGER, (char *)(uintptr_t)GRPC_ARG_HTTP2_BDP_PROBE, {.integer = 0}},
    };
    grpc_channel_args list = {.num_args = 4, .args = args};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(address, plain, &list);
    grpc_channel_credentials_release(plain);
    return channel;
}

static inline gpr_timespec client_deadline(int timeout_ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

/* Do the operations and wait until they are done; false when they failed or nothing came in time. */
static inline bool client_do(ClientCall *client, const grpc_op *ops, size_t count)
{
    void *tag = (void *)(uintptr_t)&ops[0];
    if (grpc_call_start_batch(client->call, ops, count, tag, NULL) != GRPC_CALL_OK)
        return false;
    grpc_event event = grpc_completion_queue_pluck(client->queue, tag, client_deadline(2 * CLIENT_TIMEOUT_MS),
                                                   NULL);
    return event.type == GRPC_OP_COMPLETE && event.success;
}

static inline void client_open(ClientCall *client, grpc_channel *channel, const char *path, int timeout_ms)
{
    *client = (ClientCall){.queue = grpc_completion_queue_create_for_pluck(NULL)};
    grpc_metadata_array_init(&client->initial);
    grpc_metadata_array_init(&client->trailing);
    client->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue,
                                            grpc_slice_from_static_string(path), NULL,
                                            client_deadline(timeout_ms), NULL);
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    client_do(client, &op, 1);
}

static inline bool client_send_raw(ClientCall *client, const void *data, size_t length)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(data, length);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = message;
    bool sent = client_do(client, &op, 1);
    grpc_byte_buffer_destroy(message);
    return sent;
}

static inline bool client_send(ClientCall *client, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(length + 1);
    protobuf_c_message_pack(message, packed);
    bool sent = client_send_raw(client, packed, length);
    free(packed);
    return sent;
}

static inline bool client_close(ClientCall *client)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    return client_do(client, &op, 1);
}

/* The next message, for the caller to gpr_free; NULL at the end of the stream. */
static inline uint8_t *client_receive_raw(ClientCall *client, size_t *length)
{
    grpc_byte_buffer *message = NULL;
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    size_t count = 0;
    if (!client->headers_read) {
        ops[count].op = GRPC_OP_RECV_INITIAL_METADATA;
        ops[count++].data.recv_initial_metadata.recv_initial_metadata = &client->initial;
        client->headers_read = true;
    }
    ops[count].op = GRPC_OP_RECV_MESSAGE;
    ops[count++].data.recv_message.recv_message = &message;
    if (!client_do(client, ops, count) || message == NULL)
        return NULL;
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, message);
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(message);
    *length = GRPC_SLICE_LENGTH(slice);
    uint8_t *data = gpr_malloc(*length + 1);
    memcpy(data, GRPC_SLICE_START_PTR(slice), *length);
    grpc_slice_unref(slice);
    return data;
}

/* The next message as a protobuf-c message, to free with protobuf_c_message_free_unpacked; NULL at the end.
 */
static inline void *client_receive(ClientCall *client, const ProtobufCMessageDescriptor *type)
{
    size_t length;
    uint8_t *data = client_receive_raw(client, &length);
    if (data == NULL)
        return NULL;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, length, data);
    gpr_free(data);
    return message;
}

/* Wait for the call's status, which comes after the headers. */
static inline grpc_status_code client_wait(ClientCall *client)
{
    grpc_slice text = grpc_empty_slice();
    grpc_op ops[2];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[0].data.recv_status_on_client.status = &client->status;
    ops[0].data.recv_status_on_client.status_details = &text;
    ops[0].data.recv_status_on_client.trailing_metadata = &client->trailing;
    ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &client->initial;
    if (!client_do(client, ops, client->headers_read ? 1 : 2))
        client->status = GRPC_STATUS__DO_NOT_USE;
    snprintf(client->text, sizeof client->text, "%.*s", (int)GRPC_SLICE_LENGTH(text),
             (const char *)GRPC_SLICE_START_PTR(text));
    grpc_slice_unref(text);
    return client->status;
}

/* A value of the trailing metadata; data NULL when it is not there. */
static inline ProtobufCBinaryData client_trailing(const ClientCall *client, const char *key)
{
    for (size_t i = 0; i < client->trailing.count; i++) {
        const grpc_metadata *entry = &client->trailing.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) == 0)
            return (ProtobufCBinaryData){.len = GRPC_SLICE_LENGTH(entry->value),
                                         .data = (uint8_t *)(uintptr_t)GRPC_SLICE_START_PTR(entry->value)};
    }
    return (ProtobufCBinaryData){0};
}

static inline void client_free(ClientCall *client)
{
    grpc_call_unref(client->call);
    grpc_metadata_array_destroy(&client->initial);
    grpc_metadata_array_destroy(&client->trailing);
    grpc_completion_queue_shutdown(client->queue);
    grpc_completion_queue_destroy(client->queue);
}

/* A unary call: the answer, or NULL and client->status. Free the call in any case. */
static inline void *client_call(ClientCall *client, grpc_channel *channel, const char *path,
                                const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type)
{
    client_open(client, channel, path, CLIENT_TIMEOUT_MS);
    client_send(client, request);
    client_close(client);
    void *answer = client_receive(client, type);
    client_wait(client);
    return answer;
}

#endif
