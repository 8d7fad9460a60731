/*
 * varint.h - the zigzag varints of record fields: seven bits a byte, the lowest first, the sign in the lowest
 * bit.
 *
 * Only core/batch_*.c include it. Reading takes any encoding of at most 5 (10) bytes that fits 32 (64) bits.
 */
#ifndef SH_CORE_VARINT_H
#define SH_CORE_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SH_VARINT_BYTES_MAX 5
#define SH_VARLONG_BYTES_MAX 10

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

/* Any encoding of at most `bytes_max` bytes, byte by byte. False when it is longer, cut off, or exceeds 64
 * bits. */
static inline bool sh_varint_read_any(const uint8_t **next, const uint8_t *end, int bytes_max, uint64_t *raw)
{
    const uint8_t *p = *next;
    uint64_t value = 0;
    for (int i = 0; i < bytes_max && p < end; i++) {
        uint64_t byte = *p++;
        if (i == SH_VARLONG_BYTES_MAX - 1 && byte > 1)
            return false;
        value |= (byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *next = p;
            *raw = value;
            return true;
        }
    }
    return false;
}

/* Nearly all varints of real records take one or two bytes: these are read without a loop. */
static inline bool sh_varint_read_raw(const uint8_t **next, const uint8_t *end, int bytes_max, uint64_t *raw)
{
    const uint8_t *p = *next;
    if (end - p >= 2) {
        if (p[0] < 0x80) {
            *next = p + 1;
            *raw = p[0];
            return true;
        }
        if (p[1] < 0x80) {
            *next = p + 2;
            *raw = (uint64_t)(p[0] & 0x7F) | (uint64_t)p[1] << 7;
            return true;
        }
    }
    return sh_varint_read_any(next, end, bytes_max, raw);
}

/* Read a 32-bit varint at `*next` and step over it; false when it is cut off or too long. */
static inline bool sh_varint_read(const uint8_t **next, const uint8_t *end, int32_t *value)
{
    uint64_t raw;
    if (!sh_varint_read_raw(next, end, SH_VARINT_BYTES_MAX, &raw) || raw > UINT32_MAX)
        return false;
    *value = (int32_t)sh_zigzag_decode(raw);
    return true;
}

/* The same with 64 bits. */
static inline bool sh_varlong_read(const uint8_t **next, const uint8_t *end, int64_t *value)
{
    uint64_t raw;
    if (!sh_varint_read_raw(next, end, SH_VARLONG_BYTES_MAX, &raw))
        return false;
    *value = sh_zigzag_decode(raw);
    return true;
}

#endif
