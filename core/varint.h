/*
 * varint.h - the zigzag varints of record fields: seven bits a byte, the lowest first, the sign in the lowest
 * bit.
 *
 * Only core/batch_*.c and core/varint.c include it. Reading takes any encoding of at most 5 (10) bytes that
 * fits 32 (64) bits.
 */
#ifndef SH_CORE_VARINT_H
#define SH_CORE_VARINT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SH_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define SH_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define SH_VARINT_BYTES_MAX  5
#define SH_VARLONG_BYTES_MAX 10

/* What the readers for plain records touch; see their declarations. */
#define SH_VARINT_SHORT_BYTES_MAX 2
#define SH_VARLONG_SKIP_BYTES_MAX 8

#define SH_VARINT_ONE_BYTE_LENGTHS 64 /* those below take one byte */

static inline uint64_t sh_zigzag_encode(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t sh_zigzag_decode(uint64_t raw)
{
    return (int64_t)((raw >> 1) ^ (0 - (raw & 1)));
}

/* Bytes that `value` takes. */
static inline size_t sh_varint_bytes(int64_t value)
{
    int bits = 64 - __builtin_clzll(sh_zigzag_encode(value) | 1);
    return (size_t)(bits + 6) / 7;
}

/* Write `value` at `p`; returns the place behind it. */
static inline uint8_t *sh_varint_write(uint8_t *p, int64_t value)
{
    uint64_t raw = sh_zigzag_encode(value);
    for (; raw >= 0x80; raw >>= 7)
        *p++ = (uint8_t)(raw | 0x80);
    *p++ = (uint8_t)raw;
    return p;
}

/* Any encoding that fits, byte by byte; out of line, to keep the usual case small. */
const uint8_t *sh_varint_read_slow(const uint8_t *p, const uint8_t *end, uint32_t *raw);
const uint8_t *sh_varlong_read_slow(const uint8_t *p, const uint8_t *end, uint64_t *raw);

/* Whether two bytes can be read at `p`; compared as numbers, because p + 1 need not be a valid pointer. */
static inline bool sh_varint_has_two(const uint8_t *p, const uint8_t *end)
{
    return (uintptr_t)p + 1 < (uintptr_t)end;
}

/* Read a 32-bit varint at `p`, still zigzag; returns the place behind it, NULL when it is cut off or too
 * long. Nearly all varints of real records take one or two bytes and have others behind them: these are read
 * without a loop. */
static inline const uint8_t *sh_varint_read_raw(const uint8_t *p, const uint8_t *end, uint32_t *raw)
{
    if (SH_LIKELY(sh_varint_has_two(p, end))) {
        uint32_t low = p[0];
        if (SH_LIKELY(low < 0x80)) {
            *raw = low;
            return p + 1;
        }
        uint32_t high = p[1];
        if (SH_LIKELY(high < 0x80)) {
            *raw = (low - 0x80) + (high << 7);
            return p + 2;
        }
    }
    return sh_varint_read_slow(p, end, raw);
}

/* The same with 64 bits, decoded. */
static inline const uint8_t *sh_varlong_read(const uint8_t *p, const uint8_t *end, int64_t *value)
{
    if (SH_LIKELY(sh_varint_has_two(p, end))) {
        uint64_t low = p[0];
        if (SH_LIKELY(low < 0x80)) {
            *value = sh_zigzag_decode(low);
            return p + 1;
        }
        uint64_t high = p[1];
        if (SH_LIKELY(high < 0x80)) {
            *value = sh_zigzag_decode((low - 0x80) + (high << 7));
            return p + 2;
        }
    }
    uint64_t raw;
    p = sh_varlong_read_slow(p, end, &raw);
    if (p != NULL)
        *value = sh_zigzag_decode(raw);
    return p;
}

/* Read a length of one or two bytes where SH_VARINT_SHORT_BYTES_MAX bytes are known to be readable; NULL when
 * it is longer, or below zero. */
static inline const uint8_t *sh_varint_read_length(const uint8_t *p, size_t *length)
{
    size_t low = p[0]; /* zigzag: twice the number, odd when it is negative */
    if ((low & 1) != 0)
        return NULL;
    if (low < 0x80) {
        *length = low / 2;
        return p + 1;
    }
    size_t high = p[1];
    if (SH_UNLIKELY(high >= 0x80))
        return NULL;
    *length = high * 0x40 + low / 2 - 0x40;
    return p + 2;
}

/* A varint of one or two bytes as they stand, as one number, the first byte lowest; of a longer one, what no
 * two bytes are taken for. */
static inline uint64_t sh_varint_pack_two(uint32_t raw)
{
    return (uint64_t)raw + (raw & ~(uint32_t)0x7F) + 0x80;
}

static inline uint64_t sh_varint_pack(uint32_t raw)
{
    return raw < 0x80 ? raw : sh_varint_pack_two(raw);
}

/* Whether the two bytes at `p` are this varint, packed, of two bytes or of more. */
static inline bool sh_varint_is_packed(const uint8_t *p, uint64_t packed)
{
    uint16_t two;
    memcpy(&two, p, sizeof two);
    /* Signed: a second byte that says that a third follows makes it negative, which `packed` is not. */
    return SH_LIKELY((uint64_t)(int16_t)le16toh(two) == packed);
}

/* Step over the varint at `p` if it is `*packed`, in its shortest encoding, of one or two bytes; else NULL.
 * Two bytes are readable. `*packed` becomes the one that is greater by two. */
static inline const uint8_t *sh_varint_match_in_turn(const uint8_t *p, uint64_t *packed)
{
    uint64_t expected = *packed;
    if (expected < 0x80) {
        *packed = sh_varint_pack((uint32_t)expected + 2);
        return SH_LIKELY(*p == expected) ? p + 1 : NULL;
    }
    *packed = (expected + 2) | 0x80;
    return sh_varint_is_packed(p, expected) ? p + 2 : NULL;
}

/* Step over the varint at `p` if it is the length of what lies behind it up to `end`, in its shortest
 * encoding, of one or two bytes, and no less than `bytes_min`, of at most 63; else NULL. Two bytes are
 * readable. */
static inline const uint8_t *sh_varint_match_length(const uint8_t *p, const uint8_t *end, size_t bytes_min,
                                                    size_t *length)
{
    ptrdiff_t rest = end - p;
    if (rest <= SH_VARINT_ONE_BYTE_LENGTHS) {
        *length = (size_t)(rest - 1);
        return *length >= bytes_min && *p == 2 * (rest - 1) ? p + 1 : NULL;
    }
    *length = (size_t)(rest - 2);
    return sh_varint_is_packed(p, sh_varint_pack_two(2 * (uint32_t)(rest - 2))) ? p + 2 : NULL;
}

/* Step over a varlong where SH_VARLONG_SKIP_BYTES_MAX bytes are known to be readable; NULL when it is longer.
 * Its last byte is the first whose high bit is clear. */
static inline const uint8_t *sh_varlong_skip(const uint8_t *p)
{
    uint64_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    uint64_t last = ~le64toh(bytes) & UINT64_C(0x8080808080808080);
    return SH_LIKELY(last != 0) ? p + ((unsigned)__builtin_ctzll(last) / 8 + 1) : NULL;
}

/* A varlong as its bytes stand, as one number, the first byte lowest: of two zigzag numbers in their shortest
 * encodings the larger one is the larger here too. */
typedef struct ShVarlong {
    const uint8_t *next; /* the place behind it; NULL: longer than SH_VARLONG_SKIP_BYTES_MAX */
    uint64_t packed;
} ShVarlong;

/* Of any length, where SH_VARLONG_SKIP_BYTES_MAX bytes are known to be readable. */
ShVarlong sh_varlong_read_long(const uint8_t *p) __attribute__((pure));

/* The zigzag number; false when the encoding is longer than it need be. */
bool sh_varlong_unpack(uint64_t packed, uint64_t *raw);

/* Step over a varlong like sh_varlong_skip, with its bytes. */
static inline const uint8_t *sh_varlong_read_packed(const uint8_t *p, uint64_t *packed)
{
    uint16_t two;
    memcpy(&two, p, sizeof two);
    uint32_t bytes = le16toh(two);
    if ((bytes & 0x80) == 0) {
        *packed = bytes & 0x7F;
        return p + 1;
    }
    if (SH_LIKELY(bytes < 0x8000)) {
        *packed = bytes;
        return p + 2;
    }
    ShVarlong found = sh_varlong_read_long(p);
    *packed = found.packed;
    return found.next;
}

#endif
