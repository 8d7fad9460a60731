#include "agent/log/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/snapshot_manifest.h"

/* How often it is asked, at least, whether a snapshot is due. */
#define INTERVAL_MS 10000
#define OLD_MAX     256 /* objects of one listing */
/* Whether one that is written counts is asked so often, if no answer comes. */
#define DONE_MAX 8

typedef struct Old {
    int64_t below;
    char keys[OLD_MAX][SH_SNAPSHOT_KEY_BYTES];
    size_t count;
} Old;

static void *run(void *arg);
static ShStatus step(ShEngine *engine, ShError *err);
static ShStatus make(ShEngine *engine, int64_t number, ShError *err);
static ShStatus report_done(ShEngine *engine, int64_t number, uint64_t bytes, int64_t *keep_from,
                            ShError *err);
static ShStatus give_up(ShEngine *engine, int64_t below, ShError *err);
static ShStatus delete_below(ShEngine *engine, int64_t below, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);

void sh_snapshot_init(ShSnapshotter *snapshotter)
{
    *snapshotter = (ShSnapshotter){.lock = PTHREAD_MUTEX_INITIALIZER};
    snapshotter->written = sh_metric_counter("streamhouse_snapshots_total", NULL,
                                             "Snapshots of the index written into the store.");
    snapshotter->bytes = sh_metric_gauge("streamhouse_snapshot_bytes", NULL,
                                         "Size of the last snapshot in the store that this agent wrote.");
    snapshotter->failures = sh_metric_counter("streamhouse_snapshot_failures_total", NULL,
                                              "Snapshots of the index that this agent could not write.");
}

ShStatus sh_snapshot_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_engine_pg(engine, "snapshot", &engine->snapshotter.pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&engine->snapshotter.thread, "sh-snapshot", run, engine, err);
    engine->snapshotter.started = status == SH_OK;
    return status;
}

void sh_snapshot_stop(ShEngine *engine)
{
    ShSnapshotter *snapshotter = &engine->snapshotter;
    if (snapshotter->started) {
        sh_pg_cancel(snapshotter->pg);
        pthread_mutex_lock(&snapshotter->lock);
        if (snapshotter->reader != NULL)
            sh_pg_cancel(snapshotter->reader);
        pthread_mutex_unlock(&snapshotter->lock);
        pthread_join(snapshotter->thread, NULL);
        snapshotter->started = false;
    }
    sh_pg_free(snapshotter->pg);
    snapshotter->pg = NULL;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int64_t interval_ms = engine->config->garbage_interval_ms;
    int64_t wait_ms = interval_ms < INTERVAL_MS ? interval_ms : INTERVAL_MS;
    int failures = 0;
    while (sh_engine_pause(engine, failures > 0 ? sh_engine_backoff_ms(failures) : wait_ms)) {
        ShError err = {0};
        if (atomic_load(&engine->draining))
            continue;
        ShStatus status = step(engine, &err);
        if (status == SH_FENCED) /* or ended by the drain; the control thread knows which */
            break;
        failures = status == SH_OK ? 0 : failures + 1;
        if (status != SH_OK && !atomic_load(&engine->stopping))
            sh_log_warn("snapshots_failed", "attempt=%d status=%s reason=\"%s\"", failures,
                        sh_status_name(status), err.message);
    }
    return NULL;
}

static ShStatus step(ShEngine *engine, ShError *err)
{
    ShPgSnapshotClaim claim;
    ShStatus status = sh_pg_snapshot_claim(engine->snapshotter.pg, engine->registered.incarnation, &claim,
                                           err);
    if (status != SH_OK)
        return status;
    if (claim.give_up_below > 0)
        return give_up(engine, claim.give_up_below, err);
    return claim.number > 0 ? make(engine, claim.number, err) : SH_OK;
}

/* PostgreSQL says when the next attempt is due: that one failed is no failure of this call. */
static ShStatus make(ShEngine *engine, int64_t number, ShError *err)
{
    ShSnapshotter *snapshotter = &engine->snapshotter;
    uint64_t bytes = 0;
    int64_t keep_from = 0;
    int64_t began_ms = sh_clock_now_ms();
    ShError failure = {0};
    ShStatus status = sh_snapshot_write(engine, number, &bytes, &failure);
    if (status == SH_OK)
        status = report_done(engine, number, bytes, &keep_from, &failure);
    if (status != SH_OK) {
        /* SH_EXISTS: left behind by a database that was rebuilt from an older one. The next number is free,
         * or the one after. */
        sh_metric_add(snapshotter->failures, 1);
        sh_log_warn("snapshot_failed", "number=%" PRId64 " ms=%" PRId64 " status=%s reason=\"%s\"", number,
                    sh_clock_now_ms() - began_ms, sh_status_name(status), failure.message);
        return sh_pg_snapshot_failed(snapshotter->pg, engine->registered.incarnation, number, failure.message,
                                     err);
    }
    sh_metric_add(snapshotter->written, 1);
    sh_metric_set(snapshotter->bytes, (int64_t)bytes);
    sh_log_info("snapshot_written", "number=%" PRId64 " bytes=%" PRIu64 " ms=%" PRId64, number, bytes,
                sh_clock_now_ms() - began_ms);
    return delete_below(engine, keep_from, err);
}

/* What took long to write is not thrown away because an answer was lost. */
static ShStatus report_done(ShEngine *engine, int64_t number, uint64_t bytes, int64_t *keep_from,
                            ShError *err)
{
    ShPg *pg = engine->snapshotter.pg;
    int64_t incarnation = engine->registered.incarnation;
    ShStatus status = sh_pg_snapshot_done(pg, incarnation, number, bytes, keep_from, err);
    for (int i = 1; status == SH_UNAVAILABLE && i < DONE_MAX; i++) {
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(i)))
            break;
        status = sh_pg_snapshot_done(pg, incarnation, number, bytes, keep_from, err);
    }
    if (status == SH_OK && *keep_from == 0)
        status = sh_fail(err, SH_CANCELLED, "it was no longer this agent's to write");
    return status;
}

/* First from the store, then from what holds up deletion: no snapshot that is there refers to what is not. */
static ShStatus give_up(ShEngine *engine, int64_t below, ShError *err)
{
    ShStatus status = delete_below(engine, below, err);
    if (status == SH_OK && !atomic_load(&engine->stopping)) {
        status = sh_pg_snapshots_gone(engine->snapshotter.pg, engine->registered.incarnation, below, err);
        if (status == SH_OK)
            sh_log_error("snapshots_given_up",
                         "below=%" PRId64 " reason=\"no new one could be finished within "
                         "streamhouse.snapshot_hold, and these held up deletion\" "
                         "see=\"streamhouse.snapshot_status\"",
                         below);
    }
    return status;
}

/* What was broken off goes too. A manifest goes after its parts; without them it is found out by whoever
 * reads it. */
static ShStatus delete_below(ShEngine *engine, int64_t below, ShError *err)
{
    Old *old = calloc(1, sizeof *old);
    if (old == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to delete old snapshots");
    ShStatus status = SH_OK;
    do {
        *old = (Old){.below = below};
        status = sh_store_list(engine->store, SH_SNAPSHOT_PREFIX, on_listed, old, err);
        for (size_t i = 0; i < old->count && status == SH_OK && !atomic_load(&engine->stopping); i++)
            status = sh_store_delete(engine->store, old->keys[i], err);
    } while (status == SH_OK && old->count == OLD_MAX && !atomic_load(&engine->stopping));
    free(old);
    return status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    Old *old = arg;
    bool is_manifest;
    int64_t number = sh_snapshot_number(key, &is_manifest);
    if (number > 0 && number < old->below && strlen(key) < SH_SNAPSHOT_KEY_BYTES)
        strcpy(old->keys[old->count++], key);
    return old->count < OLD_MAX;
}
