/*
 * batch.h - the record batch: Apache Kafka's RecordBatch, magic 2, unchanged from client to store.
 *
 * Source of the format: the Kafka protocol guide, "Record Batch" and "Record". All integers are big-endian.
 *
 *   offset  bytes  field                    covered by crc
 *        0      8  baseOffset               no
 *        8      4  batchLength              no    (bytes after this field)
 *       12      4  partitionLeaderEpoch     no
 *       16      1  magic (2)                no
 *       17      4  crc (CRC-32C)            no    (of everything from byte 21 on)
 *       21      2  attributes               yes   (bits 0-2 codec, 3 timestamp type, 4 transactional,
 *                                                  5 control, 6 has delete horizon)
 *       23      4  lastOffsetDelta          yes
 *       27      8  baseTimestamp            yes
 *       35      8  maxTimestamp             yes
 *       43      8  producerId               yes
 *       51      2  producerEpoch            yes
 *       53      4  baseSequence             yes
 *       57      4  recordCount              yes
 *       61      -  records, compressed as a whole when a codec is set
 *
 * A record: length varint, attributes int8, timestampDelta varlong, offsetDelta varint, keyLength varint
 * (-1: null), key, valueLength varint (-1: null), value, headerCount varint, then per header keyLength
 * varint, key, valueLength varint (-1: null), value. Varints are zigzag.
 */
#ifndef SH_CORE_BATCH_H
#define SH_CORE_BATCH_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"
#include "core/codec.h"
#include "core/status.h"

#define SH_BATCH_HEADER_BYTES    61
#define SH_BATCH_UNCOVERED_BYTES 21 /* the header bytes outside the batch's own CRC */
#define SH_BATCH_MAGIC           2

#define SH_BATCH_LENGTH_POSITION        8
#define SH_BATCH_LENGTH_FIELD_END       12 /* the length counts from here */
#define SH_BATCH_LAST_DELTA_POSITION    23
#define SH_BATCH_MAX_TIMESTAMP_POSITION 35

#define SH_BATCH_ATTR_CODEC_MASK      0x07
#define SH_BATCH_ATTR_LOG_APPEND_TIME 0x08
#define SH_BATCH_ATTR_TRANSACTIONAL   0x10
#define SH_BATCH_ATTR_CONTROL         0x20
#define SH_BATCH_ATTR_DELETE_HORIZON  0x40 /* its base timestamp is one: Kafka's log cleaner sets it */

/* The header, decoded. `total_bytes` is the whole batch with its header. */
typedef struct ShBatchHeader {
    int64_t base_offset;
    int32_t leader_epoch;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
    size_t total_bytes;
} ShBatchHeader;

/* No agent accepts a batch whose records section is larger once decompressed, however it is set; so what is
 * stored is read with this bound and not with the setting, which may have been another when it came. */
#define SH_BATCH_DECOMPRESSED_BYTES_MAX ((size_t)1 << 30)

/* Bounds that a batch from outside must keep. */
typedef struct ShBatchLimits {
    size_t batch_bytes_max;        /* the batch as it is on the wire */
    size_t decompressed_bytes_max; /* its records section once decompressed */
} ShBatchLimits;

/* One record. Key, value and headers borrow from the batch or from the reader's scratch. */
typedef struct ShRecord {
    int64_t offset;
    int64_t timestamp_ms;
    const uint8_t *key; /* NULL: no key */
    size_t key_length;
    const uint8_t *value; /* NULL: a tombstone */
    size_t value_length;
    const uint8_t *headers; /* the encoded headers, `header_count` of them; see sh_record_next_header */
    size_t headers_length;
    int32_t header_count;
} ShRecord;

typedef struct ShHeader {
    const char *key; /* not NUL-terminated */
    size_t key_length;
    const uint8_t *value; /* NULL: null */
    size_t value_length;
} ShHeader;

/* Decode the header at the start of `data`, checking only that it is whole, of magic 2 and of a sane length,
 * and that the offsets it covers can be counted: last_offset_delta + 1 is an int32. Others may follow it:
 * continue at data + header->total_bytes. SH_CORRUPT when it is cut off. */
ShStatus sh_batch_peek(const uint8_t *data, size_t length, ShBatchHeader *header, ShError *err) SH_MUST_CHECK;

/* The bytes of the batch at the start of `data`, by its length field alone; 0 when it is cut off or shorter
 * than a header. Whatever sh_batch_peek accepts has so many. */
static inline size_t sh_batch_span(const uint8_t *data, size_t length)
{
    if (length < SH_BATCH_HEADER_BYTES)
        return 0;
    size_t bytes = (size_t)sh_get_u32(data + SH_BATCH_LENGTH_POSITION) + SH_BATCH_LENGTH_FIELD_END;
    return bytes < SH_BATCH_HEADER_BYTES || bytes > length ? 0 : bytes;
}

/* The offset behind the last record of a batch whose header is whole. */
static inline int64_t sh_batch_end_offset(const uint8_t *data)
{
    return (int64_t)sh_get_u64(data) + (int32_t)sh_get_u32(data + SH_BATCH_LAST_DELTA_POSITION) + 1;
}

/* Does a batch whose header is whole have a codec, so that its records have to be decompressed? */
static inline bool sh_batch_is_compressed(const uint8_t *data)
{
    return (data[22] & SH_BATCH_ATTR_CODEC_MASK) != 0; /* the lower byte of the attributes */
}

/* Check one whole batch as it must be before it is accepted: length and magic, CRC, codec, attributes, record
 * count against the offsets and against the records that are really there, each varint and length inside its
 * bounds, decompressed size. `length` may exceed the batch. `scratch` is reused between calls by one thread.
 * Failures: SH_CORRUPT, SH_TOO_LARGE, SH_UNSUPPORTED (old magic, unknown codec, reserved attribute bits),
 * SH_INVALID (empty batch, producer id without epoch or sequence, transaction without producer id). A control
 * batch is accepted: its flag is in the header, for the caller to refuse. `header->max_timestamp_ms` is that
 * of the records, whatever the batch itself says (sh_batch_says_max_timestamp, sh_batch_set_max_timestamp).
 */
ShStatus sh_batch_check(const uint8_t *data, size_t length, const ShBatchLimits *limits, ShScratch *scratch,
                        ShBatchHeader *header, ShError *err) SH_MUST_CHECK;

/* Whoever wants to see records while their batch is checked. Keys and values of topics with schemas begin
 * with a head of five bytes that names the schema, nearly always the same one: what begins with the head that
 * is expected is passed over at the cost of a few instructions, and so is what is null. */
#define SH_RECORD_HEAD_BYTES 5
#define SH_RECORD_HEAD_NONE  UINT64_MAX /* no record has it: each is told */

typedef struct ShBatchWatch {
    bool keys;         /* are they looked at? */
    bool values;       /* likewise; at least one of the two is */
    uint64_t key_head; /* as sh_record_head gives it */
    uint64_t value_head;
    /* Told of a record, by its number in the batch, whose key or value has another head, or none. May change
     * the heads. The record has the key and value that are looked at; its bytes are valid during the call.
     * True: the record is good. */
    bool (*other)(struct ShBatchWatch *watch, int32_t index, const ShRecord *record);
} ShBatchWatch;

/* The first five bytes, of at least so many, as one number, the first byte lowest. */
static inline uint64_t sh_record_head(const uint8_t *bytes)
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 |
           (uint64_t)bytes[3] << 24 | (uint64_t)bytes[4] << 32;
}

static inline bool sh_record_has_head(const uint8_t *bytes, size_t length, uint64_t head)
{
    return bytes == NULL || (length >= SH_RECORD_HEAD_BYTES && sh_record_head(bytes) == head);
}

/* Show the watch one record; false: it is not good. */
static inline bool sh_batch_watch(ShBatchWatch *watch, int32_t index, const ShRecord *record)
{
    if ((!watch->keys || sh_record_has_head(record->key, record->key_length, watch->key_head)) &&
        (!watch->values || sh_record_has_head(record->value, record->value_length, watch->value_head)))
        return true;
    return watch->other(watch, index, record);
}

/* sh_batch_check that shows each record to `watch` on its way. What the watch says of them does not change
 * the result; a batch that is not whole may have been shown in part. NULL: nobody watches. */
ShStatus sh_batch_check_watched(const uint8_t *data, size_t length, const ShBatchLimits *limits,
                                ShScratch *scratch, ShBatchWatch *watch, ShBatchHeader *header,
                                ShError *err) SH_MUST_CHECK;

/* Overwrite the fields outside the CRC, in place. */
void sh_batch_set_base_offset(uint8_t *batch, int64_t base_offset);
void sh_batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch);

/* Is the newest time in the batch's own header the one that sh_batch_check found? */
static inline bool sh_batch_says_max_timestamp(const uint8_t *batch, const ShBatchHeader *header)
{
    return (int64_t)sh_get_u64(batch + SH_BATCH_MAX_TIMESTAMP_POSITION) == header->max_timestamp_ms;
}

/* Overwrite the newest time of a whole batch, which with `is_append_time` becomes that of all its records,
 * and compute the CRC anew, in place; the header follows. */
void sh_batch_set_max_timestamp(uint8_t *batch, ShBatchHeader *header, int64_t max_timestamp_ms,
                                bool is_append_time);

/* What times the records of a topic may have, against the clock of who accepts them. */
typedef struct ShTimeRule {
    bool is_append_time;   /* they get the time at which they are accepted */
    int64_t before_max_ms; /* so much older they may be; -1: without bound */
    int64_t after_max_ms;  /* so much newer; -1: without bound */
} ShTimeRule;

/* Hold the times of a checked batch's records against the rule, unless they are to be replaced. SH_INVALID
 * names the first record that lies too far from `now_ms`. Only a rule with before_max_ms, and the search for
 * that record, need a look at each; the bounds of memory are those of sh_batch_reader_init. */
ShStatus sh_batch_check_times(const uint8_t *batch, const ShBatchHeader *header, const ShTimeRule *rule,
                              int64_t now_ms, size_t decompressed_bytes_max, ShScratch *scratch,
                              ShError *err) SH_MUST_CHECK;

/* Make a whole batch an idempotent producer's: overwrite the fields and compute the CRC anew, in place. */
void sh_batch_set_producer(uint8_t *batch, size_t length, int64_t producer_id, int16_t producer_epoch,
                           int32_t base_sequence);

/* --- reading the records of one batch ------------------------------------------------------------------- */

typedef struct ShBatchReader {
    ShBatchHeader header;
    const uint8_t *next;
    const uint8_t *end;
    int32_t records_left;
} ShBatchReader;

/* Start reading a batch that was checked before, or not: damage is an error, never undefined. `scratch` takes
 * the decompressed records and must live as long as the records are used. No CRC is computed here. */
ShStatus sh_batch_reader_init(ShBatchReader *reader, const uint8_t *data, size_t length,
                              size_t decompressed_bytes_max, ShScratch *scratch, ShError *err) SH_MUST_CHECK;

/* The next record into `record`, which holds nothing of use after an error; `*more` is false after the last
 * one. */
ShStatus sh_batch_reader_next(ShBatchReader *reader, ShRecord *record, bool *more,
                              ShError *err) SH_MUST_CHECK;

/* The next header of a record: `cursor` starts at 0 and is kept by the caller. False after the last one. */
bool sh_record_next_header(const ShRecord *record, size_t *cursor, ShHeader *header);

/* --- building a batch ----------------------------------------------------------------------------------- */

typedef struct ShBatchBuilder ShBatchBuilder;

/* A builder that is reused from batch to batch. NULL when memory is short. */
ShBatchBuilder *sh_batch_builder_new(ShCodec codec);
void sh_batch_builder_free(ShBatchBuilder *builder);

/* Append one record; offset is ignored (records are numbered from 0), headers are given as an array. */
ShStatus sh_batch_builder_add(ShBatchBuilder *builder, const ShRecord *record, const ShHeader *headers,
                              size_t header_count, ShError *err) SH_MUST_CHECK;

/* Append one record as a reader gave it, with its headers. */
ShStatus sh_batch_builder_copy(ShBatchBuilder *builder, const ShRecord *record, ShError *err) SH_MUST_CHECK;

int32_t sh_batch_builder_count(const ShBatchBuilder *builder);
/* The size of the batch so far, before compression, with its header. */
size_t sh_batch_builder_bytes(const ShBatchBuilder *builder);
/* Producer fields of the batch under construction; -1, -1, -1 unless set. Reset by finish. */
void sh_batch_builder_set_producer(ShBatchBuilder *builder, int64_t producer_id, int16_t producer_epoch,
                                   int32_t base_sequence, bool transactional);

/* The finished batch, base offset 0, in a buffer of its own that the caller releases; the builder is empty
 * again. SH_INVALID when there is no record. */
ShStatus sh_batch_builder_finish(ShBatchBuilder *builder, ShBuf **out, ShError *err) SH_MUST_CHECK;

/* A copy of a whole batch that keeps its first `count` records, at least one, and all of its offsets: those
 * of the others hold nothing. It is no producer's any more, because its sequences are not those of its
 * offsets. The caller releases it. Failures as those of the reader, and SH_INVALID when it has fewer
 * records. */
ShStatus sh_batch_cut(const uint8_t *data, size_t length, int32_t count, size_t decompressed_bytes_max,
                      ShBuf **out, ShError *err) SH_MUST_CHECK;

#endif
