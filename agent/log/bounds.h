/*
 * bounds.h - asks PostgreSQL how far partitions are published, for readers that need to know.
 *
 * One thread, one batched query for all partitions that are asked about, at most every SH_BOUNDS_INTERVAL_MS;
 * idle while nobody asks.
 */
#ifndef SH_AGENT_LOG_BOUNDS_H
#define SH_AGENT_LOG_BOUNDS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/pg/pg.h"
#include "core/status.h"

#define SH_BOUNDS_INTERVAL_MS 200

struct ShEngine;
struct ShPartition;

typedef struct ShBounds {
    pthread_t thread;
    bool started;
    ShPg *pg;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    struct ShPartition *wanted; /* a reference on each */
    size_t wanted_count;
    bool urgent; /* somebody has no answer at all yet */
} ShBounds;

ShStatus sh_bounds_init(ShBounds *bounds, ShError *err) SH_MUST_CHECK;
ShStatus sh_bounds_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
void sh_bounds_stop(struct ShEngine *engine);
void sh_bounds_destroy(ShBounds *bounds);

/* With the partition's mutex held: have its log start and published end asked for; its waiters are woken
 * after. */
void sh_bounds_want(struct ShEngine *engine, struct ShPartition *partition, bool urgent);

/* Take in an answer to a question that was asked at `asked_ms`. */
void sh_bounds_apply(struct ShEngine *engine, struct ShPartition *partition, const ShPgBounds *bounds,
                     int64_t asked_ms);

#endif
