/*
 * batch_internal.h - the decoder of one record, shared by the check of whole batches and by their reader.
 *
 * Only core/batch_*.c include it.
 */
#ifndef SH_CORE_BATCH_INTERNAL_H
#define SH_CORE_BATCH_INTERNAL_H

#include "core/batch.h"
#include "core/varint.h"

/* Which record of a batch is decoded, for messages. */
typedef struct ShRecordPlace {
    int32_t index;
    int32_t count;
} ShRecordPlace;

/* Find the records section of a batch whose header was peeked, decompressing it into `scratch` if need be. */
ShStatus sh_batch_open_records(const uint8_t *batch, const ShBatchHeader *header,
                               size_t decompressed_bytes_max, ShScratch *scratch, const uint8_t **records,
                               const uint8_t **end, ShError *err) SH_MUST_CHECK;

/* The message "record 3 of 10 in the batch <problem>", out of the decoder's way. */
ShStatus sh_record_fail(ShRecordPlace place, ShError *err, const char *fmt, ...) SH_PRINTF(3, 4)
    __attribute__((cold, noinline));

/* Walk `count` headers that must end exactly at `end`. */
ShStatus sh_record_check_headers(const uint8_t *next, const uint8_t *end, int32_t count, ShRecordPlace place,
                                 ShError *err) SH_MUST_CHECK;

/* Read a length and that many bytes; length -1 gives NULL. False when it does not fit before `end`. */
static inline bool sh_record_read_bytes(const uint8_t **next, const uint8_t *end, const uint8_t **data,
                                        size_t *length)
{
    int32_t declared;
    if (!sh_varint_read(next, end, &declared))
        return false;
    if (declared < 0) {
        *data = NULL;
        *length = 0;
        return declared == -1;
    }
    if (declared > end - *next)
        return false;
    *data = *next;
    *length = (size_t)declared;
    *next += declared;
    return true;
}

/* Decode the record at `*next` and step over it. `record->offset` and `record->timestamp_ms` get the bare
 * deltas. */
static inline SH_MUST_CHECK ShStatus sh_record_decode(const uint8_t **next, const uint8_t *end,
                                                      ShRecordPlace place, ShRecord *record, ShError *err)
{
    const uint8_t *p = *next;
    int32_t length;
    if (!sh_varint_read(&p, end, &length) || length < 0)
        return sh_record_fail(place, err, "has no valid length");
    if (length > end - p)
        return sh_record_fail(place, err, "ends %td bytes past it", length - (end - p));
    end = p + length;
    *next = end;

    if (length == 0)
        return sh_record_fail(place, err, "is empty");
    p++; /* the record's attributes: all bits are unused */

    int32_t offset_delta;
    if (!sh_varlong_read(&p, end, &record->timestamp_ms))
        return sh_record_fail(place, err, "has no valid timestamp delta");
    if (!sh_varint_read(&p, end, &offset_delta))
        return sh_record_fail(place, err, "has no valid offset delta");
    record->offset = offset_delta;
    if (!sh_record_read_bytes(&p, end, &record->key, &record->key_length))
        return sh_record_fail(place, err, "has a key whose length is wrong");
    if (!sh_record_read_bytes(&p, end, &record->value, &record->value_length))
        return sh_record_fail(place, err, "has a value whose length is wrong");
    if (!sh_varint_read(&p, end, &record->header_count) || record->header_count < 0)
        return sh_record_fail(place, err, "has no valid header count");

    record->headers = p;
    record->headers_length = (size_t)(end - p);
    if (record->header_count == 0 && p == end)
        return SH_OK;
    return sh_record_check_headers(p, end, record->header_count, place, err);
}

#endif
