#include "agent/rpc/produce_request.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/rpc/message.h"
#include "agent/rpc/produce_check.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"
#include "agent/rpc/wire.h"

/* Field numbers of ProduceResponse and ProduceResult. */
enum { RESPONSE_ID = 1, RESPONSE_RESULTS = 2 };
enum {
    RESULT_OFFSET = SH_TARGET_FIELDS + 1,
    RESULT_COUNT,
    RESULT_EPOCH,
    RESULT_ERROR,
    RESULT_BATCH_OFFSETS,
    RESULT_RECORD_ERRORS
};
enum { RECORD_ERROR_INDEX = 1, RECORD_ERROR_MESSAGE };

/* A connection whose request was postponed: for so long its are postponed at once. */
#define SLOW_CONNECTION_US 1000000

typedef struct Sizes {
    size_t parts;
    size_t batches;
    ShWirePartition last; /* the last part as it was read */
} Sizes;

static ShStatus count_all(const ShBuf *message, uint64_t *request_id, Sizes *sizes, ShError *err);
static size_t count_batches(const ShWirePartition *partition);
static size_t request_bytes(const Sizes *sizes);
static bool take_room(const ShCall *call, int64_t bytes);
static void count_bytes(const ShCall *call, int64_t bytes);
static ShProduceRequest *alloc_request(ShCall *call, ShBuf *message, const Sizes *sizes,
                                       ShAppendBatch **batches);
static size_t put_refusal(ShOut *out, const ShWirePartition *wire, const ShError *err);
static bool starts_postponed(const ShCall *call, const ShProduceRequest *request);
static void check_postponed(ShCheckJob *job, ShCheckTools *tools);
static void on_checked(ShWake *wake);
static void append(ShProduceRequest *request);
static void on_append_done(ShAppend *append);
static inline size_t result_bytes(const ShAppendPart *part, const ShPartitionError *error);
static const ShRecordErrors *told_misfits(const ShAppendPart *part);
static size_t record_error_bytes(const ShRecordError *error);
static inline void put_result(ShOut *out, const ShAppendPart *part, const ShPartitionError *error);
static void put_record_errors(ShOut *out, const ShRecordErrors *errors);

ShStatus sh_produce_request_new(ShCall *call, grpc_byte_buffer *message, ShProduceRequest **out, ShError *err)
{
    ShBuf *joined = sh_message_join(message);
    if (joined == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a request of %zu bytes",
                       grpc_byte_buffer_length(message));

    uint64_t request_id;
    Sizes sizes = {0};
    ShAppendBatch *batches;
    ShStatus status = count_all(joined, &request_id, &sizes, err);
    int64_t bytes = (int64_t)(request_bytes(&sizes) + joined->length);
    if (status == SH_OK && !take_room(call, bytes))
        status = sh_fail_for_room(err, "there is no memory for the request beside those under way");
    ShProduceRequest *request = status == SH_OK ? alloc_request(call, joined, &sizes, &batches) : NULL;
    if (request == NULL && status == SH_OK) {
        count_bytes(call, -bytes);
        status = sh_fail(err, SH_NO_MEMORY, "no memory for a request");
    }
    if (request == NULL) {
        sh_buf_unref(joined);
        return status;
    }
    request->held_bytes = (size_t)bytes;
    request->request_id = request_id;
    request->next_batch = batches;
    request->back = sizes.parts;
    request->reader = sh_wire_reader(joined->data, joined->length);

    request->is_postponed = request->began_postponed = starts_postponed(call, request);
    if (!request->is_postponed)
        status = sh_produce_check(request, &call->worker->tools, &sizes.last, true, err);
    if (status != SH_OK) {
        sh_produce_request_free(request);
        return status;
    }
    *out = request;
    return SH_OK;
}

ShStatus sh_produce_request_refuse(ShCall *call, grpc_byte_buffer *message, ShProduceRequest **out,
                                   ShError *err)
{
    ShOut answer;
    ShBuf *joined = sh_message_join(message);
    ShProduceRequest *request = joined != NULL ? calloc(1, sizeof *request) : NULL;
    if (request == NULL) {
        sh_buf_unref(joined);
        return err->status;
    }
    ShWireReader reader = sh_wire_reader(joined->data, joined->length);
    ShWirePartition wire;
    bool more = true;
    sh_out_init(&answer, SH_ROOM_COUNTED_BYTES);
    for (size_t bytes = 0; more && bytes < SH_ROOM_COUNTED_BYTES;) {
        if (sh_wire_next_partition(&reader, &wire, &request->request_id, &more, NULL) != SH_OK)
            break;
        if (more)
            bytes += put_refusal(&answer, &wire, err);
    }
    if (request->request_id != 0)
        sh_out_varint(&answer, RESPONSE_ID, request->request_id);
    request->refusal = sh_out_finish(&answer);
    sh_buf_unref(joined);
    request->wake.call = call;
    request->started_us = sh_clock_now_us();
    if (more) {
        sh_produce_request_free(request);
        return err->status;
    }
    sh_produce_request_hold(request, sizeof *request + grpc_byte_buffer_length(request->refusal));
    *out = request;
    return SH_OK;
}

void sh_produce_request_free(ShProduceRequest *request)
{
    if (request == NULL)
        return;
    for (size_t i = 0; i < request->append.part_count; i++) {
        if (request->parts[i].owner != request->message)
            sh_buf_unref(request->parts[i].owner);
    }
    for (size_t i = 0; i < request->part_count; i++)
        sh_record_errors_free(request->parts[i].misfits);
    grpc_byte_buffer_destroy(request->refusal);
    sh_buf_unref(request->message);
    count_bytes(request->wake.call, -(int64_t)request->held_bytes);
    free(request);
}

void sh_produce_request_append(ShProduceRequest *request, void (*checked)(ShProduceRequest *request),
                               void (*answered)(ShWake *wake))
{
    request->answered = answered;
    request->checked = checked;
    if (!request->is_postponed) {
        append(request);
        return;
    }
    ShCall *call = request->wake.call;
    if (call->connection != NULL && !request->began_postponed) {
        int64_t now_us = sh_clock_now_us();
        atomic_store(&call->connection->checks_until_us, now_us + SLOW_CONNECTION_US);
        sh_host_kept_worker(call->connection->host, now_us, now_us - request->started_us);
    }
    request->job.run = check_postponed;
    sh_checker_submit(call->worker->rpc->checker, &request->job, call->connection);
}

/* What the log takes over counts there as well: for the time that the request is under way, too much is
 * counted rather than too little. */
void sh_produce_request_hold(ShProduceRequest *request, size_t bytes)
{
    request->held_bytes += bytes;
    count_bytes(request->wake.call, (int64_t)bytes);
}

bool sh_produce_may_read_on(const ShCall *call)
{
    const ShRpc *rpc = call->worker->rpc;
    const ShConnection *connection = call->connection;
    int64_t bound = rpc->config->memory_budget_bytes / 4;
    int64_t all = atomic_load_explicit(&rpc->request_bytes, memory_order_relaxed);
    if (all < bound / 4 * 3)
        return true;
    return all < bound && connection != NULL &&
           sh_connection_has_little(atomic_load(&connection->host->request_bytes), 1, bound);
}

grpc_byte_buffer *sh_produce_request_answer(const ShProduceRequest *request)
{
    ShOut out;
    if (request->refusal != NULL)
        return grpc_byte_buffer_copy(request->refusal);
    sh_out_init(&out, 16 + 96 * request->part_count);
    if (request->request_id != 0)
        sh_out_varint(&out, RESPONSE_ID, request->request_id);
    for (size_t i = 0; i < request->part_count; i++) {
        const ShAppendPart *part = &request->parts[request->places[i]];
        ShPartitionError error;
        bool failed = part->error.status != SH_OK;
        if (failed)
            sh_partition_error_fill(&error, &part->error, &part->redirect, SH_FROM_CLIENT);
        put_result(&out, part, failed ? &error : NULL);
    }
    return sh_out_finish(&out);
}

grpc_status_code sh_produce_request_code(const ShProduceRequest *request, ShPartitionError *first)
{
    if (request->refusal != NULL)
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < request->part_count; i++)
        if (told_misfits(&request->parts[i]) != NULL)
            return GRPC_STATUS_OK; /* the answer tells which records they are */
    const ShAppendPart *first_part = &request->parts[request->places[0]];
    grpc_status_code code = sh_rpc_code(first_part->error.status, SH_FROM_CLIENT);
    for (size_t i = 0; i < request->part_count && code != GRPC_STATUS_OK; i++) {
        if (sh_rpc_code(request->parts[i].error.status, SH_FROM_CLIENT) != code)
            return GRPC_STATUS_OK;
    }
    if (code != GRPC_STATUS_OK && first != NULL)
        sh_partition_error_fill(first, &first_part->error, &first_part->redirect, SH_FROM_CLIENT);
    return code;
}

static ShStatus count_all(const ShBuf *message, uint64_t *request_id, Sizes *sizes, ShError *err)
{
    ShWireReader reader = sh_wire_reader(message->data, message->length);
    *request_id = 0;
    for (;;) {
        bool more;
        ShStatus status = sh_wire_next_partition(&reader, &sizes->last, request_id, &more, err);
        if (status != SH_OK)
            return status;
        if (!more)
            break;
        if (++sizes->parts > SH_RPC_ENTRIES_MAX)
            return sh_fail(err, SH_INVALID,
                           "the request names more than %d partitions, as many as are allowed",
                           SH_RPC_ENTRIES_MAX);
        sizes->batches += count_batches(&sizes->last);
    }
    return sizes->parts > 0 ? SH_OK : sh_fail(err, SH_INVALID, "the request names no partition");
}

/* How many batches the part will have, at most. */
static size_t count_batches(const ShWirePartition *partition)
{
    if (partition->record_count > 0)
        return 1;
    size_t count = 0;
    ShWireBytes left = partition->batches;
    for (size_t bytes; (bytes = sh_batch_span(left.data, left.length)) > 0; count++) {
        left.data += bytes;
        left.length -= bytes;
    }
    return count;
}

/* What a request takes beside its message. */
static size_t request_bytes(const Sizes *sizes)
{
    return sizeof(ShProduceRequest) + sizes->parts * (sizeof(ShAppendPart) + sizeof(uint32_t)) +
           sizes->batches * sizeof(ShAppendBatch);
}

/* Count what a request will hold. False: there is no room for it, and it is not counted. */
static bool take_room(const ShCall *call, int64_t bytes)
{
    ShRpc *rpc = call->worker->rpc;
    int64_t bound = rpc->config->memory_budget_bytes / 4;
    const ShConnection *connection = call->connection;
    int64_t all = atomic_fetch_add(&rpc->request_bytes, bytes);
    int64_t own = connection != NULL ? atomic_fetch_add(&connection->host->request_bytes, bytes) : 0;
    sh_engine_hold_memory(rpc->engine, bytes);
    if (all == 0 || all + bytes <= bound - bound / 8 ||
        (all + bytes <= bound && sh_connection_has_little(own, bytes, bound)))
        return true;
    count_bytes(call, -bytes);
    return false;
}

static void count_bytes(const ShCall *call, int64_t bytes)
{
    atomic_fetch_add_explicit(&call->worker->rpc->request_bytes, bytes, memory_order_relaxed);
    if (call->connection != NULL)
        atomic_fetch_add_explicit(&call->connection->host->request_bytes, bytes, memory_order_relaxed);
    sh_engine_hold_memory(sh_call_engine(call), bytes);
}

/* The request, its parts, their batches and the places, one behind the other by falling alignment. */
static ShProduceRequest *alloc_request(ShCall *call, ShBuf *message, const Sizes *sizes,
                                       ShAppendBatch **batches)
{
    ShProduceRequest *request = malloc(request_bytes(sizes));
    if (request == NULL)
        return NULL;
    *request = (ShProduceRequest){.wake = {.call = call},
                                  .message = message,
                                  .part_count = sizes->parts,
                                  .started_us = sh_clock_now_us()};
    request->parts = (ShAppendPart *)(request + 1);
    *batches = (ShAppendBatch *)(request->parts + sizes->parts);
    request->places = (uint32_t *)(*batches + sizes->batches);
    for (size_t i = 0; i < sizes->parts; i++)
        request->parts[i].misfits = NULL;
    sh_record_check_budget(&request->budget, message->length);
    return request;
}

/* Behind a request of the connection that took long, the next one likely does as well. */
static bool starts_postponed(const ShCall *call, const ShProduceRequest *request)
{
    const ShConnection *connection = call->connection;
    return connection != NULL &&
           (atomic_load_explicit(&connection->checks_until_us, memory_order_relaxed) > request->started_us ||
            !sh_host_may_keep_worker(connection->host, request->started_us));
}

static void check_postponed(ShCheckJob *job, ShCheckTools *tools)
{
    ShProduceRequest *request = (ShProduceRequest *)((char *)job - offsetof(ShProduceRequest, job));
    ShError err;
    int64_t begun_us = sh_clock_now_us();
    /* The message was walked through once: that it is well-formed is known. */
    if (sh_produce_check(request, tools, NULL, false, &err) != SH_OK)
        sh_log_error("check_failed", "reason=\"%s\"", err.message);
    ShConnection *connection = request->wake.call->connection;
    int64_t now_us = sh_clock_now_us();
    if (connection != NULL && now_us - begun_us > SH_CHECK_INLINE_US) /* the next would be no faster */
        atomic_store(&connection->checks_until_us, now_us + SLOW_CONNECTION_US);
    request->wake.run = on_checked;
    sh_worker_post(&request->wake);
}

static void on_checked(ShWake *wake)
{
    ShProduceRequest *request = (ShProduceRequest *)wake;
    void (*checked)(ShProduceRequest * request) = request->checked;
    ShCall *call = wake->call;
    sh_call_hold(call);
    append(request);
    if (checked != NULL)
        checked(request);
    sh_call_release(call);
}

static void append(ShProduceRequest *request)
{
    request->wake.run = request->answered;
    if (request->append.part_count == 0) {
        sh_worker_post(&request->wake);
        return;
    }
    request->append.parts = request->parts;
    request->append.done = on_append_done;
    request->append.arg = request;
    sh_engine_append(sh_call_engine(request->wake.call), &request->append);
}

static void on_append_done(ShAppend *append)
{
    ShProduceRequest *request = append->arg;
    sh_worker_post(&request->wake);
}

/* The size of a ProduceResult's fields; zero and empty ones are left out. */
static inline size_t result_bytes(const ShAppendPart *part, const ShPartitionError *error)
{
    size_t bytes = sh_target_bytes(&part->target);
    const ShRecordErrors *misfits = told_misfits(part);
    for (size_t i = 0; misfits != NULL && i < misfits->count; i++)
        bytes += sh_out_bytes_size(RESULT_RECORD_ERRORS, record_error_bytes(&misfits->items[i]));
    if (error != NULL)
        return bytes + sh_out_bytes_size(RESULT_ERROR,
                                         streamhouse__v1__partition_error__get_packed_size(&error->error));
    if (part->base_offset != 0)
        bytes += sh_out_varint_size(RESULT_OFFSET, (uint64_t)part->base_offset);
    if (part->record_count != 0)
        bytes += sh_out_varint_size(RESULT_COUNT, (uint64_t)part->record_count);
    if (part->epoch != 0)
        bytes += sh_out_varint_size(RESULT_EPOCH, (uint64_t)part->epoch);
    for (size_t i = 0; part->scattered && i < part->batch_count; i++)
        bytes += sh_out_varint_size(RESULT_BATCH_OFFSETS, (uint64_t)part->batches[i].header.base_offset);
    return bytes;
}

/* Not told: of a part that was to be refused as a whole and is stored already; with an error that says
 * nothing of the records, after which the part comes again. */
static const ShRecordErrors *told_misfits(const ShAppendPart *part)
{
    if (part->misfits == NULL || part->error.status == SH_INVALID)
        return part->misfits;
    return part->error.status == SH_OK && part->misfits->whole.status == SH_OK ? part->misfits : NULL;
}

static size_t record_error_bytes(const ShRecordError *error)
{
    size_t bytes = error->index == 0 ? 0 : sh_out_varint_size(RECORD_ERROR_INDEX, error->index);
    return error->reason == NULL ? bytes
                                 : bytes + sh_out_bytes_size(RECORD_ERROR_MESSAGE, strlen(error->reason));
}

static inline void put_result(ShOut *out, const ShAppendPart *part, const ShPartitionError *error)
{
    sh_out_open(out, RESPONSE_RESULTS, result_bytes(part, error));
    sh_target_put(out, &part->target);
    if (error != NULL) {
        sh_out_message(out, RESULT_ERROR, &error->error.base);
        put_record_errors(out, told_misfits(part));
        return;
    }
    if (part->base_offset != 0)
        sh_out_varint(out, RESULT_OFFSET, (uint64_t)part->base_offset);
    if (part->record_count != 0)
        sh_out_varint(out, RESULT_COUNT, (uint64_t)part->record_count);
    if (part->epoch != 0)
        sh_out_varint(out, RESULT_EPOCH, (uint64_t)part->epoch);
    for (size_t i = 0; part->scattered && i < part->batch_count; i++)
        sh_out_varint(out, RESULT_BATCH_OFFSETS, (uint64_t)part->batches[i].header.base_offset);
    put_record_errors(out, told_misfits(part));
}

/* A part of a request for which there is no room. Its bytes. */
static size_t put_refusal(ShOut *out, const ShWirePartition *wire, const ShError *err)
{
    ShAppendPart part = {.error = *err};
    ShPartitionError error;
    ShError invalid;
    if (sh_target_parse(wire->topic, wire->topic_id, wire->partition, &part.target, &invalid) != SH_OK)
        part.error = invalid;
    sh_partition_error_fill(&error, &part.error, &part.redirect, SH_FROM_CLIENT);
    put_result(out, &part, &error);
    return result_bytes(&part, &error);
}

static void put_record_errors(ShOut *out, const ShRecordErrors *errors)
{
    for (size_t i = 0; errors != NULL && i < errors->count; i++) {
        const ShRecordError *error = &errors->items[i];
        sh_out_open(out, RESULT_RECORD_ERRORS, record_error_bytes(error));
        if (error->index != 0)
            sh_out_varint(out, RECORD_ERROR_INDEX, error->index);
        if (error->reason != NULL)
            sh_out_bytes(out, RECORD_ERROR_MESSAGE, error->reason, strlen(error->reason));
    }
}
