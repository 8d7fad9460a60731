/*
 * avro_fits.c - the loop that runs a schema's program over data. Each length is checked before it is used,
 * and each turn consumes data or a level of nesting, so the work is bounded by the data's size.
 */
#include <endian.h>
#include <string.h>

#include "core/varint.h"
#include "schema/avro_program.h"
#include "schema/utf8.h"

#define NESTING_MAX 64 /* deeper data is left to avro_validate.c */
#define HIGH_BITS   UINT64_C(0x8080808080808080)

/* A routine that was called, or items that are stepped through. */
typedef struct Frame {
    const ShAvroOp *op; /* of a call: the one behind it; of items: their first */
    uint64_t left;      /* items of the block, this one included; 0: a call */
} Frame;

/* A number as it is written: zigzag, so twice what it means, and odd when that is negative. */
typedef struct Raw {
    const uint8_t *behind; /* NULL: it is not whole */
    uint64_t value;
} Raw;

static ShStatus run(const ShAvroOp *program, const uint8_t *data, size_t bytes, const ShAvroNode *root,
                    ShError *err, const void *const **actions_out);
static inline Raw read_raw(const uint8_t *p, const uint8_t *end);
static Raw read_long(const uint8_t *p, const uint8_t *end);
static inline uint64_t count_of(uint64_t raw);
static inline bool is_ascii(const uint8_t *p, size_t length, const uint8_t *end);

/* Each action ends with the jump to the next one, which a processor foresees better than one jump for all,
 * and which is half of what a switch in a loop takes. */
#define GO_TO(where)                                                                                         \
    do {                                                                                                     \
        op = (where);                                                                                        \
        goto * op->action;                                                                                   \
    } while (0)
/* The compiler is kept from computing op + 1 twice. */
#define NEXT()                                                                                               \
    do {                                                                                                     \
        op++;                                                                                                \
        __asm__("" : "+r"(op));                                                                              \
        goto * op->action;                                                                                   \
    } while (0)

void sh_avro_link(ShAvroOp *ops, size_t count)
{
    const void *const *actions;
    (void)!run(NULL, (const uint8_t *)"", 0, NULL, NULL, &actions);
    for (size_t i = 0; i < count; i++)
        ops[i].action = actions[ops[i].kind];
}

bool sh_avro_fits(const ShAvroOp *program, const uint8_t *data, size_t bytes)
{
    return run(program, data, bytes, NULL, NULL, NULL) == SH_OK;
}

ShStatus sh_avro_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                          ShSchemaBudget *budget, ShError *err)
{
    (void)budget;
    const ShAvroSchema *avro = (const ShAvroSchema *)schema;
    return run(avro->program, payload, payload_bytes, avro->root, err, NULL);
}

/* The last word is sh_avro_explain's, where there is a root. Only here the actions' addresses are known:
 * `actions_out` gets them, and nothing else is done. */
static ShStatus run(const ShAvroOp *program, const uint8_t *data, size_t bytes, const ShAvroNode *root,
                    ShError *err, const void *const **actions_out)
{
    static const void *const actions[] = {
        [SH_AVRO_OP_RETURN] = &&op_return, [SH_AVRO_OP_BOOLEAN] = &&op_boolean,
        [SH_AVRO_OP_INT] = &&op_int,       [SH_AVRO_OP_LONG] = &&op_long,
        [SH_AVRO_OP_SKIP] = &&op_skip,     [SH_AVRO_OP_BYTES] = &&op_bytes,
        [SH_AVRO_OP_STRING] = &&op_string, [SH_AVRO_OP_ENUM] = &&op_enum,
        [SH_AVRO_OP_CALL] = &&op_call,     [SH_AVRO_OP_UNION] = &&op_union,
        [SH_AVRO_OP_BRANCH] = &&op_unsure, [SH_AVRO_OP_JUMP] = &&op_jump,
        [SH_AVRO_OP_ITEMS] = &&op_items,   [SH_AVRO_OP_NEXT] = &&op_next,
        [SH_AVRO_OP_UNSURE] = &&op_unsure};
    Frame frames[NESTING_MAX];
    size_t depth = 0; /* frames in use */
    const ShAvroOp *op;
    const uint8_t *p = data;
    const uint8_t *const end = data + bytes;
    Raw raw;
    if (actions_out != NULL) {
        *actions_out = actions;
        return SH_OK;
    }
    GO_TO(program);

op_return:
    if (depth == 0) {
        if (p == end)
            return SH_OK;
        goto op_unsure;
    }
    GO_TO(frames[--depth].op);

op_boolean:
    if (p == end || *p > 1)
        goto op_unsure;
    p++;
    NEXT();

op_int:
    raw = read_raw(p, end);
    if (raw.behind == NULL || raw.value > UINT32_MAX)
        goto op_unsure;
    p = raw.behind;
    NEXT();

op_long:
    if (SH_LIKELY(end - p >= SH_VARLONG_SKIP_BYTES_MAX)) {
        const uint8_t *behind = sh_varlong_skip(p);
        if (SH_LIKELY(behind != NULL)) {
            p = behind;
            NEXT();
        }
    }
    raw = read_long(p, end);
    if (raw.behind == NULL)
        goto op_unsure;
    p = raw.behind;
    NEXT();

op_skip:
    if (end - p < (ptrdiff_t)op->arg)
        goto op_unsure;
    p += op->arg;
    NEXT();

op_bytes:
    raw = read_raw(p, end);
    if (raw.behind == NULL || count_of(raw.value) > (uint64_t)(end - raw.behind))
        goto op_unsure;
    p = raw.behind + count_of(raw.value);
    NEXT();

op_string:
    raw = read_raw(p, end);
    if (raw.behind == NULL || count_of(raw.value) > (uint64_t)(end - raw.behind))
        goto op_unsure;
    p = raw.behind + count_of(raw.value);
    if (SH_LIKELY(is_ascii(raw.behind, count_of(raw.value), end)) ||
        sh_utf8_valid(raw.behind, count_of(raw.value)))
        NEXT();
    goto op_unsure;

op_enum:
    raw = read_raw(p, end);
    if (raw.behind == NULL || count_of(raw.value) >= op->arg)
        goto op_unsure;
    p = raw.behind;
    NEXT();

op_call:
    if (depth == NESTING_MAX)
        goto op_unsure;
    frames[depth++] = (Frame){.op = op + 1};
    GO_TO(program + op->arg);

op_union:
    raw = read_raw(p, end);
    if (raw.behind == NULL || count_of(raw.value) >= op->arg)
        goto op_unsure;
    p = raw.behind;
    GO_TO(program + op[1 + count_of(raw.value)].arg);

op_jump:
    GO_TO(program + op->arg);

op_items:
    raw = read_raw(p, end);
    if (raw.behind == NULL || (raw.value & 1) != 0)
        goto op_unsure; /* a block that tells its size is rare */
    p = raw.behind;
    if (raw.value == 0)
        GO_TO(program + op->arg);
    if (depth == NESTING_MAX)
        goto op_unsure;
    frames[depth++] = (Frame){.op = op + 1, .left = count_of(raw.value)};
    NEXT();

op_next:
    if (--frames[depth - 1].left > 0)
        GO_TO(frames[depth - 1].op);
    GO_TO(frames[--depth].op - 1); /* the next block's count */

op_unsure:
    return root == NULL ? SH_INVALID : sh_avro_explain(root, data, bytes, err);
}

static inline Raw read_raw(const uint8_t *p, const uint8_t *end)
{
    if (SH_UNLIKELY(p >= end))
        return (Raw){.behind = NULL};
    uint64_t first = *p;
    if (SH_LIKELY(first < 0x80))
        return (Raw){.behind = p + 1, .value = first};
    if (SH_LIKELY(end - p >= 2 && p[1] < 0x80))
        return (Raw){.behind = p + 2, .value = (uint64_t)p[1] << 7 | (first & 0x7F)};
    return read_long(p, end);
}

/* A number of any length, up to the 64 bits that it can have. As Avro's own readers do it takes one that is
 * written in more bytes than it needs. */
static __attribute__((noinline)) Raw read_long(const uint8_t *p, const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return (Raw){.behind = p, .value = value};
    }
    return (Raw){.behind = NULL};
}

/* Half of it; what is odd, and so negative, is made too large for any bound. */
static inline uint64_t count_of(uint64_t raw)
{
    return raw >> 1 | raw << 63;
}

/* False also where it would be dear to tell. Eight bytes are looked at at a time; of a short text's, those
 * that follow it in the data do not count. */
static inline bool is_ascii(const uint8_t *p, size_t length, const uint8_t *end)
{
    static const uint64_t high_bits[] = {0,
                                         HIGH_BITS >> 56,
                                         HIGH_BITS >> 48,
                                         HIGH_BITS >> 40,
                                         HIGH_BITS >> 32,
                                         HIGH_BITS >> 24,
                                         HIGH_BITS >> 16,
                                         HIGH_BITS >> 8,
                                         HIGH_BITS}; /* of so many bytes */
    uint64_t some;
    if (length <= sizeof some) {
        if (end - p < (ptrdiff_t)sizeof some)
            return false;
        memcpy(&some, p, sizeof some);
        return (le64toh(some) & high_bits[length]) == 0;
    }
    const uint8_t *tail = p + length - sizeof some;
    memcpy(&some, tail, sizeof some);
    uint64_t high = some;
    for (; p < tail; p += sizeof some) {
        memcpy(&some, p, sizeof some);
        high |= some;
    }
    return (high & HIGH_BITS) == 0;
}
