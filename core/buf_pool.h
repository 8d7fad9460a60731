/*
 * buf_pool.h - large buffers that are used again.
 *
 * A large buffer fresh from the allocator is memory that the kernel has to map and clear page by page, which
 * costs more than filling it. A pool keeps what was given back, up to a bound, and hands out the newest
 * first, which the processor's caches may still hold. Any thread.
 */
#ifndef SH_CORE_BUF_POOL_H
#define SH_CORE_BUF_POOL_H

#include <stddef.h>

#include "core/bytes.h"

typedef struct ShBufPool ShBufPool;

/* Keeps at most `idle_bytes_max` that nobody uses. NULL when memory is short. */
ShBufPool *sh_buf_pool_new(size_t idle_bytes_max);
/* Buffers that are out stay good, and are freed when their last holder lets go. NULL allowed. */
void sh_buf_pool_free(ShBufPool *pool);

/* A buffer of at least `capacity` bytes, with one reference and length 0, whose last sh_buf_unref gives it
 * back. A small one is none of the pool's: it comes from sh_buf_new. NULL when memory is short. */
ShBuf *sh_buf_pool_take(ShBufPool *pool, size_t capacity);

/* For sh_buf_unref alone: the last reference on a buffer of the pool is gone. */
void sh_buf_pool_give_back(ShBufPool *pool, ShBuf *buf);

#endif
