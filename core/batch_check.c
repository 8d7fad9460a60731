#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "core/batch.h"
#include "core/batch_internal.h"
#include "core/crc32c.h"

#define LEADER_EPOCH_POSITION 12
#define MAGIC_POSITION        16
#define CRC_POSITION          17
#define ATTRIBUTES_POSITION   21
#define ATTR_KNOWN_MASK       0x7F
#define NULL_LENGTH           1 /* -1 as a zigzag varint */

/* Length, attributes, timestamp, offset and the lengths of key and value, as skip_plain_record reads them. */
#define PLAIN_FIELDS_BYTES_MAX (4 * SH_VARINT_SHORT_BYTES_MAX + 1 + SH_VARLONG_SKIP_BYTES_MAX)

/* The records of a batch, decompressed. */
typedef struct Section {
    const uint8_t *records;
    const uint8_t *end;
    int32_t count;
} Section;

/* The greatest timestamp deltas of its records. */
typedef struct Newest {
    uint64_t packed; /* of plain ones, as sh_varlong_read_packed has it */
    uint64_t raw;    /* of the others, zigzag */
} Newest;

/* What of each record its watch is shown. */
typedef enum Shown { SHOW_NOTHING, SHOW_VALUES, SHOW_KEYS /* and values, if it asks for them */ } Shown;

static ShStatus check_header(const ShBatchHeader *header, ShError *err) SH_MUST_CHECK;
static ShStatus check_producer(const ShBatchHeader *header, ShError *err) SH_MUST_CHECK;
/* Out of line, so that each of the three has the registers for itself. */
static ShStatus check_records(const Section *section, Newest *newest, ShError *err) SH_MUST_CHECK
    __attribute__((noinline));
static inline ShStatus check_and_show(const Section *section, Shown shown, ShBatchWatch *watch,
                                      Newest *newest, ShError *err) SH_MUST_CHECK
    __attribute__((always_inline));
static ShStatus check_with_values(const Section *section, ShBatchWatch *watch, Newest *newest,
                                  ShError *err) SH_MUST_CHECK __attribute__((noinline));
static ShStatus check_with_keys(const Section *section, ShBatchWatch *watch, Newest *newest,
                                ShError *err) SH_MUST_CHECK __attribute__((noinline));
static int64_t newest_delta(const Section *section, const Newest *newest);
static inline void show(ShBatchWatch *watch, int32_t index, const ShRecord *plain, bool keys)
    __attribute__((always_inline));
static ShStatus check_end(const uint8_t *next, const uint8_t *end, int32_t count, ShError *err) SH_MUST_CHECK;
static ShStatus check_record(const uint8_t **next, const uint8_t *end, int32_t index, int32_t count,
                             ShRecord *record, ShError *err) SH_MUST_CHECK __attribute__((noinline));
static inline const uint8_t *skip_plain_record(const uint8_t *p, const uint8_t *end, size_t value_bytes_min,
                                               uint64_t *offset, ShRecord *record, uint64_t *newest)
    __attribute__((always_inline));

ShStatus sh_batch_peek(const uint8_t *data, size_t length, ShBatchHeader *header, ShError *err)
{
    /* The magic stands at the same place in all versions, and older messages may be shorter than our header.
     */
    if (length > MAGIC_POSITION && data[MAGIC_POSITION] != SH_BATCH_MAGIC)
        return sh_fail(err, SH_UNSUPPORTED,
                       "record batch of magic %d: only magic %d is supported, which producers "
                       "write since Kafka 0.11",
                       data[MAGIC_POSITION], SH_BATCH_MAGIC);
    if (length < SH_BATCH_HEADER_BYTES)
        return sh_fail(err, SH_CORRUPT, "record batch cut off inside its header: %zu bytes of %d", length,
                       SH_BATCH_HEADER_BYTES);

    int32_t batch_length = (int32_t)sh_get_u32(data + SH_BATCH_LENGTH_POSITION);
    if (batch_length < SH_BATCH_HEADER_BYTES - SH_BATCH_LENGTH_FIELD_END)
        return sh_fail(err, SH_CORRUPT,
                       "record batch with a length field of %" PRId32 ", less than its header", batch_length);
    size_t total_bytes = (size_t)batch_length + SH_BATCH_LENGTH_FIELD_END;
    if (total_bytes > length)
        return sh_fail(err, SH_CORRUPT, "record batch cut off: %zu bytes of %zu", length, total_bytes);

    *header = (ShBatchHeader){
        .base_offset = (int64_t)sh_get_u64(data),
        .leader_epoch = (int32_t)sh_get_u32(data + 12),
        .crc = sh_get_u32(data + 17),
        .attributes = (int16_t)sh_get_u16(data + 21),
        .last_offset_delta = (int32_t)sh_get_u32(data + 23),
        .base_timestamp_ms = (int64_t)sh_get_u64(data + 27),
        .max_timestamp_ms = (int64_t)sh_get_u64(data + 35),
        .producer_id = (int64_t)sh_get_u64(data + 43),
        .producer_epoch = (int16_t)sh_get_u16(data + 51),
        .base_sequence = (int32_t)sh_get_u32(data + 53),
        .record_count = (int32_t)sh_get_u32(data + 57),
        .total_bytes = total_bytes,
    };
    if (header->last_offset_delta == INT32_MAX)
        return sh_fail(err, SH_CORRUPT,
                       "record batch with a last offset delta of %" PRId32 ": it would cover more offsets "
                       "than a batch can have",
                       header->last_offset_delta);
    return SH_OK;
}

ShStatus sh_batch_check(const uint8_t *data, size_t length, const ShBatchLimits *limits, ShScratch *scratch,
                        ShBatchHeader *header, ShError *err)
{
    return sh_batch_check_watched(data, length, limits, scratch, NULL, header, err);
}

ShStatus sh_batch_check_watched(const uint8_t *data, size_t length, const ShBatchLimits *limits,
                                ShScratch *scratch, ShBatchWatch *watch, ShBatchHeader *header, ShError *err)
{
    ShBatchHeader peeked;
    ShStatus status = sh_batch_peek(data, length, &peeked, err);
    if (status != SH_OK)
        return status;
    if (peeked.total_bytes > limits->batch_bytes_max)
        return sh_fail(err, SH_TOO_LARGE, "record batch of %zu bytes: at most %zu are allowed",
                       peeked.total_bytes, limits->batch_bytes_max);

    uint32_t crc = sh_crc32c(data + SH_BATCH_UNCOVERED_BYTES, peeked.total_bytes - SH_BATCH_UNCOVERED_BYTES);
    if (crc != peeked.crc)
        return sh_fail(err, SH_CORRUPT,
                       "record batch with a wrong checksum: its CRC-32C is %08" PRIx32
                       ", its header says %08" PRIx32,
                       crc, peeked.crc);
    status = check_header(&peeked, err);
    if (status != SH_OK)
        return status;

    Section section = {.count = peeked.record_count};
    Newest newest = {0};
    status = sh_batch_open_records(data, &peeked, limits->decompressed_bytes_max, scratch, &section.records,
                                   &section.end, err);
    if (status != SH_OK)
        return status;
    status = watch == NULL ? check_records(&section, &newest, err)
             : watch->keys ? check_with_keys(&section, watch, &newest, err)
                           : check_with_values(&section, watch, &newest, err);
    if (status != SH_OK)
        return status;
    if ((peeked.attributes & SH_BATCH_ATTR_LOG_APPEND_TIME) == 0)
        peeked.max_timestamp_ms = sh_timestamp_add(peeked.base_timestamp_ms, newest_delta(&section, &newest));
    *header = peeked;
    return SH_OK;
}

void sh_batch_set_max_timestamp(uint8_t *batch, ShBatchHeader *header, int64_t max_timestamp_ms,
                                bool is_append_time)
{
    if (is_append_time)
        header->attributes |= SH_BATCH_ATTR_LOG_APPEND_TIME;
    header->max_timestamp_ms = max_timestamp_ms;
    sh_put_u16(batch + ATTRIBUTES_POSITION, (uint16_t)header->attributes);
    sh_put_u64(batch + SH_BATCH_MAX_TIMESTAMP_POSITION, (uint64_t)max_timestamp_ms);
    header->crc = sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, header->total_bytes - SH_BATCH_UNCOVERED_BYTES);
    sh_put_u32(batch + CRC_POSITION, header->crc);
}

void sh_batch_set_base_offset(uint8_t *batch, int64_t base_offset)
{
    sh_put_u64(batch, (uint64_t)base_offset);
}

void sh_batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch)
{
    sh_put_u32(batch + LEADER_EPOCH_POSITION, (uint32_t)leader_epoch);
}

static ShStatus check_header(const ShBatchHeader *header, ShError *err)
{
    if ((header->attributes & ~ATTR_KNOWN_MASK) != 0)
        return sh_fail(err, SH_UNSUPPORTED, "record batch with reserved attribute bits set: 0x%04x",
                       (unsigned)(uint16_t)header->attributes);
    if (header->record_count == 0)
        return sh_fail(err, SH_INVALID, "record batch without records");
    if (header->record_count < 0)
        return sh_fail(err, SH_CORRUPT, "record batch with a record count of %" PRId32, header->record_count);
    if (header->last_offset_delta != header->record_count - 1)
        return sh_fail(err, SH_CORRUPT,
                       "record batch with a last offset delta of %" PRId32 " for %" PRId32
                       " records: they must be numbered without a hole",
                       header->last_offset_delta, header->record_count);
    return check_producer(header, err);
}

static ShStatus check_producer(const ShBatchHeader *header, ShError *err)
{
    bool control = (header->attributes & SH_BATCH_ATTR_CONTROL) != 0;
    bool transactional = (header->attributes & SH_BATCH_ATTR_TRANSACTIONAL) != 0;
    if (header->producer_id < -1)
        return sh_fail(err, SH_INVALID, "record batch with a producer id of %" PRId64, header->producer_id);
    if (header->producer_id < 0 && transactional)
        return sh_fail(err, SH_INVALID, "transactional record batch without a producer id");
    if (header->producer_id >= 0 && header->producer_epoch < 0)
        return sh_fail(err, SH_INVALID, "record batch of producer %" PRId64 " with a producer epoch of %d",
                       header->producer_id, header->producer_epoch);
    /* Control batches belong to a producer, but not to its sequence. */
    if (header->producer_id >= 0 && !control && header->base_sequence < 0)
        return sh_fail(err, SH_INVALID,
                       "record batch of producer %" PRId64 " with a base sequence of %" PRId32,
                       header->producer_id, header->base_sequence);
    return SH_OK;
}

/* `shown` is constant where this is inlined. `*newest` gets the greatest timestamp delta, or what
 * newest_delta() needs to find it. */
static inline ShStatus check_and_show(const Section *section, Shown shown, ShBatchWatch *watch,
                                      Newest *newest, ShError *err)
{
    const uint8_t *next = section->records;
    const uint8_t *end = section->end;
    int32_t count = section->count;
    size_t value_bytes_min = shown == SHOW_VALUES ? SH_RECORD_HEAD_BYTES : 0;
    uintptr_t plain_until = (uintptr_t)end - PLAIN_FIELDS_BYTES_MAX; /* and none begins behind it */
    uint64_t packed = 0;
    uint64_t offset = 0; /* the delta that comes next, packed */
    for (int32_t i = 0; i < count; i++) {
        ShRecord record;
        const uint8_t *next_plain = NULL;
        if (SH_LIKELY((uintptr_t)next <= plain_until))
            next_plain = skip_plain_record(next, end, value_bytes_min, &offset, &record, &packed);
        if (SH_LIKELY(next_plain != NULL)) {
            next = next_plain;
            if (shown != SHOW_NOTHING)
                show(watch, i, &record, shown == SHOW_KEYS);
            continue;
        }
        ShRecord any;
        const uint8_t *behind = next; /* a variable that is pointed to has no register: not the loop's own */
        ShStatus status = check_record(&behind, end, i, count, &any, err);
        if (status != SH_OK)
            return status;
        next = behind;
        offset = sh_varint_pack(2 * (uint32_t)any.offset + 2);
        uint64_t raw = sh_zigzag_encode(any.timestamp_ms);
        newest->raw = raw > newest->raw ? raw : newest->raw;
        if (shown != SHOW_NOTHING)
            (void)sh_batch_watch(watch, i, &any);
    }
    newest->packed = packed;
    return check_end(next, end, count, err);
}

static ShStatus check_records(const Section *section, Newest *newest, ShError *err)
{
    return check_and_show(section, SHOW_NOTHING, NULL, newest, err);
}

static ShStatus check_with_values(const Section *section, ShBatchWatch *watch, Newest *newest, ShError *err)
{
    return check_and_show(section, SHOW_VALUES, watch, newest, err);
}

static ShStatus check_with_keys(const Section *section, ShBatchWatch *watch, Newest *newest, ShError *err)
{
    return check_and_show(section, SHOW_KEYS, watch, newest, err);
}

/* The greatest timestamp delta of records that were checked. Their greatest zigzag number is it when it is
 * even; an odd one is the delta furthest below zero, which hides the others: they are looked at again, as
 * behind an encoding that is longer than it need be, and so seems greater than it is. */
static int64_t newest_delta(const Section *section, const Newest *newest)
{
    uint64_t raw;
    bool is_shortest = sh_varlong_unpack(newest->packed, &raw);
    raw = newest->raw > raw ? newest->raw : raw;
    if (is_shortest && (raw & 1) == 0)
        return sh_zigzag_decode(raw);
    int64_t found = INT64_MIN;
    const uint8_t *next = section->records;
    for (int32_t i = 0; i < section->count; i++) {
        ShRecord record;
        if (sh_record_decode(&next, section->end, i, section->count, &record, NULL) != SH_OK)
            break;
        found = record.timestamp_ms > found ? record.timestamp_ms : found;
    }
    return found;
}

/* sh_record_has_head for a plain record's key or value, of at least so many bytes: there are more than three
 * before it, and one load takes in its first five with them. */
static inline bool begins_with(const uint8_t *bytes, uint64_t head)
{
    uint64_t around;
    memcpy(&around, bytes - 3, sizeof around);
    return le64toh(around) >> 24 == head;
}

/* sh_batch_watch for a plain record, whose key and value stay in registers as long as nobody has to be told.
 * Without keys its value is long enough for a head. */
static inline void show(ShBatchWatch *watch, int32_t index, const ShRecord *plain, bool keys)
{
    bool is_expected = true;
    if (keys)
        is_expected = plain->key == NULL ||
                      (plain->key_length >= SH_RECORD_HEAD_BYTES && begins_with(plain->key, watch->key_head));
    if (!keys || (is_expected && watch->values))
        is_expected = (!keys || plain->value_length >= SH_RECORD_HEAD_BYTES) &&
                      begins_with(plain->value, watch->value_head);
    if (SH_LIKELY(is_expected))
        return;
    const ShRecord record = {.key = keys ? plain->key : NULL,
                             .key_length = keys ? plain->key_length : 0,
                             .value = plain->value,
                             .value_length = plain->value_length};
    (void)watch->other(watch, index, &record);
}

static ShStatus check_end(const uint8_t *next, const uint8_t *end, int32_t count, ShError *err)
{
    if (next != end)
        return sh_fail(err, SH_CORRUPT, "record batch with %td bytes left over after its %" PRId32 " records",
                       end - next, count);
    return SH_OK;
}

/* Step over any record, or say what is wrong with it; out of line, to leave plain ones the registers. */
static ShStatus check_record(const uint8_t **next, const uint8_t *end, int32_t index, int32_t count,
                             ShRecord *record, ShError *err)
{
    *record = (ShRecord){0};
    ShStatus status = sh_record_decode(next, end, index, count, record, err);
    if (status == SH_OK && record->offset != index)
        status = sh_record_fail(index, count, err, "has an offset delta of %" PRId64 ", not %" PRId32,
                                record->offset, index);
    return status;
}

/*
 * Step over a plain record, as nearly all are: a value, no headers, lengths of one or two bytes, and enough
 * behind it. NULL: this one is not plain, or it is wrong. Its key and value are left in `record`. `offset` is
 * its offset delta, packed.
 *
 * One check of bounds covers all fields before the key's bytes. Those behind need none of their own: each
 * moves `p` forward, so when the last ends where the record's length says, all of them lie inside.
 */
static inline const uint8_t *skip_plain_record(const uint8_t *p, const uint8_t *end, size_t value_bytes_min,
                                               uint64_t *offset, ShRecord *record, uint64_t *newest)
{
    size_t length;
    uint64_t delta;
    p = sh_varint_read_length(p, &length);
    if (p == NULL || (uintptr_t)p + length > (uintptr_t)end)
        return NULL;
    end = p + length;
    p = sh_varlong_read_packed(p + 1, &delta); /* behind the attributes: the timestamp */
    if (p == NULL)
        return NULL;
    *newest = delta > *newest ? delta : *newest;
    p = sh_varint_match_in_turn(p, offset);
    if (p == NULL)
        return NULL;
    if (SH_LIKELY(*p == NULL_LENGTH)) {
        p++;
        record->key = NULL;
        record->key_length = 0;
    } else {
        p = sh_varint_read_length(p, &length);
        if (p == NULL || (ptrdiff_t)length > end - p - SH_VARINT_SHORT_BYTES_MAX)
            return NULL;
        record->key = p;
        record->key_length = length;
        p += length;
    }
    /* What is left besides is the value, whose length comes first, and the number of headers. */
    p = sh_varint_match_length(p, end - 1, value_bytes_min, &record->value_length);
    record->value = p;
    return p != NULL && end[-1] == 0 ? end : NULL;
}
