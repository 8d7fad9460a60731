/*
 * garbage.h - the thread that follows data on its way out: log starts that have moved, objects to delete from
 * the store, and now and then a look through the store for objects that the index does not know.
 */
#ifndef SH_AGENT_LOG_GARBAGE_H
#define SH_AGENT_LOG_GARBAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/base/config.h"
#include "agent/base/metrics.h"
#include "agent/pg/pg_garbage.h"
#include "core/status.h"

struct ShEngine;

typedef struct ShGarbage {
    pthread_t thread;
    bool started;
    ShPg *pg;
    /* the thread's own */
    int64_t marker_due_ms;     /* when it is asked next whether the marker is to be renewed */
    int64_t log_start_version; /* up to which log starts are known here */
    ShMetric *log_starts_moved;
    ShMetric *objects_deleted;
    ShMetric *bytes_deleted;
    ShMetric *objects_given_up;
} ShGarbage;

void sh_garbage_init(ShGarbage *garbage);
ShStatus sh_garbage_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread; `stopping` is set already. */
void sh_garbage_stop(struct ShEngine *engine);

/* How often the agent looks whether the marker is due. */
int64_t sh_garbage_marker_interval_ms(const ShConfig *config);

/* On the garbage thread, between any two of its requests: have the marker in the store renewed when it is
 * time. */
ShStatus sh_garbage_renew_marker(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* On the garbage thread: if it is this agent's turn, list the store prefix by prefix, and have PostgreSQL
 * give up what nobody knows (garbage_scan.c). */
ShStatus sh_garbage_scan(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
