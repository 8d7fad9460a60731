#include "agent/log/read_pool.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define POOL_WAIT_MS 1000

typedef struct ShReadJob {
    struct ShReadJob *next;
    ShReadFn fn;
    void *arg;
} ShReadJob;

typedef struct ShReadWorker {
    ShEngine *engine;
    ShPg *pg;
    pthread_t thread;
} ShReadWorker;

static void *run(void *arg);
static ShReadJob *take(ShReadPool *pool, bool wait);

ShStatus sh_read_pool_init(ShReadPool *pool, ShError *err)
{
    *pool = (ShReadPool){0};
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
    ShReadJob *job;
    while ((job = take(pool, false)) != NULL) {
        job->fn(engine, NULL, job->arg, true);
        free(job);
    }
}

void sh_read_pool_destroy(ShReadPool *pool)
{
    free(pool->workers);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
}

void sh_read_pool_submit(ShEngine *engine, ShReadFn fn, void *arg)
{
    ShReadPool *pool = &engine->read_pool;
    ShReadJob *job = malloc(sizeof *job);
    bool accepted = false;
    if (job != NULL) {
        *job = (ShReadJob){.fn = fn, .arg = arg};
        pthread_mutex_lock(&pool->lock);
        accepted = !pool->stopping;
        if (accepted) {
            if (pool->last != NULL)
                pool->last->next = job;
            else
                pool->first = job;
            pool->last = job;
            pthread_cond_signal(&pool->wake);
        }
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
    ShReadJob *job;
    while ((job = take(&worker->engine->read_pool, true)) != NULL) {
        job->fn(worker->engine, worker->pg, job->arg, false);
        free(job);
    }
    return NULL;
}

/* The next job. With `wait`: NULL only when stopping. */
static ShReadJob *take(ShReadPool *pool, bool wait)
{
    pthread_mutex_lock(&pool->lock);
    while (wait && pool->first == NULL && !pool->stopping)
        sh_cond_wait_ms(&pool->wake, &pool->lock, POOL_WAIT_MS);
    ShReadJob *job = wait && pool->stopping ? NULL : pool->first;
    if (job != NULL) {
        pool->first = job->next;
        if (pool->first == NULL)
            pool->last = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}
