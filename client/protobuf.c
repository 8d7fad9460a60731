#include "client/protobuf.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static bool read_varint(ShProtobufReader *reader, uint64_t *value);
static bool read_fixed(ShProtobufReader *reader, size_t width, uint64_t *value);
static bool read_bytes(ShProtobufReader *reader, ShProtobufField *field);
static void append_varint(ShScratch *out, uint64_t value);

bool sh_protobuf_next(ShProtobufReader *reader, ShProtobufField *field)
{
    if (reader->damaged || reader->next == reader->end)
        return false;

    uint64_t tag = 0;
    bool good = read_varint(reader, &tag) && tag >> 3 != 0 && tag >> 3 <= 0x1FFFFFFF;
    if (good) {
        *field = (ShProtobufField){.number = (uint32_t)(tag >> 3), .is_bytes = (tag & 7) == WIRE_BYTES};
        switch (tag & 7) {
        case WIRE_VARINT:
            good = read_varint(reader, &field->value);
            break;
        case WIRE_FIXED64:
            good = read_fixed(reader, 8, &field->value);
            break;
        case WIRE_FIXED32:
            good = read_fixed(reader, 4, &field->value);
            break;
        case WIRE_BYTES:
            good = read_bytes(reader, field);
            break;
        default:
            good = false;
            break;
        }
    }
    reader->damaged = !good;
    return good;
}

void sh_protobuf_put_varint(ShScratch *out, uint32_t number, uint64_t value)
{
    append_varint(out, (uint64_t)number << 3 | WIRE_VARINT);
    append_varint(out, value);
}

void sh_protobuf_put_bytes(ShScratch *out, uint32_t number, const void *data, size_t length)
{
    sh_protobuf_put_length(out, number, length);
    if (length > 0)
        memcpy(out->data + out->length, data, length);
    out->length += length;
}

void sh_protobuf_put_length(ShScratch *out, uint32_t number, size_t length)
{
    append_varint(out, (uint64_t)number << 3 | WIRE_BYTES);
    append_varint(out, length);
}

size_t sh_protobuf_varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static bool read_varint(ShProtobufReader *reader, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->next == reader->end)
            return false;
        uint8_t byte = *reader->next++;
        result |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *value = result;
            return true;
        }
    }
    return false;
}

static bool read_fixed(ShProtobufReader *reader, size_t width, uint64_t *value)
{
    if ((size_t)(reader->end - reader->next) < width)
        return false;
    *value = 0;
    for (size_t i = 0; i < width; i++)
        *value |= (uint64_t)reader->next[i] << (8 * i);
    reader->next += width;
    return true;
}

static bool read_bytes(ShProtobufReader *reader, ShProtobufField *field)
{
    uint64_t length = 0;
    if (!read_varint(reader, &length) || length > (uint64_t)(reader->end - reader->next))
        return false;
    field->bytes = reader->next;
    field->length = (size_t)length;
    reader->next += length;
    return true;
}

static void append_varint(ShScratch *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        out->data[out->length++] = (uint8_t)(value | 0x80);
    out->data[out->length++] = (uint8_t)value;
}
