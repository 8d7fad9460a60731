#include "agent/rpc/wire.h"

/* Field numbers of proto/streamhouse.proto. */
enum { REQUEST_ID = 1, REQUEST_PARTITIONS = 2 };
enum {
    PART_TOPIC = 1,
    PART_TOPIC_ID,
    PART_PARTITION,
    PART_BATCHES,
    PART_RECORDS,
    PART_COMPRESSION,
    PART_UNACKED,
    PART_IS_CONFIRMATION,
    PART_PRODUCER_ID,
    PART_PRODUCER_EPOCH
};
enum { RECORD_KEY = 1, RECORD_VALUE, RECORD_HEADERS, RECORD_TIMESTAMP };
enum { HEADER_KEY = 1, HEADER_VALUE = 2 };

static inline ShStatus next_field(ShWireReader *reader, ShWireField *field, bool *more,
                                  ShError *err) SH_MUST_CHECK __attribute__((always_inline));
static ShStatus read_partition(ShWireBytes body, ShWirePartition *partition, ShError *err);
static ShStatus read_record(ShWireBytes body, ShWireRecord *record, ShError *err);
static ShStatus read_header(ShWireBytes body, ShWireHeader *header, ShError *err);
static ShStatus next_message(ShWireReader *reader, uint32_t number, ShWireBytes *body, bool *more,
                             ShError *err);
static ShStatus take_bytes(const ShWireField *field, ShWireBytes *out, ShError *err);
static ShStatus take_int32(const ShWireField *field, int32_t *out, ShError *err);
static ShStatus take_int64(const ShWireField *field, int64_t *out, ShError *err);
static inline bool read_varint(ShWireReader *reader, uint64_t *out);
static bool read_long_varint(ShWireReader *reader, uint64_t *out) __attribute__((noinline));
static bool read_fixed(ShWireReader *reader, size_t width, uint64_t *out);
static size_t character_bytes(const uint8_t *at, size_t left);

ShStatus sh_wire_next(ShWireReader *reader, ShWireField *field, bool *more, ShError *err)
{
    return next_field(reader, field, more, err);
}

ShStatus sh_wire_expect(const ShWireField *field, ShWireType type, ShError *err)
{
    if (field->type != type)
        return sh_fail(err, SH_INVALID, "malformed protobuf message: field %u has wire type %d, not %d",
                       field->number, (int)field->type, (int)type);
    return SH_OK;
}

ShStatus sh_wire_count(const uint8_t *data, size_t length, uint32_t number, size_t *count, ShError *err)
{
    ShWireReader reader = sh_wire_reader(data, length);
    ShWireField field;
    bool more;
    size_t found = 0;
    for (;;) {
        ShStatus status = sh_wire_next(&reader, &field, &more, err);
        if (status != SH_OK)
            return status;
        if (!more)
            break;
        found += field.number == number;
    }
    *count = found;
    return SH_OK;
}

ShStatus sh_wire_next_partition(ShWireReader *reader, ShWirePartition *partition, uint64_t *request_id,
                                bool *more, ShError *err)
{
    ShWireField field;
    for (;;) {
        ShStatus status = next_field(reader, &field, more, err);
        if (status != SH_OK || !*more)
            return status;
        if (field.number == REQUEST_PARTITIONS) {
            status = sh_wire_expect(&field, SH_WIRE_BYTES, err);
            return status != SH_OK ? status : read_partition(field.bytes, partition, err);
        }
        if (field.number != REQUEST_ID)
            continue;
        status = sh_wire_expect(&field, SH_WIRE_VARINT, err);
        if (status != SH_OK)
            return status;
        if (request_id != NULL)
            *request_id = field.varint;
    }
}

ShStatus sh_wire_next_record(ShWireReader *reader, ShWireRecord *record, bool *more, ShError *err)
{
    ShWireBytes body;
    ShStatus status = next_message(reader, PART_RECORDS, &body, more, err);
    if (status != SH_OK || !*more)
        return status;
    return read_record(body, record, err);
}

ShStatus sh_wire_next_header(ShWireReader *reader, ShWireHeader *header, bool *more, ShError *err)
{
    ShWireBytes body;
    ShStatus status = next_message(reader, RECORD_HEADERS, &body, more, err);
    if (status != SH_OK || !*more)
        return status;
    return read_header(body, header, err);
}

bool sh_wire_is_utf8(const uint8_t *data, size_t length)
{
    return sh_wire_utf8_prefix(data, length) == length;
}

size_t sh_wire_utf8_prefix(const uint8_t *data, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t bytes = character_bytes(data + at, length - at);
        if (bytes == 0)
            break;
        at += bytes;
    }
    return at;
}

/* sh_wire_next, inlined where messages are many and small. */
static inline ShStatus next_field(ShWireReader *reader, ShWireField *field, bool *more, ShError *err)
{
    *more = reader->next < reader->end;
    if (!*more)
        return SH_OK;

    uint64_t tag;
    if (!read_varint(reader, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return sh_fail(err, SH_INVALID, "malformed protobuf message: bad field tag");
    field->number = (uint32_t)(tag >> 3);
    field->type = (ShWireType)(tag & 7);
    field->varint = 0;
    field->bytes = (ShWireBytes){0};

    bool whole;
    switch (field->type) {
    case SH_WIRE_VARINT:
        whole = read_varint(reader, &field->varint);
        break;
    case SH_WIRE_FIXED64:
        whole = read_fixed(reader, 8, &field->varint);
        break;
    case SH_WIRE_FIXED32:
        whole = read_fixed(reader, 4, &field->varint);
        break;
    case SH_WIRE_BYTES: {
        uint64_t length = 0;
        whole = read_varint(reader, &length) && length <= (uint64_t)(reader->end - reader->next);
        if (whole) {
            field->bytes = (ShWireBytes){.data = reader->next, .length = (size_t)length};
            reader->next += length;
        }
        break;
    }
    default:
        return sh_fail(err, SH_INVALID, "malformed protobuf message: field %u has wire type %d",
                       field->number, (int)field->type);
    }
    if (!whole)
        return sh_fail(err, SH_INVALID, "malformed protobuf message: field %u is cut off", field->number);
    return SH_OK;
}

static ShStatus read_partition(ShWireBytes body, ShWirePartition *partition, ShError *err)
{
    *partition = (ShWirePartition){.body = body};
    ShWireReader reader = sh_wire_reader(body.data, body.length);
    ShWireField field;
    bool more;
    for (;;) {
        ShStatus status = next_field(&reader, &field, &more, err);
        if (status != SH_OK || !more)
            return status;
        switch (field.number) {
        case PART_TOPIC:
            status = take_bytes(&field, &partition->topic, err);
            break;
        case PART_TOPIC_ID:
            status = take_bytes(&field, &partition->topic_id, err);
            break;
        case PART_PARTITION:
            status = take_int32(&field, &partition->partition, err);
            break;
        case PART_BATCHES:
            status = take_bytes(&field, &partition->batches, err);
            break;
        case PART_RECORDS:
            status = sh_wire_expect(&field, SH_WIRE_BYTES, err);
            partition->record_count++;
            break;
        case PART_COMPRESSION:
            status = take_int32(&field, &partition->compression, err);
            break;
        case PART_UNACKED:
            status = take_int32(&field, &partition->first_unacked_seq, err);
            break;
        case PART_IS_CONFIRMATION:
            status = sh_wire_expect(&field, SH_WIRE_VARINT, err);
            partition->is_confirmation = field.varint != 0;
            break;
        case PART_PRODUCER_ID:
            status = sh_wire_expect(&field, SH_WIRE_VARINT, err);
            partition->producer_id = (int64_t)field.varint;
            break;
        case PART_PRODUCER_EPOCH:
            status = take_int32(&field, &partition->producer_epoch, err);
            break;
        default:
            break;
        }
        if (status != SH_OK)
            return status;
    }
}

static ShStatus read_record(ShWireBytes body, ShWireRecord *record, ShError *err)
{
    *record = (ShWireRecord){.body = body};
    ShWireReader reader = sh_wire_reader(body.data, body.length);
    ShWireField field;
    bool more;
    for (;;) {
        ShStatus status = sh_wire_next(&reader, &field, &more, err);
        if (status != SH_OK || !more)
            return status;
        switch (field.number) {
        case RECORD_KEY:
            status = take_bytes(&field, &record->key, err);
            break;
        case RECORD_VALUE:
            status = take_bytes(&field, &record->value, err);
            break;
        case RECORD_HEADERS:
            status = sh_wire_expect(&field, SH_WIRE_BYTES, err);
            record->header_count++;
            break;
        case RECORD_TIMESTAMP:
            status = take_int64(&field, &record->timestamp_ms, err);
            break;
        default:
            break;
        }
        if (status != SH_OK)
            return status;
    }
}

static ShStatus read_header(ShWireBytes body, ShWireHeader *header, ShError *err)
{
    *header = (ShWireHeader){0};
    ShWireReader reader = sh_wire_reader(body.data, body.length);
    ShWireField field;
    bool more;
    for (;;) {
        ShStatus status = sh_wire_next(&reader, &field, &more, err);
        if (status != SH_OK)
            return status;
        if (!more)
            break;
        if (field.number == HEADER_KEY)
            status = take_bytes(&field, &header->key, err);
        else if (field.number == HEADER_VALUE)
            status = take_bytes(&field, &header->value, err);
        if (status != SH_OK)
            return status;
    }
    if (!sh_wire_is_utf8(header->key.data, header->key.length))
        return sh_fail(err, SH_INVALID, "a header's key is not UTF-8");
    return SH_OK;
}

/* The next field `number` of a message that is itself a message; other fields are stepped over. */
static ShStatus next_message(ShWireReader *reader, uint32_t number, ShWireBytes *body, bool *more,
                             ShError *err)
{
    ShWireField field;
    for (;;) {
        ShStatus status = sh_wire_next(reader, &field, more, err);
        if (status != SH_OK || !*more)
            return status;
        if (field.number == number)
            return take_bytes(&field, body, err);
    }
}

static ShStatus take_bytes(const ShWireField *field, ShWireBytes *out, ShError *err)
{
    ShStatus status = sh_wire_expect(field, SH_WIRE_BYTES, err);
    if (status == SH_OK)
        *out = field->bytes;
    return status;
}

/* An int32 travels sign-extended to 64 bits; like every protobuf reader this one keeps the low half. */
static ShStatus take_int32(const ShWireField *field, int32_t *out, ShError *err)
{
    ShStatus status = sh_wire_expect(field, SH_WIRE_VARINT, err);
    if (status == SH_OK)
        *out = (int32_t)(uint32_t)field->varint;
    return status;
}

static ShStatus take_int64(const ShWireField *field, int64_t *out, ShError *err)
{
    ShStatus status = sh_wire_expect(field, SH_WIRE_VARINT, err);
    if (status == SH_OK)
        *out = (int64_t)field->varint;
    return status;
}

static inline bool read_varint(ShWireReader *reader, uint64_t *out)
{
    const uint8_t *p = reader->next;
    if (reader->end - p >= 2) { /* nearly all take one or two bytes and have others behind them */
        uint32_t low = p[0];
        uint32_t high = p[1];
        if (low < 0x80) {
            *out = low;
            reader->next = p + 1;
            return true;
        }
        if (high < 0x80) {
            *out = (low - 0x80) + (high << 7);
            reader->next = p + 2;
            return true;
        }
    }
    return read_long_varint(reader, out);
}

static bool read_long_varint(ShWireReader *reader, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reader->next < reader->end; shift += 7) {
        uint8_t byte = *reader->next++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return shift < 63 || byte <= 1;
        }
    }
    return false;
}

static bool read_fixed(ShWireReader *reader, size_t width, uint64_t *out)
{
    if ((size_t)(reader->end - reader->next) < width)
        return false;
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;)
        value = value << 8 | reader->next[i];
    reader->next += width;
    *out = value;
    return true;
}

/* The length of the UTF-8 character that begins here; 0 when there is none. */
static size_t character_bytes(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    bool overlong = (lead == 0xE0 && at[1] < 0xA0) || (lead == 0xF0 && at[1] < 0x90);
    bool surrogate = lead == 0xED && at[1] >= 0xA0;
    bool beyond = lead == 0xF4 && at[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : bytes;
}
