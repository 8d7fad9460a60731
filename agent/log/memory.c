#include "agent/log/memory.h"

#include <malloc.h>
#include <stdlib.h>

#include "agent/base/process_metrics.h"
#include "agent/log/engine_internal.h"

#define TRIM_INTERVAL_MS 1000

/* Published batches of one partition: those below `seq`. */
typedef struct ShTailRun {
    struct ShTailRun *next;
    ShPartition *partition; /* a reference */
    uint64_t seq;
} ShTailRun;

static void *run(void *arg);
static int64_t held_share(ShMemory *memory);
static bool make_room(ShEngine *engine);
static bool evict_oldest(ShMemory *memory);
static void evict(ShMemory *memory, ShPartition *partition, uint64_t seq);

void sh_memory_init(ShMemory *memory, int64_t budget_bytes)
{
    *memory = (ShMemory){.budget_bytes = budget_bytes};
    pthread_mutex_init(&memory->lock, NULL);
}

void sh_memory_destroy(ShMemory *memory)
{
    while (evict_oldest(memory)) {
    }
    pthread_mutex_destroy(&memory->lock);
}

ShStatus sh_memory_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_thread_start(&engine->memory.thread, "sh-memory", run, engine, err);
    engine->memory.started = status == SH_OK;
    return status;
}

void sh_memory_stop(ShEngine *engine)
{
    if (engine->memory.started)
        pthread_join(engine->memory.thread, NULL);
    engine->memory.started = false;
}

bool sh_memory_reserve(ShEngine *engine, int64_t bytes)
{
    ShMemory *memory = &engine->memory;
    if (bytes > memory->budget_bytes)
        return false;
    for (;;) {
        int_fast64_t used = atomic_load(&memory->used_bytes);
        if (used + held_share(memory) + bytes <= memory->budget_bytes) {
            if (atomic_compare_exchange_weak(&memory->used_bytes, &used, used + bytes))
                return true;
        } else if (!make_room(engine)) {
            return false;
        }
    }
}

void sh_engine_hold_memory(ShEngine *engine, int64_t bytes)
{
    ShMemory *memory = &engine->memory;
    atomic_fetch_add(&memory->held_bytes, bytes);
    if (bytes <= 0)
        return;
    while (sh_memory_used(memory) > memory->budget_bytes && make_room(engine)) {
    }
}

void sh_memory_force(ShMemory *memory, int64_t bytes)
{
    atomic_fetch_add(&memory->used_bytes, bytes);
}

void sh_memory_release(ShMemory *memory, int64_t bytes)
{
    atomic_fetch_sub(&memory->used_bytes, bytes);
}

int64_t sh_memory_used(ShMemory *memory)
{
    return atomic_load(&memory->used_bytes) + held_share(memory);
}

void sh_memory_add_tail(ShEngine *engine, ShPartition *partition, uint64_t seq)
{
    ShMemory *memory = &engine->memory;
    ShTailRun *run = calloc(1, sizeof *run);
    if (run == NULL) {
        evict(memory, partition, seq);
        return;
    }
    run->partition = sh_partition_ref(partition);
    run->seq = seq;
    pthread_mutex_lock(&memory->lock);
    if (memory->newest != NULL)
        memory->newest->next = run;
    else
        memory->oldest = run;
    memory->newest = run;
    pthread_mutex_unlock(&memory->lock);
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    while (sh_engine_pause(engine, TRIM_INTERVAL_MS)) {
        if (sh_process_resident_bytes() > engine->config->memory_budget_bytes)
            malloc_trim(0);
    }
    return NULL;
}

static int64_t held_share(ShMemory *memory)
{
    int64_t held = atomic_load(&memory->held_bytes);
    int64_t share = memory->budget_bytes / 2;
    return held < share ? held : share;
}

/* Give up the oldest of what is in the store too; false when nothing is left. */
static bool make_room(ShEngine *engine)
{
    return evict_oldest(&engine->memory) || sh_read_cache_evict(engine);
}

static bool evict_oldest(ShMemory *memory)
{
    pthread_mutex_lock(&memory->lock);
    ShTailRun *run = memory->oldest;
    if (run != NULL) {
        memory->oldest = run->next;
        if (memory->oldest == NULL)
            memory->newest = NULL;
    }
    pthread_mutex_unlock(&memory->lock);
    if (run == NULL)
        return false;
    evict(memory, run->partition, run->seq);
    sh_partition_unref(run->partition);
    free(run);
    return true;
}

static void evict(ShMemory *memory, ShPartition *partition, uint64_t seq)
{
    pthread_mutex_lock(&partition->mutex);
    int64_t cost = sh_partition_evict(partition, seq);
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(memory, cost);
}
