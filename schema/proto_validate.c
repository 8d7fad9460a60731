/*
 * proto_validate.c - does a payload fit a Protobuf schema?
 *
 * The payload is the list of message indexes, as the Confluent serializers write it (a zigzag varint count,
 * then that many indexes, each a zigzag varint; a count of 0 stands for the first message), and then the
 * message in the Protobuf wire format. A field that the schema does not know is no error, as for every reader
 * of Protobuf; one of another wire type is.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "schema/proto_internal.h"
#include "schema/utf8.h"

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5
};

#define INDEXES_MAX SH_SCHEMA_NESTING_MAX
#define NESTING_MAX 100 /* as libprotobuf's own limit */

typedef struct Walk {
    const uint8_t *start; /* of the message, for positions in words */
    int depth;
    ShError *err;
} Walk;

static ShStatus walk_message(Walk *walk, const ShProtoMessage *message, ShProtoCursor *cursor,
                             uint32_t group);
static ShStatus walk_field(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                           uint32_t wire, ShProtoCursor *cursor);
static ShStatus walk_bytes(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                           ShProtoCursor *cursor);
static ShStatus walk_packed(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                            ShProtoCursor *cursor);
static ShStatus skip_unknown(Walk *walk, uint32_t number, uint32_t wire, ShProtoCursor *cursor);
static ShStatus skip_scalar(Walk *walk, uint32_t wire, ShProtoCursor *cursor);
static uint32_t wire_of(uint8_t type);
static ShStatus cut(Walk *walk, const ShProtoCursor *cursor);
static uint64_t position(const Walk *walk, const ShProtoCursor *cursor);

ShStatus sh_proto_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                           ShSchemaBudget *budget, ShError *err)
{
    (void)budget;
    ShProtoCursor cursor = {payload, payload + payload_bytes};
    const ShProtoMessage *message;
    ShStatus status = sh_proto_find_message((const ShProtoSchema *)schema, &cursor, &message, err);
    if (status != SH_OK)
        return status;
    Walk walk = {.start = payload, .err = err};
    return walk_message(&walk, message, &cursor, 0);
}

bool sh_proto_varint(ShProtoCursor *cursor, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && cursor->at < cursor->end; shift += 7) {
        uint8_t byte = *cursor->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool read_index(ShProtoCursor *cursor, int64_t *out)
{
    uint64_t raw;
    if (!sh_proto_varint(cursor, &raw))
        return false;
    *out = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return true;
}

ShStatus sh_proto_find_message(const ShProtoSchema *schema, ShProtoCursor *cursor, const ShProtoMessage **out,
                               ShError *err)
{
    int64_t count;
    if (!read_index(cursor, &count) || count < 0 || count > INDEXES_MAX)
        return sh_fail(err, SH_INVALID, "the list of message indexes before the message is cut or damaged");
    const ShProtoMessage *const *among = schema->model.messages;
    size_t among_count = schema->model.message_count;
    const ShProtoMessage *found = among[0];
    for (int64_t i = 0; i < count; i++) {
        int64_t index;
        if (!read_index(cursor, &index))
            return sh_fail(err, SH_INVALID,
                           "the list of message indexes before the message is cut or damaged");
        if (index < 0 || (uint64_t)index >= among_count)
            return sh_fail(err, SH_INVALID,
                           "the list of message indexes names message %" PRId64
                           " of %zu, which the schema lacks",
                           index, among_count);
        found = among[index];
        among = found->nested;
        among_count = found->nested_count;
    }
    *out = found;
    return SH_OK;
}

const ShProtoField *sh_proto_field(const ShProtoMessage *message, uint32_t number)
{
    /* Most messages number their fields 1, 2, 3, ... */
    if (number - 1 < message->field_count && (uint32_t)message->fields[number - 1].number == number)
        return &message->fields[number - 1];
    size_t low = 0;
    size_t high = message->field_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uint32_t)message->fields[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < message->field_count && (uint32_t)message->fields[low].number == number
               ? &message->fields[low]
               : NULL;
}

/* Walk to the end of the cursor, or of the group of this number. */
static ShStatus walk_message(Walk *walk, const ShProtoMessage *message, ShProtoCursor *cursor, uint32_t group)
{
    uint64_t seen[SH_PROTO_REQUIRED_MAX / 64] = {0};
    size_t seen_count = 0;
    if (++walk->depth > NESTING_MAX)
        return sh_fail(walk->err, SH_INVALID, "messages nest more than %d levels deep", NESTING_MAX);
    while (cursor->at < cursor->end) {
        uint64_t tag;
        if (!sh_proto_varint(cursor, &tag))
            return cut(walk, cursor);
        uint32_t wire = (uint32_t)(tag & 7);
        uint64_t number = tag >> 3;
        if (number == 0 || number > 536870911 || wire > WIRE_FIXED32)
            return sh_fail(walk->err, SH_INVALID, "%s: no field begins at byte %" PRIu64, message->full_name,
                           position(walk, cursor));
        if (wire == WIRE_GROUP_END) {
            if (number != group)
                return sh_fail(walk->err, SH_INVALID,
                               "%s: a group ends at byte %" PRIu64 " that did not begin", message->full_name,
                               position(walk, cursor));
            group = 0;
            break;
        }
        const ShProtoField *field = sh_proto_field(message, (uint32_t)number);
        ShStatus status = field == NULL ? skip_unknown(walk, (uint32_t)number, wire, cursor)
                                        : walk_field(walk, message, field, wire, cursor);
        if (status != SH_OK)
            return status;
        if (field != NULL && field->required_index >= 0) {
            uint64_t bit = UINT64_C(1) << (field->required_index % 64);
            seen_count += (seen[field->required_index / 64] & bit) == 0;
            seen[field->required_index / 64] |= bit;
        }
    }
    if (group != 0)
        return cut(walk, cursor);
    /* Only a message that lacks one is looked through: many small ones may be of a type of many fields. */
    for (size_t i = 0; seen_count < message->required_count && i < message->field_count; i++) {
        int32_t index = message->fields[i].required_index;
        if (index >= 0 && (seen[index / 64] >> (index % 64) & 1) == 0)
            return sh_fail(walk->err, SH_INVALID, "%s: the required field \"%s\" is missing",
                           message->full_name, message->fields[i].name);
    }
    walk->depth--;
    return SH_OK;
}

static ShStatus walk_field(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                           uint32_t wire, ShProtoCursor *cursor)
{
    uint32_t expected = wire_of(field->type);
    if (wire == expected && wire == WIRE_BYTES)
        return walk_bytes(walk, message, field, cursor);
    if (wire == expected && wire == WIRE_GROUP)
        return walk_message(walk, field->message, cursor, (uint32_t)field->number);
    if (wire == expected)
        return skip_scalar(walk, wire, cursor);
    if (wire == WIRE_BYTES && field->label == SH_PROTO_REPEATED && expected != WIRE_GROUP)
        return walk_packed(walk, message, field, cursor);
    return sh_fail(walk->err, SH_INVALID,
                   "%s: the field \"%s\" has wire type %u at byte %" PRIu64 ", its type is written as %u",
                   message->full_name, field->name, wire, position(walk, cursor), expected);
}

static ShStatus take_bytes(Walk *walk, ShProtoCursor *cursor, ShProtoCursor *inner)
{
    uint64_t length;
    if (!sh_proto_varint(cursor, &length) || length > (uint64_t)(cursor->end - cursor->at))
        return cut(walk, cursor);
    *inner = (ShProtoCursor){cursor->at, cursor->at + length};
    cursor->at += length;
    return SH_OK;
}

static ShStatus walk_bytes(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                           ShProtoCursor *cursor)
{
    ShProtoCursor inner;
    ShStatus status = take_bytes(walk, cursor, &inner);
    if (status != SH_OK)
        return status;
    if (field->type == SH_PROTO_MESSAGE)
        return walk_message(walk, field->message, &inner, 0);
    if (field->is_utf8 && !sh_utf8_valid(inner.at, (size_t)(inner.end - inner.at)))
        return sh_fail(walk->err, SH_INVALID, "%s: the string \"%s\" at byte %" PRIu64 " is not UTF-8",
                       message->full_name, field->name, position(walk, &inner));
    return SH_OK;
}

static ShStatus walk_packed(Walk *walk, const ShProtoMessage *message, const ShProtoField *field,
                            ShProtoCursor *cursor)
{
    ShProtoCursor inner;
    ShStatus status = take_bytes(walk, cursor, &inner);
    uint32_t wire = wire_of(field->type);
    while (status == SH_OK && inner.at < inner.end)
        if (skip_scalar(walk, wire, &inner) != SH_OK)
            status = sh_fail(walk->err, SH_INVALID,
                             "%s: the packed values of \"%s\" are cut at byte %" PRIu64, message->full_name,
                             field->name, position(walk, &inner));
    return status;
}

/* A group that is not known is walked with a message of no fields. */
static ShStatus skip_unknown(Walk *walk, uint32_t number, uint32_t wire, ShProtoCursor *cursor)
{
    static const ShProtoMessage unknown = {.full_name = "an unknown group"};
    ShProtoCursor inner;
    if (wire == WIRE_GROUP)
        return walk_message(walk, &unknown, cursor, number);
    return wire == WIRE_BYTES ? take_bytes(walk, cursor, &inner) : skip_scalar(walk, wire, cursor);
}

static ShStatus skip_scalar(Walk *walk, uint32_t wire, ShProtoCursor *cursor)
{
    uint64_t value;
    if (wire == WIRE_VARINT)
        return sh_proto_varint(cursor, &value) ? SH_OK : cut(walk, cursor);
    ptrdiff_t width = wire == WIRE_FIXED64 ? 8 : 4;
    if (cursor->end - cursor->at < width)
        return cut(walk, cursor);
    cursor->at += width;
    return SH_OK;
}

static uint32_t wire_of(uint8_t type)
{
    switch (type) {
    case SH_PROTO_DOUBLE:
    case SH_PROTO_FIXED64:
    case SH_PROTO_SFIXED64:
        return WIRE_FIXED64;
    case SH_PROTO_FLOAT:
    case SH_PROTO_FIXED32:
    case SH_PROTO_SFIXED32:
        return WIRE_FIXED32;
    case SH_PROTO_STRING:
    case SH_PROTO_BYTES:
    case SH_PROTO_MESSAGE:
        return WIRE_BYTES;
    case SH_PROTO_GROUP:
        return WIRE_GROUP;
    default:
        return WIRE_VARINT;
    }
}

static ShStatus cut(Walk *walk, const ShProtoCursor *cursor)
{
    return sh_fail(walk->err, SH_INVALID, "the message is cut or damaged at byte %" PRIu64,
                   position(walk, cursor));
}

static uint64_t position(const Walk *walk, const ShProtoCursor *cursor)
{
    return (uint64_t)(cursor->at - walk->start);
}
