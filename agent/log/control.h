/*
 * control.h - the thread that keeps the lease and follows the cluster: heartbeats, news, metadata,
 * assignments.
 */
#ifndef SH_AGENT_LOG_CONTROL_H
#define SH_AGENT_LOG_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

struct ShRefresh;

typedef struct ShControl {
    pthread_t thread;
    bool started;
    ShPg *pg;
    atomic_int_fast64_t renewed_ms; /* when the last heartbeat that was answered was sent */
    pthread_mutex_t lock;
    /* guarded by lock */
    bool stopping;
    bool refresh_wanted;
    struct ShRefresh *first; /* who waits for a refresh */
    struct ShRefresh *last;
    /* the control thread's own (and the starting thread's before it) */
    int64_t calls;
    int64_t metadata_version;
    int64_t assignment_version;
    bool assignments_due;
    bool metadata_due;
    int64_t next_heartbeat_ms;
} ShControl;

void sh_control_init(ShControl *control);
ShStatus sh_control_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread; who waits for a refresh gets SH_UNAVAILABLE. May be called twice. */
void sh_control_stop(ShEngine *engine);
void sh_control_destroy(ShControl *control);

/* Any thread, never blocks: there may be something to seal. */
void sh_control_wake(ShEngine *engine);
/* Any thread, never blocks: ask whether assignments or metadata have changed. */
void sh_control_refresh(ShEngine *engine);

/* On the control thread, or before it runs: fetch the metadata and replace the snapshot. */
ShStatus sh_control_load_metadata(ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
