#include "agent/log/bounds.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define BOUNDS_WAIT_MAX_MS 1000

static void *run(void *arg);
static bool wait_for_work(ShEngine *engine, int64_t asked_ms);
static size_t take_wanted(ShBounds *bounds, ShPartition ***out);
static ShStatus ask(ShEngine *engine, ShPartition **partitions, size_t count, ShError *err);

ShStatus sh_bounds_init(ShBounds *bounds, ShError *err)
{
    *bounds = (ShBounds){0};
    pthread_mutex_init(&bounds->lock, NULL);
    return sh_cond_init(&bounds->wake, err);
}

ShStatus sh_bounds_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_engine_pg(engine, "bounds", &engine->bounds.pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&engine->bounds.thread, "sh-bounds", run, engine, err);
    engine->bounds.started = status == SH_OK;
    return status;
}

void sh_bounds_stop(ShEngine *engine)
{
    ShBounds *bounds = &engine->bounds;
    if (bounds->started) {
        sh_pg_cancel(bounds->pg);
        pthread_mutex_lock(&bounds->lock);
        pthread_cond_signal(&bounds->wake);
        pthread_mutex_unlock(&bounds->lock);
        pthread_join(bounds->thread, NULL);
        bounds->started = false;
    }
    sh_pg_free(bounds->pg);
    bounds->pg = NULL;
}

void sh_bounds_destroy(ShBounds *bounds)
{
    ShPartition **left = NULL;
    size_t count = take_wanted(bounds, &left);
    sh_partition_list_free(left, count);
    pthread_cond_destroy(&bounds->wake);
    pthread_mutex_destroy(&bounds->lock);
}

void sh_bounds_want(ShEngine *engine, ShPartition *partition, bool urgent)
{
    ShBounds *bounds = &engine->bounds;
    pthread_mutex_lock(&bounds->lock);
    if (!partition->bounds_wanted) {
        partition->bounds_wanted = true;
        partition->bounds_next = bounds->wanted;
        bounds->wanted = sh_partition_ref(partition);
        bounds->wanted_count++;
    }
    bounds->urgent |= urgent;
    if (urgent || bounds->wanted_count == 1)
        pthread_cond_signal(&bounds->wake);
    pthread_mutex_unlock(&bounds->lock);
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int64_t asked_ms = INT64_MIN / 2;
    int failures = 0;
    while (wait_for_work(engine, asked_ms)) {
        ShPartition **partitions = NULL;
        size_t count = take_wanted(&engine->bounds, &partitions);
        if (partitions == NULL)
            continue;
        ShError err = {0};
        asked_ms = sh_clock_now_ms();
        if (ask(engine, partitions, count, &err) == SH_OK) {
            failures = 0;
        } else {
            sh_log_warn("bounds_failed", "partitions=%zu reason=\"%s\"", count, err.message);
            for (size_t i = 0; i < count; i++) {
                pthread_mutex_lock(&partitions[i]->mutex);
                sh_bounds_want(engine, partitions[i], false);
                pthread_mutex_unlock(&partitions[i]->mutex);
            }
            sh_engine_pause(engine, sh_engine_backoff_ms(failures++));
        }
        sh_partition_list_free(partitions, count);
    }
    return NULL;
}

/* False when the engine is stopping. */
static bool wait_for_work(ShEngine *engine, int64_t asked_ms)
{
    ShBounds *bounds = &engine->bounds;
    bool ready = false;
    pthread_mutex_lock(&bounds->lock);
    while (!ready && !atomic_load(&engine->stopping)) {
        int64_t wait_ms = BOUNDS_WAIT_MAX_MS;
        if (bounds->wanted != NULL)
            wait_ms = bounds->urgent ? 0 : asked_ms + SH_BOUNDS_INTERVAL_MS - sh_clock_now_ms();
        ready = wait_ms <= 0;
        if (!ready)
            sh_cond_wait_ms(&bounds->wake, &bounds->lock, wait_ms);
    }
    pthread_mutex_unlock(&bounds->lock);
    return !atomic_load(&engine->stopping);
}

/* `*out` stays NULL when memory is short: they stay wanted. */
static size_t take_wanted(ShBounds *bounds, ShPartition ***out)
{
    size_t count = 0;
    pthread_mutex_lock(&bounds->lock);
    ShPartition **list = calloc(bounds->wanted_count + 1, sizeof *list);
    while (list != NULL && bounds->wanted != NULL) {
        ShPartition *partition = bounds->wanted;
        bounds->wanted = partition->bounds_next;
        partition->bounds_next = NULL;
        partition->bounds_wanted = false;
        list[count++] = partition;
    }
    if (list != NULL)
        bounds->wanted_count = 0;
    bounds->urgent = false;
    pthread_mutex_unlock(&bounds->lock);
    *out = list;
    return count;
}

static ShStatus ask(ShEngine *engine, ShPartition **partitions, size_t count, ShError *err)
{
    ShStatus status = SH_OK;
    ShPgPartition *names = calloc(count + 1, sizeof *names);
    ShPgBounds *answers = calloc(count + 1, sizeof *answers);
    if (names == NULL || answers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to ask for %zu partitions", count);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        names[i].topic_id = partitions[i]->key.topic_id;
        names[i].partition = partitions[i]->key.number;
    }
    int64_t asked_ms = sh_clock_now_ms();
    status = sh_pg_read_bounds(engine->bounds.pg, names, count, answers, err);
    for (size_t i = 0; status == SH_OK && i < count; i++)
        sh_bounds_apply(engine, partitions[i], &answers[i], asked_ms);
done:
    free(answers);
    free(names);
    return status;
}

void sh_bounds_apply(ShEngine *engine, ShPartition *partition, const ShPgBounds *bounds, int64_t asked_ms)
{
    if (!bounds->found) {
        sh_control_refresh(engine); /* the topic is gone: the new metadata wakes who waits */
        return;
    }
    pthread_mutex_lock(&partition->mutex);
    partition->bounds_ms = asked_ms;
    if (!sh_partition_has_epoch(partition))
        partition->epoch = bounds->epoch;
    if (bounds->epoch == partition->epoch)
        partition->blocked = false;
    if (bounds->log_start > partition->log_start)
        partition->log_start = bounds->log_start;
    if (partition->blocked && bounds->published_end > partition->readable_end)
        partition->readable_end = bounds->published_end;
    if (!partition->blocked && bounds->published_end > partition->published_end)
        partition->published_end = bounds->published_end;
    if (partition->object_durability && partition->published_end > partition->high_watermark)
        partition->high_watermark = partition->published_end;
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
}
