/*
 * control.h - the thread that follows the cluster: news, metadata, assignments. The lease is kept by another
 * (heartbeat.h), so that no work done here lets it run out.
 */
#ifndef SH_AGENT_LOG_CONTROL_H
#define SH_AGENT_LOG_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

struct ShRefresh;
struct ShPartition;

typedef struct ShControl {
    pthread_t thread;
    bool started;
    ShPg *pg;
    atomic_int_fast64_t renewed_ms;   /* when the last heartbeat that was answered was sent */
    atomic_int_fast64_t confirmed_ms; /* likewise of one whose news of assignments were acted on */
    atomic_int_fast64_t calls;        /* the highest call counter that was heard of */
    atomic_int_fast64_t unpublished;  /* records accepted and not published */
    atomic_int refused;               /* partitions that late.c is to settle */
    pthread_mutex_t lock;
    /* guarded by lock */
    bool stopping;
    bool refresh_wanted;
    struct ShRefresh *first; /* who waits for a refresh */
    struct ShRefresh *last;
    /* the control thread's own (and the starting thread's before it) */
    int64_t metadata_version;   /* the metadata are of this one */
    int64_t assignment_version; /* the highest that was heard of */
    int64_t assigned_version;   /* the metadata version that the assignments are of */
    uint64_t assignment_round;
    bool assignments_due;
    bool passed_over;   /* something that the last assignments told could not be acted on yet */
    bool timeouts_told; /* by the last assignments: until it is asked again, PostgreSQL cannot know that they
                           came */
    bool metadata_due;
    int64_t looked_ms;  /* when PostgreSQL was last asked for the versions */
    int64_t look_at_ms; /* when it is to be asked; INT64_MAX: when somebody wants it */
} ShControl;

void sh_control_init(ShControl *control);
ShStatus sh_control_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread, and heartbeats; who waits for a refresh gets SH_UNAVAILABLE. May be called twice. */
void sh_control_stop(ShEngine *engine);
void sh_control_destroy(ShControl *control);

/* Any thread, never blocks: there may be something to seal. */
void sh_control_wake(ShEngine *engine);
/* Any thread, never blocks: ask whether assignments or metadata have changed. */
void sh_control_refresh(ShEngine *engine);

/* With the partition's mutex held: the topic has an orphan_timeout, and the lease was not renewed for nearly
 * that long, so that its epoch may be about to be sealed without us. Nothing is acknowledged then. */
bool sh_control_is_overdue(ShEngine *engine, const struct ShPartition *partition);

/* On the control thread, or before it runs: fetch what is new of the metadata, and make it the snapshot. */
ShStatus sh_control_load_metadata(ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
