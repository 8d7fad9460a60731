/*
 * fake_server.h - a scripted StreamHouse server for the client's tests, in the test's own process.
 *
 * It keeps one topic ("quakes", FAKE_PARTITIONS partitions) in memory and speaks Metadata, ListOffsets,
 * ProduceStream and FetchStream with the generated code, so that it also judges the client's own wire code. A
 * test decides about each produce and fetch by a function. Every call has a thread and a completion queue,
 * which keeps it plain.
 *
 * Included by tests, which are one file each; hence the definitions here.
 */
#ifndef SH_TESTS_UNIT_CLIENT_FAKE_SERVER_H
#define SH_TESTS_UNIT_CLIENT_FAKE_SERVER_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "proto/streamhouse.pb-c.h"

#define FAKE_TOPIC       "quakes"
#define FAKE_PARTITIONS  3
#define FAKE_BATCHES_MAX 512
#define FAKE_CALLS_MAX   256

typedef enum FakeVerdict {
    FAKE_STORE,             /* store and answer */
    FAKE_REFUSE,            /* answer with `refusal` */
    FAKE_HANG_UP,           /* end the call without having stored anything */
    FAKE_STORE_AND_HANG_UP, /* store, and end the call without an answer */
} FakeVerdict;

typedef struct FakeRefusal {
    int code;
    const char *reason;
    int retry_after_ms;
    const char *owner; /* NULL: none */
    int64_t epoch;
} FakeRefusal;

typedef struct FakePartition {
    ShBuf *batches[FAKE_BATCHES_MAX];
    size_t batch_count;
    int64_t log_start;
    int64_t next_offset;
} FakePartition;

typedef struct FakeServer FakeServer;
struct FakeServer {
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t acceptor;
    char address[32];

    pthread_mutex_t lock; /* guards what follows */
    bool stopping;
    pthread_t threads[FAKE_CALLS_MAX];
    size_t thread_count;
    FakePartition partitions[FAKE_PARTITIONS];
    char owner[FAKE_PARTITIONS][32];
    int64_t epoch;
    int produce_requests;
    int fetch_calls;
    FakeRefusal refusal;
    /* The verdict about a request; NULL: store. Called with the lock held. */
    FakeVerdict (*on_produce)(FakeServer *server, int request_number, int32_t partition);
    bool refuse_fetches; /* FetchStream ends with FAILED_PRECONDITION */
    bool fail_streams;   /* an offset out of range ends the whole FetchStream, as the agent does */
};

typedef struct FakeCall {
    FakeServer *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_completion_queue *queue;
    int end_code; /* with which a FetchStream ends */
} FakeCall;

static inline bool fake_run(FakeCall *call, const grpc_op *op)
{
    if (grpc_call_start_batch(call->call, op, 1, call, NULL) != GRPC_CALL_OK)
        return false;
    grpc_event event = grpc_completion_queue_next(call->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return event.type == GRPC_OP_COMPLETE && event.success;
}

/* The next message; NULL at the end. */
static inline ShBuf *fake_receive(FakeCall *call)
{
    grpc_byte_buffer *received = NULL;
    bool good = fake_run(call,
                         &(grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &received});
    if (!good || received == NULL)
        return NULL;
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, received);
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    ShBuf *message = sh_buf_copy(GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole));
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(received);
    return message;
}

static inline bool fake_send(FakeCall *call, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(length + 1);
    protobuf_c_message_pack(message, packed);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)packed, length);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    bool good = fake_run(call,
                         &(grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer});
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
    free(packed);
    return good;
}

static inline void fake_end(FakeCall *call, int code, const char *details)
{
    grpc_slice text = grpc_slice_from_copied_string(details);
    fake_run(call, &(grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                              .data.send_status_from_server = {.status = (grpc_status_code)code,
                                                               .status_details = &text}});
    grpc_slice_unref(text);
}

static inline void fake_fill_error(const FakeRefusal *from, Streamhouse__V1__PartitionError *error,
                                   Streamhouse__V1__Owner *owner)
{
    streamhouse__v1__partition_error__init(error);
    error->code = from->code;
    error->reason = (char *)(uintptr_t)from->reason;
    error->message = (char *)(uintptr_t) "as the test says";
    error->retry_after_ms = from->retry_after_ms;
    if (from->owner != NULL) {
        streamhouse__v1__owner__init(owner);
        owner->address = (char *)(uintptr_t)from->owner;
        owner->epoch = from->epoch;
        error->owner = owner;
    }
}

static inline void fake_metadata(FakeCall *call, const ShBuf *request)
{
    (void)request;
    static uint8_t topic_id[16] = {1, 2, 3};
    FakeServer *server = call->server;
    Streamhouse__V1__Owner owners[FAKE_PARTITIONS];
    Streamhouse__V1__PartitionMetadata partitions[FAKE_PARTITIONS];
    Streamhouse__V1__PartitionMetadata *partition_list[FAKE_PARTITIONS];
    char addresses[FAKE_PARTITIONS][32];
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < FAKE_PARTITIONS; i++) {
        streamhouse__v1__owner__init(&owners[i]);
        streamhouse__v1__partition_metadata__init(&partitions[i]);
        memcpy(addresses[i], server->owner[i], sizeof addresses[i]);
        owners[i].address = addresses[i];
        owners[i].epoch = server->epoch;
        partitions[i].partition = i;
        partitions[i].owner = &owners[i];
        partition_list[i] = &partitions[i];
    }
    pthread_mutex_unlock(&server->lock);
    Streamhouse__V1__TopicMetadata topic = STREAMHOUSE__V1__TOPIC_METADATA__INIT;
    Streamhouse__V1__TopicMetadata *topics[] = {&topic};
    topic.name = (char *)(uintptr_t)FAKE_TOPIC;
    topic.topic_id = (ProtobufCBinaryData){sizeof topic_id, topic_id};
    topic.durability = (char *)(uintptr_t) "wal";
    topic.partitions = partition_list;
    topic.n_partitions = FAKE_PARTITIONS;
    Streamhouse__V1__MetadataResponse response = STREAMHOUSE__V1__METADATA_RESPONSE__INIT;
    response.topics = topics;
    response.n_topics = 1;
    fake_send(call, &response.base);
    fake_end(call, 0, "");
}

static inline void fake_list_offsets(FakeCall *call, const ShBuf *message)
{
    FakeServer *server = call->server;
    Streamhouse__V1__ListOffsetsRequest *request = streamhouse__v1__list_offsets_request__unpack(
        NULL, message->length, message->data);
    Streamhouse__V1__ListOffsetsResult result = STREAMHOUSE__V1__LIST_OFFSETS_RESULT__INIT;
    Streamhouse__V1__ListOffsetsResult *results[] = {&result};
    Streamhouse__V1__ListOffsetsResponse response = STREAMHOUSE__V1__LIST_OFFSETS_RESPONSE__INIT;
    response.results = results;
    response.n_results = 1;
    pthread_mutex_lock(&server->lock);
    const FakePartition *partition = &server->partitions[request->partitions[0]->partition];
    result.offset = request->partitions[0]->timestamp_ms == -2 ? partition->log_start
                                                               : partition->next_offset;
    pthread_mutex_unlock(&server->lock);
    fake_send(call, &response.base);
    fake_end(call, 0, "");
    streamhouse__v1__list_offsets_request__free_unpacked(request, NULL);
}

/* Store the batches of one partition; returns the first record's offset. The lock is held. */
static inline int64_t fake_store(FakePartition *partition, const uint8_t *data, size_t length)
{
    int64_t base = partition->next_offset;
    while (length > 0) {
        ShBatchHeader header;
        if (sh_batch_peek(data, length, &header, NULL) != SH_OK)
            abort();
        ShBuf *batch = sh_buf_copy(data, header.total_bytes);
        sh_batch_set_base_offset(batch->data, partition->next_offset);
        partition->batches[partition->batch_count++] = batch;
        partition->next_offset += header.record_count;
        data += header.total_bytes;
        length -= header.total_bytes;
    }
    return base;
}

static inline void fake_produce_stream(FakeCall *call)
{
    FakeServer *server = call->server;
    ShBuf *message;
    bool going = true;
    while (going && (message = fake_receive(call)) != NULL) {
        Streamhouse__V1__ProduceRequest *request = streamhouse__v1__produce_request__unpack(
            NULL, message->length, message->data);
        if (request == NULL || request->n_partitions != 1)
            abort();
        const Streamhouse__V1__ProducePartition *part = request->partitions[0];
        Streamhouse__V1__ProduceResult result = STREAMHOUSE__V1__PRODUCE_RESULT__INIT;
        Streamhouse__V1__ProduceResult *results[] = {&result};
        Streamhouse__V1__ProduceResponse response = STREAMHOUSE__V1__PRODUCE_RESPONSE__INIT;
        Streamhouse__V1__PartitionError error;
        Streamhouse__V1__Owner owner;
        pthread_mutex_lock(&server->lock);
        int number = ++server->produce_requests;
        FakeVerdict verdict = server->on_produce != NULL ? server->on_produce(server, number, part->partition)
                                                         : FAKE_STORE;
        if (verdict == FAKE_STORE || verdict == FAKE_STORE_AND_HANG_UP) {
            result.base_offset = fake_store(&server->partitions[part->partition], part->batches.data,
                                            part->batches.len);
        } else if (verdict == FAKE_REFUSE) {
            fake_fill_error(&server->refusal, &error, &owner);
            result.error = &error;
        }
        pthread_mutex_unlock(&server->lock);

        going = verdict == FAKE_STORE || verdict == FAKE_REFUSE;
        if (going) {
            result.topic = part->topic;
            result.partition = part->partition;
            response.request_id = request->request_id;
            response.results = results;
            response.n_results = 1;
            going = fake_send(call, &response.base);
        }
        streamhouse__v1__produce_request__free_unpacked(request, NULL);
        sh_buf_unref(message);
    }
    fake_end(call, going ? 0 : GRPC_STATUS_UNAVAILABLE, "the test hung up");
}

/* Send what a partition has from `*offset` on, one batch a message. */
static inline bool fake_send_batches(FakeCall *call, const Streamhouse__V1__FetchPartition *part,
                                     int64_t *offset, bool *sent)
{
    FakeServer *server = call->server;
    FakePartition *partition = &server->partitions[part->partition];
    Streamhouse__V1__FetchResult result = STREAMHOUSE__V1__FETCH_RESULT__INIT;
    Streamhouse__V1__FetchResult *results[] = {&result};
    Streamhouse__V1__FetchResponse response = STREAMHOUSE__V1__FETCH_RESPONSE__INIT;
    Streamhouse__V1__PartitionError error;
    FakeRefusal refusal = {.code = GRPC_STATUS_OUT_OF_RANGE, .reason = "OUT_OF_RANGE"};
    Streamhouse__V1__Owner owner;
    ShBuf *batch = NULL;
    pthread_mutex_lock(&server->lock);
    if (*offset < partition->log_start || *offset > partition->next_offset) {
        fake_fill_error(&refusal, &error, &owner);
        result.error = &error;
        *offset = partition->next_offset; /* said once */
        *sent = true;
        if (server->fail_streams)
            call->end_code = refusal.code;
    }
    for (size_t i = 0; i < partition->batch_count && !*sent; i++) {
        ShBatchHeader header;
        if (sh_batch_peek(partition->batches[i]->data, partition->batches[i]->length, &header, NULL) != SH_OK)
            abort();
        int64_t end = header.base_offset + header.record_count;
        if (end <= *offset)
            continue;
        batch = sh_buf_copy(partition->batches[i]->data, partition->batches[i]->length);
        *offset = end;
        *sent = true;
    }
    if (!*sent && *offset < partition->next_offset) { /* over a hole */
        *offset = partition->next_offset;
        *sent = true;
    }
    result.high_watermark = partition->next_offset;
    pthread_mutex_unlock(&server->lock);
    if (!*sent || call->end_code != GRPC_STATUS_UNAVAILABLE)
        return !*sent;
    result.topic = (char *)(uintptr_t)FAKE_TOPIC;
    result.partition = part->partition;
    result.next_offset = *offset;
    if (batch != NULL)
        result.batches = (ProtobufCBinaryData){batch->length, batch->data};
    response.results = results;
    response.n_results = 1;
    bool good = fake_send(call, &response.base);
    sh_buf_unref(batch);
    return good;
}

static inline void fake_fetch_stream(FakeCall *call, const ShBuf *message)
{
    FakeServer *server = call->server;
    Streamhouse__V1__FetchRequest *request = streamhouse__v1__fetch_request__unpack(NULL, message->length,
                                                                                    message->data);
    int64_t offsets[FAKE_PARTITIONS];
    for (size_t i = 0; i < request->n_partitions; i++)
        offsets[i] = request->partitions[i]->offset;
    call->end_code = GRPC_STATUS_UNAVAILABLE;
    pthread_mutex_lock(&server->lock);
    server->fetch_calls++;
    bool refused = server->refuse_fetches;
    pthread_mutex_unlock(&server->lock);
    for (bool going = !refused; going;) {
        bool sent = false;
        for (size_t i = 0; i < request->n_partitions && going; i++) {
            bool sent_part = false;
            going = fake_send_batches(call, request->partitions[i], &offsets[i], &sent_part);
            sent = sent || sent_part;
        }
        pthread_mutex_lock(&server->lock);
        refused = server->refuse_fetches;
        going = going && !server->stopping && !refused;
        pthread_mutex_unlock(&server->lock);
        /* Nothing new: look again soon. This is the server's own pace, no test waits for it. */
        struct timespec soon = {.tv_nsec = 2000000};
        if (!sent)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &soon, NULL);
    }
    fake_end(call, refused ? GRPC_STATUS_FAILED_PRECONDITION : call->end_code, "the test ended the stream");
    streamhouse__v1__fetch_request__free_unpacked(request, NULL);
}

static inline bool fake_is_method(const FakeCall *call, const char *name)
{
    size_t length = strlen(name);
    size_t whole = GRPC_SLICE_LENGTH(call->details.method);
    return whole > length &&
           memcmp(GRPC_SLICE_START_PTR(call->details.method) + whole - length, name, length) == 0;
}

static inline void *fake_serve_call(void *arg)
{
    FakeCall *call = arg;
    fake_run(call, &(grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA});
    if (fake_is_method(call, "/ProduceStream")) {
        fake_produce_stream(call);
    } else {
        ShBuf *request = fake_receive(call);
        if (request == NULL)
            fake_end(call, GRPC_STATUS_CANCELLED, "");
        else if (fake_is_method(call, "/Metadata"))
            fake_metadata(call, request);
        else if (fake_is_method(call, "/ListOffsets"))
            fake_list_offsets(call, request);
        else if (fake_is_method(call, "/FetchStream"))
            fake_fetch_stream(call, request);
        else
            fake_end(call, GRPC_STATUS_UNIMPLEMENTED, "not in this test");
        sh_buf_unref(request);
    }
    grpc_call_unref(call->call);
    grpc_completion_queue_shutdown(call->queue);
    while (grpc_completion_queue_next(call->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(call->queue);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    free(call);
    return NULL;
}

static inline FakeCall *fake_await_call(FakeServer *server)
{
    FakeCall *call = calloc(1, sizeof *call);
    call->server = server;
    call->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    grpc_server_request_call(server->server, &call->call, &call->details, &call->metadata, call->queue,
                             server->queue, call);
    return call;
}

static inline void *fake_accept(void *arg)
{
    FakeServer *server = arg;
    fake_await_call(server);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                                      NULL);
        FakeCall *call = event.tag;
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (call == NULL) { /* the server is down: no further call can come */
            grpc_completion_queue_shutdown(server->queue);
            continue;
        }
        if (!event.success) {
            grpc_completion_queue_shutdown(call->queue);
            grpc_completion_queue_next(call->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            grpc_completion_queue_destroy(call->queue);
            grpc_call_details_destroy(&call->details);
            grpc_metadata_array_destroy(&call->metadata);
            free(call);
            continue;
        }
        pthread_mutex_lock(&server->lock);
        if (server->thread_count == FAKE_CALLS_MAX)
            abort();
        pthread_create(&server->threads[server->thread_count++], NULL, fake_serve_call, call);
        pthread_mutex_unlock(&server->lock);
        fake_await_call(server);
    }
}

/* Listen on `port`, 0: a free one. */
static inline void fake_start(FakeServer *server, int port)
{
    grpc_init();
    memset(server, 0, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    grpc_arg alone = {.type = GRPC_ARG_INTEGER, .key = "grpc.so_reuseport", .value.integer = 0};
    grpc_channel_args args = {.num_args = 1, .args = &alone};
    server->server = grpc_server_create(&args, NULL);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->server, server->queue, NULL);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "127.0.0.1:%d", port);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int bound = grpc_server_add_http2_port(server->server, wanted, credentials);
    grpc_server_credentials_release(credentials);
    if (bound == 0)
        abort();
    snprintf(server->address, sizeof server->address, "127.0.0.1:%d", bound);
    server->epoch = 1;
    for (int i = 0; i < FAKE_PARTITIONS; i++)
        snprintf(server->owner[i], sizeof server->owner[i], "127.0.0.1:%d", bound);
    grpc_server_start(server->server);
    pthread_create(&server->acceptor, NULL, fake_accept, server);
}

/* Judge produce requests with a function, and refuse with this where it says so. */
static inline void fake_script(FakeServer *server, FakeVerdict (*on_produce)(FakeServer *, int, int32_t),
                               FakeRefusal refusal)
{
    pthread_mutex_lock(&server->lock);
    server->on_produce = on_produce;
    server->refusal = refusal;
    pthread_mutex_unlock(&server->lock);
}

/* The next offset of a partition: how many records it has. */
static inline int64_t fake_stored(FakeServer *server, int32_t partition)
{
    pthread_mutex_lock(&server->lock);
    int64_t next_offset = server->partitions[partition].next_offset;
    pthread_mutex_unlock(&server->lock);
    return next_offset;
}

static inline void fake_stop(FakeServer *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    grpc_server_shutdown_and_notify(server->server, server->queue, NULL);
    grpc_server_cancel_all_calls(server->server);
    pthread_join(server->acceptor, NULL);
    for (size_t i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    grpc_server_destroy(server->server);
    grpc_completion_queue_destroy(server->queue);
    for (int i = 0; i < FAKE_PARTITIONS; i++) {
        for (size_t b = 0; b < server->partitions[i].batch_count; b++)
            sh_buf_unref(server->partitions[i].batches[b]);
    }
    pthread_mutex_destroy(&server->lock);
    grpc_shutdown();
}

#endif
