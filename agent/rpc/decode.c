#include "agent/rpc/decode.h"

#include "agent/rpc/message.h"
#include "agent/rpc/wire.h"

/* Field numbers of Record and Header. */
enum { RECORD_KEY = 1, RECORD_VALUE, RECORD_HEADERS, RECORD_TIMESTAMP, RECORD_OFFSET };
enum { HEADER_KEY = 1, HEADER_VALUE };

/* What stands for a byte that is not UTF-8: U+FFFD. */
#define REPLACEMENT       "\xEF\xBF\xBD"
#define REPLACEMENT_BYTES 3

/* A part's place in its answer. */
typedef struct Reading {
    ShDecoding *decoding;
    int64_t offset; /* records below it are skipped */
    int64_t next_offset;
} Reading;

static ShStatus decode_slice(Reading *reading, const ShSlice *slice, ShError *err);
static ShStatus decode_batch(Reading *reading, const uint8_t *data, size_t length, ShError *err);
static ShStatus open_batch(ShDecoding *decoding, const uint8_t *data, size_t length, ShBatchReader *reader,
                           ShError *err);
static size_t unfolded_bytes_max(const ShDecoding *decoding);
static ShStatus put_record(ShScratch *out, uint32_t number, const ShRecord *record, ShError *err);
static size_t header_bytes(const ShHeader *header);
static size_t header_key_bytes(const ShHeader *header);
static uint8_t *put_header_key(uint8_t *to, const ShHeader *header);
static size_t record_bytes(const ShRecord *record);
static uint8_t *put_varint_field(uint8_t *to, uint32_t field, uint64_t value);
static uint8_t *put_bytes_field(uint8_t *to, uint32_t field, const void *data, size_t length);

bool sh_decode_records(ShDecoding *decoding, ShFetchPart *part)
{
    Reading reading = {.decoding = decoding, .offset = part->offset, .next_offset = part->offset};
    ShScratch *encoded = &decoding->tools->encoded;
    encoded->length = 0;
    ShError err = {0};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < part->slice_count && status == SH_OK && !decoding->is_full; i++)
        status = decode_slice(&reading, &part->slices[i], &err);
    sh_check_scratch_shrink(&decoding->tools->scratch);
    bool is_too_much = decoding->is_inline && status == SH_TOO_LARGE;
    if (decoding->is_inline && !decoding->is_some && (is_too_much || decoding->is_full))
        return false;
    if (status != SH_OK && encoded->length == 0 && !is_too_much)
        part->error = err;
    if (status != SH_OK || decoding->is_full)
        part->next_offset = reading.next_offset;
    decoding->bytes_left -= encoded->length < decoding->bytes_left ? encoded->length : decoding->bytes_left;
    return true;
}

static ShStatus decode_slice(Reading *reading, const ShSlice *slice, ShError *err)
{
    const uint8_t *next = slice->data;
    size_t left = slice->length;
    while (left > 0 && !reading->decoding->is_full) {
        ShBatchHeader header;
        ShStatus status = sh_batch_peek(next, left, &header, err);
        if (status == SH_OK && !(header.attributes & SH_BATCH_ATTR_CONTROL))
            status = decode_batch(reading, next, header.total_bytes, err);
        if (status != SH_OK)
            return status;
        /* Also when it gave nothing: else an answer that is full behind such batches would lead nowhere. */
        if (!reading->decoding->is_full && sh_batch_end_offset(next) > reading->next_offset)
            reading->next_offset = sh_batch_end_offset(next);
        next += header.total_bytes;
        left -= header.total_bytes;
    }
    return SH_OK;
}

static ShStatus decode_batch(Reading *reading, const uint8_t *data, size_t length, ShError *err)
{
    ShDecoding *decoding = reading->decoding;
    ShScratch *encoded = &decoding->tools->encoded;
    bool is_folded = sh_batch_is_compressed(data);
    decoding->is_full = (decoding->is_some && encoded->length >= decoding->bytes_left) ||
                        (is_folded && decoding->unfolded_bytes >= unfolded_bytes_max(decoding));
    if (decoding->is_full)
        return SH_OK;
    ShBatchReader reader;
    ShStatus status = open_batch(decoding, data, length, &reader, err);
    while (status == SH_OK) {
        ShRecord record;
        bool more;
        status = sh_batch_reader_next(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            break;
        if (record.offset < reading->offset)
            continue;
        decoding->is_full = decoding->is_some &&
                            encoded->length + record_bytes(&record) > decoding->bytes_left;
        if (decoding->is_full)
            break;
        status = put_record(encoded, decoding->number, &record, err);
        if (status != SH_OK)
            break;
        decoding->is_some = true;
        reading->next_offset = record.offset + 1;
    }
    return status;
}

/* What it unfolds to is counted, also when that is too much. */
static ShStatus open_batch(ShDecoding *decoding, const uint8_t *data, size_t length, ShBatchReader *reader,
                           ShError *err)
{
    ShScratch *scratch = &decoding->tools->scratch;
    size_t bytes_max = decoding->is_inline ? SH_CHECK_INLINE_BYTES_MAX : SH_BATCH_DECOMPRESSED_BYTES_MAX;
    scratch->length = 0;
    ShStatus status = sh_batch_reader_init(reader, data, length, bytes_max, scratch, err);
    decoding->unfolded_bytes += status == SH_TOO_LARGE ? bytes_max : scratch->length;
    return status;
}

static size_t unfolded_bytes_max(const ShDecoding *decoding)
{
    return decoding->is_inline ? SH_CHECK_INLINE_BYTES_MAX : SH_DECODE_UNFOLDED_BYTES_MAX;
}

static ShStatus put_record(ShScratch *out, uint32_t number, const ShRecord *record, ShError *err)
{
    size_t bytes = record_bytes(record);
    ShStatus status = sh_scratch_reserve(out, out->length + bytes + 2 * SH_WIRE_VARINT_BYTES_MAX, err);
    if (status != SH_OK)
        return status;
    uint8_t *to = sh_wire_put_varint(out->data + out->length, (uint64_t)number << 3 | SH_WIRE_BYTES);
    to = sh_wire_put_varint(to, bytes);
    if (record->key != NULL)
        to = put_bytes_field(to, RECORD_KEY, record->key, record->key_length);
    if (record->value != NULL)
        to = put_bytes_field(to, RECORD_VALUE, record->value, record->value_length);
    size_t cursor = 0;
    ShHeader header;
    while (sh_record_next_header(record, &cursor, &header)) {
        to = sh_wire_put_varint(to, RECORD_HEADERS << 3 | SH_WIRE_BYTES);
        to = sh_wire_put_varint(to, header_bytes(&header));
        to = put_header_key(to, &header);
        if (header.value != NULL)
            to = put_bytes_field(to, HEADER_VALUE, header.value, header.value_length);
    }
    if (record->timestamp_ms != 0)
        to = put_varint_field(to, RECORD_TIMESTAMP, (uint64_t)record->timestamp_ms);
    if (record->offset != 0)
        to = put_varint_field(to, RECORD_OFFSET, (uint64_t)record->offset);
    out->length = (size_t)(to - out->data);
    return SH_OK;
}

static size_t record_bytes(const ShRecord *record)
{
    size_t bytes = 0;
    if (record->key != NULL)
        bytes += sh_out_bytes_size(RECORD_KEY, record->key_length);
    if (record->value != NULL)
        bytes += sh_out_bytes_size(RECORD_VALUE, record->value_length);
    size_t cursor = 0;
    ShHeader header;
    while (sh_record_next_header(record, &cursor, &header))
        bytes += sh_out_bytes_size(RECORD_HEADERS, header_bytes(&header));
    if (record->timestamp_ms != 0)
        bytes += sh_out_varint_size(RECORD_TIMESTAMP, (uint64_t)record->timestamp_ms);
    if (record->offset != 0)
        bytes += sh_out_varint_size(RECORD_OFFSET, (uint64_t)record->offset);
    return bytes;
}

static size_t header_bytes(const ShHeader *header)
{
    size_t bytes = sh_out_bytes_size(HEADER_KEY, header_key_bytes(header));
    if (header->value != NULL)
        bytes += sh_out_bytes_size(HEADER_VALUE, header->value_length);
    return bytes;
}

/* A proto3 string must be UTF-8; a batch does not promise it. Bytes of a key that are not are replaced one by
 * one, rather than make the whole answer unreadable. */
static size_t header_key_bytes(const ShHeader *header)
{
    const uint8_t *key = (const uint8_t *)header->key;
    size_t bytes = 0;
    for (size_t at = 0; at < header->key_length;) {
        size_t good = sh_wire_utf8_prefix(key + at, header->key_length - at);
        at += good;
        bytes += good;
        if (at < header->key_length) {
            at++;
            bytes += REPLACEMENT_BYTES;
        }
    }
    return bytes;
}

static uint8_t *put_header_key(uint8_t *to, const ShHeader *header)
{
    const uint8_t *key = (const uint8_t *)header->key;
    to = sh_wire_put_varint(to, HEADER_KEY << 3 | SH_WIRE_BYTES);
    to = sh_wire_put_varint(to, header_key_bytes(header));
    for (size_t at = 0; at < header->key_length;) {
        size_t good = sh_wire_utf8_prefix(key + at, header->key_length - at);
        memcpy(to, key + at, good);
        to += good;
        at += good;
        if (at < header->key_length) {
            memcpy(to, REPLACEMENT, REPLACEMENT_BYTES);
            to += REPLACEMENT_BYTES;
            at++;
        }
    }
    return to;
}

static uint8_t *put_varint_field(uint8_t *to, uint32_t field, uint64_t value)
{
    to = sh_wire_put_varint(to, (uint64_t)field << 3 | SH_WIRE_VARINT);
    return sh_wire_put_varint(to, value);
}

static uint8_t *put_bytes_field(uint8_t *to, uint32_t field, const void *data, size_t length)
{
    to = sh_wire_put_varint(to, (uint64_t)field << 3 | SH_WIRE_BYTES);
    to = sh_wire_put_varint(to, length);
    if (length > 0)
        memcpy(to, data, length);
    return to + length;
}
