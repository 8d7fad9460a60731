#include "agent/rpc/produce_request.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/rpc/message.h"
#include "agent/rpc/records.h"
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

typedef struct Sizes {
    size_t parts;
    size_t batches;
    ShWirePartition last; /* the last part as it was read: all of a small request, not to be read again */
} Sizes;

static ShStatus count_all(const ShBuf *message, uint64_t *request_id, Sizes *sizes, ShError *err);
static size_t count_batches(const ShWirePartition *partition);
static ShProduceRequest *alloc_request(ShCall *call, ShBuf *message, const Sizes *sizes,
                                       ShAppendBatch **batches);
static ShStatus check_all(ShCall *call, ShProduceRequest *request, const Sizes *sizes, ShAppendBatch *batches,
                          ShError *err);
static void hold(ShProduceRequest *request, size_t bytes);
static void init_part(ShAppendPart *part, ShAppendBatch *batches);
static ShStatus check_part(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                           ShAppendPart *part, ShError *err);
static ShStatus take_batches(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                             const ShBatchLimits *limits, ShAppendPart *part, ShError *err);
static ShStatus take_records(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                             const ShBatchLimits *limits, ShAppendPart *part, ShError *err);
static ShStatus check_batches(ShWorker *worker, const ShWirePartition *wire, const ShBatchLimits *limits,
                              ShRecordCheck *check, ShAppendPart *part, ShError *err);
static ShStatus end_check(ShCall *call, ShRecordCheck *check, ShStatus so_far, ShAppendPart *part,
                          ShError *err);
static ShStatus drop_misfits(ShCall *call, ShProduceRequest *request, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err);
static void drop_part(ShProduceRequest *request, ShAppendPart *part);
static ShStatus confirm(ShCall *call, const ShWirePartition *wire, const ShAppendPart *part, ShError *err);
static void on_append_done(ShAppend *append);
static size_t result_bytes(const ShAppendPart *part, const ShPartitionError *error);
static const ShRecordErrors *told_misfits(const ShAppendPart *part);
static size_t record_error_bytes(const ShRecordError *error);
static void put_result(ShOut *out, const ShAppendPart *part, const ShPartitionError *error);
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
    ShProduceRequest *request = status == SH_OK ? alloc_request(call, joined, &sizes, &batches) : NULL;
    if (request == NULL) {
        sh_buf_unref(joined);
        return status != SH_OK ? status : sh_fail(err, SH_NO_MEMORY, "no memory for a request");
    }
    request->request_id = request_id;

    status = check_all(call, request, &sizes, batches, err);
    if (status != SH_OK) {
        sh_produce_request_free(request);
        return status;
    }
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
    sh_buf_unref(request->message);
    sh_engine_hold_memory(sh_call_engine(request->wake.call), -(int64_t)request->held_bytes);
    free(request);
}

void sh_produce_request_append(ShProduceRequest *request, void (*answered)(ShWake *wake))
{
    request->wake.run = answered;
    if (request->append.part_count == 0) {
        sh_worker_post(&request->wake);
        return;
    }
    request->append.parts = request->parts;
    request->append.done = on_append_done;
    request->append.arg = request;
    sh_engine_append(sh_call_engine(request->wake.call), &request->append);
}

grpc_byte_buffer *sh_produce_request_answer(const ShProduceRequest *request)
{
    ShOut out;
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
    if (request->part_count == 0)
        return GRPC_STATUS_OK;
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
    ShStatus status = sh_wire_produce_request(message->data, message->length, request_id, &sizes->parts, err);
    if (status != SH_OK)
        return status;
    if (sizes->parts == 0)
        return sh_fail(err, SH_INVALID, "the request names no partition");
    if (sizes->parts > SH_RPC_ENTRIES_MAX)
        return sh_fail(err, SH_INVALID, "the request names %zu partitions; at most %d are allowed",
                       sizes->parts, SH_RPC_ENTRIES_MAX);

    ShWireReader reader = sh_wire_reader(message->data, message->length);
    for (size_t i = 0; i < sizes->parts; i++) {
        bool more;
        status = sh_wire_next_partition(&reader, &sizes->last, &more, err);
        if (status != SH_OK)
            return status;
        sizes->batches += count_batches(&sizes->last);
    }
    return SH_OK;
}

/* How many batches the part will have, at most. */
static size_t count_batches(const ShWirePartition *partition)
{
    if (partition->record_count > 0)
        return 1;
    size_t count = 0;
    ShWireBytes left = partition->batches;
    ShBatchHeader header;
    while (left.length > 0 && sh_batch_peek(left.data, left.length, &header, NULL) == SH_OK) {
        left.data += header.total_bytes;
        left.length -= header.total_bytes;
        count++;
    }
    return count;
}

/* The request, its parts, their batches and the places, one behind the other by falling alignment. */
static ShProduceRequest *alloc_request(ShCall *call, ShBuf *message, const Sizes *sizes,
                                       ShAppendBatch **batches)
{
    size_t bytes = sizeof(ShProduceRequest) + sizes->parts * (sizeof(ShAppendPart) + sizeof(uint32_t)) +
                   sizes->batches * sizeof(ShAppendBatch);
    ShProduceRequest *request = malloc(bytes);
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
    hold(request, bytes + message->length);
    return request;
}

/* What the log takes over counts there as well: for the time that the request is under way, too much is
 * counted rather than too little. */
static void hold(ShProduceRequest *request, size_t bytes)
{
    request->held_bytes += bytes;
    sh_engine_hold_memory(sh_call_engine(request->wake.call), (int64_t)bytes);
}

/* Accepted parts fill `parts` from the front, refused ones from the back. */
static ShStatus check_all(ShCall *call, ShProduceRequest *request, const Sizes *sizes, ShAppendBatch *batches,
                          ShError *err)
{
    size_t *front = &request->append.part_count;
    size_t back = request->part_count;
    ShWireReader reader = sh_wire_reader(request->message->data, request->message->length);
    for (size_t i = 0; i < request->part_count; i++) {
        ShWirePartition wire = sizes->last;
        bool more;
        bool is_last = i == request->part_count - 1;
        ShStatus status = is_last ? SH_OK : sh_wire_next_partition(&reader, &wire, &more, err);
        if (status != SH_OK)
            return status;
        ShAppendPart *part = &request->parts[*front];
        init_part(part, batches);
        part->first_unacked_seq = wire.first_unacked_seq;
        if (check_part(call, request, &wire, part, &part->error) == SH_OK && part->batch_count > 0) {
            batches += part->batch_count;
            request->places[i] = (uint32_t)(*front)++;
        } else {
            request->places[i] = (uint32_t)--back;
            if (back != *front) {
                request->parts[back] = *part;
                part->misfits = NULL;
            }
        }
    }
    return SH_OK;
}

/* Only what is read before the engine sets it: the structs are large, and requests many. */
static void init_part(ShAppendPart *part, ShAppendBatch *batches)
{
    part->owner = NULL;
    part->is_unchecked = false;
    part->batches = batches;
    part->batch_count = 0;
    sh_error_clear(&part->error);
    part->scattered = false;
    part->base_offset = 0;
    part->record_count = 0;
    part->epoch = 0;
    part->redirect.agent_id[0] = '\0';
    part->redirect.address[0] = '\0';
    part->redirect.zone[0] = '\0';
    part->redirect.epoch = 0;
}

static ShStatus check_part(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                           ShAppendPart *part, ShError *err)
{
    ShStatus status = sh_target_parse(wire->topic, wire->topic_id, wire->partition, &part->target, err);
    if (status != SH_OK)
        return status;
    if (wire->batches.length > 0 && wire->record_count > 0)
        return sh_fail(err, SH_INVALID, "both batches and records are given");
    if (wire->batches.length == 0 && wire->record_count == 0)
        return confirm(call, wire, part, err);

    ShBatchLimits limits = {
        .batch_bytes_max = (size_t)sh_engine_batch_bytes_max(sh_call_engine(call), &part->target),
        .decompressed_bytes_max = (size_t)sh_call_config(call)->batch_decompressed_bytes_max,
    };
    return wire->record_count == 0 ? take_batches(call, request, wire, &limits, part, err)
                                   : take_records(call, request, wire, &limits, part, err);
}

static ShStatus take_batches(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                             const ShBatchLimits *limits, ShAppendPart *part, ShError *err)
{
    ShRecordCheck check;
    bool is_checked = sh_engine_check_begin(sh_call_engine(call), &part->target, &check);
    part->is_unchecked = !is_checked;
    part->owner = request->message;
    ShStatus status = check_batches(call->worker, wire, limits, is_checked ? &check : NULL, part, err);
    if (is_checked)
        status = end_check(call, &check, status, part, err);
    if (status != SH_OK || part->misfits == NULL)
        return status;
    if (part->batches[0].header.producer_id < 0)
        return drop_misfits(call, request, limits, part, err);
    /* The sequences leave no holes: all of it is refused, unless it turns out to be stored already. */
    (void)sh_record_errors_explain(part->misfits, check.first_index, &part->misfits->whole);
    return SH_OK;
}

static ShStatus take_records(ShCall *call, ShProduceRequest *request, const ShWirePartition *wire,
                             const ShBatchLimits *limits, ShAppendPart *part, ShError *err)
{
    ShRecordCheck check;
    bool is_checked = sh_engine_check_begin(sh_call_engine(call), &part->target, &check);
    part->is_unchecked = !is_checked;
    ShStatus status = sh_records_build(call->worker, wire, limits, is_checked ? &check.watch : NULL,
                                       &part->owner, err);
    if (is_checked)
        status = end_check(call, &check, status, part, err);
    if (status == SH_OK && part->owner == NULL)
        return sh_record_errors_explain(part->misfits, wire->record_count, err);
    if (status == SH_OK)
        status = sh_batch_peek(part->owner->data, part->owner->length, &part->batches[0].header, err);
    if (status != SH_OK) {
        drop_part(request, part);
        return status;
    }
    part->batches[0].data = part->owner->data;
    part->batch_count = 1;
    hold(request, part->owner->length);
    return SH_OK;
}

/* Whether the part is refused for other reasons or not: what the check holds is given back. */
static ShStatus end_check(ShCall *call, ShRecordCheck *check, ShStatus so_far, ShAppendPart *part,
                          ShError *err)
{
    ShError why = {0};
    ShStatus status = sh_engine_check_end(sh_call_engine(call), check, &why);
    if (so_far == SH_OK && status != SH_OK)
        *err = why;
    if (so_far == SH_OK && status == SH_OK)
        part->misfits = check->errors;
    else
        sh_record_errors_free(check->errors);
    return so_far != SH_OK ? so_far : status;
}

/* Batches without sequences: the records that fit are stored. */
static ShStatus drop_misfits(ShCall *call, ShProduceRequest *request, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err)
{
    size_t record_count = 0;
    for (size_t i = 0; i < part->batch_count; i++)
        record_count += (size_t)part->batches[i].header.record_count;
    ShBuf *rest = NULL;
    ShStatus status = part->misfits->count == record_count
                          ? sh_record_errors_explain(part->misfits, record_count, err)
                          : sh_records_drop_misfits(call->worker, part, limits, &rest, err);
    if (status != SH_OK)
        return status;
    part->owner = rest;
    hold(request, rest->length);
    return SH_OK;
}

/* Of the refused parts nothing is kept. */
static void drop_part(ShProduceRequest *request, ShAppendPart *part)
{
    if (part->owner != request->message)
        sh_buf_unref(part->owner);
    part->owner = NULL;
    part->batch_count = 0;
}

/* A part without records may say what its producer knows acknowledged. */
static ShStatus confirm(ShCall *call, const ShWirePartition *wire, const ShAppendPart *part, ShError *err)
{
    if (!wire->is_confirmation)
        return sh_fail(err, SH_INVALID, "neither batches nor records are given");
    if (wire->producer_id < 0 || wire->producer_epoch < 0 || wire->producer_epoch > INT16_MAX ||
        wire->first_unacked_seq < 0)
        return sh_fail(err, SH_INVALID,
                       "producer_id, producer_epoch or first_unacked_seq of a confirmation is out of range");
    ShConfirmation confirmation = {.target = part->target,
                                   .producer_id = wire->producer_id,
                                   .producer_epoch = (int16_t)wire->producer_epoch,
                                   .first_unacked_seq = wire->first_unacked_seq};
    sh_engine_confirm(sh_call_engine(call), &confirmation);
    return SH_OK;
}

static ShStatus check_batches(ShWorker *worker, const ShWirePartition *wire, const ShBatchLimits *limits,
                              ShRecordCheck *check, ShAppendPart *part, ShError *err)
{
    /* The message is this request's own, so the engine may write into it what lies outside the CRC. */
    uint8_t *next = (uint8_t *)(uintptr_t)wire->batches.data;
    size_t left = wire->batches.length;
    while (left > 0) {
        ShBatchHeader header;
        ShStatus status = sh_batch_check_watched(next, left, limits, &worker->scratch,
                                                 check != NULL ? &check->watch : NULL, &header, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "batch %zu", part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_CONTROL)
            return sh_fail(err, SH_INVALID, "batch %zu: clients cannot write control batches",
                           part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_TRANSACTIONAL)
            return sh_fail(err, SH_UNSUPPORTED, "batch %zu: transactions are not supported",
                           part->batch_count);
        if (check != NULL)
            sh_record_check_next_batch(check, (size_t)header.record_count);
        part->batches[part->batch_count++] = (ShAppendBatch){.data = next, .header = header};
        next += header.total_bytes;
        left -= header.total_bytes;
    }
    return SH_OK;
}

static void on_append_done(ShAppend *append)
{
    ShProduceRequest *request = append->arg;
    sh_worker_post(&request->wake);
}

/* The size of a ProduceResult's fields; zero and empty ones are left out. */
static size_t result_bytes(const ShAppendPart *part, const ShPartitionError *error)
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

static void put_result(ShOut *out, const ShAppendPart *part, const ShPartitionError *error)
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
