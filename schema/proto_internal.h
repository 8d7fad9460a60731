/*
 * proto_internal.h - what the files of the Protobuf language share.
 */
#ifndef SH_SCHEMA_PROTO_INTERNAL_H
#define SH_SCHEMA_PROTO_INTERNAL_H

#include "schema/proto_model.h"
#include "schema/schema_internal.h"

typedef struct ShProtoSchema {
    ShSchema base;
    ShProtoModel model;
} ShProtoSchema;

/* A position in bytes that are read from the front. */
typedef struct ShProtoCursor {
    const uint8_t *at;
    const uint8_t *end;
} ShProtoCursor;

/* Read a base-128 varint of at most ten bytes; false at the end or when it is too long. */
bool sh_proto_varint(ShProtoCursor *cursor, uint64_t *out);

/* Read the list of message indexes that stands before a message, and find what it names. SH_INVALID says why
 * nothing is found. */
ShStatus sh_proto_find_message(const ShProtoSchema *schema, ShProtoCursor *cursor, const ShProtoMessage **out,
                               ShError *err) SH_MUST_CHECK;

/* The field of a number; NULL when the message has none. */
const ShProtoField *sh_proto_field(const ShProtoMessage *message, uint32_t number);

ShStatus sh_proto_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                          ShSchemaFindings *out, ShError *err);
ShStatus sh_proto_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                           ShSchemaBudget *budget, ShError *err);

#endif
