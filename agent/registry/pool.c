#include "agent/registry/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

#define PG_TIMEOUT_MS  10000
#define JOB_TIMEOUT_MS 10000
#define QUEUE_MAX      256 /* of each kind */
#define AWAY_PAUSE_MS  250 /* for which PostgreSQL is not asked when no connection could be made */
#define IDLE_WAIT_MS   1000

typedef struct Worker {
    ShRegistryPool *pool;
    ShPg *pg;
    pthread_t thread;
    bool started;
} Worker;

struct ShRegistryPool {
    ShRegistryCache *cache;
    Worker *workers;
    int worker_count;
    _Atomic int64_t away_until_ms;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wanted;
    ShRegistryJob *first;
    ShRegistryJob **last;
    int queued[SH_REGISTRY_KINDS];
    int running[SH_REGISTRY_KINDS];
    bool stopping;
};

static void *run(void *arg);
static ShRegistryJob *take(ShRegistryPool *pool);
static ShRegistryJob **find_next(ShRegistryPool *pool);
static bool may_run(const ShRegistryPool *pool, ShRegistryKind kind);
static void end_turn(ShRegistryPool *pool, ShRegistryKind kind);
static void serve(Worker *worker, ShRegistryJob *job);
static ShStatus ask(Worker *worker, ShRegistryJob *job, ShPgSchemaAnswer *said, ShError *err);
static void answer_with(ShRegistryPool *pool, ShRegistryJob *job, const ShPgSchemaAnswer *said);
static void answer_failed(ShRegistryJob *job, const ShError *err);

ShStatus sh_registry_pool_start(const char *conninfo, const char *application_name, int connections,
                                ShRegistryCache *cache, ShRegistryPool **out, ShError *err)
{
    ShRegistryPool *pool = calloc(1, sizeof *pool);
    Worker *workers = calloc((size_t)connections, sizeof *workers);
    if (pool == NULL || workers == NULL) {
        free(pool);
        free(workers);
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the schema registry's connections");
    }
    pool->cache = cache;
    pool->workers = workers;
    pool->worker_count = connections;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->mutex, NULL);
    ShStatus status = sh_cond_init(&pool->wanted, err);
    for (int i = 0; i < connections && status == SH_OK; i++) {
        workers[i].pool = pool;
        status = sh_pg_new(conninfo, application_name, PG_TIMEOUT_MS, &workers[i].pg, err);
        if (status == SH_OK)
            status = sh_thread_start(&workers[i].thread, "sh-registry", run, &workers[i], err);
        workers[i].started = status == SH_OK;
    }
    if (status != SH_OK) {
        sh_registry_pool_stop(pool);
        sh_registry_pool_free(pool);
        return status;
    }
    *out = pool;
    return SH_OK;
}

bool sh_registry_pool_ask(ShRegistryPool *pool, ShRegistryJob *job)
{
    job->deadline_ms = sh_clock_now_ms() + JOB_TIMEOUT_MS;
    job->next = NULL;
    ShRegistryKind kind = job->call.kind;
    pthread_mutex_lock(&pool->mutex);
    bool taken = !pool->stopping && pool->queued[kind] < QUEUE_MAX;
    if (taken) {
        *pool->last = job;
        pool->last = &job->next;
        pool->queued[kind]++;
        pthread_cond_signal(&pool->wanted);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (!taken) {
        sh_registry_answer_error(&job->answer, 503, "the registry has too much to do; try again");
        job->answer.retry_after_s = 1;
    }
    return taken;
}

void sh_registry_pool_stop(ShRegistryPool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wanted);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->worker_count; i++) {
        if (!pool->workers[i].started)
            continue;
        sh_pg_cancel(pool->workers[i].pg);
        pthread_join(pool->workers[i].thread, NULL);
        pool->workers[i].started = false;
    }
}

void sh_registry_pool_free(ShRegistryPool *pool)
{
    if (pool == NULL)
        return;
    for (int i = 0; i < pool->worker_count; i++)
        sh_pg_free(pool->workers[i].pg);
    pthread_cond_destroy(&pool->wanted);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

static void *run(void *arg)
{
    Worker *worker = arg;
    ShRegistryJob *job;
    while ((job = take(worker->pool)) != NULL) {
        ShRegistryKind kind = job->call.kind;
        serve(worker, job);
        job->done(job);
        end_turn(worker->pool, kind);
    }
    return NULL;
}

/* The next job; NULL when the pool stops and none is left. */
static ShRegistryJob *take(ShRegistryPool *pool)
{
    ShRegistryJob **place;
    pthread_mutex_lock(&pool->mutex);
    while (*(place = find_next(pool)) == NULL && !pool->stopping)
        sh_cond_wait_ms(&pool->wanted, &pool->mutex, IDLE_WAIT_MS);
    ShRegistryJob *job = *place;
    if (job != NULL) {
        *place = job->next;
        if (job->next == NULL)
            pool->last = place;
        pool->queued[job->call.kind]--;
        pool->running[job->call.kind]++;
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

/* Where the first job stands that may run now; where the next one would, if none does. */
static ShRegistryJob **find_next(ShRegistryPool *pool)
{
    ShRegistryJob **place = &pool->first;
    while (*place != NULL && !pool->stopping && !may_run(pool, (*place)->call.kind))
        place = &(*place)->next;
    return place;
}

static bool may_run(const ShRegistryPool *pool, ShRegistryKind kind)
{
    int schemas = pool->running[SH_REGISTRY_SCHEMAS];
    int slow = schemas + pool->running[SH_REGISTRY_WORK];
    return kind == SH_REGISTRY_LOOK_UP || pool->worker_count == 1 ||
           (slow < pool->worker_count - 1 &&
            (kind != SH_REGISTRY_SCHEMAS || schemas < pool->worker_count / 2));
}

static void end_turn(ShRegistryPool *pool, ShRegistryKind kind)
{
    pthread_mutex_lock(&pool->mutex);
    pool->running[kind]--;
    pthread_mutex_unlock(&pool->mutex);
}

static void serve(Worker *worker, ShRegistryJob *job)
{
    ShRegistryPool *pool = worker->pool;
    ShError err = {0};
    ShPgSchemaAnswer said = {.sqlstate = ""};
    int64_t now_ms = sh_clock_now_ms();
    pthread_mutex_lock(&pool->mutex);
    bool stopping = pool->stopping;
    pthread_mutex_unlock(&pool->mutex);
    ShStatus status;
    if (stopping)
        status = sh_fail(&err, SH_UNAVAILABLE, "the agent stops");
    else if (now_ms > job->deadline_ms)
        status = sh_fail(&err, SH_TIMEOUT, "waited for a connection for %d ms", JOB_TIMEOUT_MS);
    else if (now_ms < pool->away_until_ms)
        status = sh_fail(&err, SH_UNAVAILABLE, "PostgreSQL was away a moment ago");
    else
        status = ask(worker, job, &said, &err);
    if (status == SH_OK)
        answer_with(pool, job, &said);
    else
        answer_failed(job, &err);
    sh_pg_schema_answer_free(&said);
}

static ShStatus ask(Worker *worker, ShRegistryJob *job, ShPgSchemaAnswer *said, ShError *err)
{
    ShStatus status = sh_pg_schema_ask(worker->pg, job->call.question, job->call.values, said, err);
    if (status == SH_OK)
        return SH_OK;
    sh_log_warn("schema_registry_failed", "request=\"%s\" status=%s error=\"%s\"",
                sh_registry_route_name(job->call.route), sh_status_name(status), err->message);
    if (!sh_pg_is_connected(worker->pg))
        worker->pool->away_until_ms = sh_clock_now_ms() + AWAY_PAUSE_MS;
    return status;
}

static void answer_with(ShRegistryPool *pool, ShRegistryJob *job, const ShPgSchemaAnswer *said)
{
    const ShRegistryCall *call = &job->call;
    if (said->sqlstate[0] != '\0') {
        sh_registry_answer_refusal(&job->answer, said, call->for_own_setting);
        if (call->is_cacheable)
            sh_registry_cache_remove(pool->cache, call->id, call->form);
        return;
    }
    sh_registry_answer_text(&job->answer, 200, said->text);
    if (call->is_cacheable && job->answer.body != NULL)
        sh_registry_cache_put(pool->cache, call->id, call->form, job->answer.body, job->answer.body_bytes);
    if (call->deletes_for_good)
        sh_registry_cache_clear(pool->cache);
}

/* What was known a while ago is as good as ever, unless it was deleted for good meanwhile. */
static void answer_failed(ShRegistryJob *job, const ShError *err)
{
    if (job->answer.body != NULL)
        job->answer.status = 200;
    else
        sh_registry_answer_failure(&job->answer, err);
}
