#include "agent/log/flush.h"

#include "agent/log/engine_internal.h"

#define FLUSH_WAIT_MAX_MS 1000
#define STALLED_RETRY_MS  20

static void *run(void *arg);
static bool wait_until_due(ShEngine *engine);
static int64_t due_in_ms(ShEngine *engine);
static void flush_once(ShEngine *engine);
static ShStatus collect_dirty(ShEngine *engine, ShFlight *flight, ShError *err);
static ShPartition *pop_dirty(ShFlusher *flusher);
static void push_dirty(ShFlusher *flusher, ShPartition *partition);

ShStatus sh_flush_init(ShFlusher *flusher, ShError *err)
{
    *flusher = (ShFlusher){.due_ms = INT64_MAX};
    pthread_mutex_init(&flusher->lock, NULL);
    return sh_cond_init(&flusher->wake, err);
}

ShStatus sh_flush_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_thread_start(&engine->flusher.thread, "sh-flush", run, engine, err);
    engine->flusher.started = status == SH_OK;
    return status;
}

void sh_flush_stop(ShEngine *engine)
{
    if (!engine->flusher.started)
        return;
    sh_flush_now(engine);
    pthread_join(engine->flusher.thread, NULL);
    engine->flusher.started = false;
}

void sh_flush_destroy(ShFlusher *flusher)
{
    ShPartition *partition;
    while ((partition = pop_dirty(flusher)) != NULL)
        sh_partition_unref(partition);
    pthread_cond_destroy(&flusher->wake);
    pthread_mutex_destroy(&flusher->lock);
}

void sh_flush_mark_dirty(ShEngine *engine, ShPartition *partition, int64_t cost)
{
    ShFlusher *flusher = &engine->flusher;
    int64_t interval_ms = partition->object_durability ? engine->config->object_flush_interval_ms
                                                       : engine->config->flush_interval_ms;
    int64_t due_ms = sh_clock_now_ms() + interval_ms;
    pthread_mutex_lock(&flusher->lock);
    if (!partition->dirty) {
        push_dirty(flusher, sh_partition_ref(partition));
        if (partition->state == SH_PARTITION_RELEASING || partition->state == SH_PARTITION_ROLLING)
            due_ms = 0;
    }
    bool was_full = flusher->dirty_cost >= engine->config->flush_bytes;
    flusher->dirty_cost += cost;
    bool is_full = flusher->dirty_cost >= engine->config->flush_bytes;
    if (due_ms < flusher->due_ms || (is_full && !was_full))
        pthread_cond_signal(&flusher->wake);
    if (due_ms < flusher->due_ms)
        flusher->due_ms = due_ms;
    pthread_mutex_unlock(&flusher->lock);
}

void sh_flush_now(ShEngine *engine)
{
    ShFlusher *flusher = &engine->flusher;
    pthread_mutex_lock(&flusher->lock);
    if (flusher->dirty_first != NULL)
        flusher->due_ms = 0;
    pthread_cond_signal(&flusher->wake);
    pthread_mutex_unlock(&flusher->lock);
}

void sh_flush_results_now(ShEngine *engine)
{
    pthread_mutex_lock(&engine->flusher.lock);
    engine->flusher.results_now = true;
    pthread_mutex_unlock(&engine->flusher.lock);
    sh_flush_now(engine);
}

bool sh_flush_is_idle(ShEngine *engine)
{
    pthread_mutex_lock(&engine->flusher.lock);
    bool idle = engine->flusher.dirty_first == NULL && engine->flusher.due_ms == INT64_MAX &&
                !engine->flusher.results_now && !engine->flusher.busy;
    pthread_mutex_unlock(&engine->flusher.lock);
    return idle;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    while (wait_until_due(engine) && sh_pipeline_wait_room(&engine->pipeline)) {
        flush_once(engine);
        pthread_mutex_lock(&engine->flusher.lock);
        engine->flusher.busy = false;
        pthread_mutex_unlock(&engine->flusher.lock);
    }
    return NULL;
}

/* False when the engine is stopping. */
static bool wait_until_due(ShEngine *engine)
{
    ShFlusher *flusher = &engine->flusher;
    while (!atomic_load(&engine->stopping)) {
        sh_append_retry_stalled(engine);
        int64_t results_due_ms = sh_results_due_ms(&engine->results);
        pthread_mutex_lock(&flusher->lock);
        int64_t in_ms = due_in_ms(engine);
        int64_t results_in_ms = results_due_ms == INT64_MAX ? INT64_MAX : results_due_ms - sh_clock_now_ms();
        if (flusher->results_now)
            results_in_ms = 0;
        if (results_in_ms < in_ms)
            in_ms = results_in_ms;
        int64_t longest_ms = atomic_load(&flusher->stalled) > 0 ? STALLED_RETRY_MS : FLUSH_WAIT_MAX_MS;
        if (in_ms > 0)
            sh_cond_wait_ms(&flusher->wake, &flusher->lock, in_ms < longest_ms ? in_ms : longest_ms);
        flusher->busy = in_ms <= 0;
        pthread_mutex_unlock(&flusher->lock);
        if (in_ms <= 0)
            return true;
    }
    return false;
}

/* With the flusher's lock held: milliseconds until data is due, 0 or less for now. */
static int64_t due_in_ms(ShEngine *engine)
{
    const ShFlusher *flusher = &engine->flusher;
    if (flusher->due_ms == INT64_MAX)
        return INT64_MAX;
    if (flusher->dirty_cost >= engine->config->flush_bytes)
        return 0;
    return flusher->due_ms - sh_clock_now_ms();
}

static void flush_once(ShEngine *engine)
{
    ShError err = {0};
    ShFlight *flight = sh_flight_new();
    if (flight == NULL) {
        sh_log_error("flush_failed", "reason=\"no memory for an object\"");
        sh_engine_pause(engine, sh_engine_backoff_ms(0));
        return;
    }
    flight->started_us = sh_clock_now_us();
    ShStatus status = collect_dirty(engine, flight, &err);
    sh_results_take(&engine->results, &flight->results, &flight->result_count);
    pthread_mutex_lock(&engine->flusher.lock);
    engine->flusher.results_now = false;
    pthread_mutex_unlock(&engine->flusher.lock);
    if (flight->range_count == 0 && flight->result_count == 0) {
        sh_flight_free(flight);
        return;
    }
    flight->id.publish_no = ++engine->flusher.last_publish_no;
    for (int attempt = 0; status == SH_OK; attempt++) {
        if (sh_flight_build(engine, flight, &err) == SH_OK) {
            sh_metric_observe_us(engine->metrics.flush_duration, sh_clock_now_us() - flight->started_us);
            sh_pipeline_push(&engine->pipeline, flight);
            return;
        }
        sh_log_error("flush_failed", "publish_no=%lld reason=\"%s\"", (long long)flight->id.publish_no,
                     err.message);
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(attempt)))
            break;
    }
    /* The batches are in the WAL, but in no later object: nothing could close this gap. */
    if (status != SH_OK)
        sh_engine_set_fatal(engine, &err);
    /* ... but results may still be told. */
    if (sh_results_add(&engine->results, flight->results, flight->result_count, &err) != SH_OK)
        sh_log_error("results_not_kept", "publish_no=%lld attempt=1 reason=\"%s\"",
                     (long long)flight->id.publish_no, err.message);
    sh_flight_free(flight);
}

static ShStatus collect_dirty(ShEngine *engine, ShFlight *flight, ShError *err)
{
    ShFlusher *flusher = &engine->flusher;
    int64_t cost_max = engine->config->flush_bytes;
    ShPartition *left = NULL;
    ShStatus status = SH_OK;
    while (status == SH_OK && left == NULL && flight->cost < cost_max) {
        ShPartition *partition = pop_dirty(flusher);
        if (partition == NULL)
            break;
        bool more = false;
        status = sh_flight_collect(flight, partition, cost_max - flight->cost, &more, err);
        if (more)
            left = partition;
        else
            sh_partition_unref(partition);
    }
    pthread_mutex_lock(&flusher->lock);
    flusher->dirty_cost -= flight->cost;
    if (left != NULL && !left->dirty) {
        push_dirty(flusher, left);
        left = NULL;
    }
    if (flusher->dirty_first == NULL)
        flusher->due_ms = INT64_MAX;
    pthread_mutex_unlock(&flusher->lock);
    sh_partition_unref(left);
    return status;
}

/* The caller gets the list's reference. From here on new batches make the partition dirty again. */
static ShPartition *pop_dirty(ShFlusher *flusher)
{
    pthread_mutex_lock(&flusher->lock);
    ShPartition *partition = flusher->dirty_first;
    if (partition != NULL) {
        flusher->dirty_first = partition->dirty_next;
        if (flusher->dirty_first == NULL)
            flusher->dirty_last = NULL;
        partition->dirty_next = NULL;
        partition->dirty = false;
    }
    pthread_mutex_unlock(&flusher->lock);
    return partition;
}

/* With the lock held; takes the reference. */
static void push_dirty(ShFlusher *flusher, ShPartition *partition)
{
    if (flusher->dirty_last != NULL)
        flusher->dirty_last->dirty_next = partition;
    else
        flusher->dirty_first = partition;
    flusher->dirty_last = partition;
    partition->dirty = true;
}
