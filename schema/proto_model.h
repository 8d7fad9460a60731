/*
 * proto_model.h - a Protobuf schema as plain C: what proto_shim.cc makes of libprotobuf's descriptors, and
 * what the comparison and the validation walk.
 *
 * Everything stands in one arena that the schema owns, and is constant once parsed.
 */
#ifndef SH_SCHEMA_PROTO_MODEL_H
#define SH_SCHEMA_PROTO_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "schema/arena.h"
#include "schema/schema.h"

/* The numbers of google.protobuf.FieldDescriptorProto.Type, as descriptor.proto has them. */
typedef enum ShProtoType {
    SH_PROTO_DOUBLE = 1,
    SH_PROTO_FLOAT = 2,
    SH_PROTO_INT64 = 3,
    SH_PROTO_UINT64 = 4,
    SH_PROTO_INT32 = 5,
    SH_PROTO_FIXED64 = 6,
    SH_PROTO_FIXED32 = 7,
    SH_PROTO_BOOL = 8,
    SH_PROTO_STRING = 9,
    SH_PROTO_GROUP = 10,
    SH_PROTO_MESSAGE = 11,
    SH_PROTO_BYTES = 12,
    SH_PROTO_UINT32 = 13,
    SH_PROTO_ENUM = 14,
    SH_PROTO_SFIXED32 = 15,
    SH_PROTO_SFIXED64 = 16,
    SH_PROTO_SINT32 = 17,
    SH_PROTO_SINT64 = 18
} ShProtoType;

/* FieldDescriptorProto.Label. */
typedef enum ShProtoLabel {
    SH_PROTO_OPTIONAL = 1,
    SH_PROTO_REQUIRED = 2,
    SH_PROTO_REPEATED = 3
} ShProtoLabel;

#define SH_PROTO_REQUIRED_MAX 1024 /* required fields of one message */

struct ShProtoMessage;

typedef struct ShProtoField {
    const char *name;
    const struct ShProtoMessage *message; /* of a message, group or map; else NULL */
    int32_t number;
    int32_t oneof;          /* index into the message's oneofs; -1: in none */
    int32_t required_index; /* among the message's required fields; -1: not required */
    uint8_t type;           /* ShProtoType */
    uint8_t label;          /* ShProtoLabel */
    bool is_utf8;           /* a string whose bytes must be UTF-8 (proto3) */
} ShProtoField;

typedef struct ShProtoMessage {
    const char *name;       /* without the package: "Outer.Inner" */
    const char *short_name; /* its last part */
    const char *full_name;
    const ShProtoField *fields; /* by number */
    size_t field_count;
    const struct ShProtoMessage *const *nested; /* in the order of the text, without those of map fields */
    size_t nested_count;
    const char *const *oneofs; /* those that were written, not those of proto3's `optional` */
    size_t oneof_count;
    size_t required_count; /* SH_PROTO_REQUIRED_MAX at most */
    bool is_map_entry;
} ShProtoMessage;

typedef struct ShProtoModel {
    ShSchemaArena *arena;
    const ShProtoMessage *const
        *messages; /* the main file's, in the order of the text, without nested ones */
    size_t message_count;
    const char *text;       /* the file written anew: no comments, names in full */
    const char *serialized; /* the file as base64 of a FileDescriptorProto */
} ShProtoModel;

/* Parse a .proto text, or a FileDescriptorProto (`text_is_descriptor`), with its imports, and fill `model`,
 * whose arena is set. Knows the files below google/protobuf by itself. Nothing is thrown. SH_INVALID says
 * line and column. */
ShStatus sh_proto_shim_parse(const char *text, size_t text_bytes, bool text_is_descriptor,
                             const ShSchemaReference *references, size_t reference_count,
                             ShSchemaBudget *budget, ShProtoModel *model, ShError *err) SH_MUST_CHECK;

#endif
