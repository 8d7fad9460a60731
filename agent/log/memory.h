/*
 * memory.h - the memory budget: batches in the partitions' rings, ranges read from the store, rows of the
 * index, and what calls hold beside them (sh_engine_hold_memory).
 *
 * What is accepted and not yet published is never given up. At the bound the published tail goes first,
 * oldest publish first, then ranges read from the store, then rows of the index; when none is left the caller
 * is pushed back.
 */
#ifndef SH_AGENT_LOG_MEMORY_H
#define SH_AGENT_LOG_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct ShEngine;
struct ShPartition;
struct ShTailRun;

typedef struct ShMemory {
    pthread_t thread;
    bool started;
    int64_t budget_bytes;
    atomic_int_fast64_t used_bytes; /* by the log */
    atomic_int_fast64_t held_bytes; /* by calls */
    pthread_mutex_t lock;
    struct ShTailRun *oldest; /* guarded by lock: what may be evicted, in the order of publishing */
    struct ShTailRun *newest;
} ShMemory;

void sh_memory_init(ShMemory *memory, int64_t budget_bytes);
void sh_memory_destroy(ShMemory *memory);

/* The thread that gives freed memory back to the system when the process has more than its budget: between
 * batches that stay for long the allocator keeps what short-lived requests have left. */
ShStatus sh_memory_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
void sh_memory_stop(struct ShEngine *engine);

/* Count `bytes`, after evicting what may be; false when the budget does not allow it. No lock may be held. */
bool sh_memory_reserve(struct ShEngine *engine, int64_t bytes);
/* Count `bytes` even beyond the budget: for what is on this agent's disk already. */
void sh_memory_force(ShMemory *memory, int64_t bytes);
void sh_memory_release(ShMemory *memory, int64_t bytes);
/* What counts against the budget. Of what calls hold that is half the budget at most: however many clients
 * keep streams open, records are taken. */
int64_t sh_memory_used(ShMemory *memory);

/* The batches of `partition` below `seq` are published and may be evicted. Short of memory they are evicted
 * at once. */
void sh_memory_add_tail(struct ShEngine *engine, struct ShPartition *partition, uint64_t seq);

#endif
