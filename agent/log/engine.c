#include "agent/log/engine.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/start_wait.h"
#include "agent/log/last_results.h"
#include "agent/log/ownership.h"
#include "agent/log/present.h"
#include "agent/log/recover.h"
#include "agent/log/store_identity.h"
#include "agent/log/term.h"

#ifndef SH_VERSION
#define SH_VERSION "0.1.0"
#endif

#define PG_TIMEOUT_MS 15000
/* A registration may begin a new term, with all that every partition and every garbage object take. */
#define REGISTER_TIMEOUT_MS 600000
#define BACKOFF_FIRST_MS    100
#define BACKOFF_MAX_MS      5000
#define DRAIN_POLL_MS       10
#define END_RETRY_MS        500
/* Memory is short, and something has to be done. */
#define MEMORY_PAUSE_MS 100
/* Connections beside those of readers and the registry: heartbeat, control, publish, admin, bounds, garbage,
 * compaction, snapshots, one that reads a snapshot while it is written, and one to end with. */
#define OWN_CONNECTIONS 10
/* What ranges read from the store may take of the memory budget. */
#define READ_CACHE_SHARE 4
/* What stays free of it for the allocator, of which the pieces never fit together, and for the process. */
#define OVERHEAD_SHARE 4
/* What the states of idempotent producers may take. */
#define PRODUCERS_SHARE 16

static ShStatus init_parts(ShEngine *engine, ShError *err);
static ShStatus open_wal(ShEngine *engine, ShError *err);
static ShStatus join_cluster(ShEngine *engine, ShError *err);
static ShStatus register_agent(ShEngine *engine, const ShPgRegister *request, ShError *err);
static ShStatus warn_of_server(ShEngine *engine, ShError *err);
static void log_problem(const char *problem, void *arg);
static ShStatus start_threads(ShEngine *engine, ShError *err);
static void end_waits(ShEngine *engine);
static void take_waits(ShPartition **partitions, size_t count, ShAppendWait ***waits_end);
static ShStatus wait_released(ShEngine *engine, int64_t deadline_ms, ShError *err);
static ShStatus write_last_results(ShEngine *engine, int64_t deadline_ms, ShError *err);
static ShStatus end_incarnation(ShEngine *engine, ShError *err);

ShStatus sh_engine_start(const ShConfig *config, const char *address, const char *http_address,
                         ShEngine **out, ShError *err)
{
    ShEngine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the engine");
    engine->config = config;
    snprintf(engine->address, sizeof engine->address, "%s", address);
    snprintf(engine->http_address, sizeof engine->http_address, "%s", http_address);
    atomic_store(&engine->recovering, true);
    ShStatus status = init_parts(engine, err);
    if (status == SH_OK)
        status = sh_store_open(config, &engine->store, err);
    if (status == SH_OK)
        status = sh_start_wait_for_store(engine, err);
    if (status == SH_OK)
        status = sh_start_wait_for_disk(engine, open_wal, err);
    if (status == SH_OK)
        status = join_cluster(engine, err);
    if (status == SH_OK)
        status = sh_term_take(engine, err);
    if (status == SH_OK)
        status = sh_present(engine, err);
    if (status == SH_OK)
        status = sh_pipeline_start(engine, err);
    if (status == SH_OK)
        status = sh_flush_start(engine, err);
    if (status == SH_OK)
        status = sh_recover(engine, engine->control.pg, err);
    if (status == SH_OK)
        status = sh_present_end(engine, err);
    if (status == SH_OK)
        status = start_threads(engine, err);
    if (status != SH_OK) {
        sh_engine_stop(engine);
        return status;
    }
    sh_metrics_on_print(sh_log_metrics_refresh, engine);
    *out = engine;
    return SH_OK;
}

ShStatus sh_engine_drain(ShEngine *engine, ShError *err)
{
    int64_t deadline_ms = sh_clock_now_ms() + engine->config->drain_timeout_ms;
    atomic_store(&engine->draining, true);
    ShStatus status = sh_ownership_release_all(engine, err);
    if (status == SH_OK)
        status = wait_released(engine, deadline_ms, err);
    if (status == SH_OK)
        status = write_last_results(engine, deadline_ms, err);
    if (status == SH_OK)
        status = end_incarnation(engine, err);
    sh_fetch_end_waits(engine);
    return status;
}

void sh_engine_end_calls(ShEngine *engine)
{
    engine->ending_since_ms = sh_clock_now_ms();
    atomic_store(&engine->refusing, true);
    sh_admin_stop(engine);
    sh_control_stop(engine); /* answers those that wait for metadata */
    end_waits(engine);
    sh_fetch_end_waits(engine);
}

void sh_engine_stop(ShEngine *engine)
{
    if (engine == NULL)
        return;
    int64_t begun_ms = engine->ending_since_ms > 0 ? engine->ending_since_ms : sh_clock_now_ms();
    sh_metrics_forget_on_print(sh_log_metrics_refresh, engine);
    pthread_mutex_lock(&engine->stop_lock);
    atomic_store(&engine->stopping, true);
    pthread_cond_broadcast(&engine->stop_cond);
    pthread_mutex_unlock(&engine->stop_lock);
    sh_memory_stop(engine);
    sh_admin_stop(engine);
    sh_control_stop(engine);
    sh_bounds_stop(engine);
    sh_garbage_stop(engine);
    sh_snapshot_stop(engine);
    sh_compact_stop(engine);
    sh_read_pool_stop(engine);
    sh_fetch_stop(engine);
    sh_pipeline_stop(engine);
    sh_present_note_end(engine);
    sh_flush_stop(engine);
    sh_last_results_leave(engine, begun_ms);
    sh_wal_close(engine->wal); /* its last group is acknowledged before this returns */
    end_waits(engine);
    sh_pipeline_destroy(&engine->pipeline);
    sh_flush_destroy(&engine->flusher);
    sh_read_cache_destroy(engine);
    sh_memory_destroy(&engine->memory);
    sh_bounds_destroy(&engine->bounds);
    sh_claims_destroy(&engine->claims);
    sh_strangers_destroy(&engine->strangers);
    sh_partition_table_destroy(&engine->partitions);
    sh_fetch_destroy(&engine->fetcher);
    sh_read_pool_destroy(&engine->read_pool);
    sh_read_ahead_destroy(&engine->read_ahead);
    sh_admin_destroy(&engine->admin);
    sh_control_destroy(&engine->control);
    sh_heartbeat_destroy(&engine->heartbeat);
    sh_parked_destroy(&engine->parked);
    sh_results_destroy(&engine->results);
    sh_schemas_destroy(&engine->schemas);
    sh_meta_destroy(&engine->meta);
    sh_store_close(engine->store);
    pthread_cond_destroy(&engine->stop_cond);
    pthread_mutex_destroy(&engine->stop_lock);
    free(engine);
}

bool sh_engine_ready(ShEngine *engine, char *why, size_t why_bytes)
{
    ShError err;
    if (sh_engine_fatal(engine, &err) != SH_OK) {
        snprintf(why, why_bytes, "%s", err.message);
        return false;
    }
    if (atomic_load(&engine->draining)) {
        snprintf(why, why_bytes, "the agent is draining");
        return false;
    }
    int64_t lease_ms = (int64_t)engine->registered.lease_ticks * engine->registered.tick_interval_ms;
    int64_t age_ms = sh_clock_now_ms() - atomic_load(&engine->control.renewed_ms);
    if (age_ms > lease_ms) {
        snprintf(why, why_bytes, "PostgreSQL has not renewed the lease for %" PRId64 " s", age_ms / 1000);
        return false;
    }
    return !sh_wal_lacks_room(engine->wal, why, why_bytes);
}

ShStatus sh_engine_fatal(ShEngine *engine, ShError *err)
{
    pthread_mutex_lock(&engine->stop_lock);
    ShStatus status = engine->fatal.status;
    if (status != SH_OK && err != NULL)
        *err = engine->fatal;
    pthread_mutex_unlock(&engine->stop_lock);
    return status;
}

void sh_engine_set_fatal(ShEngine *engine, const ShError *err)
{
    pthread_mutex_lock(&engine->stop_lock);
    bool first = engine->fatal.status == SH_OK;
    if (first)
        engine->fatal = *err;
    pthread_mutex_unlock(&engine->stop_lock);
    atomic_store(&engine->refusing, true);
    /* Calls that others make until all is over could hide the loss. */
    if (err->status == SH_OUTDATED)
        sh_wal_note_calls(engine->wal, atomic_load(&engine->control.calls) | SH_PG_LOSS_FOUND);
    if (first)
        sh_log_error("engine_failed", "status=%s reason=\"%s\"", sh_status_name(err->status), err->message);
}

ShStatus sh_engine_lost_history(ShEngine *engine, const char *reason, ShError *err)
{
    ShError fatal = {0};
    (void)sh_fail(&fatal, SH_OUTDATED, "the database lost history: %s", reason);
    sh_engine_set_fatal(engine, &fatal);
    if (err != NULL)
        *err = fatal;
    return fatal.status;
}

bool sh_engine_pause(ShEngine *engine, int64_t ms)
{
    int64_t until_ms = sh_clock_now_ms() + ms;
    pthread_mutex_lock(&engine->stop_lock);
    while (!atomic_load(&engine->stopping) && sh_clock_now_ms() < until_ms)
        sh_cond_wait_ms(&engine->stop_cond, &engine->stop_lock, until_ms - sh_clock_now_ms());
    pthread_mutex_unlock(&engine->stop_lock);
    return !atomic_load(&engine->stopping);
}

int64_t sh_engine_backoff_ms(int attempt)
{
    int64_t bound_ms = BACKOFF_FIRST_MS;
    for (int i = 0; i < attempt && bound_ms < BACKOFF_MAX_MS; i++)
        bound_ms *= 2;
    if (bound_ms > BACKOFF_MAX_MS)
        bound_ms = BACKOFF_MAX_MS;
    return bound_ms / 2 + random() % (bound_ms / 2 + 1);
}

ShStatus sh_engine_pg(ShEngine *engine, const char *role, ShPg **out, ShError *err)
{
    return sh_engine_pg_within(engine, role, PG_TIMEOUT_MS, out, err);
}

ShStatus sh_engine_pg_within(ShEngine *engine, const char *role, int64_t timeout_ms, ShPg **out, ShError *err)
{
    char name[64];
    snprintf(name, sizeof name, "streamhouse-agent %.20s %s", engine->config->agent_id, role);
    ShStatus status = sh_pg_new(engine->config->postgres, name, timeout_ms, out, err);
    if (status == SH_OK)
        sh_pg_guard(*out, engine->registered.incarnation, &engine->control.calls);
    return status;
}

/* What must be there for sh_engine_stop to take apart, whatever fails later. */
static ShStatus init_parts(ShEngine *engine, ShError *err)
{
    const ShConfig *config = engine->config;
    static const ShUuid no_cluster;
    pthread_mutex_init(&engine->stop_lock, NULL);
    ShStatus status = sh_cond_init(&engine->stop_cond, err);
    sh_log_metrics_init(&engine->metrics);
    sh_memory_init(&engine->memory,
                   config->memory_budget_bytes - config->memory_budget_bytes / OVERHEAD_SHARE);
    sh_read_cache_init(&engine->read_cache, config->memory_budget_bytes / READ_CACHE_SHARE);
    sh_partition_table_init(&engine->partitions);
    sh_results_init(&engine->results);
    sh_claims_init(&engine->claims);
    engine->producer_budget.count_max = config->memory_budget_bytes / PRODUCERS_SHARE /
                                        SH_PRODUCER_STATE_BYTES;
    if (status == SH_OK)
        status = sh_strangers_init(&engine->strangers, err);
    sh_control_init(&engine->control);
    sh_disk_room_init(&engine->disk_room);
    sh_garbage_init(&engine->garbage);
    sh_snapshot_init(&engine->snapshotter);
    sh_compact_init(&engine->compactor);
    if (status == SH_OK)
        status = sh_parked_init(&engine->parked, err);
    if (status == SH_OK)
        status = sh_heartbeat_init(&engine->heartbeat, err);
    if (status == SH_OK)
        status = sh_flush_init(&engine->flusher, err);
    if (status == SH_OK)
        status = sh_pipeline_init(&engine->pipeline, 2 * (int)config->uploads_max, err);
    if (status == SH_OK)
        status = sh_fetch_init(&engine->fetcher, err);
    if (status == SH_OK)
        status = sh_read_pool_init(&engine->read_pool, err);
    if (status == SH_OK)
        status = sh_read_ahead_init(&engine->read_ahead, err);
    if (status == SH_OK)
        status = sh_bounds_init(&engine->bounds, err);
    if (status == SH_OK)
        status = sh_admin_init(&engine->admin, err);
    if (status == SH_OK)
        status = sh_meta_init(&engine->meta, &no_cluster, err);
    if (status == SH_OK)
        status = sh_schemas_init(&engine->schemas, err);
    if (status == SH_OK)
        status = sh_boot_id(engine->boot_id, err);
    return status;
}

static ShStatus open_wal(ShEngine *engine, ShError *err)
{
    const ShConfig *config = engine->config;
    ShWalOptions options = {.dir = config->wal_dir,
                            .sync = config->wal_sync,
                            .sync_interval_ms = config->wal_sync_interval_ms,
                            .file_bytes = config->wal_file_bytes,
                            .budget_bytes = config->wal_budget_bytes,
                            .skip_corruption = config->wal_corruption == SH_WAL_CORRUPTION_SKIP,
                            .on_written = sh_append_on_written,
                            .arg = engine};
    return sh_wal_open(&options, &engine->wal, &engine->identity, err);
}

static ShStatus join_cluster(ShEngine *engine, ShError *err)
{
    ShControl *control = &engine->control;
    ShStatus status = sh_engine_pg(engine, "control", &control->pg, err);
    if (status == SH_OK)
        status = sh_start_wait_for_postgres(engine, err);
    if (status == SH_OK)
        status = sh_store_identity_start(engine, err);
    if (status != SH_OK)
        return status;
    ShPgRegister request = {.agent_id = engine->config->agent_id,
                            .wal_uuid = engine->identity.wal_uuid,
                            .incarnation_no = engine->identity.incarnation_no,
                            .address = engine->address,
                            .http_address = engine->http_address,
                            .zone = engine->config->zone,
                            .boot_id = engine->boot_id,
                            .version = SH_VERSION,
                            .calls_seen = engine->identity.calls_seen};
    int64_t sent_ms = sh_clock_now_ms();
    status = register_agent(engine, &request, err);
    if (status != SH_OK)
        return status;
    atomic_store(&control->renewed_ms, sent_ms);
    atomic_store(&control->confirmed_ms, sent_ms);
    atomic_store(&control->calls, engine->registered.calls);
    sh_wal_note_calls(engine->wal, engine->registered.calls);
    sh_pg_guard(control->pg, engine->registered.incarnation, &control->calls);
    sh_log_info("registered", "agent=%s incarnation=%" PRId64 " term=%" PRId64, engine->config->agent_id,
                engine->registered.incarnation, engine->registered.term);
    status = warn_of_server(engine, err);
    return status == SH_OK ? sh_control_load_metadata(engine, err) : status;
}

static ShStatus register_agent(ShEngine *engine, const ShPgRegister *request, ShError *err)
{
    char name[64];
    ShPg *pg = NULL;
    snprintf(name, sizeof name, "streamhouse-agent %.20s registration", engine->config->agent_id);
    ShStatus status = sh_pg_new(engine->config->postgres, name, REGISTER_TIMEOUT_MS, &pg, err);
    if (status == SH_OK)
        status = sh_pg_register(pg, request, &engine->registered, err);
    sh_pg_free(pg);
    return status;
}

/* What would be noticed only when it is needed: workers that do not tick, connections that will be refused.
 */
static ShStatus warn_of_server(ShEngine *engine, ShError *err)
{
    const ShConfig *config = engine->config;
    ShPgNeeds needs = {.connections = OWN_CONNECTIONS + config->read_threads,
                       .heartbeat_ms = config->heartbeat_interval_ms,
                       .marker_ms = sh_garbage_marker_interval_ms(config)};
    if (config->schema_registry_enabled)
        needs.connections += config->schema_registry_connections;
    return sh_pg_advice(engine->control.pg, &needs, log_problem, NULL, err);
}

static void log_problem(const char *problem, void *arg)
{
    (void)arg;
    sh_log_warn("server_unfit", "reason=\"%s\"", problem);
}

static ShStatus start_threads(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_memory_start(engine, err);
    if (status == SH_OK)
        status = sh_fetch_start(engine, err);
    if (status == SH_OK)
        status = sh_read_pool_start(engine, err);
    if (status == SH_OK)
        status = sh_bounds_start(engine, err);
    if (status == SH_OK)
        status = sh_admin_start(engine, err);
    atomic_store(&engine->recovering, false);
    if (status == SH_OK)
        status = sh_ownership_update(engine, engine->control.pg, err);
    if (status == SH_OK)
        status = sh_control_load_metadata(engine, err);
    if (status == SH_OK)
        status = sh_control_start(engine, err);
    if (status == SH_OK)
        status = sh_garbage_start(engine, err);
    if (status == SH_OK)
        status = sh_snapshot_start(engine, err);
    if (status == SH_OK)
        status = sh_compact_start(engine, err);
    return status;
}

/* Answer the calls whose batches have no outcome yet, and may have none in this process. */
static void end_waits(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    ShAppendWait *waits = NULL;
    ShAppendWait **waits_end = &waits;
    while (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        (void)poll(NULL, 0, MEMORY_PAUSE_MS); /* somebody has to tell them */
    take_waits(partitions, count, &waits_end);
    while (sh_partition_table_list_left(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        (void)poll(NULL, 0, MEMORY_PAUSE_MS);
    take_waits(partitions, count, &waits_end);
    ShError err = {0};
    (void)sh_fail_retry_after(
        &err,
        sh_fail(&err, SH_CANCELLED,
                "the agent stopped before the records were acknowledged: whether they are stored "
                "is open"),
        END_RETRY_MS);
    sh_append_answer(engine, waits, &err);
}

/* Frees the list. */
static void take_waits(ShPartition **partitions, size_t count, ShAppendWait ***waits_end)
{
    for (size_t i = 0; i < count; i++) {
        ShBatchRing *ring = &partitions[i]->ring;
        pthread_mutex_lock(&partitions[i]->mutex);
        for (uint64_t seq = ring->first; seq < ring->end; seq++)
            sh_append_take_waits(sh_batch_ring_at(ring, seq), waits_end);
        pthread_mutex_unlock(&partitions[i]->mutex);
    }
    sh_partition_list_free(partitions, count);
}

static ShStatus wait_released(ShEngine *engine, int64_t deadline_ms, ShError *err)
{
    for (;;) {
        size_t left = sh_ownership_count(engine);
        if (left == 0 && sh_flush_is_idle(engine) && sh_pipeline_is_empty(&engine->pipeline))
            return SH_OK;
        if (sh_engine_fatal(engine, err) != SH_OK)
            return err == NULL ? SH_INTERNAL : err->status;
        if (sh_clock_now_ms() >= deadline_ms)
            return sh_fail(err, SH_TIMEOUT,
                           "%zu partitions are not handed over within drain_timeout; %" PRId64
                           " batches stay in the "
                           "write-ahead log %s for the next start",
                           left, sh_wal_batches(engine->wal), engine->config->wal_dir);
        sh_flush_now(engine);
        sh_engine_pause(engine, DRAIN_POLL_MS);
    }
}

/* What no later object would carry. */
static ShStatus write_last_results(ShEngine *engine, int64_t deadline_ms, ShError *err)
{
    if (sh_results_due_ms(&engine->results) == INT64_MAX)
        return SH_OK;
    sh_flush_results_now(engine);
    while (!sh_flush_is_idle(engine) || !sh_pipeline_is_empty(&engine->pipeline)) {
        if (sh_clock_now_ms() >= deadline_ms)
            return sh_fail(err, SH_TIMEOUT,
                           "the results of the last publishes are not in the store within drain_timeout");
        sh_engine_pause(engine, DRAIN_POLL_MS);
    }
    return SH_OK;
}

static ShStatus end_incarnation(ShEngine *engine, ShError *err)
{
    ShPg *pg = NULL;
    sh_control_stop(engine); /* heartbeats would find the incarnation ended */
    ShStatus status = sh_engine_pg(engine, "drain", &pg, err);
    if (status == SH_OK)
        status = sh_pg_end(pg, engine->registered.incarnation, err);
    sh_pg_free(pg);
    if (status == SH_OK)
        sh_log_info("drained", "agent=%s wal_batches=%" PRId64, engine->config->agent_id,
                    sh_wal_batches(engine->wal));
    return status;
}
