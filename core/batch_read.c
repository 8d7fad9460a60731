#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/batch.h"
#include "core/batch_internal.h"

static int64_t record_timestamp(const ShBatchHeader *header, int64_t delta_ms);

ShStatus sh_batch_reader_init(ShBatchReader *reader, const uint8_t *data, size_t length,
                              size_t decompressed_bytes_max, ShScratch *scratch, ShError *err)
{
    ShBatchReader opened;
    ShStatus status = sh_batch_peek(data, length, &opened.header, err);
    if (status != SH_OK)
        return status;
    if (opened.header.record_count < 0)
        return sh_fail(err, SH_CORRUPT, "record batch with a record count of %" PRId32,
                       opened.header.record_count);
    opened.records_left = opened.header.record_count;
    status = sh_batch_open_records(data, &opened.header, decompressed_bytes_max, scratch, &opened.next,
                                   &opened.end, err);
    if (status != SH_OK)
        return status;
    *reader = opened;
    return SH_OK;
}

ShStatus sh_batch_reader_next(ShBatchReader *reader, ShRecord *record, bool *more, ShError *err)
{
    const ShBatchHeader *header = &reader->header;
    if (reader->records_left == 0) {
        if (reader->next != reader->end)
            return sh_fail(err, SH_CORRUPT,
                           "record batch with %td bytes left over after its %" PRId32 " records",
                           reader->end - reader->next, header->record_count);
        *more = false;
        return SH_OK;
    }

    int32_t count = header->record_count;
    int32_t index = count - reader->records_left;
    ShStatus status = sh_record_decode(&reader->next, reader->end, index, count, record, err);
    if (status != SH_OK)
        return status;
    if (record->offset > header->last_offset_delta)
        return sh_record_fail(index, count, err, "has an offset delta of %" PRId64 ", outside 0 to %" PRId32,
                              record->offset, header->last_offset_delta);

    record->offset = (int64_t)((uint64_t)header->base_offset + (uint64_t)record->offset);
    record->timestamp_ms = record_timestamp(header, record->timestamp_ms);
    reader->records_left--;
    *more = true;
    return SH_OK;
}

bool sh_record_next_header(const ShRecord *record, size_t *cursor, ShHeader *header)
{
    if (*cursor >= record->headers_length)
        return false;
    const uint8_t *end = record->headers + record->headers_length;
    const uint8_t *key;
    const uint8_t *p = sh_record_read_bytes(record->headers + *cursor, end, &key, &header->key_length);
    if (p == NULL || key == NULL)
        return false;
    p = sh_record_read_bytes(p, end, &header->value, &header->value_length);
    if (p == NULL)
        return false;
    header->key = (const char *)key;
    *cursor = (size_t)(p - record->headers);
    return true;
}

ShStatus sh_batch_open_records(const uint8_t *batch, const ShBatchHeader *header,
                               size_t decompressed_bytes_max, ShScratch *scratch, const uint8_t **records,
                               const uint8_t **end, ShError *err)
{
    const uint8_t *section = batch + SH_BATCH_HEADER_BYTES;
    size_t section_bytes = header->total_bytes - SH_BATCH_HEADER_BYTES;
    int codec = header->attributes & SH_BATCH_ATTR_CODEC_MASK;
    if (sh_codec_name(codec) == NULL)
        return sh_fail(err, SH_UNSUPPORTED, "record batch with codec number %d, which is unknown", codec);

    if (codec == SH_CODEC_NONE) {
        if (section_bytes > decompressed_bytes_max)
            return sh_fail(err, SH_TOO_LARGE,
                           "record batch with %zu bytes of records: at most %zu are allowed", section_bytes,
                           decompressed_bytes_max);
        *records = section;
        *end = section + section_bytes;
        return SH_OK;
    }
    ShStatus status = sh_codec_decompress((ShCodec)codec, section, section_bytes, decompressed_bytes_max,
                                          scratch, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, status, "record batch that cannot be decompressed");
    *records = scratch->data;
    *end = scratch->data + scratch->length;
    return SH_OK;
}

ShStatus sh_record_fail(int32_t index, int32_t count, ShError *err, const char *fmt, ...)
{
    char problem[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(problem, sizeof problem, fmt, args);
    va_end(args);
    return sh_fail(err, SH_CORRUPT, "record %" PRId32 " of %" PRId32 " in the batch %s", index + 1, count,
                   problem);
}

ShStatus sh_record_check_headers(const uint8_t *headers, const uint8_t *end, int32_t header_count,
                                 int32_t index, int32_t count, ShError *err)
{
    const uint8_t *p = headers;
    for (int32_t i = 0; i < header_count; i++) {
        const uint8_t *data;
        size_t length;
        p = sh_record_read_bytes(p, end, &data, &length);
        if (p == NULL || data == NULL)
            return sh_record_fail(index, count, err,
                                  "has a wrong key length in header %" PRId32 " of %" PRId32, i + 1,
                                  header_count);
        p = sh_record_read_bytes(p, end, &data, &length);
        if (p == NULL)
            return sh_record_fail(index, count, err,
                                  "has a wrong value length in header %" PRId32 " of %" PRId32, i + 1,
                                  header_count);
    }
    if (p != end)
        return sh_record_fail(index, count, err, "has %td bytes left over after its headers", end - p);
    return SH_OK;
}

static int64_t record_timestamp(const ShBatchHeader *header, int64_t delta_ms)
{
    if ((header->attributes & SH_BATCH_ATTR_LOG_APPEND_TIME) != 0)
        return header->max_timestamp_ms;
    return sh_timestamp_add(header->base_timestamp_ms, delta_ms);
}
