#include "agent/rpc/checker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "agent/base/clock.h"

#define WAIT_MAX_MS 1000
#define THREADS_MAX 8
/* Memory that a thread keeps from job to job. */
#define KEPT_BYTES_MAX ((size_t)4 << 20)

/* The jobs of one connection, and its place in its host's round. */
typedef struct Turn {
    STAILQ_ENTRY(Turn) link;
    const ShConnection *connection; /* only compared; its calls keep it alive while it has a turn */
    STAILQ_HEAD(Jobs, ShCheckJob) jobs;
} Turn;

/* The connections of one host, and its place in the round of all. */
typedef struct HostTurn {
    STAILQ_ENTRY(HostTurn) link;
    const ShHost *host; /* as above; NULL: of connections that are not known */
    STAILQ_HEAD(Turns, Turn) turns;
} HostTurn;

struct ShChecker {
    pthread_t threads[THREADS_MAX];
    size_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* by lock */
    bool stopping;
    STAILQ_HEAD(HostTurns, HostTurn) hosts; /* each has a turn at least, and each turn a job */
    STAILQ_HEAD(, ShCheckJob) urgent;       /* those for which there was no memory to give them a turn */
};

static HostTurn *host_turn(ShChecker *checker, const ShHost *host);
static Turn *turn_of(HostTurn *host, const ShConnection *connection);
static void *run(void *arg);
static ShCheckJob *take_job(ShChecker *checker);
static ShCheckJob *next_job(ShChecker *checker, ShCheckTools *tools);
static void shrink(ShChecker *checker, ShCheckTools *tools);

ShBatchBuilder *sh_check_tools_builder(ShCheckTools *tools, ShCodec codec)
{
    if (tools->builders[codec] == NULL)
        tools->builders[codec] = sh_batch_builder_new(codec);
    return tools->builders[codec];
}

void sh_check_tools_free(ShCheckTools *tools)
{
    for (size_t codec = 0; codec <= SH_CODEC_ZSTD; codec++)
        sh_batch_builder_free(tools->builders[codec]);
    sh_scratch_free(&tools->scratch);
    sh_scratch_free(&tools->encoded);
    *tools = (ShCheckTools){0};
}

void sh_check_scratch_shrink(ShScratch *scratch)
{
    if (scratch->capacity > KEPT_BYTES_MAX)
        sh_scratch_free(scratch);
}

ShStatus sh_checker_start(size_t threads, ShChecker **out, ShError *err)
{
    ShChecker *checker = calloc(1, sizeof *checker);
    if (checker == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the threads that check requests");
    STAILQ_INIT(&checker->hosts);
    STAILQ_INIT(&checker->urgent);
    pthread_mutex_init(&checker->lock, NULL);
    ShStatus status = sh_cond_init(&checker->wake, err);
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    while (status == SH_OK && checker->thread_count < threads) {
        char name[16];
        snprintf(name, sizeof name, "rpc-check-%zu", checker->thread_count);
        status = sh_thread_start(&checker->threads[checker->thread_count], name, run, checker, err);
        checker->thread_count += status == SH_OK;
    }
    if (status == SH_OK)
        *out = checker;
    else
        sh_checker_stop(checker);
    return status;
}

void sh_checker_stop(ShChecker *checker)
{
    if (checker == NULL)
        return;
    pthread_mutex_lock(&checker->lock);
    checker->stopping = true;
    pthread_cond_broadcast(&checker->wake);
    pthread_mutex_unlock(&checker->lock);
    for (size_t i = 0; i < checker->thread_count; i++)
        pthread_join(checker->threads[i], NULL);
    pthread_cond_destroy(&checker->wake);
    pthread_mutex_destroy(&checker->lock);
    free(checker);
}

void sh_checker_submit(ShChecker *checker, ShCheckJob *job, ShConnection *connection)
{
    pthread_mutex_lock(&checker->lock);
    HostTurn *host = host_turn(checker, connection != NULL ? connection->host : NULL);
    Turn *turn = host != NULL ? turn_of(host, connection) : NULL;
    if (turn != NULL)
        STAILQ_INSERT_TAIL(&turn->jobs, job, link);
    else
        STAILQ_INSERT_TAIL(&checker->urgent, job, link);
    if (host != NULL && STAILQ_EMPTY(&host->turns)) {
        STAILQ_REMOVE(&checker->hosts, host, HostTurn, link);
        free(host);
    }
    pthread_cond_signal(&checker->wake);
    pthread_mutex_unlock(&checker->lock);
}

/* NULL when memory is short. */
static HostTurn *host_turn(ShChecker *checker, const ShHost *host)
{
    HostTurn *turn;
    STAILQ_FOREACH(turn, &checker->hosts, link)
    if (turn->host == host)
        return turn;
    turn = malloc(sizeof *turn);
    if (turn == NULL)
        return NULL;
    turn->host = host;
    STAILQ_INIT(&turn->turns);
    STAILQ_INSERT_TAIL(&checker->hosts, turn, link);
    return turn;
}

/* Likewise. */
static Turn *turn_of(HostTurn *host, const ShConnection *connection)
{
    Turn *turn;
    STAILQ_FOREACH(turn, &host->turns, link)
    if (turn->connection == connection)
        return turn;
    turn = malloc(sizeof *turn);
    if (turn == NULL)
        return NULL;
    turn->connection = connection;
    STAILQ_INIT(&turn->jobs);
    STAILQ_INSERT_TAIL(&host->turns, turn, link);
    return turn;
}

static void *run(void *arg)
{
    ShChecker *checker = arg;
    ShCheckTools tools = {0};
    ShCheckJob *job;
    while ((job = next_job(checker, &tools)) != NULL)
        job->run(job, &tools);
    sh_check_tools_free(&tools);
    return NULL;
}

/* NULL only when stopping. */
static ShCheckJob *next_job(ShChecker *checker, ShCheckTools *tools)
{
    ShCheckJob *job;
    pthread_mutex_lock(&checker->lock);
    while ((job = take_job(checker)) == NULL && !checker->stopping) {
        if (!sh_cond_wait_ms(&checker->wake, &checker->lock, WAIT_MAX_MS))
            shrink(checker, tools);
    }
    pthread_mutex_unlock(&checker->lock);
    return job;
}

/* The first of the connection whose turn it is at the host whose turn it is: both then wait behind the
 * others. */
static ShCheckJob *take_job(ShChecker *checker)
{
    ShCheckJob *job = STAILQ_FIRST(&checker->urgent);
    if (job != NULL) {
        STAILQ_REMOVE_HEAD(&checker->urgent, link);
        return job;
    }
    HostTurn *host = STAILQ_FIRST(&checker->hosts);
    if (host == NULL)
        return NULL;
    Turn *turn = STAILQ_FIRST(&host->turns);
    STAILQ_REMOVE_HEAD(&checker->hosts, link);
    STAILQ_REMOVE_HEAD(&host->turns, link);
    job = STAILQ_FIRST(&turn->jobs);
    STAILQ_REMOVE_HEAD(&turn->jobs, link);
    if (STAILQ_EMPTY(&turn->jobs))
        free(turn);
    else
        STAILQ_INSERT_TAIL(&host->turns, turn, link);
    if (STAILQ_EMPTY(&host->turns))
        free(host);
    else
        STAILQ_INSERT_TAIL(&checker->hosts, host, link);
    return job;
}

/* Nothing has come for a while: give back what large requests have left. The lock is not held meanwhile. */
static void shrink(ShChecker *checker, ShCheckTools *tools)
{
    if (tools->scratch.capacity <= KEPT_BYTES_MAX && tools->encoded.capacity <= KEPT_BYTES_MAX)
        return;
    pthread_mutex_unlock(&checker->lock);
    sh_check_tools_free(tools);
    pthread_mutex_lock(&checker->lock);
}
