#include "agent/log/garbage.h"

#include <inttypes.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/marker.h"

/* How late an agent may learn that a log starts higher. */
#define LOG_STARTS_INTERVAL_MS 1000
/* How often it is asked, at least, whether the marker in the store is to be renewed. */
#define MARKER_INTERVAL_MS 10000
/* Objects of one call: few, since they are nobody else's until they are confirmed. A round ends in time for
 * the markers, however slowly the store deletes; the next one follows at once if there is more. */
#define OBJECTS_MAX 20
#define ROUND_MS    2000

static void *run(void *arg);
static ShStatus step(ShEngine *engine, int64_t *round_due_ms, ShError *err);
static ShStatus follow_log_starts(ShEngine *engine, ShError *err);
static ShStatus delete_garbage(ShEngine *engine, bool *more, ShError *err);
static ShStatus delete_objects(ShEngine *engine, const ShPgGarbage *objects, size_t count, int64_t end_ms,
                               ShUuid *deleted, size_t *deleted_count, ShError *err);

void sh_garbage_init(ShGarbage *garbage)
{
    *garbage = (ShGarbage){0};
    garbage->log_starts_moved = sh_metric_counter("streamhouse_log_starts_moved_total", NULL,
                                                  "Log starts of partitions used here that moved up.");
    garbage->objects_deleted = sh_metric_counter("streamhouse_garbage_objects_deleted_total", NULL,
                                                 "Objects deleted from the store.");
    garbage->bytes_deleted = sh_metric_counter("streamhouse_garbage_bytes_deleted_total", NULL,
                                               "Bytes of the objects deleted from the store.");
    garbage->objects_given_up = sh_metric_counter("streamhouse_garbage_objects_given_up_total", NULL,
                                                  "Objects found in the store that nobody can publish.");
}

ShStatus sh_garbage_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_engine_pg(engine, "garbage", &engine->garbage.pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&engine->garbage.thread, "sh-garbage", run, engine, err);
    engine->garbage.started = status == SH_OK;
    return status;
}

void sh_garbage_stop(ShEngine *engine)
{
    ShGarbage *garbage = &engine->garbage;
    if (garbage->started) {
        sh_pg_cancel(garbage->pg);
        pthread_join(garbage->thread, NULL);
        garbage->started = false;
    }
    sh_pg_free(garbage->pg);
    garbage->pg = NULL;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int64_t interval_ms = engine->config->garbage_interval_ms;
    int64_t wait_ms = interval_ms < LOG_STARTS_INTERVAL_MS ? interval_ms : LOG_STARTS_INTERVAL_MS;
    int64_t round_due_ms = sh_clock_now_ms() + interval_ms;
    int failures = 0;
    while (sh_engine_pause(engine, failures > 0 ? sh_engine_backoff_ms(failures) : wait_ms)) {
        ShError err = {0};
        ShStatus status = step(engine, &round_due_ms, &err);
        if (status == SH_FENCED) /* or ended by the drain; the control thread knows which */
            break;
        failures = status == SH_OK ? 0 : failures + 1;
        if (status != SH_OK && !atomic_load(&engine->stopping))
            sh_log_warn("garbage_failed", "attempt=%d status=%s reason=\"%s\"", failures,
                        sh_status_name(status), err.message);
    }
    return NULL;
}

static ShStatus step(ShEngine *engine, int64_t *round_due_ms, ShError *err)
{
    ShStatus status = follow_log_starts(engine, err);
    if (status == SH_OK)
        status = sh_garbage_renew_marker(engine, err);
    if (status != SH_OK || sh_clock_now_ms() < *round_due_ms || atomic_load(&engine->draining))
        return status;
    bool more = false;
    status = delete_garbage(engine, &more, err);
    *round_due_ms = sh_clock_now_ms() + (more ? 0 : engine->config->garbage_interval_ms);
    return status == SH_OK ? sh_garbage_scan(engine, err) : status;
}

int64_t sh_garbage_marker_interval_ms(const ShConfig *config)
{
    return config->garbage_interval_ms < MARKER_INTERVAL_MS ? config->garbage_interval_ms
                                                            : MARKER_INTERVAL_MS;
}

ShStatus sh_garbage_renew_marker(ShEngine *engine, ShError *err)
{
    int64_t now_ms = sh_clock_now_ms();
    if (now_ms < engine->garbage.marker_due_ms || atomic_load(&engine->draining))
        return SH_OK;
    engine->garbage.marker_due_ms = now_ms + sh_garbage_marker_interval_ms(engine->config);
    return sh_marker_renew(engine, err);
}

static ShStatus follow_log_starts(ShEngine *engine, ShError *err)
{
    ShGarbage *garbage = &engine->garbage;
    ShPgLogStart *moved = NULL;
    size_t count = 0;
    ShStatus status = sh_pg_log_starts(garbage->pg, garbage->log_start_version, &moved, &count, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        ShPartition *partition = sh_partition_table_get(&engine->partitions, &moved[i].topic_id,
                                                        moved[i].partition);
        garbage->log_start_version = moved[i].version;
        if (partition == NULL)
            continue; /* it asks for its bounds when it is first read */
        pthread_mutex_lock(&partition->mutex);
        if (moved[i].log_start > partition->log_start) {
            partition->log_start = moved[i].log_start;
            sh_metric_add(garbage->log_starts_moved, 1);
            sh_fetch_wake(engine, partition);
        }
        pthread_mutex_unlock(&partition->mutex);
        sh_partition_unref(partition);
    }
    free(moved);
    return SH_OK;
}

/* One round: what is due, for a while; `*more`: there was more. What the store does not delete now is asked
 * for again. */
static ShStatus delete_garbage(ShEngine *engine, bool *more, ShError *err)
{
    int64_t end_ms = sh_clock_now_ms() + ROUND_MS;
    ShGarbage *garbage = &engine->garbage;
    ShStatus status = SH_OK;
    size_t count = OBJECTS_MAX;
    ShUuid *deleted = calloc(OBJECTS_MAX, sizeof *deleted);
    if (deleted == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to delete objects");
    while (status == SH_OK && count == OBJECTS_MAX && sh_clock_now_ms() < end_ms) {
        ShPgGarbage *objects = NULL;
        size_t deleted_count = 0;
        status = sh_garbage_renew_marker(engine, err);
        if (status != SH_OK)
            break;
        status = sh_pg_garbage(garbage->pg, engine->registered.incarnation, OBJECTS_MAX, &objects, &count,
                               err);
        if (status != SH_OK || count == 0) {
            free(objects);
            break;
        }
        status = delete_objects(engine, objects, count, end_ms, deleted, &deleted_count, err);
        free(objects);
        ShError done_err = {0};
        ShStatus done = SH_OK;
        if (deleted_count > 0)
            done = sh_pg_garbage_done(garbage->pg, engine->registered.incarnation, deleted, deleted_count,
                                      &done_err);
        if (status == SH_OK && done != SH_OK) {
            status = done;
            *err = done_err;
        }
    }
    *more = status == SH_OK && count == OBJECTS_MAX;
    free(deleted);
    return status;
}

/* `deleted` gets those that are gone, also before a failure. One is tried in any case. */
static ShStatus delete_objects(ShEngine *engine, const ShPgGarbage *objects, size_t count, int64_t end_ms,
                               ShUuid *deleted, size_t *deleted_count, ShError *err)
{
    int64_t bytes = 0;
    ShStatus status = SH_OK;
    for (size_t i = 0; i < count && status == SH_OK && !atomic_load(&engine->stopping); i++) {
        if (i > 0 && sh_clock_now_ms() >= end_ms)
            break;
        status = sh_store_delete(engine->store, objects[i].object_key, err);
        if (status != SH_OK)
            break;
        deleted[(*deleted_count)++] = objects[i].object_id;
        bytes += objects[i].bytes;
    }
    sh_metric_add(engine->garbage.objects_deleted, (int64_t)*deleted_count);
    sh_metric_add(engine->garbage.bytes_deleted, bytes);
    if (*deleted_count > 0)
        sh_log_info("garbage_deleted", "objects=%zu bytes=%" PRId64, *deleted_count, bytes);
    return status;
}
