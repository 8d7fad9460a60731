/*
 * wire.h - a strict reader of protobuf bytes in place, for the messages whose payload must not be copied.
 *
 * Source of the format: Protocol Buffers, "Encoding". A message is a row of fields, each a varint tag (number
 * << 3 | type) and a value:
 *
 *   type 0  a varint of at most 10 bytes
 *   type 1  8 bytes, little-endian
 *   type 2  a varint length and so many bytes: strings, bytes, messages
 *   type 5  4 bytes, little-endian
 *
 * Fields that nobody asks for are stepped over, so newer clients are understood. A field of a known number
 * but another type, a field number 0, the group types 3 and 4, and every length that leaves its message are
 * SH_INVALID. Everything that is read borrows from the bytes. Nothing here recurses: nesting is as deep as
 * the caller's own loops.
 */
#ifndef SH_AGENT_RPC_WIRE_H
#define SH_AGENT_RPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef enum ShWireType {
    SH_WIRE_VARINT = 0,
    SH_WIRE_FIXED64 = 1,
    SH_WIRE_BYTES = 2,
    SH_WIRE_FIXED32 = 5
} ShWireType;

/* Bytes inside the message. data is NULL only for a field that was absent. */
typedef struct ShWireBytes {
    const uint8_t *data;
    size_t length;
} ShWireBytes;

typedef struct ShWireReader {
    const uint8_t *next;
    const uint8_t *end;
} ShWireReader;

typedef struct ShWireField {
    uint32_t number;
    ShWireType type;
    uint64_t varint;   /* of types 0, 1 and 5 */
    ShWireBytes bytes; /* of type 2 */
} ShWireField;

static inline ShWireReader sh_wire_reader(const uint8_t *data, size_t length)
{
    return (ShWireReader){.next = data, .end = data + length};
}

/* The next field of a message; `*more` is false at its end. */
ShStatus sh_wire_next(ShWireReader *reader, ShWireField *field, bool *more, ShError *err) SH_MUST_CHECK;

/* SH_INVALID unless the field has the type that the contract gives it. */
ShStatus sh_wire_expect(const ShWireField *field, ShWireType type, ShError *err) SH_MUST_CHECK;

/* How often field `number` stands in the message (not in messages inside it). */
ShStatus sh_wire_count(const uint8_t *data, size_t length, uint32_t number, size_t *count,
                       ShError *err) SH_MUST_CHECK;

/* --- the messages of Produce ------------------------------------------------------------------------------
 */

/* ProducePartition, without its records: walk those with a reader over `body`. */
typedef struct ShWirePartition {
    ShWireBytes topic;
    ShWireBytes topic_id;
    int32_t partition;
    ShWireBytes batches;
    size_t record_count;
    int32_t compression;
    int32_t first_unacked_seq;
    bool is_confirmation;
    int64_t producer_id; /* of a confirmation, and the next */
    int32_t producer_epoch;
    ShWireBytes body; /* the whole ProducePartition */
} ShWirePartition;

/* Record, without its headers: walk those with a reader over `body`. */
typedef struct ShWireRecord {
    ShWireBytes key;
    ShWireBytes value;
    int64_t timestamp_ms;
    size_t header_count;
    ShWireBytes body;
} ShWireRecord;

typedef struct ShWireHeader {
    ShWireBytes key;
    ShWireBytes value; /* data NULL: null */
} ShWireHeader;

/* The next partition of a ProduceRequest that `reader` walks over; `*more` is false after the last one, and
 * `*partition` then as it was. The request's id is left in `*request_id` (NULL: nowhere) when it is passed.
 */
ShStatus sh_wire_next_partition(ShWireReader *reader, ShWirePartition *partition, uint64_t *request_id,
                                bool *more, ShError *err) SH_MUST_CHECK;

/* The next record of a ProducePartition whose body `reader` walks over. */
ShStatus sh_wire_next_record(ShWireReader *reader, ShWireRecord *record, bool *more,
                             ShError *err) SH_MUST_CHECK;

/* The next header of a Record whose body `reader` walks over. */
ShStatus sh_wire_next_header(ShWireReader *reader, ShWireHeader *header, bool *more,
                             ShError *err) SH_MUST_CHECK;

/* --- text and sizes ----------------------------------------------------------------------------------------
 */

/* Valid UTF-8, as proto3 asks of a string: no overlong forms, no surrogates. */
bool sh_wire_is_utf8(const uint8_t *data, size_t length);

/* The length of the longest prefix that is. */
size_t sh_wire_utf8_prefix(const uint8_t *data, size_t length);

#define SH_WIRE_VARINT_BYTES_MAX 10

static inline size_t sh_wire_varint_size(uint64_t value)
{
    /* Seven bits a byte: 9/64 is a good enough 1/7 for up to 64 bits. */
    unsigned bits = 64U - (unsigned)__builtin_clzll(value | 1);
    return (size_t)((bits * 9 + 64) / 64);
}

/* Write a varint at `to`, which has room for 10 bytes; returns the byte after it. */
static inline uint8_t *sh_wire_put_varint(uint8_t *to, uint64_t value)
{
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

#endif
