#include "agent/log/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

#define ADMIN_WAIT_MS 1000
#define RETRY_MS      1000
#define TEXT_BYTES    300

typedef enum JobKind { JOB_CREATE, JOB_DROP, JOB_DESCRIBE, JOB_INIT_PRODUCER } JobKind;

typedef struct ShAdminJob {
    ShRoundJob turn; /* first */
    JobKind kind;
    ShAdminCaller caller;
    char name[TEXT_BYTES];
    int32_t partitions;
    char durability[TEXT_BYTES];
    char retention[TEXT_BYTES];
    char segment_size[TEXT_BYTES];
    char **names; /* of JOB_DESCRIBE */
    size_t name_count;
    const atomic_bool *given_up; /* likewise */
    ShUuid topic_id;             /* the result of JOB_CREATE */
} ShAdminJob;

static ShAdminJob *new_job(JobKind kind, const ShAdminCaller *caller);
static bool set_text(char to[TEXT_BYTES], const char *from);
static void submit(ShEngine *engine, ShAdminJob *job, bool texts_fit);
static void fail_job(ShAdminJob *job, ShStatus status, const char *why);
static void free_job(ShAdminJob *job);
static void *run(void *arg);
static ShAdminJob *take(ShAdmin *admin, bool wait);
static void run_change(ShEngine *engine, ShAdminJob *job);
static void on_refreshed(void *arg, ShStatus status, const ShError *err);
static void run_describe(ShEngine *engine, ShAdminJob *job);
static void run_init_producer(ShEngine *engine, ShAdminJob *job);
static void copy_size(ShPartitionSize *to, const ShPgPartitionSize *from);

ShStatus sh_admin_init(ShAdmin *admin, ShError *err)
{
    *admin = (ShAdmin){0};
    sh_rounds_init(&admin->rounds);
    pthread_mutex_init(&admin->lock, NULL);
    return sh_cond_init(&admin->wake, err);
}

ShStatus sh_admin_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_engine_pg(engine, "admin", &engine->admin.pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&engine->admin.thread, "sh-admin", run, engine, err);
    engine->admin.started = status == SH_OK;
    return status;
}

void sh_admin_stop(ShEngine *engine)
{
    ShAdmin *admin = &engine->admin;
    pthread_mutex_lock(&admin->lock);
    admin->stopping = true;
    pthread_cond_signal(&admin->wake);
    pthread_mutex_unlock(&admin->lock);
    if (admin->started) {
        sh_pg_cancel(admin->pg);
        pthread_join(admin->thread, NULL);
        admin->started = false;
    }
    ShAdminJob *job;
    while ((job = take(admin, false)) != NULL)
        fail_job(job, SH_UNAVAILABLE, "the agent is stopping");
    sh_pg_free(admin->pg);
    admin->pg = NULL;
}

void sh_admin_destroy(ShAdmin *admin)
{
    pthread_cond_destroy(&admin->wake);
    pthread_mutex_destroy(&admin->lock);
}

void sh_engine_create_topic(ShEngine *engine, const ShTopicSpec *spec, const ShAdminCaller *caller)
{
    ShAdminJob *job = new_job(JOB_CREATE, caller);
    if (job == NULL)
        return;
    job->partitions = spec->partitions;
    bool fit = set_text(job->name, spec->name) && set_text(job->durability, spec->durability) &&
               set_text(job->retention, spec->retention) && set_text(job->segment_size, spec->segment_size);
    submit(engine, job, fit);
}

void sh_engine_drop_topic(ShEngine *engine, const char *name, const ShAdminCaller *caller)
{
    ShAdminJob *job = new_job(JOB_DROP, caller);
    if (job != NULL)
        submit(engine, job, set_text(job->name, name));
}

void sh_engine_describe_topics(ShEngine *engine, const char *const *names, size_t name_count,
                               const atomic_bool *given_up, const ShAdminCaller *caller)
{
    ShAdminJob *job = new_job(JOB_DESCRIBE, caller);
    if (job == NULL)
        return;
    job->given_up = given_up;
    job->names = calloc(name_count + 1, sizeof *job->names);
    bool copied = job->names != NULL;
    for (size_t i = 0; i < name_count && copied; i++) {
        job->names[i] = strdup(names[i]);
        copied = job->names[i] != NULL;
        job->name_count += copied;
    }
    if (copied)
        submit(engine, job, true);
    else
        fail_job(job, SH_NO_MEMORY, "no memory for the call");
}

void sh_engine_init_producer(ShEngine *engine, const ShAdminCaller *caller)
{
    ShAdminJob *job = new_job(JOB_INIT_PRODUCER, caller);
    if (job != NULL)
        submit(engine, job, true);
}

/* NULL after the caller was told that memory is short. */
static ShAdminJob *new_job(JobKind kind, const ShAdminCaller *caller)
{
    ShAdminJob *job = calloc(1, sizeof *job);
    if (job == NULL) {
        ShError err = {0};
        caller->done(caller->arg, sh_fail(&err, SH_NO_MEMORY, "no memory for the call"), &err, NULL);
        return NULL;
    }
    job->kind = kind;
    job->caller = *caller;
    return job;
}

static bool set_text(char to[TEXT_BYTES], const char *from)
{
    return snprintf(to, TEXT_BYTES, "%s", from == NULL ? "" : from) < TEXT_BYTES;
}

static void submit(ShEngine *engine, ShAdminJob *job, bool texts_fit)
{
    ShAdmin *admin = &engine->admin;
    if (!texts_fit) {
        fail_job(job, SH_INVALID, "a name or setting of the topic is longer than 299 bytes");
        return;
    }
    pthread_mutex_lock(&admin->lock);
    bool stopping = admin->stopping;
    bool full = admin->count >= SH_ADMIN_JOBS_MAX;
    bool taken = !stopping && !full && sh_rounds_put(&admin->rounds, NULL, job->caller.asker, &job->turn);
    if (taken) {
        admin->count++;
        pthread_cond_signal(&admin->wake);
    }
    pthread_mutex_unlock(&admin->lock);
    if (stopping)
        fail_job(job, SH_UNAVAILABLE, "the agent is stopping");
    else if (full)
        fail_job(job, SH_EXHAUSTED, "too many administration calls are waiting");
    else if (!taken)
        fail_job(job, SH_NO_MEMORY, "no memory for the call");
}

static void fail_job(ShAdminJob *job, ShStatus status, const char *why)
{
    ShError err = {0};
    (void)sh_fail(&err, status, "%s", why);
    if (status == SH_EXHAUSTED)
        (void)sh_fail_retry_after(&err, status, RETRY_MS);
    job->caller.done(job->caller.arg, status, &err, NULL);
    free_job(job);
}

static void free_job(ShAdminJob *job)
{
    for (size_t i = 0; i < job->name_count; i++)
        free(job->names[i]);
    free(job->names);
    free(job);
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    ShAdminJob *job;
    while ((job = take(&engine->admin, true)) != NULL) {
        if (job->given_up != NULL && atomic_load(job->given_up))
            fail_job(job, SH_CANCELLED, "the call was given up");
        else if (job->kind == JOB_DESCRIBE)
            run_describe(engine, job);
        else if (job->kind == JOB_INIT_PRODUCER)
            run_init_producer(engine, job);
        else
            run_change(engine, job);
    }
    return NULL;
}

/* The next job. With `wait`: NULL only when stopping. */
static ShAdminJob *take(ShAdmin *admin, bool wait)
{
    pthread_mutex_lock(&admin->lock);
    while (wait && admin->count == 0 && !admin->stopping)
        sh_cond_wait_ms(&admin->wake, &admin->lock, ADMIN_WAIT_MS);
    ShAdminJob *job = NULL;
    if (!wait || !admin->stopping)
        job = (ShAdminJob *)sh_rounds_take(&admin->rounds);
    admin->count -= job != NULL;
    pthread_mutex_unlock(&admin->lock);
    return job;
}

static void run_change(ShEngine *engine, ShAdminJob *job)
{
    ShPg *pg = engine->admin.pg;
    ShError err = {0};
    ShStatus status;
    if (job->kind == JOB_CREATE) {
        ShPgCreateTopic request = {.name = job->name,
                                   .partitions = job->partitions,
                                   .durability = job->durability,
                                   .retention = job->retention,
                                   .segment_size = job->segment_size};
        status = sh_pg_create_topic(pg, &request, &job->topic_id, &err);
    } else {
        status = sh_pg_drop_topic(pg, job->name, &err);
    }
    if (status == SH_OK) {
        /* The caller shall find at this agent what it has changed. */
        sh_engine_meta_refresh(engine, on_refreshed, job);
        return;
    }
    job->caller.done(job->caller.arg, status, &err, NULL);
    free_job(job);
}

static void on_refreshed(void *arg, ShStatus status, const ShError *err)
{
    ShAdminJob *job = arg;
    (void)status; /* the change is made, whatever became of the look at it */
    (void)err;
    job->caller.done(job->caller.arg, SH_OK, NULL, &job->topic_id);
    free_job(job);
}

static void run_describe(ShEngine *engine, ShAdminJob *job)
{
    ShError err = {0};
    ShPgPartitionSize *rows = NULL;
    ShPartitionSize *sizes = NULL;
    size_t count = 0;
    ShStatus status = sh_pg_describe(engine->admin.pg, (const char *const *)job->names, job->name_count,
                                     &rows, &count, &err);
    if (status == SH_OK && (sizes = calloc(count + 1, sizeof *sizes)) == NULL)
        status = sh_fail(&err, SH_NO_MEMORY, "no memory to describe %zu partitions", count);
    for (size_t i = 0; status == SH_OK && i < count; i++)
        copy_size(&sizes[i], &rows[i]);
    ShTopicSizes result = {.partitions = sizes, .count = count};
    job->caller.done(job->caller.arg, status, status == SH_OK ? NULL : &err,
                     status == SH_OK ? &result : NULL);
    free(sizes);
    free(rows);
    free_job(job);
}

static void run_init_producer(ShEngine *engine, ShAdminJob *job)
{
    ShError err = {0};
    ShProducerId producer = {0};
    ShStatus status = sh_pg_init_producer(engine->admin.pg, engine->registered.incarnation, &producer.id,
                                          &producer.epoch, &err);
    job->caller.done(job->caller.arg, status, status == SH_OK ? NULL : &err,
                     status == SH_OK ? &producer : NULL);
    free_job(job);
}

static void copy_size(ShPartitionSize *to, const ShPgPartitionSize *from)
{
    to->topic_id = from->topic_id;
    snprintf(to->topic, sizeof to->topic, "%s", from->topic);
    snprintf(to->durability, sizeof to->durability, "%s", from->durability);
    snprintf(to->retention, sizeof to->retention, "%s", from->retention);
    to->segment_bytes = from->segment_bytes;
    to->partition = from->partition;
    snprintf(to->owner, sizeof to->owner, "%s", from->owner);
    to->epoch = from->epoch;
    to->log_start = from->log_start;
    to->published_end = from->published_end;
    to->records = from->records;
    to->bytes = from->bytes;
}
