#include "agent/registry/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

#define PG_TIMEOUT_MS  10000
#define JOB_TIMEOUT_MS 10000
#define QUEUE_MAX      512 /* of each kind; one address alone has at most half of it */
#define AWAY_PAUSE_MS  250 /* for which PostgreSQL is not asked when no connection could be made */
#define IDLE_WAIT_MS   1000

/* What one address asks, and its place in the round. */
typedef struct ShRegistryTurn {
    TAILQ_ENTRY(ShRegistryTurn) link;
    uint8_t origin[SH_ADDRESS_KEY_BYTES];
    STAILQ_HEAD(, ShRegistryJob) queues[SH_REGISTRY_KINDS];
    int queued[SH_REGISTRY_KINDS];
    int running;
    size_t bytes; /* of the bodies of all these */
} Turn;

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
    TAILQ_HEAD(Turns, ShRegistryTurn) turns; /* each has a job that waits or runs */
    int queued[SH_REGISTRY_KINDS];
    int running[SH_REGISTRY_KINDS];
    size_t bytes; /* of the bodies of all these */
    bool stopping;
};

static Turn *turn_of(ShRegistryPool *pool, const uint8_t origin[SH_ADDRESS_KEY_BYTES]);
static bool has_room(const ShRegistryPool *pool, const Turn *turn, const ShRegistryJob *job);
static void put(ShRegistryPool *pool, Turn *turn, ShRegistryJob *job);
static void leave(ShRegistryPool *pool, Turn *turn);
static void *run(void *arg);
static ShRegistryJob *take(ShRegistryPool *pool);
static ShRegistryJob *find_next(const ShRegistryPool *pool);
static ShRegistryJob *first_of(const ShRegistryPool *pool, const Turn *turn);
static bool may_run(const ShRegistryPool *pool, ShRegistryKind kind);
static void end_job(ShRegistryPool *pool, Turn *turn, ShRegistryKind kind, size_t bytes);
static void serve(Worker *worker, ShRegistryJob *job);
static bool prepare(ShRegistryJob *job);
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
    TAILQ_INIT(&pool->turns);
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
    pthread_mutex_lock(&pool->mutex);
    Turn *turn = pool->stopping ? NULL : turn_of(pool, job->origin);
    bool taken = turn != NULL && has_room(pool, turn, job);
    if (taken)
        put(pool, turn, job);
    else if (turn != NULL)
        leave(pool, turn);
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

/* With the lock held, as the next. NULL when memory is short. */
static Turn *turn_of(ShRegistryPool *pool, const uint8_t origin[SH_ADDRESS_KEY_BYTES])
{
    Turn *turn;
    TAILQ_FOREACH(turn, &pool->turns, link)
    {
        if (memcmp(turn->origin, origin, SH_ADDRESS_KEY_BYTES) == 0)
            return turn;
    }
    turn = calloc(1, sizeof *turn);
    if (turn == NULL)
        return NULL;
    memcpy(turn->origin, origin, SH_ADDRESS_KEY_BYTES);
    for (int kind = 0; kind < SH_REGISTRY_KINDS; kind++)
        STAILQ_INIT(&turn->queues[kind]);
    TAILQ_INSERT_TAIL(&pool->turns, turn, link);
    return turn;
}

static bool has_room(const ShRegistryPool *pool, const Turn *turn, const ShRegistryJob *job)
{
    ShRegistryKind kind = job->call.kind;
    return turn->queued[kind] + 1 <= QUEUE_MAX - (pool->queued[kind] + 1) &&
           (job->bytes <= SH_REGISTRY_SMALL_BYTES ||
            turn->bytes + pool->bytes + 2 * job->bytes <= SH_REGISTRY_BODIES_BYTES_MAX);
}

static void put(ShRegistryPool *pool, Turn *turn, ShRegistryJob *job)
{
    ShRegistryKind kind = job->call.kind;
    job->turn = turn;
    STAILQ_INSERT_TAIL(&turn->queues[kind], job, link);
    turn->queued[kind]++;
    pool->queued[kind]++;
    turn->bytes += job->bytes;
    pool->bytes += job->bytes;
    pthread_cond_signal(&pool->wanted);
}

/* A turn ends with its last job. */
static void leave(ShRegistryPool *pool, Turn *turn)
{
    int jobs = turn->running;
    for (int kind = 0; kind < SH_REGISTRY_KINDS; kind++)
        jobs += turn->queued[kind];
    if (jobs > 0)
        return;
    TAILQ_REMOVE(&pool->turns, turn, link);
    free(turn);
}

static void *run(void *arg)
{
    Worker *worker = arg;
    ShRegistryJob *job;
    while ((job = take(worker->pool)) != NULL) {
        ShRegistryKind kind = job->call.kind;
        Turn *turn = job->turn;
        size_t bytes = job->bytes;
        serve(worker, job);
        job->done(job); /* from now on it is its owner's */
        end_job(worker->pool, turn, kind, bytes);
    }
    return NULL;
}

/* The next job, after which its address waits behind the others; NULL when the pool stops and none is left.
 */
static ShRegistryJob *take(ShRegistryPool *pool)
{
    ShRegistryJob *job;
    pthread_mutex_lock(&pool->mutex);
    while ((job = find_next(pool)) == NULL && !pool->stopping)
        sh_cond_wait_ms(&pool->wanted, &pool->mutex, IDLE_WAIT_MS);
    if (job != NULL) {
        ShRegistryKind kind = job->call.kind;
        Turn *turn = job->turn;
        STAILQ_REMOVE_HEAD(&turn->queues[kind], link);
        turn->queued[kind]--;
        turn->running++;
        pool->queued[kind]--;
        pool->running[kind]++;
        TAILQ_REMOVE(&pool->turns, turn, link);
        TAILQ_INSERT_TAIL(&pool->turns, turn, link);
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

/* The first that may run now, of the address whose turn it is. */
static ShRegistryJob *find_next(const ShRegistryPool *pool)
{
    ShRegistryJob *job = NULL;
    Turn *turn;
    TAILQ_FOREACH(turn, &pool->turns, link)
    {
        if ((job = first_of(pool, turn)) != NULL)
            break;
    }
    return job;
}

/* Of the kinds that may run, the job that came first. */
static ShRegistryJob *first_of(const ShRegistryPool *pool, const Turn *turn)
{
    ShRegistryJob *first = NULL;
    for (int kind = 0; kind < SH_REGISTRY_KINDS; kind++) {
        ShRegistryJob *job = STAILQ_FIRST(&turn->queues[kind]);
        if (job != NULL && (pool->stopping || may_run(pool, (ShRegistryKind)kind)) &&
            (first == NULL || job->deadline_ms < first->deadline_ms))
            first = job;
    }
    return first;
}

static bool may_run(const ShRegistryPool *pool, ShRegistryKind kind)
{
    int schemas = pool->running[SH_REGISTRY_SCHEMAS];
    int slow = schemas + pool->running[SH_REGISTRY_WORK];
    return kind == SH_REGISTRY_LOOK_UP || pool->worker_count == 1 ||
           (slow < pool->worker_count - 1 &&
            (kind != SH_REGISTRY_SCHEMAS || schemas < pool->worker_count / 2));
}

static void end_job(ShRegistryPool *pool, Turn *turn, ShRegistryKind kind, size_t bytes)
{
    pthread_mutex_lock(&pool->mutex);
    pool->running[kind]--;
    turn->running--;
    turn->bytes -= bytes;
    pool->bytes -= bytes;
    leave(pool, turn);
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
    else if (!prepare(job))
        return; /* it has an answer */
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

static bool prepare(ShRegistryJob *job)
{
    if (job->body.data == NULL)
        return true;
    bool asks = sh_registry_call_prepare(&job->call, (const char *)job->body.data, job->body.length,
                                         &job->answer);
    sh_scratch_free(&job->body);
    return asks;
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
