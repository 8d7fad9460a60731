/*
 * flush.h - when the next object is due, and what goes into it.
 *
 * Partitions with durable batches that no object has yet are dirty. One object takes the batches of all of
 * them, up to flush_bytes; it is due by size, by the age of the oldest, or because somebody cannot wait.
 */
#ifndef SH_AGENT_LOG_FLUSH_H
#define SH_AGENT_LOG_FLUSH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct ShEngine;
struct ShPartition;

typedef struct ShFlusher {
    pthread_t thread;
    bool started;
    atomic_int stalled; /* partitions with batches that the WAL had no room for */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    struct ShPartition *dirty_first; /* a reference on each */
    struct ShPartition *dirty_last;
    int64_t dirty_cost;
    int64_t due_ms; /* when the oldest is due; INT64_MAX: nothing waits */
    bool results_now;
    bool busy; /* an object is being put together */
    int64_t last_publish_no;
} ShFlusher;

ShStatus sh_flush_init(ShFlusher *flusher, ShError *err) SH_MUST_CHECK;
ShStatus sh_flush_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
void sh_flush_stop(struct ShEngine *engine);
void sh_flush_destroy(ShFlusher *flusher);

/* With the partition's mutex held: batches that cost `cost` wait for an object now. */
void sh_flush_mark_dirty(struct ShEngine *engine, struct ShPartition *partition, int64_t cost);

/* Flush what is dirty without waiting for size or age. */
void sh_flush_now(struct ShEngine *engine);
/* The same, and write an object for the results of earlier publishes even if no data goes with them. */
void sh_flush_results_now(struct ShEngine *engine);

/* Nothing waits to be put into an object. */
bool sh_flush_is_idle(struct ShEngine *engine);

#endif
