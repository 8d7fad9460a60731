#include "agent/log/start_wait.h"

#include <pthread.h>
#include <stdio.h>

#include "agent/log/engine_internal.h"

#define LOG_INTERVAL_MS 10000
#define PAUSE_MAX_MS    2000

/* Of the process: the engine that is starting is nobody's yet. */
static struct {
    pthread_mutex_t lock;
    /* guarded by lock */
    bool waits;
    char what[24];
    int64_t since_ms;
    int64_t logged_ms;
    ShError why;
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ShStatus check_store(ShEngine *engine, ShError *err);
static ShStatus check_postgres(ShEngine *engine, ShError *err);
static ShStatus check_disk(ShEngine *engine, ShError *err);
static const char *name_of(const char *what);

ShStatus sh_start_wait_for_store(ShEngine *engine, ShError *err)
{
    return sh_start_wait_for(engine, "store", check_store, err);
}

ShStatus sh_start_wait_for_postgres(ShEngine *engine, ShError *err)
{
    return sh_start_wait_for(engine, "postgresql", check_postgres, err);
}

ShStatus sh_start_wait_for_disk(ShEngine *engine, ShStartStepFn open, ShError *err)
{
    ShStatus status = sh_start_wait_for(engine, "disk", open, err);
    return status == SH_OK ? sh_start_wait_for(engine, "disk", check_disk, err) : status;
}

ShStatus sh_start_wait_for(ShEngine *engine, const char *what, ShStartStepFn step, ShError *err)
{
    ShError why = {0};
    ShStatus status;
    for (int attempt = 0; (status = step(engine, &why)) != SH_OK && why.retriable; attempt++) {
        int64_t pause_ms = sh_engine_backoff_ms(attempt);
        sh_start_wait_note(what, &why);
        if (!sh_engine_pause(engine, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS))
            break;
    }
    sh_start_wait_over();
    if (status != SH_OK && err != NULL)
        *err = why;
    return status;
}

void sh_start_wait_note(const char *what, const ShError *err)
{
    int64_t now_ms = sh_clock_now_ms();
    pthread_mutex_lock(&waiting.lock);
    bool is_new = !waiting.waits || strcmp(waiting.what, what) != 0;
    if (is_new)
        waiting.since_ms = now_ms;
    bool is_due = is_new || now_ms - waiting.logged_ms >= LOG_INTERVAL_MS;
    if (is_due)
        waiting.logged_ms = now_ms;
    waiting.waits = true;
    snprintf(waiting.what, sizeof waiting.what, "%s", what);
    waiting.why = *err;
    int64_t since_ms = waiting.since_ms;
    pthread_mutex_unlock(&waiting.lock);
    if (is_due)
        sh_log_warn("start_waits", "for=%s ms=%lld status=%s reason=\"%s\"", what,
                    (long long)(now_ms - since_ms), sh_status_name(err->status), err->message);
}

void sh_start_wait_over(void)
{
    pthread_mutex_lock(&waiting.lock);
    waiting.waits = false;
    pthread_mutex_unlock(&waiting.lock);
}

bool sh_engine_start_waits(char *why, size_t why_bytes)
{
    pthread_mutex_lock(&waiting.lock);
    bool waits = waiting.waits;
    if (waits)
        snprintf(why, why_bytes, "the start waits for %s: %s", name_of(waiting.what), waiting.why.message);
    pthread_mutex_unlock(&waiting.lock);
    return waits;
}

static ShStatus check_store(ShEngine *engine, ShError *err)
{
    return sh_store_check(engine->store, err);
}

static ShStatus check_postgres(ShEngine *engine, ShError *err)
{
    return sh_pg_check(engine->control.pg, err);
}

static ShStatus check_disk(ShEngine *engine, ShError *err)
{
    return sh_wal_check_room(engine->wal, err);
}

static const char *name_of(const char *what)
{
    if (strcmp(what, "store") == 0)
        return "the store";
    return strcmp(what, "disk") == 0 ? "room on the disk of its write-ahead log" : "PostgreSQL";
}
