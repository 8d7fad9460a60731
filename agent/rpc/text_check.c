#include "agent/rpc/text_check.h"

#include <string.h>

#include "agent/rpc/wire.h"

/* Messages within messages: the contract's requests have two levels. */
#define DEPTH_MAX 8

typedef struct Level {
    ShWireReader reader;
    const ProtobufCMessageDescriptor *type;
} Level;

static ShStatus check_string(const ShWireField *field, const char *name, ShError *err);

ShStatus sh_text_check(const uint8_t *data, size_t length, const ProtobufCMessageDescriptor *type,
                       ShError *err)
{
    Level levels[DEPTH_MAX];
    size_t depth = 1;
    levels[0] = (Level){.reader = sh_wire_reader(data, length), .type = type};
    while (depth > 0) {
        Level *level = &levels[depth - 1];
        ShWireField field;
        bool more;
        ShStatus status = sh_wire_next(&level->reader, &field, &more, err);
        if (status != SH_OK)
            return status;
        if (!more) {
            depth--;
            continue;
        }
        const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(level->type,
                                                                                        field.number);
        if (known == NULL || field.type != SH_WIRE_BYTES)
            continue; /* what has the wrong type is the parser's to refuse */
        if (known->type == PROTOBUF_C_TYPE_STRING)
            status = check_string(&field, known->name, err);
        if (status != SH_OK)
            return status;
        if (known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (depth == DEPTH_MAX)
            return sh_fail(err, SH_INVALID, "messages are nested more than %d deep", DEPTH_MAX);
        levels[depth++] = (Level){.reader = sh_wire_reader(field.bytes.data, field.bytes.length),
                                  .type = known->descriptor};
    }
    return SH_OK;
}

static ShStatus check_string(const ShWireField *field, const char *name, ShError *err)
{
    if (field->bytes.length > 0 && memchr(field->bytes.data, '\0', field->bytes.length) != NULL)
        return sh_fail(err, SH_INVALID, "the field %s has a NUL in it", name);
    if (!sh_wire_is_utf8(field->bytes.data, field->bytes.length))
        return sh_fail(err, SH_INVALID, "the field %s is not UTF-8", name);
    return SH_OK;
}
