#include "client/messages.h"

#include <stdlib.h>
#include <string.h>

/* Field numbers of proto/streamhouse.proto. */
enum { PRODUCE_REQUEST_ID = 1, PRODUCE_PARTITIONS = 2 };
enum {
    PRODUCE_TOPIC = 1,
    PRODUCE_TOPIC_ID = 2,
    PRODUCE_PARTITION = 3,
    PRODUCE_BATCHES = 4,
    PRODUCE_UNACKED = 7,
    PRODUCE_IS_CONFIRMATION = 8,
    PRODUCE_PRODUCER_ID = 9,
    PRODUCE_PRODUCER_EPOCH = 10
};
enum { PRODUCED_REQUEST_ID = 1, PRODUCED_RESULTS = 2 };
enum {
    RESULT_BASE_OFFSET = 4,
    RESULT_RECORD_COUNT = 5,
    RESULT_EPOCH = 6,
    RESULT_ERROR = 7,
    RESULT_BATCH_OFFSETS = 8,
    RESULT_RECORD_ERRORS = 9
};
enum { MISFIT_INDEX = 1, MISFIT_REASON = 2 };
enum { FETCHED_RESULTS = 1 };
enum {
    FETCHED_TOPIC = 1,
    FETCHED_PARTITION = 3,
    FETCHED_LOG_START = 4,
    FETCHED_HIGH_WATERMARK = 5,
    FETCHED_NEXT_OFFSET = 6,
    FETCHED_EPOCH = 7,
    FETCHED_BATCHES = 8,
    FETCHED_ERROR = 10
};
enum { ERROR_CODE = 1, ERROR_REASON = 2, ERROR_MESSAGE = 3, ERROR_RETRY_AFTER = 4, ERROR_OWNER = 5 };
enum { OWNER_ADDRESS = 2, OWNER_EPOCH = 4 };

static bool get_produce_result(const uint8_t *data, size_t length, ShProduceAnswer *out);
static bool add_misfit(const uint8_t *data, size_t length, ShProduceAnswer *out);
static void get_batch_offsets(const uint8_t *data, size_t length, ShProduceAnswer *out);
static void add_batch_offset(ShProduceAnswer *out, uint64_t value);
static bool get_fetch_part(const uint8_t *data, size_t length, ShFetchedPart *out);
static bool get_owner(const uint8_t *data, size_t length, ShPartitionOwner *out);
static ShStatus status_of_code(int code);

ShStatus sh_message_put_produce(ShScratch *head, uint64_t request_id, const char *topic,
                                const ShUuid *topic_id, int32_t partition, int32_t first_unacked_seq,
                                size_t batches_bytes, ShError *err)
{
    size_t topic_length = strlen(topic);
    ShStatus status = sh_scratch_reserve(
        head, 7 * SH_PROTOBUF_FIELD_BYTES_MAX + 2 * (topic_length + sizeof topic_id->bytes), err);
    if (status != SH_OK)
        return status;

    head->length = 0;
    /* Every tag below is one byte; the topic id is sixteen bytes behind a length of one. */
    size_t inner_bytes = 1 + sh_protobuf_varint_bytes(topic_length) + topic_length + 2 +
                         sizeof topic_id->bytes + 1 + sh_protobuf_varint_bytes((uint64_t)partition) + 1 +
                         sh_protobuf_varint_bytes(batches_bytes) + batches_bytes;
    if (first_unacked_seq > 0)
        inner_bytes += 1 + sh_protobuf_varint_bytes((uint64_t)first_unacked_seq);
    sh_protobuf_put_varint(head, PRODUCE_REQUEST_ID, request_id);
    sh_protobuf_put_length(head, PRODUCE_PARTITIONS, inner_bytes);
    sh_protobuf_put_bytes(head, PRODUCE_TOPIC, topic, topic_length);
    sh_protobuf_put_bytes(head, PRODUCE_TOPIC_ID, topic_id->bytes, sizeof topic_id->bytes);
    sh_protobuf_put_varint(head, PRODUCE_PARTITION, (uint64_t)partition);
    if (first_unacked_seq > 0)
        sh_protobuf_put_varint(head, PRODUCE_UNACKED, (uint64_t)first_unacked_seq);
    sh_protobuf_put_length(head, PRODUCE_BATCHES, batches_bytes);
    return SH_OK;
}

ShStatus sh_message_put_confirmation(ShScratch *head, uint64_t request_id, const char *topic,
                                     const ShUuid *topic_id, int32_t partition, int64_t producer_id,
                                     int16_t producer_epoch, int32_t first_unacked_seq, ShError *err)
{
    size_t topic_length = strlen(topic);
    ShStatus status = sh_scratch_reserve(
        head, 8 * SH_PROTOBUF_FIELD_BYTES_MAX + 2 * (topic_length + sizeof topic_id->bytes), err);
    if (status != SH_OK)
        return status;

    head->length = 0;
    size_t inner_bytes = 1 + sh_protobuf_varint_bytes(topic_length) + topic_length + 2 +
                         sizeof topic_id->bytes + 1 + sh_protobuf_varint_bytes((uint64_t)partition) + 1 +
                         sh_protobuf_varint_bytes((uint64_t)first_unacked_seq) + 2 + 1 +
                         sh_protobuf_varint_bytes((uint64_t)producer_id) + 1 +
                         sh_protobuf_varint_bytes((uint64_t)producer_epoch);
    sh_protobuf_put_varint(head, PRODUCE_REQUEST_ID, request_id);
    sh_protobuf_put_length(head, PRODUCE_PARTITIONS, inner_bytes);
    sh_protobuf_put_bytes(head, PRODUCE_TOPIC, topic, topic_length);
    sh_protobuf_put_bytes(head, PRODUCE_TOPIC_ID, topic_id->bytes, sizeof topic_id->bytes);
    sh_protobuf_put_varint(head, PRODUCE_PARTITION, (uint64_t)partition);
    sh_protobuf_put_varint(head, PRODUCE_UNACKED, (uint64_t)first_unacked_seq);
    sh_protobuf_put_varint(head, PRODUCE_IS_CONFIRMATION, 1);
    sh_protobuf_put_varint(head, PRODUCE_PRODUCER_ID, (uint64_t)producer_id);
    sh_protobuf_put_varint(head, PRODUCE_PRODUCER_EPOCH, (uint64_t)producer_epoch);
    return SH_OK;
}

ShStatus sh_message_get_produced(const uint8_t *data, size_t length, ShProduceAnswer *out, ShError *err)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    bool found = false;
    *out = (ShProduceAnswer){0};
    while (sh_protobuf_next(&reader, &field)) {
        if (field.number == PRODUCED_REQUEST_ID && !field.is_bytes) {
            out->request_id = field.value;
        } else if (field.number == PRODUCED_RESULTS && field.is_bytes && !found) {
            found = true;
            if (!get_produce_result(field.bytes, field.length, out))
                reader.damaged = true;
        }
    }
    if (reader.damaged || !found)
        return sh_fail(err, SH_CORRUPT, "the server's answer to a produce request is damaged");
    return SH_OK;
}

void sh_message_free_produced(ShProduceAnswer *answer)
{
    free(answer->misfits);
    answer->misfits = NULL;
    answer->misfit_count = 0;
}

ShStatus sh_message_next_fetched(ShProtobufReader *reader, ShFetchedPart *out, bool *more, ShError *err)
{
    ShProtobufField field;
    *more = false;
    while (sh_protobuf_next(reader, &field)) {
        if (field.number != FETCHED_RESULTS || !field.is_bytes)
            continue;
        if (!get_fetch_part(field.bytes, field.length, out)) {
            reader->damaged = true;
            break;
        }
        *more = true;
        return SH_OK;
    }
    return reader->damaged ? sh_fail(err, SH_CORRUPT, "the server's answer to a fetch is damaged") : SH_OK;
}

void sh_message_get_refusal(const uint8_t *data, size_t length, ShRefusal *out)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    ShProtobufField reason = {.bytes = (const uint8_t *)""};
    ShProtobufField message = {.bytes = (const uint8_t *)""};
    int code = 0;
    int retry_after_ms = 0;
    *out = (ShRefusal){0};
    while (sh_protobuf_next(&reader, &field)) {
        if (field.number == ERROR_CODE && !field.is_bytes)
            code = (int)field.value;
        else if (field.number == ERROR_REASON && field.is_bytes)
            reason = field;
        else if (field.number == ERROR_MESSAGE && field.is_bytes)
            message = field;
        else if (field.number == ERROR_RETRY_AFTER && !field.is_bytes)
            retry_after_ms = (int)field.value;
        else if (field.number == ERROR_OWNER && field.is_bytes)
            out->has_owner = get_owner(field.bytes, field.length, &out->owner) &&
                             out->owner.address[0] != '\0';
    }

    ShStatus status = sh_message_status(code, (const char *)reason.bytes, reason.length);
    if (reader.damaged || status == SH_OK)
        status = SH_CORRUPT;
    size_t shown = message.length < SH_ERROR_MESSAGE_BYTES ? message.length : SH_ERROR_MESSAGE_BYTES;
    (void)sh_fail(&out->error, status, "%.*s", (int)shown, (const char *)message.bytes);
    if (retry_after_ms > 0)
        (void)sh_fail_retry_after(&out->error, status, retry_after_ms);
}

ShStatus sh_message_status(int grpc_code, const char *reason, size_t reason_length)
{
    for (int status = SH_INVALID; status <= SH_INTERNAL; status++) {
        const char *name = sh_status_name((ShStatus)status);
        if (strlen(name) == reason_length && memcmp(name, reason, reason_length) == 0)
            return (ShStatus)status;
    }
    return status_of_code(grpc_code);
}

static bool get_produce_result(const uint8_t *data, size_t length, ShProduceAnswer *out)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    while (sh_protobuf_next(&reader, &field)) {
        if (field.is_bytes) {
            if (field.number == RESULT_ERROR) {
                out->refused = true;
                sh_message_get_refusal(field.bytes, field.length, &out->refusal);
            }
            if (field.number == RESULT_BATCH_OFFSETS)
                get_batch_offsets(field.bytes, field.length, out);
            if (field.number == RESULT_RECORD_ERRORS && !add_misfit(field.bytes, field.length, out))
                return false;
            continue;
        }
        switch (field.number) {
        case RESULT_BATCH_OFFSETS:
            add_batch_offset(out, field.value);
            break;
        case RESULT_BASE_OFFSET:
            out->base_offset = (int64_t)field.value;
            break;
        case RESULT_RECORD_COUNT:
            out->record_count = (int64_t)field.value;
            break;
        case RESULT_EPOCH:
            out->epoch = (int64_t)field.value;
            break;
        default:
            break;
        }
    }
    return !reader.damaged;
}

/* False when it is damaged, or memory is short. The order is the server's, and relied upon. */
static bool add_misfit(const uint8_t *data, size_t length, ShProduceAnswer *out)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    ShMisfit misfit = {.reason = (const uint8_t *)""};
    while (sh_protobuf_next(&reader, &field)) {
        if (field.number == MISFIT_INDEX && !field.is_bytes) {
            misfit.index = (size_t)field.value;
        } else if (field.number == MISFIT_REASON && field.is_bytes) {
            misfit.reason = field.bytes;
            misfit.reason_length = field.length;
        }
    }
    size_t count = out->misfit_count;
    if (reader.damaged || (count > 0 && misfit.index <= out->misfits[count - 1].index))
        return false;
    if ((count & (count - 1)) == 0) { /* room for the next power of two */
        ShMisfit *misfits = realloc(out->misfits, (count == 0 ? 1 : 2 * count) * sizeof misfits[0]);
        if (misfits == NULL)
            return false;
        out->misfits = misfits;
    }
    out->misfits[out->misfit_count++] = misfit;
    return true;
}

/* Packed: varints one after the other, as proto3 writes them unless told otherwise. */
static void get_batch_offsets(const uint8_t *data, size_t length, ShProduceAnswer *out)
{
    uint64_t value = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < length && shift < 64; i++) {
        value |= (uint64_t)(data[i] & 0x7F) << shift;
        shift += 7;
        if ((data[i] & 0x80) != 0)
            continue;
        add_batch_offset(out, value);
        value = 0;
        shift = 0;
    }
}

static void add_batch_offset(ShProduceAnswer *out, uint64_t value)
{
    if (out->batch_offset_count < SH_ANSWER_BATCHES_MAX)
        out->batch_offsets[out->batch_offset_count++] = (int64_t)value;
}

static bool get_fetch_part(const uint8_t *data, size_t length, ShFetchedPart *out)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    *out = (ShFetchedPart){.topic = (const uint8_t *)""};
    while (sh_protobuf_next(&reader, &field)) {
        if (field.is_bytes) {
            if (field.number == FETCHED_TOPIC) {
                out->topic = field.bytes;
                out->topic_length = field.length;
            } else if (field.number == FETCHED_BATCHES) {
                out->batches = field.bytes;
                out->batches_length = field.length;
            } else if (field.number == FETCHED_ERROR) {
                out->refused = true;
                sh_message_get_refusal(field.bytes, field.length, &out->refusal);
            }
            continue;
        }
        switch (field.number) {
        case FETCHED_PARTITION:
            out->partition = (int32_t)field.value;
            break;
        case FETCHED_LOG_START:
            out->log_start = (int64_t)field.value;
            break;
        case FETCHED_HIGH_WATERMARK:
            out->high_watermark = (int64_t)field.value;
            break;
        case FETCHED_NEXT_OFFSET:
            out->next_offset = (int64_t)field.value;
            break;
        case FETCHED_EPOCH:
            out->epoch = (int64_t)field.value;
            break;
        default:
            break;
        }
    }
    return !reader.damaged;
}

static bool get_owner(const uint8_t *data, size_t length, ShPartitionOwner *out)
{
    ShProtobufReader reader = sh_protobuf_reader(data, length);
    ShProtobufField field;
    *out = (ShPartitionOwner){0};
    while (sh_protobuf_next(&reader, &field)) {
        if (field.number == OWNER_EPOCH && !field.is_bytes)
            out->epoch = (int64_t)field.value;
        if (field.number == OWNER_ADDRESS && field.is_bytes) {
            if (field.length >= sizeof out->address || memchr(field.bytes, '\0', field.length) != NULL)
                return false;
            memcpy(out->address, field.bytes, field.length);
            out->address[field.length] = '\0';
        }
    }
    return !reader.damaged;
}

/* By gRPC status code, from 0 (OK) to 16 (UNAUTHENTICATED). */
static ShStatus status_of_code(int code)
{
    static const ShStatus by_code[] = {
        SH_OK,          SH_CANCELLED, SH_INTERNAL,    SH_INVALID,   SH_TIMEOUT,     SH_NOT_FOUND,
        SH_EXISTS,      SH_DENIED,    SH_EXHAUSTED,   SH_NOT_OWNER, SH_UNAVAILABLE, SH_OUT_OF_RANGE,
        SH_UNSUPPORTED, SH_INTERNAL,  SH_UNAVAILABLE, SH_CORRUPT,   SH_DENIED,
    };
    return code >= 0 && (size_t)code < sizeof by_code / sizeof by_code[0] ? by_code[code] : SH_INTERNAL;
}
