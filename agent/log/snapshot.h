/*
 * snapshot.h - the thread that writes the index into the store now and then, so that it can be rebuilt from
 * there. A snapshot takes as long as it takes; nothing else of the agent waits for it.
 */
#ifndef SH_AGENT_LOG_SNAPSHOT_H
#define SH_AGENT_LOG_SNAPSHOT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/base/metrics.h"
#include "agent/pg/pg.h"
#include "core/status.h"

struct ShEngine;

typedef struct ShSnapshotter {
    pthread_t thread;
    bool started;
    ShPg *pg; /* for claims, which are renewed while another connection reads */
    pthread_mutex_t lock;
    ShPg *reader; /* guarded by lock: reads the index, for sh_snapshot_stop to break off */
    ShMetric *written;
    ShMetric *bytes;
    ShMetric *failures;
} ShSnapshotter;

void sh_snapshot_init(ShSnapshotter *snapshotter);
ShStatus sh_snapshot_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread; `stopping` is set already. */
void sh_snapshot_stop(struct ShEngine *engine);

/* On the snapshot thread: write the snapshot with that number, which this agent has claimed, and renew the
 * claim. On an error nothing of it is left in the store, as far as that can be reached. SH_EXISTS: the store
 * has one with this number (snapshot_write.c). */
ShStatus sh_snapshot_write(struct ShEngine *engine, int64_t number, uint64_t *stored_bytes,
                           ShError *err) SH_MUST_CHECK;

#endif
