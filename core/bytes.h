/*
 * bytes.h - shared buffers, borrowed slices, and integers in network order.
 *
 * A ShBuf is one allocation with a reference count. Record batches live in one from the socket to the store:
 * the WAL, the readers and the uploader each hold a reference, nobody copies.
 */
#ifndef SH_CORE_BYTES_H
#define SH_CORE_BYTES_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/status.h"

struct ShBufPool;

typedef struct ShBuf {
    atomic_int refs;
    size_t capacity; /* bytes of data[] */
    size_t length;   /* bytes in use, set by whoever fills the buffer */
    uint8_t *data;
    struct ShBufPool *pool; /* that it goes back to; NULL: none */
} ShBuf;

/* A new buffer with one reference and length 0; NULL when memory is short. */
ShBuf *sh_buf_new(size_t capacity);
/* A new buffer holding a copy of the bytes; NULL when memory is short. */
ShBuf *sh_buf_copy(const void *data, size_t length);
/* Any thread; `buf` may be NULL. sh_buf_ref returns its argument. */
ShBuf *sh_buf_ref(ShBuf *buf);
void sh_buf_unref(ShBuf *buf);

/* Bytes inside a buffer. A slice borrows: whoever keeps one takes a reference on `owner` (NULL for bytes that
 * outlive everybody, such as constants). */
typedef struct ShSlice {
    const uint8_t *data;
    size_t length;
    ShBuf *owner;
} ShSlice;

/* A 16-byte UUID, in the byte order of its text form. */
typedef struct ShUuid {
    uint8_t bytes[16];
} ShUuid;

#define SH_UUID_TEXT_BYTES 37 /* 36 characters and the NUL */

/* A random (version 4) UUID from the kernel's generator. */
ShStatus sh_uuid_random(ShUuid *out, ShError *err) SH_MUST_CHECK;
/* The text form is 8-4-4-4-12 hexadecimal digits; parsing accepts either case. */
ShStatus sh_uuid_parse(const char *text, ShUuid *out, ShError *err) SH_MUST_CHECK;
void sh_uuid_format(const ShUuid *uuid, char text[SH_UUID_TEXT_BYTES]);
static inline bool sh_uuid_equal(const ShUuid *a, const ShUuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
bool sh_uuid_is_zero(const ShUuid *uuid);

static inline uint16_t sh_get_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}
static inline uint32_t sh_get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}
static inline uint64_t sh_get_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}
static inline void sh_put_u16(uint8_t *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof v);
}
static inline void sh_put_u32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}
static inline void sh_put_u64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
}

#endif
