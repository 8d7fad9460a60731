/*
 * memory.h - the memory budget: batches in the partitions' rings and ranges read from the store.
 *
 * What is accepted and not yet published is never given up. At the bound the published tail goes first,
 * oldest publish first, then ranges read from the store; when neither is left the caller is pushed back.
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
    int64_t budget_bytes;
    atomic_int_fast64_t used_bytes;
    pthread_mutex_t lock;
    struct ShTailRun *oldest; /* guarded by lock: what may be evicted, in the order of publishing */
    struct ShTailRun *newest;
} ShMemory;

void sh_memory_init(ShMemory *memory, int64_t budget_bytes);
void sh_memory_destroy(ShMemory *memory);

/* Count `bytes`, after evicting what may be; false when the budget does not allow it. No lock may be held. */
bool sh_memory_reserve(struct ShEngine *engine, int64_t bytes);
/* Count `bytes` even beyond the budget: for what is on this agent's disk already. */
void sh_memory_force(ShMemory *memory, int64_t bytes);
void sh_memory_release(ShMemory *memory, int64_t bytes);
int64_t sh_memory_used(ShMemory *memory);

/* The batches of `partition` below `seq` are published and may be evicted. Short of memory they are evicted
 * at once. */
void sh_memory_add_tail(struct ShEngine *engine, struct ShPartition *partition, uint64_t seq);

#endif
