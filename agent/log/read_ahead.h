/*
 * read_ahead.h - reading for those who go on before they ask.
 *
 * A reader who continues where its last answer from the store ended gets the ranges that follow read while
 * that answer is being sent. How far ahead grows with what it has read so far, so that who leaves early has
 * cost little, up to SH_AHEAD_BYTES_MAX. What is under way and what waits in the read cache to be used take
 * half of that cache at most, over all readers. An error is forgotten: a reader who gets there asks itself,
 * and is told.
 */
#ifndef SH_AGENT_LOG_READ_AHEAD_H
#define SH_AGENT_LOG_READ_AHEAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/log/partition.h"
#include "core/status.h"

#define SH_AHEAD_BYTES_MAX (8 << 20) /* of one reader's partition */

struct ShEngine;
struct ShAheadRead;

typedef struct ShReadAhead {
    pthread_mutex_t lock; /* guards what follows; a leaf */
    pthread_cond_t arrived;
    struct ShAheadRead *reads; /* waiting and under way */
    int64_t bytes;             /* what they will take */
} ShReadAhead;

ShStatus sh_read_ahead_init(ShReadAhead *ahead, ShError *err) SH_MUST_CHECK;
/* After the read threads have ended. */
void sh_read_ahead_destroy(ShReadAhead *ahead);

/* A reader has got everything below `offset`, the last `run_bytes` one after the other: see to it that what
 * follows, below `published_end`, is read or being read. Does not block; no lock may be held. */
void sh_read_ahead(struct ShEngine *engine, ShPartition *partition, int64_t offset, int64_t published_end,
                   int64_t run_bytes);

/* A reader needs the range that begins at `from` now: wait where it is being read, take it over where that
 * has not begun. Afterwards it is in the cache, or to be read. On read threads only. */
void sh_read_ahead_join(struct ShEngine *engine, ShPartition *partition, int64_t from);

#endif
