#include "agent/log/read_ahead.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/segment_read.h"

#define JOIN_WAIT_MS 100
/* What was read ahead so long ago and is not used makes room for others. */
#define UNREAD_AGE_MS 10000

typedef struct ShAheadRead {
    struct ShAheadRead *next;
    ShPartition *partition; /* a reference */
    int64_t from;
    int64_t bytes; /* reserved of the memory budget */
    bool started;
    bool taken_over; /* not in the list any more: a reader does it itself */
} ShAheadRead;

static bool plan_next(ShEngine *engine, ShPartition *partition, int64_t *offset, int64_t *window_bytes);
static bool start(ShEngine *engine, ShPartition *partition, int64_t from, int64_t bytes);
static bool make_room(ShEngine *engine, int64_t bytes);
static ShAheadRead *new_read(ShEngine *engine, ShPartition *partition, int64_t from, int64_t bytes);
static void run(ShEngine *engine, ShPg *pg, void *arg, bool cancelled);
static void release(ShEngine *engine, ShAheadRead *read);
static ShAheadRead **find(ShReadAhead *ahead, const ShPartition *partition, int64_t from);

ShStatus sh_read_ahead_init(ShReadAhead *ahead, ShError *err)
{
    *ahead = (ShReadAhead){0};
    pthread_mutex_init(&ahead->lock, NULL);
    return sh_cond_init(&ahead->arrived, err);
}

void sh_read_ahead_destroy(ShReadAhead *ahead)
{
    pthread_cond_destroy(&ahead->arrived);
    pthread_mutex_destroy(&ahead->lock);
}

void sh_read_ahead(ShEngine *engine, ShPartition *partition, int64_t offset, int64_t published_end,
                   int64_t run_bytes)
{
    int64_t window_bytes = run_bytes < SH_AHEAD_BYTES_MAX ? run_bytes : SH_AHEAD_BYTES_MAX;
    while (window_bytes > 0 && offset < published_end &&
           plan_next(engine, partition, &offset, &window_bytes)) {
    }
}

void sh_read_ahead_join(ShEngine *engine, ShPartition *partition, int64_t from)
{
    ShReadAhead *ahead = &engine->read_ahead;
    pthread_mutex_lock(&ahead->lock);
    ShAheadRead **place;
    while (*(place = find(ahead, partition, from)) != NULL && (*place)->started)
        sh_cond_wait_ms(&ahead->arrived, &ahead->lock, JOIN_WAIT_MS);
    ShAheadRead *read = *place;
    if (read != NULL) {
        read->taken_over = true;
        *place = read->next;
    }
    pthread_mutex_unlock(&ahead->lock);
}

/* See to the range at `*offset`, and move on behind it; false where nothing more can be done now. */
static bool plan_next(ShEngine *engine, ShPartition *partition, int64_t *offset, int64_t *window_bytes)
{
    ShReadCache *cache = &engine->read_cache;
    int64_t end;
    int64_t bytes;
    if (sh_read_cache_peek(cache, partition, *offset, &end, &bytes)) {
        *offset = end;
        *window_bytes -= bytes;
        return true;
    }
    ShPgSegment segment;
    if (!sh_read_cache_segment(cache, partition, *offset, &segment)) {
        /* Which objects follow is asked on the way. */
        (void)start(engine, partition, *offset, SH_AHEAD_CHUNK_BYTES);
        return false;
    }
    if (*offset < segment.first_offset) {
        *offset = segment.first_offset;
        return true;
    }
    uint64_t position = sh_read_cache_place(cache, partition, &segment, *offset).position;
    int64_t left = position < segment.length ? (int64_t)(segment.length - position) : 0;
    bytes = left < SH_AHEAD_CHUNK_BYTES ? left : SH_AHEAD_CHUNK_BYTES;
    if (bytes == 0 || !start(engine, partition, *offset, bytes) || bytes < left)
        return false; /* where the range after this one begins is known when this one has come */
    *offset = segment.last_offset + 1;
    *window_bytes -= bytes;
    return true;
}

/* True when the range is being read, or will be. */
static bool start(ShEngine *engine, ShPartition *partition, int64_t from, int64_t bytes)
{
    ShReadAhead *ahead = &engine->read_ahead;
    pthread_mutex_lock(&ahead->lock);
    bool is_known = *find(ahead, partition, from) != NULL;
    pthread_mutex_unlock(&ahead->lock);
    if (is_known)
        return true;
    (void)sh_fault_hit("read.ahead");
    ShAheadRead *read = make_room(engine, bytes) ? new_read(engine, partition, from, bytes) : NULL;
    if (read == NULL)
        return false;
    pthread_mutex_lock(&ahead->lock);
    is_known = *find(ahead, partition, from) != NULL; /* another reader's, meanwhile */
    if (!is_known) {
        read->next = ahead->reads;
        ahead->reads = read;
        ahead->bytes += bytes;
    }
    pthread_mutex_unlock(&ahead->lock);
    if (is_known)
        release(engine, read);
    else
        sh_read_pool_submit_ahead(engine, run, read);
    return true;
}

/* Whether all that is ahead may grow by so much. */
static bool make_room(ShEngine *engine, int64_t bytes)
{
    ShReadAhead *ahead = &engine->read_ahead;
    ShReadCache *cache = &engine->read_cache;
    do {
        pthread_mutex_lock(&ahead->lock);
        int64_t all_bytes = bytes + ahead->bytes;
        pthread_mutex_unlock(&ahead->lock);
        pthread_mutex_lock(&cache->lock);
        all_bytes += cache->unread_bytes;
        pthread_mutex_unlock(&cache->lock);
        if (all_bytes <= cache->bytes_max / 2)
            return true;
    } while (sh_read_cache_evict_unread(engine, sh_clock_now_ms() - UNREAD_AGE_MS));
    return false;
}

static ShAheadRead *new_read(ShEngine *engine, ShPartition *partition, int64_t from, int64_t bytes)
{
    ShAheadRead *read = calloc(1, sizeof *read);
    if (read == NULL || !sh_memory_reserve(engine, bytes)) {
        free(read);
        return NULL;
    }
    read->partition = sh_partition_ref(partition);
    read->from = from;
    read->bytes = bytes;
    return read;
}

static void run(ShEngine *engine, ShPg *pg, void *arg, bool cancelled)
{
    ShReadAhead *ahead = &engine->read_ahead;
    ShAheadRead *read = arg;
    pthread_mutex_lock(&ahead->lock);
    bool wanted = !cancelled && !read->taken_over;
    read->started = true;
    pthread_mutex_unlock(&ahead->lock);
    /* An error is met again by the reader who gets there, and concerns nobody else. */
    ShStatus status = wanted ? sh_segment_read_ahead(engine, pg, read->partition, read->from, NULL) : SH_OK;
    (void)status;
    pthread_mutex_lock(&ahead->lock);
    if (!read->taken_over)
        *find(ahead, read->partition, read->from) = read->next;
    ahead->bytes -= read->bytes;
    pthread_cond_broadcast(&ahead->arrived);
    pthread_mutex_unlock(&ahead->lock);
    release(engine, read);
}

static void release(ShEngine *engine, ShAheadRead *read)
{
    sh_memory_release(&engine->memory, read->bytes);
    sh_partition_unref(read->partition);
    free(read);
}

/* With the lock held: the link to the read that begins at `from`, or to the list's end. */
static ShAheadRead **find(ShReadAhead *ahead, const ShPartition *partition, int64_t from)
{
    ShAheadRead **place = &ahead->reads;
    while (*place != NULL && ((*place)->partition != partition || (*place)->from != from))
        place = &(*place)->next;
    return place;
}
