/*
 * read_cache.h - what was read of the index and of the store, kept for the next reader.
 *
 * Ranges are runs of whole batches with their offsets, as they are sent. A range also remembers where in its
 * segment the next batch begins, so that a reader who goes on does not search. All share a bounded part of
 * the memory budget; the least recently used goes first.
 */
#ifndef SH_AGENT_LOG_READ_CACHE_H
#define SH_AGENT_LOG_READ_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "agent/log/partition.h"

struct ShEngine;
struct ShCachedRange;

/* Where a batch begins in the run of a segment, and with which offset. */
typedef struct ShRunPlace {
    uint64_t position;
    int64_t offset;
} ShRunPlace;

/* How far a search of a segment has come. */
typedef struct ShSearchedPlace {
    char object_key[SH_OBJECT_KEY_BYTES];
    uint64_t position; /* of the segment in the object */
    ShRunPlace place;
    int64_t noted_ms;
} ShSearchedPlace;

/* So many searches can be remembered beyond the fetch that made them. */
#define SH_SEARCHED_MAX 64

typedef struct ShReadCache {
    int64_t bytes_max;
    pthread_mutex_t lock;
    /* guarded by lock */
    int64_t bytes;                /* of ranges */
    int64_t unread_bytes;         /* of them, read ahead and not used yet */
    struct ShCachedRange *newest; /* by use */
    struct ShCachedRange *oldest;
    int64_t rows_bytes;             /* of rows of the index */
    TAILQ_HEAD(, ShIndexRows) rows; /* by use */
    ShSearchedPlace searched[SH_SEARCHED_MAX];
} ShReadCache;

/* Whole batches with the offsets [first_offset, end_offset), read from a segment. */
typedef struct ShRange {
    int64_t first_offset;
    int64_t end_offset;
    int64_t segment_offset; /* the segment's first_offset, which names it within the partition */
    int64_t run_offset;     /* the segment's base_offset: a rewritten segment may begin with another batch */
    uint64_t next_position; /* in the segment: of the batch that follows */
    ShSlice bytes;
} ShRange;

void sh_read_cache_init(ShReadCache *cache, int64_t bytes_max);
void sh_read_cache_destroy(struct ShEngine *engine);

/* The range that holds `offset`; `out->bytes` comes with a reference on its owner. */
bool sh_read_cache_find(ShReadCache *cache, ShPartition *partition, int64_t offset, ShRange *out);

/* Where in a segment to look for `offset`: at or before the batch that holds it. */
ShRunPlace sh_read_cache_place(ShReadCache *cache, const ShPartition *partition, const ShPgSegment *segment,
                               int64_t offset);

/* A search of the segment that began at `from` has come to `to` without what it looks for: who looks for what
 * lies behind goes on there, whatever else goes out of the cache. Where as many searches go on already as are
 * remembered, it is not: those that go on come to their end. */
void sh_read_cache_note_place(ShReadCache *cache, const ShPgSegment *segment, ShRunPlace from, ShRunPlace to);
void sh_searched_set(ShSearchedPlace *searched, const ShPgSegment *segment, ShRunPlace place);
/* The further of `place` and what was searched, where that is in the segment and not behind `offset`. */
ShRunPlace sh_searched_further(const ShSearchedPlace *searched, const ShPgSegment *segment, int64_t offset,
                               ShRunPlace place);

/* Like find, but nobody uses the range now: where it ends, and about how much of it lies from `offset` on. */
bool sh_read_cache_peek(ShReadCache *cache, const ShPartition *partition, int64_t offset, int64_t *end_offset,
                        int64_t *bytes);

/* Keep a range, if the budget allows it. `is_ahead`: nobody has asked for it yet. */
void sh_read_cache_add(struct ShEngine *engine, ShPartition *partition, const ShRange *range, bool is_ahead);

/* The segment that holds `offset` or is the next one above it, if known. */
bool sh_read_cache_segment(ShReadCache *cache, const ShPartition *partition, int64_t offset,
                           ShPgSegment *out);

/* Replace the known rows of the partition's index, if the budget allows it. */
void sh_read_cache_set_segments(struct ShEngine *engine, ShPartition *partition, const ShPgSegment *segments,
                                size_t count);

/* Forget what is known of a partition. */
void sh_read_cache_forget(struct ShEngine *engine, ShPartition *partition);

/* Drop the least recently used range, or else the least recently used rows of the index; false when there is
 * nothing. */
bool sh_read_cache_evict(struct ShEngine *engine);
/* Drop the oldest range that was read ahead before `before_ms` and is not used yet: its reader has left or is
 * slow. False when there is none. */
bool sh_read_cache_evict_unread(struct ShEngine *engine, int64_t before_ms);

#endif
