#include "core/buf_pool.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#define IDLE_COUNT_MAX 64
/* Smaller ones the allocator has at hand. */
#define POOLED_BYTES_MIN (64 << 10)
/* Capacities are multiples of it, so that buffers of nearly the same size suit each other's users. */
#define ROUND_BYTES (32 << 10)

struct ShBufPool {
    size_t idle_bytes_max;
    pthread_mutex_t lock; /* guards what follows */
    bool closed;
    size_t out_count;
    size_t idle_bytes;
    size_t idle_count;
    ShBuf *idle[IDLE_COUNT_MAX]; /* the newest last */
};

static ShBuf *find_idle(ShBufPool *pool, size_t capacity);
static ShBuf *remove_idle(ShBufPool *pool, size_t index);
static void destroy(ShBufPool *pool);

ShBufPool *sh_buf_pool_new(size_t idle_bytes_max)
{
    ShBufPool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->idle_bytes_max = idle_bytes_max;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

void sh_buf_pool_free(ShBufPool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    while (pool->idle_count > 0)
        free(remove_idle(pool, 0));
    pool->closed = true;
    bool is_last = pool->out_count == 0;
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        destroy(pool);
}

ShBuf *sh_buf_pool_take(ShBufPool *pool, size_t capacity)
{
    if (capacity < POOLED_BYTES_MIN || capacity > SIZE_MAX / 2)
        return sh_buf_new(capacity);
    pthread_mutex_lock(&pool->lock);
    ShBuf *buf = find_idle(pool, capacity);
    pool->out_count++;
    pthread_mutex_unlock(&pool->lock);
    if (buf != NULL) {
        atomic_store_explicit(&buf->refs, 1, memory_order_relaxed);
        buf->length = 0;
        return buf;
    }
    buf = sh_buf_new((capacity + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES);
    if (buf != NULL) {
        buf->pool = pool;
    } else {
        pthread_mutex_lock(&pool->lock);
        pool->out_count--;
        pthread_mutex_unlock(&pool->lock);
    }
    return buf;
}

void sh_buf_pool_give_back(ShBufPool *pool, ShBuf *buf)
{
    pthread_mutex_lock(&pool->lock);
    pool->out_count--;
    bool keep = !pool->closed && buf->capacity <= pool->idle_bytes_max;
    /* What was idle longest makes room: sizes that are not asked for any more do not stay. */
    while (keep &&
           (pool->idle_count == IDLE_COUNT_MAX || pool->idle_bytes + buf->capacity > pool->idle_bytes_max))
        free(remove_idle(pool, 0));
    if (keep) {
        ASAN_POISON_MEMORY_REGION(buf->data, buf->capacity); /* a late reader is found, as after free() */
        pool->idle[pool->idle_count++] = buf;
        pool->idle_bytes += buf->capacity;
    }
    bool is_last = pool->closed && pool->out_count == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!keep)
        free(buf);
    if (is_last)
        destroy(pool);
}

/* With the lock held: the newest that is large enough and not twice as large as wanted; NULL: none. */
static ShBuf *find_idle(ShBufPool *pool, size_t capacity)
{
    for (size_t i = pool->idle_count; i-- > 0;) {
        if (pool->idle[i]->capacity >= capacity && pool->idle[i]->capacity / 2 <= capacity)
            return remove_idle(pool, i);
    }
    return NULL;
}

static ShBuf *remove_idle(ShBufPool *pool, size_t index)
{
    ShBuf *buf = pool->idle[index];
    pool->idle_count--;
    pool->idle_bytes -= buf->capacity;
    ASAN_UNPOISON_MEMORY_REGION(buf->data, buf->capacity);
    memmove(pool->idle + index, pool->idle + index + 1, (pool->idle_count - index) * sizeof(ShBuf *));
    return buf;
}

static void destroy(ShBufPool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
