/*
 * read_pool.h - the threads that read from the store, each with a connection to PostgreSQL for the index.
 */
#ifndef SH_AGENT_LOG_READ_POOL_H
#define SH_AGENT_LOG_READ_POOL_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/base/rounds.h"
#include "agent/pg/pg.h"
#include "core/status.h"

struct ShEngine;
struct ShReadWorker;

/* Called once, on a read thread; or, when the engine stops, with `cancelled` and no connection. */
typedef void (*ShReadFn)(struct ShEngine *engine, ShPg *pg, void *arg, bool cancelled);

typedef struct ShReadPool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    bool stopping;
    ShRounds wanted;    /* somebody waits for them */
    ShRounds ahead;     /* nobody does yet */
    size_t ahead_count; /* of them, under way */
    size_t ahead_max;   /* set before the threads start */
    struct ShReadWorker *workers;
    size_t worker_count;
} ShReadPool;

ShStatus sh_read_pool_init(ShReadPool *pool, ShError *err) SH_MUST_CHECK;
ShStatus sh_read_pool_start(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the threads; jobs that did not begin are cancelled. */
void sh_read_pool_stop(struct ShEngine *engine);
void sh_read_pool_destroy(ShReadPool *pool);

/* In the turn of `asker`, which is only compared and lives until the job begins. */
void sh_read_pool_submit(struct ShEngine *engine, const void *asker, ShReadFn fn, void *arg);
/* The same for what nobody waits for yet: after all others, and one thread of several stays free of it. */
void sh_read_pool_submit_ahead(struct ShEngine *engine, ShReadFn fn, void *arg);

#endif
