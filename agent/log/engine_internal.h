/*
 * engine_internal.h - the engine as its own parts see it: one structure, put together from one structure per
 * part.
 *
 * Included by the .c files of log/ only.
 */
#ifndef SH_AGENT_LOG_ENGINE_INTERNAL_H
#define SH_AGENT_LOG_ENGINE_INTERNAL_H

#include <stdatomic.h>

#include "agent/base/clock.h"
#include "agent/base/config.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/log/admin.h"
#include "agent/log/append.h"
#include "agent/log/bounds.h"
#include "agent/log/claims.h"
#include "agent/log/strangers.h"
#include "agent/log/compact.h"
#include "agent/log/control.h"
#include "agent/log/engine.h"
#include "agent/log/fetch.h"
#include "agent/log/disk_room.h"
#include "agent/log/flight.h"
#include "agent/log/flush.h"
#include "agent/log/garbage.h"
#include "agent/log/heartbeat.h"
#include "agent/log/log_metrics.h"
#include "agent/log/parked.h"
#include "agent/log/memory.h"
#include "agent/log/meta.h"
#include "agent/log/partition.h"
#include "agent/log/partition_table.h"
#include "agent/log/pushback.h"
#include "agent/log/read_ahead.h"
#include "agent/log/read_cache.h"
#include "agent/log/read_pool.h"
#include "agent/log/results.h"
#include "agent/log/schemas.h"
#include "agent/log/snapshot.h"
#include "agent/pg/pg.h"
#include "agent/store/store.h"
#include "agent/wal/wal.h"

struct ShEngine {
    const ShConfig *config;
    char address[SH_ADDRESS_BYTES];
    char http_address[SH_ADDRESS_BYTES];
    char boot_id[37];

    ShStore *store;
    ShWal *wal;
    ShWalIdentity identity;
    ShPgRegistered registered;

    /* Set once, never cleared. */
    atomic_bool stopping;
    atomic_bool draining;
    atomic_bool recovering; /* cleared when start is over */
    atomic_bool refusing;   /* takes no call and renews no lease: it failed, or is about to stop */

    int64_t ending_since_ms; /* its calls are ended since then; 0: not yet */
    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond; /* signalled when stopping is set */
    ShError fatal;            /* guarded by stop_lock */

    /* The term is not settled, and this agent presents what it knows. Set and cleared while it starts. */
    atomic_bool presenting;
    int64_t unreadable; /* objects in the store that could not be presented */

    ShLogMetrics metrics;
    ShMemory memory;
    ShMetaCache meta;
    ShSchemas schemas;
    ShPartitionTable partitions;
    ShParked parked;
    ShFlusher flusher;
    ShPipeline pipeline;
    ShResults results;
    ShProducerBudget producer_budget;
    ShClaims claims;
    ShStrangers strangers;
    ShFetcher fetcher;
    ShReadPool read_pool;
    ShReadCache read_cache;
    ShReadAhead read_ahead;
    ShBounds bounds;
    ShGarbage garbage;
    ShSnapshotter snapshotter;
    ShCompactor compactor;
    ShControl control;
    ShHeartbeat heartbeat;
    ShDiskRoom disk_room;
    ShAdmin admin;
};

/* Note what the agent cannot go on after; the first one counts. */
void sh_engine_set_fatal(ShEngine *engine, const ShError *err);

/* The database has forgotten what it answered. The engine cannot go on, and the next registration of this
 * WAL, in this process or another, begins a new term. Returns SH_OUTDATED. */
ShStatus sh_engine_lost_history(ShEngine *engine, const char *reason, ShError *err);

/* Wait, for at most `ms`; false when the engine is stopping. No lock may be held. */
bool sh_engine_pause(ShEngine *engine, int64_t ms);

/* How long to wait before try `attempt` (from 0): random, up to a bound that doubles from 100 ms to 5 s. */
int64_t sh_engine_backoff_ms(int attempt);

/* A connection of this engine's own, for one thread; `role` tells it apart in pg_stat_activity. */
ShStatus sh_engine_pg(ShEngine *engine, const char *role, ShPg **out, ShError *err) SH_MUST_CHECK;
/* The same, with a deadline of `timeout_ms` for each call. */
ShStatus sh_engine_pg_within(ShEngine *engine, const char *role, int64_t timeout_ms, ShPg **out,
                             ShError *err) SH_MUST_CHECK;

#endif
