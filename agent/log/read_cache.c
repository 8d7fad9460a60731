#include "agent/log/read_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

/* Ranges are searched one by one. */
#define RANGES_PER_PARTITION_MAX 64
/* Rows of the index may take the budget's share of ranges divided by this, beside them. */
#define ROWS_SHARE 4
/* A search that was not heard of for so long does not go on. */
#define SEARCH_OVER_MS 10000

typedef struct ShCachedRange {
    ShRange range;
    ShPartition *partition;      /* a reference */
    struct ShCachedRange *newer; /* by use */
    struct ShCachedRange *older;
    struct ShCachedRange *next; /* in the partition */
    struct ShCachedRange *prev;
    bool is_unread;
    int64_t added_ms;
} ShCachedRange;

typedef struct ShIndexRows {
    TAILQ_ENTRY(ShIndexRows) link;
    ShPartition *partition; /* a reference */
    size_t count;
    ShPgSegment rows[];
} ShIndexRows;

static bool is_in(const ShSearchedPlace *searched, const ShPgSegment *segment);
static ShIndexRows *new_rows(ShEngine *engine, ShPartition *partition, const ShPgSegment *segments,
                             size_t count);
static ShIndexRows *detach_surplus_rows(ShReadCache *cache);
static ShIndexRows *detach_rows(ShReadCache *cache, ShIndexRows *rows);
static void drop_rows(ShEngine *engine, ShIndexRows *rows);
static int64_t cost_of_rows(size_t count);
static ShCachedRange *find(const ShPartition *partition, int64_t offset);
static void set_read(ShReadCache *cache, ShCachedRange *cached);
static ShCachedRange *find_surplus(const ShPartition *partition);
static void link_newest(ShReadCache *cache, ShCachedRange *cached);
static void unlink_use(ShReadCache *cache, ShCachedRange *cached);
static ShCachedRange *detach(ShReadCache *cache, ShCachedRange *cached);
static void drop(ShEngine *engine, ShCachedRange *cached);
static int64_t cost_of(const ShRange *range);

void sh_read_cache_init(ShReadCache *cache, int64_t bytes_max)
{
    *cache = (ShReadCache){.bytes_max = bytes_max};
    TAILQ_INIT(&cache->rows);
    pthread_mutex_init(&cache->lock, NULL);
}

void sh_read_cache_destroy(ShEngine *engine)
{
    while (sh_read_cache_evict(engine)) {
    }
    pthread_mutex_destroy(&engine->read_cache.lock);
}

bool sh_read_cache_find(ShReadCache *cache, ShPartition *partition, int64_t offset, ShRange *out)
{
    pthread_mutex_lock(&cache->lock);
    ShCachedRange *cached = find(partition, offset);
    if (cached != NULL) {
        unlink_use(cache, cached);
        link_newest(cache, cached);
        set_read(cache, cached);
        *out = cached->range;
        sh_buf_ref(out->bytes.owner);
    }
    pthread_mutex_unlock(&cache->lock);
    return cached != NULL;
}

bool sh_read_cache_peek(ShReadCache *cache, const ShPartition *partition, int64_t offset, int64_t *end_offset,
                        int64_t *bytes)
{
    pthread_mutex_lock(&cache->lock);
    const ShCachedRange *cached = find(partition, offset);
    if (cached != NULL) {
        const ShRange *range = &cached->range;
        double share = (double)(range->end_offset - offset) /
                       (double)(range->end_offset - range->first_offset);
        *end_offset = range->end_offset;
        *bytes = (int64_t)(share * (double)range->bytes.length);
    }
    pthread_mutex_unlock(&cache->lock);
    return cached != NULL;
}

ShRunPlace sh_read_cache_place(ShReadCache *cache, const ShPartition *partition, const ShPgSegment *segment,
                               int64_t offset)
{
    ShRunPlace place = {.offset = segment->base_offset};
    pthread_mutex_lock(&cache->lock);
    for (const ShCachedRange *cached = partition->ranges; cached != NULL; cached = cached->next)
        if (cached->range.segment_offset == segment->first_offset &&
            cached->range.run_offset == segment->base_offset && cached->range.end_offset <= offset &&
            cached->range.next_position > place.position)
            place = (ShRunPlace){.position = cached->range.next_position, .offset = cached->range.end_offset};
    for (size_t i = 0; i < SH_SEARCHED_MAX; i++)
        place = sh_searched_further(&cache->searched[i], segment, offset, place);
    pthread_mutex_unlock(&cache->lock);
    return place;
}

void sh_read_cache_note_place(ShReadCache *cache, const ShPgSegment *segment, ShRunPlace from, ShRunPlace to)
{
    int64_t now_ms = sh_clock_now_ms();
    pthread_mutex_lock(&cache->lock);
    ShSearchedPlace *own = NULL;
    ShSearchedPlace *oldest = &cache->searched[0];
    for (size_t i = 0; i < SH_SEARCHED_MAX && own == NULL; i++) {
        ShSearchedPlace *searched = &cache->searched[i];
        if (is_in(searched, segment) && searched->place.position == from.position)
            own = searched;
        if (searched->noted_ms < oldest->noted_ms)
            oldest = searched;
    }
    if (own == NULL && (oldest->object_key[0] == '\0' || now_ms - oldest->noted_ms >= SEARCH_OVER_MS))
        own = oldest;
    if (own != NULL) {
        sh_searched_set(own, segment, to);
        own->noted_ms = now_ms;
    }
    pthread_mutex_unlock(&cache->lock);
}

void sh_searched_set(ShSearchedPlace *searched, const ShPgSegment *segment, ShRunPlace place)
{
    searched->position = segment->position;
    searched->place = place;
    snprintf(searched->object_key, sizeof searched->object_key, "%s", segment->object_key);
}

ShRunPlace sh_searched_further(const ShSearchedPlace *searched, const ShPgSegment *segment, int64_t offset,
                               ShRunPlace place)
{
    bool is_further = searched->place.position > place.position && searched->place.offset <= offset &&
                      is_in(searched, segment);
    return is_further ? searched->place : place;
}

static bool is_in(const ShSearchedPlace *searched, const ShPgSegment *segment)
{
    return searched->position == segment->position && strcmp(searched->object_key, segment->object_key) == 0;
}

void sh_read_cache_add(ShEngine *engine, ShPartition *partition, const ShRange *range, bool is_ahead)
{
    ShReadCache *cache = &engine->read_cache;
    int64_t cost = cost_of(range);
    if (cost > cache->bytes_max)
        return;
    pthread_mutex_lock(&cache->lock);
    int64_t excess = cache->bytes + cost - cache->bytes_max;
    pthread_mutex_unlock(&cache->lock);
    while (excess > 0 && sh_read_cache_evict(engine)) {
        pthread_mutex_lock(&cache->lock);
        excess = cache->bytes + cost - cache->bytes_max;
        pthread_mutex_unlock(&cache->lock);
    }
    ShCachedRange *cached = calloc(1, sizeof *cached);
    if (cached == NULL || !sh_memory_reserve(engine, cost)) {
        free(cached);
        return;
    }
    cached->range = *range;
    sh_buf_ref(range->bytes.owner);
    cached->partition = sh_partition_ref(partition);
    cached->is_unread = is_ahead;
    cached->added_ms = sh_clock_now_ms();
    pthread_mutex_lock(&cache->lock);
    ShCachedRange *surplus = detach(cache, find_surplus(partition));
    cached->next = partition->ranges;
    if (cached->next != NULL)
        cached->next->prev = cached;
    partition->ranges = cached;
    link_newest(cache, cached);
    cache->bytes += cost;
    cache->unread_bytes += is_ahead ? cost : 0;
    pthread_mutex_unlock(&cache->lock);
    if (surplus != NULL)
        drop(engine, surplus);
}

bool sh_read_cache_segment(ShReadCache *cache, const ShPartition *partition, int64_t offset, ShPgSegment *out)
{
    bool found = false;
    pthread_mutex_lock(&cache->lock);
    ShIndexRows *known = partition->rows;
    size_t low = 0;
    size_t high = known != NULL ? known->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (known->rows[middle].last_offset >= offset)
            high = middle;
        else
            low = middle + 1;
    }
    /* Below the first known row there may be others; between two known ones there are none. */
    found = known != NULL && low < known->count && (low > 0 || known->rows[low].first_offset <= offset);
    if (found) {
        *out = known->rows[low];
        TAILQ_REMOVE(&cache->rows, known, link);
        TAILQ_INSERT_TAIL(&cache->rows, known, link);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void sh_read_cache_set_segments(ShEngine *engine, ShPartition *partition, const ShPgSegment *segments,
                                size_t count)
{
    ShReadCache *cache = &engine->read_cache;
    ShIndexRows *rows = count > 0 ? new_rows(engine, partition, segments, count) : NULL;
    pthread_mutex_lock(&cache->lock);
    ShIndexRows *dropped = detach_rows(cache, partition->rows);
    if (rows != NULL) {
        partition->rows = rows;
        TAILQ_INSERT_TAIL(&cache->rows, rows, link);
        cache->rows_bytes += cost_of_rows(rows->count);
    }
    pthread_mutex_unlock(&cache->lock);
    if (dropped != NULL)
        drop_rows(engine, dropped);
    while ((dropped = detach_surplus_rows(cache)) != NULL)
        drop_rows(engine, dropped);
}

/* The oldest rows, where there are more than may be; or NULL. */
static ShIndexRows *detach_surplus_rows(ShReadCache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool is_over = cache->rows_bytes > cache->bytes_max / ROWS_SHARE;
    ShIndexRows *rows = is_over ? detach_rows(cache, TAILQ_FIRST(&cache->rows)) : NULL;
    pthread_mutex_unlock(&cache->lock);
    return rows;
}

void sh_read_cache_forget(ShEngine *engine, ShPartition *partition)
{
    ShReadCache *cache = &engine->read_cache;
    sh_read_cache_set_segments(engine, partition, NULL, 0);
    for (;;) {
        pthread_mutex_lock(&cache->lock);
        ShCachedRange *cached = detach(cache, partition->ranges);
        pthread_mutex_unlock(&cache->lock);
        if (cached == NULL)
            return;
        drop(engine, cached);
    }
}

bool sh_read_cache_evict(ShEngine *engine)
{
    ShReadCache *cache = &engine->read_cache;
    pthread_mutex_lock(&cache->lock);
    ShCachedRange *cached = detach(cache, cache->oldest);
    ShIndexRows *rows = cached == NULL ? detach_rows(cache, TAILQ_FIRST(&cache->rows)) : NULL;
    pthread_mutex_unlock(&cache->lock);
    if (cached != NULL)
        drop(engine, cached);
    else if (rows != NULL)
        drop_rows(engine, rows);
    return cached != NULL || rows != NULL;
}

bool sh_read_cache_evict_unread(ShEngine *engine, int64_t before_ms)
{
    ShReadCache *cache = &engine->read_cache;
    pthread_mutex_lock(&cache->lock);
    ShCachedRange *cached = cache->unread_bytes > 0 ? cache->oldest : NULL;
    while (cached != NULL && (!cached->is_unread || cached->added_ms >= before_ms))
        cached = cached->newer;
    cached = detach(cache, cached);
    pthread_mutex_unlock(&cache->lock);
    if (cached == NULL)
        return false;
    drop(engine, cached);
    return true;
}

/* With the lock held. */
static ShCachedRange *find(const ShPartition *partition, int64_t offset)
{
    ShCachedRange *cached = partition->ranges;
    while (cached != NULL && (offset < cached->range.first_offset || offset >= cached->range.end_offset))
        cached = cached->next;
    return cached;
}

/* With the lock held. */
static void set_read(ShReadCache *cache, ShCachedRange *cached)
{
    cache->unread_bytes -= cached->is_unread ? cost_of(&cached->range) : 0;
    cached->is_unread = false;
}

/* With the lock held: the range that came first, where the partition has as many as it may. */
static ShCachedRange *find_surplus(const ShPartition *partition)
{
    ShCachedRange *cached = partition->ranges;
    size_t count = 1;
    while (cached != NULL && cached->next != NULL) {
        cached = cached->next;
        count++;
    }
    return count >= RANGES_PER_PARTITION_MAX ? cached : NULL;
}

static void link_newest(ShReadCache *cache, ShCachedRange *cached)
{
    cached->newer = NULL;
    cached->older = cache->newest;
    if (cache->newest != NULL)
        cache->newest->newer = cached;
    else
        cache->oldest = cached;
    cache->newest = cached;
}

static void unlink_use(ShReadCache *cache, ShCachedRange *cached)
{
    if (cached->newer != NULL)
        cached->newer->older = cached->older;
    else
        cache->newest = cached->older;
    if (cached->older != NULL)
        cached->older->newer = cached->newer;
    else
        cache->oldest = cached->newer;
}

/* With the lock held: take a range (or NULL) out of both lists. */
static ShCachedRange *detach(ShReadCache *cache, ShCachedRange *cached)
{
    if (cached == NULL)
        return NULL;
    unlink_use(cache, cached);
    if (cached->prev != NULL)
        cached->prev->next = cached->next;
    else
        cached->partition->ranges = cached->next;
    if (cached->next != NULL)
        cached->next->prev = cached->prev;
    set_read(cache, cached);
    cache->bytes -= cost_of(&cached->range);
    return cached;
}

static void drop(ShEngine *engine, ShCachedRange *cached)
{
    sh_memory_release(&engine->memory, cost_of(&cached->range));
    sh_buf_unref(cached->range.bytes.owner);
    sh_partition_unref(cached->partition);
    free(cached);
}

static int64_t cost_of(const ShRange *range)
{
    return (int64_t)(range->bytes.owner->capacity + sizeof(ShCachedRange));
}

/* NULL when there is no room for them. */
static ShIndexRows *new_rows(ShEngine *engine, ShPartition *partition, const ShPgSegment *segments,
                             size_t count)
{
    ShIndexRows *rows = malloc(sizeof *rows + count * sizeof rows->rows[0]);
    if (rows == NULL || !sh_memory_reserve(engine, cost_of_rows(count))) {
        free(rows);
        return NULL;
    }
    rows->partition = sh_partition_ref(partition);
    rows->count = count;
    memcpy(rows->rows, segments, count * sizeof rows->rows[0]);
    return rows;
}

/* With the lock held: take rows (or NULL) out of the list and from their partition. */
static ShIndexRows *detach_rows(ShReadCache *cache, ShIndexRows *rows)
{
    if (rows == NULL)
        return NULL;
    TAILQ_REMOVE(&cache->rows, rows, link);
    rows->partition->rows = NULL;
    cache->rows_bytes -= cost_of_rows(rows->count);
    return rows;
}

static void drop_rows(ShEngine *engine, ShIndexRows *rows)
{
    sh_memory_release(&engine->memory, cost_of_rows(rows->count));
    sh_partition_unref(rows->partition);
    free(rows);
}

static int64_t cost_of_rows(size_t count)
{
    return (int64_t)(sizeof(ShIndexRows) + count * sizeof(ShPgSegment));
}
