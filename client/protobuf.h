/*
 * protobuf.h - the protobuf wire format, read in place and written into a growing area.
 *
 * The hot messages (ProduceRequest, ProduceResponse, FetchResponse) are read and written with it, so that
 * batches are neither copied nor allocated for; everything else uses the generated code. A reader never
 * passes its end, whatever the bytes are.
 */
#ifndef SH_CLIENT_PROTOBUF_H
#define SH_CLIENT_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/codec.h"
#include "core/status.h"

typedef struct ShProtobufReader {
    const uint8_t *next;
    const uint8_t *end;
    bool damaged; /* set when a field is cut off or of an unknown wire type */
} ShProtobufReader;

typedef struct ShProtobufField {
    uint32_t number;
    bool is_bytes;        /* length-delimited: `bytes` and `length`; else `value` */
    uint64_t value;       /* of a varint or a fixed integer */
    const uint8_t *bytes; /* borrowed from the message */
    size_t length;
} ShProtobufField;

static inline ShProtobufReader sh_protobuf_reader(const uint8_t *data, size_t length)
{
    return (ShProtobufReader){.next = data, .end = length > 0 ? data + length : data};
}

/* The next field; false at the end and at damage. */
bool sh_protobuf_next(ShProtobufReader *reader, ShProtobufField *field);

/* Append to `out`, which the caller has reserved: SH_PROTOBUF_FIELD_BYTES_MAX and the content. */
void sh_protobuf_put_varint(ShScratch *out, uint32_t number, uint64_t value);
void sh_protobuf_put_bytes(ShScratch *out, uint32_t number, const void *data, size_t length);
/* The tag and length of a field whose content the caller puts behind it. */
void sh_protobuf_put_length(ShScratch *out, uint32_t number, size_t length);

/* How many bytes a varint takes. */
size_t sh_protobuf_varint_bytes(uint64_t value);

/* A bound for a field's tag with its integer or length. */
#define SH_PROTOBUF_FIELD_BYTES_MAX 15

#endif
