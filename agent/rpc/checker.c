#include "agent/rpc/checker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"

#define WAIT_MAX_MS 1000
#define THREADS_MAX 8
/* Memory that a thread keeps from job to job. */
#define KEPT_BYTES_MAX ((size_t)4 << 20)

struct ShChecker {
    pthread_t threads[THREADS_MAX];
    size_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* by lock */
    bool stopping;
    ShRounds rounds;                  /* of hosts and their connections, whose calls keep them alive */
    STAILQ_HEAD(, ShRoundJob) urgent; /* those for which there was no memory to give them a turn */
};

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
    sh_rounds_init(&checker->rounds);
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
    if (!sh_rounds_put(&checker->rounds, connection != NULL ? connection->host : NULL, connection,
                       &job->turn))
        STAILQ_INSERT_TAIL(&checker->urgent, &job->turn, link);
    pthread_cond_signal(&checker->wake);
    pthread_mutex_unlock(&checker->lock);
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

static ShCheckJob *take_job(ShChecker *checker)
{
    ShRoundJob *job = STAILQ_FIRST(&checker->urgent);
    if (job != NULL)
        STAILQ_REMOVE_HEAD(&checker->urgent, link);
    else
        job = sh_rounds_take(&checker->rounds);
    return (ShCheckJob *)job;
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
