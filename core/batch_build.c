#include <limits.h>
#include <stdlib.h>

#include "core/batch.h"
#include "core/codec_internal.h"
#include "core/crc32c.h"
#include "core/varint.h"

/* batchLength is a signed 32-bit field that counts from byte 12. */
#define RECORDS_BYTES_MAX ((size_t)INT32_MAX - (SH_BATCH_HEADER_BYTES - 12))
/* A field longer than this cannot stand in a batch; sums of a few of them cannot overflow. */
#define FIELD_BYTES_MAX ((size_t)INT32_MAX)

struct ShBatchBuilder {
    ShCodec codec;
    ShScratch records;    /* encoded, not compressed */
    ShScratch compressed; /* kept for its room */
    int32_t count;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    bool transactional;
};

static ShStatus measure_body(const ShBatchBuilder *builder, const ShRecord *record, const ShHeader *headers,
                             size_t header_count, size_t *body_bytes, ShError *err) SH_MUST_CHECK;
static size_t bytes_field_size(const void *data, size_t length);
static uint8_t *write_body(uint8_t *p, const ShBatchBuilder *builder, const ShRecord *record,
                           const ShHeader *headers, size_t header_count);
static uint8_t *write_bytes_field(uint8_t *p, const void *data, size_t length);
static int64_t timestamp_delta(const ShBatchBuilder *builder, const ShRecord *record);
static void write_header(const ShBatchBuilder *builder, uint8_t *batch, size_t total_bytes);
static void reset(ShBatchBuilder *builder);

ShBatchBuilder *sh_batch_builder_new(ShCodec codec)
{
    ShBatchBuilder *builder = calloc(1, sizeof *builder);
    if (builder == NULL)
        return NULL;
    builder->codec = codec;
    reset(builder);
    return builder;
}

void sh_batch_builder_free(ShBatchBuilder *builder)
{
    if (builder == NULL)
        return;
    sh_scratch_free(&builder->records);
    sh_scratch_free(&builder->compressed);
    free(builder);
}

ShStatus sh_batch_builder_add(ShBatchBuilder *builder, const ShRecord *record, const ShHeader *headers,
                              size_t header_count, ShError *err)
{
    if (builder->count == INT32_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the batch holds as many records as it can");
    size_t body_bytes = 0;
    ShStatus status = measure_body(builder, record, headers, header_count, &body_bytes, err);
    if (status != SH_OK)
        return status;
    size_t record_bytes = sh_varint_bytes((int64_t)body_bytes) + body_bytes;
    if (record_bytes > RECORDS_BYTES_MAX - builder->records.length)
        return sh_fail(err, SH_TOO_LARGE, "a record of %zu bytes does not fit into the batch any more",
                       record_bytes);
    status = sh_codec_reserve_extra(&builder->records, record_bytes, err);
    if (status != SH_OK)
        return status;

    uint8_t *p = sh_varint_write(builder->records.data + builder->records.length, (int64_t)body_bytes);
    write_body(p, builder, record, headers, header_count);
    builder->records.length += record_bytes;
    if (builder->count == 0)
        builder->base_timestamp_ms = builder->max_timestamp_ms = record->timestamp_ms;
    else if (record->timestamp_ms > builder->max_timestamp_ms)
        builder->max_timestamp_ms = record->timestamp_ms;
    builder->count++;
    return SH_OK;
}

ShStatus sh_batch_builder_copy(ShBatchBuilder *builder, const ShRecord *record, ShError *err)
{
    ShHeader few[16] = {0};
    size_t count = (size_t)record->header_count;
    ShHeader *headers = count <= sizeof few / sizeof few[0] ? few : calloc(count, sizeof few[0]);
    if (headers == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu headers", count);
    size_t cursor = 0;
    for (size_t i = 0; i < count && sh_record_next_header(record, &cursor, &headers[i]); i++)
        ;
    ShStatus status = sh_batch_builder_add(builder, record, headers, count, err);
    if (headers != few)
        free(headers);
    return status;
}

int32_t sh_batch_builder_count(const ShBatchBuilder *builder)
{
    return builder->count;
}

size_t sh_batch_builder_bytes(const ShBatchBuilder *builder)
{
    return SH_BATCH_HEADER_BYTES + builder->records.length;
}

void sh_batch_builder_set_producer(ShBatchBuilder *builder, int64_t producer_id, int16_t producer_epoch,
                                   int32_t base_sequence, bool transactional)
{
    builder->producer_id = producer_id;
    builder->producer_epoch = producer_epoch;
    builder->base_sequence = base_sequence;
    builder->transactional = transactional;
}

ShStatus sh_batch_builder_finish(ShBatchBuilder *builder, ShBuf **out, ShError *err)
{
    if (builder->count == 0)
        return sh_fail(err, SH_INVALID, "a batch without records cannot be finished");

    const ShScratch *section = &builder->records;
    if (builder->codec != SH_CODEC_NONE) {
        builder->compressed.length = 0;
        ShStatus status = sh_codec_compress(builder->codec, builder->records.data, builder->records.length,
                                            &builder->compressed, err);
        if (status != SH_OK)
            return status;
        section = &builder->compressed;
    }
    if (section->length > RECORDS_BYTES_MAX)
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes of records do not fit into one batch", section->length);

    size_t total_bytes = SH_BATCH_HEADER_BYTES + section->length;
    ShBuf *batch = sh_buf_new(total_bytes);
    if (batch == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch of %zu bytes", total_bytes);
    memcpy(batch->data + SH_BATCH_HEADER_BYTES, section->data, section->length);
    batch->length = total_bytes;
    write_header(builder, batch->data, total_bytes);

    reset(builder);
    *out = batch;
    return SH_OK;
}

void sh_batch_set_producer(uint8_t *batch, size_t length, int64_t producer_id, int16_t producer_epoch,
                           int32_t base_sequence)
{
    sh_put_u64(batch + 43, (uint64_t)producer_id);
    sh_put_u16(batch + 51, (uint16_t)producer_epoch);
    sh_put_u32(batch + 53, (uint32_t)base_sequence);
    sh_put_u32(batch + 17, sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, length - SH_BATCH_UNCOVERED_BYTES));
}

/* The size of a record without its length field. */
static ShStatus measure_body(const ShBatchBuilder *builder, const ShRecord *record, const ShHeader *headers,
                             size_t header_count, size_t *body_bytes, ShError *err)
{
    if (header_count > FIELD_BYTES_MAX || record->key_length > FIELD_BYTES_MAX ||
        record->value_length > FIELD_BYTES_MAX)
        return sh_fail(err, SH_TOO_LARGE,
                       "a record with a key of %zu bytes, a value of %zu bytes and %zu headers",
                       record->key_length, record->value_length, header_count);

    size_t bytes = 1 + sh_varint_bytes(timestamp_delta(builder, record)) + sh_varint_bytes(builder->count) +
                   bytes_field_size(record->key, record->key_length) +
                   bytes_field_size(record->value, record->value_length) +
                   sh_varint_bytes((int64_t)header_count);
    for (size_t i = 0; i < header_count; i++) {
        if (headers[i].key == NULL)
            return sh_fail(err, SH_INVALID, "header %zu of %zu has no key", i + 1, header_count);
        if (headers[i].key_length > FIELD_BYTES_MAX || headers[i].value_length > FIELD_BYTES_MAX ||
            bytes > RECORDS_BYTES_MAX)
            return sh_fail(err, SH_TOO_LARGE, "header %zu of %zu makes the record too large", i + 1,
                           header_count);
        bytes += bytes_field_size(headers[i].key, headers[i].key_length) +
                 bytes_field_size(headers[i].value, headers[i].value_length);
    }
    if (bytes > RECORDS_BYTES_MAX)
        return sh_fail(err, SH_TOO_LARGE, "a record of %zu bytes does not fit into any batch", bytes);
    *body_bytes = bytes;
    return SH_OK;
}

static size_t bytes_field_size(const void *data, size_t length)
{
    return data == NULL ? sh_varint_bytes(-1) : sh_varint_bytes((int64_t)length) + length;
}

static uint8_t *write_body(uint8_t *p, const ShBatchBuilder *builder, const ShRecord *record,
                           const ShHeader *headers, size_t header_count)
{
    *p++ = 0; /* attributes: none are defined */
    p = sh_varint_write(p, timestamp_delta(builder, record));
    p = sh_varint_write(p, builder->count);
    p = write_bytes_field(p, record->key, record->key_length);
    p = write_bytes_field(p, record->value, record->value_length);
    p = sh_varint_write(p, (int64_t)header_count);
    for (size_t i = 0; i < header_count; i++) {
        p = write_bytes_field(p, headers[i].key, headers[i].key_length);
        p = write_bytes_field(p, headers[i].value, headers[i].value_length);
    }
    return p;
}

static uint8_t *write_bytes_field(uint8_t *p, const void *data, size_t length)
{
    if (data == NULL)
        return sh_varint_write(p, -1);
    p = sh_varint_write(p, (int64_t)length);
    memcpy(p, data, length);
    return p + length;
}

/* From the first record's timestamp, which becomes the batch's base. */
static int64_t timestamp_delta(const ShBatchBuilder *builder, const ShRecord *record)
{
    if (builder->count == 0)
        return 0;
    return (int64_t)((uint64_t)record->timestamp_ms - (uint64_t)builder->base_timestamp_ms);
}

static void write_header(const ShBatchBuilder *builder, uint8_t *batch, size_t total_bytes)
{
    unsigned attributes = (unsigned)builder->codec |
                          (builder->transactional ? SH_BATCH_ATTR_TRANSACTIONAL : 0);

    sh_batch_set_base_offset(batch, 0);
    sh_put_u32(batch + 8, (uint32_t)(total_bytes - 12));
    sh_batch_set_leader_epoch(batch, -1);
    batch[16] = SH_BATCH_MAGIC;
    sh_put_u16(batch + 21, (uint16_t)attributes);
    sh_put_u32(batch + 23, (uint32_t)(builder->count - 1));
    sh_put_u64(batch + 27, (uint64_t)builder->base_timestamp_ms);
    sh_put_u64(batch + 35, (uint64_t)builder->max_timestamp_ms);
    sh_put_u64(batch + 43, (uint64_t)builder->producer_id);
    sh_put_u16(batch + 51, (uint16_t)builder->producer_epoch);
    sh_put_u32(batch + 53, (uint32_t)builder->base_sequence);
    sh_put_u32(batch + 57, (uint32_t)builder->count);
    sh_put_u32(batch + 17,
               sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, total_bytes - SH_BATCH_UNCOVERED_BYTES));
}

static void reset(ShBatchBuilder *builder)
{
    builder->records.length = 0;
    builder->count = 0;
    sh_batch_builder_set_producer(builder, -1, -1, -1, false);
}
