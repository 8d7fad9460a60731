#include "agent/log/heartbeat.h"

#include "agent/log/engine_internal.h"

/* A call that takes longer than this share of the lease is given up, and tried on another connection. */
#define TIMEOUT_OF_LEASE 3
#define TIMEOUT_MIN_MS   1000
#define TIMEOUT_MAX_MS   15000

static void *run(void *arg);
static ShStatus beat(ShEngine *engine, ShError *err);
static bool pause_for(ShHeartbeat *heartbeat, int64_t ms);

ShStatus sh_heartbeat_init(ShHeartbeat *heartbeat, ShError *err)
{
    *heartbeat = (ShHeartbeat){0};
    pthread_mutex_init(&heartbeat->lock, NULL);
    return sh_cond_init(&heartbeat->wake, err);
}

ShStatus sh_heartbeat_start(ShEngine *engine, ShError *err)
{
    ShHeartbeat *heartbeat = &engine->heartbeat;
    int64_t timeout_ms = (int64_t)engine->registered.lease_ticks * engine->registered.tick_interval_ms /
                         TIMEOUT_OF_LEASE;
    timeout_ms = timeout_ms < TIMEOUT_MIN_MS   ? TIMEOUT_MIN_MS
                 : timeout_ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS
                                               : timeout_ms;
    pthread_mutex_lock(&heartbeat->lock); /* the control thread asks already */
    heartbeat->heard = (ShHeard){.sent_ms = atomic_load(&engine->control.renewed_ms)};
    pthread_mutex_unlock(&heartbeat->lock);
    ShStatus status = sh_engine_pg_within(engine, "lease", timeout_ms, &heartbeat->pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&heartbeat->thread, "sh-lease", run, engine, err);
    heartbeat->started = status == SH_OK;
    return status;
}

void sh_heartbeat_stop(ShEngine *engine)
{
    ShHeartbeat *heartbeat = &engine->heartbeat;
    pthread_mutex_lock(&heartbeat->lock);
    heartbeat->stopping = true;
    pthread_cond_signal(&heartbeat->wake);
    pthread_mutex_unlock(&heartbeat->lock);
    if (heartbeat->started) {
        sh_pg_cancel(heartbeat->pg);
        pthread_join(heartbeat->thread, NULL);
        heartbeat->started = false;
    }
}

void sh_heartbeat_destroy(ShHeartbeat *heartbeat)
{
    sh_pg_free(heartbeat->pg);
    pthread_cond_destroy(&heartbeat->wake);
    pthread_mutex_destroy(&heartbeat->lock);
}

ShHeard sh_heartbeat_heard(ShEngine *engine)
{
    pthread_mutex_lock(&engine->heartbeat.lock);
    ShHeard heard = engine->heartbeat.heard;
    pthread_mutex_unlock(&engine->heartbeat.lock);
    return heard;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int failures = 0;
    int64_t wait_ms = 0;
    while (pause_for(&engine->heartbeat, wait_ms) && !atomic_load(&engine->refusing)) {
        ShError err = {0};
        ShStatus status = beat(engine, &err);
        if (status == SH_OK) {
            failures = 0;
            wait_ms = engine->config->heartbeat_interval_ms;
            continue;
        }
        if (!pause_for(&engine->heartbeat, 0))
            break;
        if (status == SH_FENCED || status == SH_OUTDATED) {
            sh_engine_set_fatal(engine, &err);
            break;
        }
        sh_log_warn("heartbeat_failed", "attempt=%d status=%s reason=\"%s\"", failures + 1,
                    sh_status_name(status), err.message);
        wait_ms = sh_engine_backoff_ms(failures++);
        if (wait_ms > engine->config->heartbeat_interval_ms)
            wait_ms = engine->config->heartbeat_interval_ms;
    }
    return NULL;
}

static ShStatus beat(ShEngine *engine, ShError *err)
{
    ShControl *control = &engine->control;
    ShHeartbeat *heartbeat = &engine->heartbeat;
    ShPgHeartbeat answer;
    int64_t sent_ms = sh_clock_now_ms();
    ShStatus status = sh_pg_heartbeat(heartbeat->pg, engine->registered.incarnation,
                                      atomic_load(&control->calls), atomic_load(&control->unpublished),
                                      &answer, err);
    if (status != SH_OK)
        return status;
    atomic_store(&control->renewed_ms, sent_ms);
    sh_wal_note_calls(engine->wal, answer.calls);
    ShHeard heard = {.sent_ms = sent_ms,
                     .versions = {.assignment_version = answer.assignment_version,
                                  .metadata_version = answer.metadata_version}};
    pthread_mutex_lock(&heartbeat->lock);
    bool is_news = heard.versions.assignment_version != heartbeat->heard.versions.assignment_version ||
                   heard.versions.metadata_version != heartbeat->heard.versions.metadata_version;
    heartbeat->heard = heard;
    pthread_mutex_unlock(&heartbeat->lock);
    if (is_news)
        sh_control_wake(engine);
    return SH_OK;
}

/* False when stopping. */
static bool pause_for(ShHeartbeat *heartbeat, int64_t ms)
{
    int64_t until_ms = sh_clock_now_ms() + ms;
    pthread_mutex_lock(&heartbeat->lock);
    for (int64_t left_ms = ms; left_ms > 0 && !heartbeat->stopping; left_ms = until_ms - sh_clock_now_ms())
        sh_cond_wait_ms(&heartbeat->wake, &heartbeat->lock, left_ms);
    bool going_on = !heartbeat->stopping;
    pthread_mutex_unlock(&heartbeat->lock);
    return going_on;
}
