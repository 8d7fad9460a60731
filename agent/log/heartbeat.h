/*
 * heartbeat.h - the thread that renews the lease, on a connection of its own: whatever the control thread has
 * to do and however long it waits for a lock, the lease is renewed meanwhile. It ends when the engine
 * fails or refuses calls: others are to take its partitions over.
 */
#ifndef SH_AGENT_LOG_HEARTBEAT_H
#define SH_AGENT_LOG_HEARTBEAT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

/* What the last heartbeat that was answered told. */
typedef struct ShHeard {
    int64_t sent_ms;
    ShPgVersions versions;
} ShHeard;

typedef struct ShHeartbeat {
    pthread_t thread;
    bool started;
    ShPg *pg;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* signalled when stopping is set */
    /* guarded by lock */
    bool stopping;
    ShHeard heard;
} ShHeartbeat;

ShStatus sh_heartbeat_init(ShHeartbeat *heartbeat, ShError *err) SH_MUST_CHECK;
/* Begin; the registration counts as the first heartbeat. */
ShStatus sh_heartbeat_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* Blocks until the last heartbeat is answered or broken off. May be called twice. */
void sh_heartbeat_stop(ShEngine *engine);
void sh_heartbeat_destroy(ShHeartbeat *heartbeat);

/* Any thread: what the last heartbeat told. */
ShHeard sh_heartbeat_heard(ShEngine *engine);

#endif
