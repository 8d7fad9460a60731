#include "agent/log/read_pool.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define POOL_WAIT_MS 1000

typedef struct ShReadJob {
    ShRoundJob turn; /* first */
    ShReadFn fn;
    void *arg;
    bool is_ahead;
} ShReadJob;

typedef struct ShReadWorker {
    ShEngine *engine;
    ShPg *pg;
    pthread_t thread;
} ShReadWorker;

static void submit(ShEngine *engine, ShRounds *rounds, const void *asker, ShReadFn fn, void *arg);
static void *run(void *arg);
static ShReadJob *take(ShReadPool *pool);
static void cancel(ShEngine *engine, ShRounds *rounds);

ShStatus sh_read_pool_init(ShReadPool *pool, ShError *err)
{
    *pool = (ShReadPool){0};
    sh_rounds_init(&pool->wanted);
    sh_rounds_init(&pool->ahead);
    pthread_mutex_init(&pool->lock, NULL);
    return sh_cond_init(&pool->wake, err);
}

ShStatus sh_read_pool_start(ShEngine *engine, ShError *err)
{
    ShReadPool *pool = &engine->read_pool;
    size_t threads = (size_t)engine->config->read_threads;
    pool->workers = calloc(threads, sizeof *pool->workers);
    if (pool->workers == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu read threads", threads);
    pool->ahead_max = threads > 1 ? threads - 1 : 1;
    while (pool->worker_count < threads) {
        ShReadWorker *worker = &pool->workers[pool->worker_count];
        worker->engine = engine;
        ShStatus status = sh_engine_pg(engine, "read", &worker->pg, err);
        if (status == SH_OK)
            status = sh_thread_start(&worker->thread, "sh-read", run, worker, err);
        if (status != SH_OK) {
            sh_pg_free(worker->pg);
            return status;
        }
        pool->worker_count++;
    }
    return SH_OK;
}

void sh_read_pool_stop(ShEngine *engine)
{
    ShReadPool *pool = &engine->read_pool;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->worker_count; i++) {
        sh_pg_cancel(pool->workers[i].pg);
        pthread_join(pool->workers[i].thread, NULL);
        sh_pg_free(pool->workers[i].pg);
    }
    pool->worker_count = 0;
    cancel(engine, &pool->wanted);
    cancel(engine, &pool->ahead);
}

void sh_read_pool_destroy(ShReadPool *pool)
{
    free(pool->workers);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
}

void sh_read_pool_submit(ShEngine *engine, const void *asker, ShReadFn fn, void *arg)
{
    submit(engine, &engine->read_pool.wanted, asker, fn, arg);
}

void sh_read_pool_submit_ahead(ShEngine *engine, ShReadFn fn, void *arg)
{
    submit(engine, &engine->read_pool.ahead, NULL, fn, arg);
}

static void submit(ShEngine *engine, ShRounds *rounds, const void *asker, ShReadFn fn, void *arg)
{
    ShReadPool *pool = &engine->read_pool;
    ShReadJob *job = malloc(sizeof *job);
    bool accepted = false;
    if (job != NULL) {
        *job = (ShReadJob){.fn = fn, .arg = arg, .is_ahead = rounds == &pool->ahead};
        pthread_mutex_lock(&pool->lock);
        accepted = !pool->stopping && sh_rounds_put(rounds, NULL, asker, &job->turn);
        if (accepted)
            pthread_cond_signal(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    if (!accepted) {
        free(job);
        fn(engine, NULL, arg, true);
    }
}

static void *run(void *arg)
{
    ShReadWorker *worker = arg;
    ShReadPool *pool = &worker->engine->read_pool;
    ShReadJob *job;
    while ((job = take(pool)) != NULL) {
        job->fn(worker->engine, worker->pg, job->arg, false);
        if (job->is_ahead) {
            pthread_mutex_lock(&pool->lock);
            pool->ahead_count--;
            pthread_mutex_unlock(&pool->lock);
        }
        free(job);
    }
    return NULL;
}

/* The next job; NULL only when stopping. */
static ShReadJob *take(ShReadPool *pool)
{
    ShReadJob *job = NULL;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping && job == NULL) {
        job = (ShReadJob *)sh_rounds_take(&pool->wanted);
        if (job == NULL && pool->ahead_count < pool->ahead_max)
            job = (ShReadJob *)sh_rounds_take(&pool->ahead);
        if (job == NULL)
            sh_cond_wait_ms(&pool->wake, &pool->lock, POOL_WAIT_MS);
    }
    if (job != NULL && job->is_ahead)
        pool->ahead_count++;
    pthread_mutex_unlock(&pool->lock);
    return job;
}

/* After the threads have ended. */
static void cancel(ShEngine *engine, ShRounds *rounds)
{
    for (ShReadJob *job; (job = (ShReadJob *)sh_rounds_take(rounds)) != NULL; free(job))
        job->fn(engine, NULL, job->arg, true);
}
