/*
 * batch_internal.h - the decoder of one record, shared by the check of whole batches and by their reader.
 *
 * Only core/batch_*.c include it.
 */
#ifndef SH_CORE_BATCH_INTERNAL_H
#define SH_CORE_BATCH_INTERNAL_H

#include "core/batch.h"
#include "core/varint.h"

/* Find the records section of a batch whose header was peeked, decompressing it into `scratch` if need be. */
ShStatus sh_batch_open_records(const uint8_t *batch, const ShBatchHeader *header,
                               size_t decompressed_bytes_max, ShScratch *scratch, const uint8_t **records,
                               const uint8_t **end, ShError *err) SH_MUST_CHECK;

/* A record's time, at the end of what there is where it would lie beyond. */
static inline int64_t sh_timestamp_add(int64_t base_ms, int64_t delta_ms)
{
    int64_t sum;
    if (__builtin_add_overflow(base_ms, delta_ms, &sum))
        return delta_ms < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

/* The message "record 3 of 10 in the batch <problem>", out of the decoder's way. `index` counts from 0. */
ShStatus sh_record_fail(int32_t index, int32_t count, ShError *err, const char *fmt, ...) SH_PRINTF(4, 5)
    __attribute__((cold, noinline));

/* Walk the headers of record `index` of `count`, which must end exactly at `end`. */
ShStatus sh_record_check_headers(const uint8_t *headers, const uint8_t *end, int32_t header_count,
                                 int32_t index, int32_t count, ShError *err) SH_MUST_CHECK;

/* Read a length and that many bytes; length -1 gives NULL. Returns the place behind them, NULL when they do
 * not fit before `end`. */
static inline const uint8_t *sh_record_read_bytes(const uint8_t *p, const uint8_t *end, const uint8_t **data,
                                                  size_t *length)
{
    uint32_t raw; /* zigzag: twice the length; odd is negative, and 1 is -1 */
    p = sh_varint_read_raw(p, end, &raw);
    if (p == NULL)
        return NULL;
    if ((raw & 1) != 0) {
        *data = NULL;
        *length = 0;
        return raw == 1 ? p : NULL;
    }
    *data = p;
    *length = raw >> 1;
    return *length <= (size_t)(end - p) ? p + *length : NULL;
}

/* Decode the record at `*next` and step over it; it is record `index` of `count`, for messages.
 * `record->offset` and `record->timestamp_ms` get the bare deltas. */
static inline SH_MUST_CHECK ShStatus sh_record_decode(const uint8_t **next, const uint8_t *end, int32_t index,
                                                      int32_t count, ShRecord *record, ShError *err)
{
    uint32_t raw_length; /* zigzag, as all counts and lengths here: odd is negative */
    const uint8_t *p = sh_varint_read_raw(*next, end, &raw_length);
    if (p == NULL || (raw_length & 1) != 0)
        return sh_record_fail(index, count, err, "has no valid length");
    ptrdiff_t length = raw_length >> 1;
    if (length > end - p)
        return sh_record_fail(index, count, err, "ends %td bytes past it", length - (end - p));
    if (length == 0)
        return sh_record_fail(index, count, err, "is empty");
    end = p + length;
    p++; /* the record's attributes, all bits of which are unused */

    uint32_t raw_offset;
    p = sh_varlong_read(p, end, &record->timestamp_ms);
    if (p == NULL)
        return sh_record_fail(index, count, err, "has no valid timestamp delta");
    p = sh_varint_read_raw(p, end, &raw_offset);
    if (p == NULL || (raw_offset & 1) != 0)
        return sh_record_fail(index, count, err, "has no valid offset delta");
    p = sh_record_read_bytes(p, end, &record->key, &record->key_length);
    if (p == NULL)
        return sh_record_fail(index, count, err, "has a key whose length is wrong");
    p = sh_record_read_bytes(p, end, &record->value, &record->value_length);
    if (p == NULL)
        return sh_record_fail(index, count, err, "has a value whose length is wrong");
    record->offset = raw_offset >> 1;
    *next = end;
    if (SH_LIKELY(end - p == 1 && p[0] == 0)) {
        record->header_count = 0;
        record->headers = end;
        record->headers_length = 0;
        return SH_OK;
    }

    uint32_t raw_header_count;
    p = sh_varint_read_raw(p, end, &raw_header_count);
    if (p == NULL || (raw_header_count & 1) != 0)
        return sh_record_fail(index, count, err, "has no valid header count");
    record->header_count = (int32_t)(raw_header_count >> 1);
    record->headers = p;
    record->headers_length = (size_t)(end - p);
    return sh_record_check_headers(p, end, record->header_count, index, count, err);
}

#endif
