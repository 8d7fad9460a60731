/*
 * avro_validate.c - is a payload the binary form of an Avro schema's data? Apache Avro 1.11 specification,
 * "Binary Encoding".
 *
 * Every length and every index is checked before it is used. Each step consumes at least one byte, or is
 * counted, so the work is bounded by the payload's size. The place of a fault is put together on the way out.
 * Nearly all data fits, which avro_fits.c tells sooner: what is left here is data with a fault, and rare
 * forms.
 */
#include <stdio.h>
#include <string.h>

#include "schema/avro_node.h"
#include "schema/avro_program.h"
#include "schema/utf8.h"

#define DEPTH_MAX      500
#define PLACE_BYTES    256
#define likely(test)   __builtin_expect(!!(test), 1)
#define unlikely(test) __builtin_expect(!!(test), 0)

typedef struct Input {
    const uint8_t *at;
    const uint8_t *end;
    int depth;
    const char *fault;       /* what is wrong; NULL: nothing yet */
    char place[PLACE_BYTES]; /* where, put together from its end */
    size_t place_at;
} Input;

static bool read_data(Input *input, const ShAvroNode *node);
static bool read_record(Input *input, const ShAvroNode *node);
static bool read_blocks(Input *input, const ShAvroNode *node);
static bool read_items(Input *input, const ShAvroNode *node, uint64_t count);
static bool read_union(Input *input, const ShAvroNode *node);
static bool long_varint(Input *input, uint64_t *out);
static bool fail(Input *input, const char *what);
static bool fail_in(Input *input, const char *name);

ShStatus sh_avro_explain(const ShAvroNode *root, const uint8_t *payload, size_t payload_bytes, ShError *err)
{
    Input input = {.at = payload, .end = payload + payload_bytes, .place_at = PLACE_BYTES - 1};
    if (read_data(&input, root)) {
        if (input.at == input.end)
            return SH_OK;
        return sh_fail(err, SH_INVALID, "%zu bytes follow the data: it was written with another schema",
                       (size_t)(input.end - input.at));
    }
    return sh_fail(err, SH_INVALID, "%s at byte %zu (%s)", input.fault, (size_t)(input.at - payload),
                   input.place[input.place_at] == '\0' ? "the whole" : input.place + input.place_at);
}

/* A zig-zag number without its zig-zag. */
static inline bool varint(Input *input, uint64_t *out)
{
    if (likely(input->at < input->end && *input->at < 0x80)) {
        *out = *input->at++;
        return true;
    }
    return long_varint(input, out);
}

static bool long_varint(Input *input, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (input->at == input->end)
            return fail(input, "the data ends in a number");
        uint8_t byte = *input->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return fail(input, "a number is longer than 64 bits");
}

static inline int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static inline bool skip(Input *input, uint64_t bytes)
{
    if (unlikely(bytes > (uint64_t)(input->end - input->at)))
        return fail(input, "the data ends too early");
    input->at += bytes;
    return true;
}

static inline bool read_int(Input *input)
{
    uint64_t value;
    if (!varint(input, &value))
        return false;
    return likely(value <= UINT32_MAX) || fail(input, "an int is outside of 32 bits");
}

static inline bool read_bytes(Input *input, bool is_text)
{
    uint64_t length;
    if (!varint(input, &length))
        return false;
    if (unlikely((length & 1) != 0))
        return fail(input, "a length is negative");
    const uint8_t *bytes = input->at;
    if (!skip(input, length >> 1))
        return false;
    return !is_text || likely(sh_utf8_valid(bytes, length >> 1)) || fail(input, "a string is not UTF-8");
}

static bool read_enum(Input *input, const ShAvroNode *node)
{
    uint64_t value;
    if (!varint(input, &value))
        return false;
    return ((value & 1) == 0 && value >> 1 < node->symbol_count) || fail(input, "an enum has no such symbol");
}

static inline __attribute__((always_inline)) bool read_simple(Input *input, const ShAvroNode *node)
{
    uint64_t value;
    switch (node->type) {
    case SH_AVRO_NULL:
        return true;
    case SH_AVRO_BOOLEAN:
        if (unlikely(input->at == input->end))
            return fail(input, "the data ends too early");
        return likely(*input->at++ <= 1) || fail(input, "a boolean is neither 0 nor 1");
    case SH_AVRO_INT:
        return read_int(input);
    case SH_AVRO_LONG:
        return varint(input, &value);
    case SH_AVRO_FLOAT:
        return skip(input, 4);
    case SH_AVRO_DOUBLE:
        return skip(input, 8);
    case SH_AVRO_BYTES:
        return read_bytes(input, false);
    case SH_AVRO_STRING:
        return read_bytes(input, true);
    case SH_AVRO_FIXED:
        return skip(input, node->size);
    case SH_AVRO_ENUM:
        return read_enum(input, node);
    default:
        return read_data(input, node);
    }
}

static bool read_data(Input *input, const ShAvroNode *node)
{
    bool good;
    if (unlikely(node->is_empty)) /* not walked: nested records without a field could be 2^depth many */
        return true;
    if (node->type < SH_AVRO_RECORD || node->type == SH_AVRO_ENUM || node->type == SH_AVRO_FIXED)
        return read_simple(input, node);
    if (unlikely(++input->depth > DEPTH_MAX))
        return fail(input, "the data is nested too deep");
    if (node->type == SH_AVRO_RECORD)
        good = read_record(input, node);
    else if (node->type == SH_AVRO_UNION)
        good = read_union(input, node);
    else
        good = read_blocks(input, node);
    input->depth--;
    return good;
}

static bool read_record(Input *input, const ShAvroNode *node)
{
    const ShAvroField *end = node->fields + node->field_count;
    for (const ShAvroField *field = node->fields; field < end; field++)
        if (unlikely(!read_simple(input, field->node)))
            return fail_in(input, field->name);
    return true;
}

/* Blocks of items, each with its count; a negative one is followed by the block's size in bytes. A count of 0
 * ends them. */
static bool read_blocks(Input *input, const ShAvroNode *node)
{
    for (;;) {
        uint64_t raw, size = 0;
        if (!varint(input, &raw))
            return false;
        int64_t count = unzigzag(raw);
        if (count == 0)
            return true;
        const uint8_t *end = NULL;
        if (count < 0) {
            if (count == INT64_MIN)
                return fail(input, "a block has a count that cannot be");
            count = -count;
            if (!varint(input, &size))
                return false;
            if ((size & 1) != 0 || size >> 1 > (uint64_t)(input->end - input->at))
                return fail(input, "a block is longer than the data");
            end = input->at + (size >> 1);
        }
        if (!read_items(input, node, (uint64_t)count))
            return fail_in(input, node->type == SH_AVRO_ARRAY ? "[]" : "{}");
        if (end != NULL && input->at != end)
            return fail(input, "a block has not the size that it says");
    }
}

static bool read_items(Input *input, const ShAvroNode *node, uint64_t count)
{
    bool has_keys = node->type == SH_AVRO_MAP;
    if (!has_keys && node->items->is_empty)
        return true; /* any number of them has no bytes */
    for (; count > 0; count--) {
        if (has_keys && !read_bytes(input, true))
            return false;
        if (!read_simple(input, node->items))
            return false;
    }
    return true;
}

static bool read_union(Input *input, const ShAvroNode *node)
{
    uint64_t value;
    if (!varint(input, &value))
        return false;
    if ((value & 1) != 0 || value >> 1 >= node->branch_count)
        return fail(input, "a union has no such branch");
    return read_simple(input, node->branches[value >> 1]);
}

static bool fail(Input *input, const char *what)
{
    if (input->fault == NULL)
        input->fault = what;
    return false;
}

/* Put "/name" before what is known of the place; what does not fit is left out. */
static bool fail_in(Input *input, const char *name)
{
    size_t length = strlen(name) + 1;
    if (length <= input->place_at) {
        input->place_at -= length;
        input->place[input->place_at] = '/';
        memcpy(input->place + input->place_at + 1, name, length - 1);
    }
    return false;
}
