#include "agent/log/read_pool.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define POOL_WAIT_MS 1000

typedef struct ShReadJob {
    STAILQ_ENTRY(ShReadJob) link;
    ShReadFn fn;
    void *arg;
    bool is_ahead;
} ShReadJob;

typedef struct ShReadTurn {
    STAILQ_ENTRY(ShReadTurn) link;
    const void *asker;
    STAILQ_HEAD(, ShReadJob) jobs; /* one at least */
} ShReadTurn;

typedef struct ShReadWorker {
    ShEngine *engine;
    ShPg *pg;
    pthread_t thread;
} ShReadWorker;

static void submit(ShEngine *engine, ShReadQueue *queue, const void *asker, ShReadFn fn, void *arg);
static bool push(ShReadQueue *queue, const void *asker, ShReadJob *job);
static void *run(void *arg);
static ShReadJob *take(ShReadPool *pool);
static ShReadJob *pop(ShReadQueue *queue);
static void cancel(ShEngine *engine, ShReadQueue *queue);

ShStatus sh_read_pool_init(ShReadPool *pool, ShError *err)
{
    *pool = (ShReadPool){0};
    STAILQ_INIT(&pool->wanted);
    STAILQ_INIT(&pool->ahead);
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

static void submit(ShEngine *engine, ShReadQueue *queue, const void *asker, ShReadFn fn, void *arg)
{
    ShReadPool *pool = &engine->read_pool;
    ShReadJob *job = malloc(sizeof *job);
    bool accepted = false;
    if (job != NULL) {
        *job = (ShReadJob){.fn = fn, .arg = arg, .is_ahead = queue == &pool->ahead};
        pthread_mutex_lock(&pool->lock);
        accepted = !pool->stopping && push(queue, asker, job);
        if (accepted)
            pthread_cond_signal(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    if (!accepted) {
        free(job);
        fn(engine, NULL, arg, true);
    }
}

/* With the lock held; false when memory is short. */
static bool push(ShReadQueue *queue, const void *asker, ShReadJob *job)
{
    ShReadTurn *turn;
    STAILQ_FOREACH(turn, queue, link)
    if (turn->asker == asker)
        break;
    if (turn == NULL) {
        turn = malloc(sizeof *turn);
        if (turn == NULL)
            return false;
        turn->asker = asker;
        STAILQ_INIT(&turn->jobs);
        STAILQ_INSERT_TAIL(queue, turn, link);
    }
    STAILQ_INSERT_TAIL(&turn->jobs, job, link);
    return true;
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
        job = pop(&pool->wanted);
        if (job == NULL && pool->ahead_count < pool->ahead_max)
            job = pop(&pool->ahead);
        if (job == NULL)
            sh_cond_wait_ms(&pool->wake, &pool->lock, POOL_WAIT_MS);
    }
    if (job != NULL && job->is_ahead)
        pool->ahead_count++;
    pthread_mutex_unlock(&pool->lock);
    return job;
}

/* With the lock held: the first job of the one whose turn it is, who then waits behind the others. */
static ShReadJob *pop(ShReadQueue *queue)
{
    ShReadTurn *turn = STAILQ_FIRST(queue);
    if (turn == NULL)
        return NULL;
    ShReadJob *job = STAILQ_FIRST(&turn->jobs);
    STAILQ_REMOVE_HEAD(&turn->jobs, link);
    STAILQ_REMOVE_HEAD(queue, link);
    if (STAILQ_EMPTY(&turn->jobs))
        free(turn);
    else
        STAILQ_INSERT_TAIL(queue, turn, link);
    return job;
}

/* After the threads have ended. */
static void cancel(ShEngine *engine, ShReadQueue *queue)
{
    for (ShReadJob *job; (job = pop(queue)) != NULL; free(job))
        job->fn(engine, NULL, job->arg, true);
}
