#include "agent/log/control.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/late.h"
#include "agent/log/ownership.h"

/* An owner stops so much before the orphan_timeout: a tenth of it, within these bounds. */
#define ORPHAN_MARGIN_MIN_MS 100
#define ORPHAN_MARGIN_MAX_MS 5000

typedef struct ShRefresh {
    struct ShRefresh *next;
    void (*done)(void *arg, ShStatus status, const ShError *err);
    void *arg;
} ShRefresh;

static void *run(void *arg);
static bool is_stopping(ShControl *control);
static bool goes_on(ShEngine *engine);
static ShStatus step(ShEngine *engine, ShRefresh **refreshes, ShError *err);
static ShStatus heartbeat(ShEngine *engine, ShError *err);
static ShStatus wait_for_news(ShEngine *engine, ShError *err);
static ShRefresh *take_refreshes(ShControl *control, bool *wanted);
static void answer_refreshes(ShRefresh *refresh, ShStatus status, const ShError *err);
static void forget_outdated(ShEngine *engine);
static bool has_owner_now(ShEngine *engine, const ShPartition *partition);
static void leave_unowned(ShEngine *engine, ShPartition *partition);
static bool is_outdated(ShEngine *engine, ShPartition *partition);
static bool forget_if_drained(ShEngine *engine, ShPartition *partition);

void sh_control_init(ShControl *control)
{
    *control = (ShControl){0};
    pthread_mutex_init(&control->lock, NULL);
}

ShStatus sh_control_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_thread_start(&engine->control.thread, "sh-control", run, engine, err);
    engine->control.started = status == SH_OK;
    return status;
}

void sh_control_stop(ShEngine *engine)
{
    ShControl *control = &engine->control;
    pthread_mutex_lock(&control->lock);
    control->stopping = true;
    pthread_mutex_unlock(&control->lock);
    if (control->started) {
        sh_pg_cancel(control->pg);
        sh_pg_wake(control->pg);
        pthread_join(control->thread, NULL);
        control->started = false;
    }
    ShError err = {0};
    bool wanted;
    answer_refreshes(take_refreshes(control, &wanted), sh_fail(&err, SH_UNAVAILABLE, "the agent is stopping"),
                     &err);
}

void sh_control_destroy(ShControl *control)
{
    sh_pg_free(control->pg);
    pthread_mutex_destroy(&control->lock);
}

void sh_control_wake(ShEngine *engine)
{
    if (engine->control.pg != NULL)
        sh_pg_wake(engine->control.pg);
}

void sh_control_refresh(ShEngine *engine)
{
    pthread_mutex_lock(&engine->control.lock);
    engine->control.refresh_wanted = true;
    pthread_mutex_unlock(&engine->control.lock);
    sh_control_wake(engine);
}

void sh_engine_meta_refresh(ShEngine *engine, void (*done)(void *arg, ShStatus status, const ShError *err),
                            void *arg)
{
    ShControl *control = &engine->control;
    ShError err = {0};
    ShRefresh *refresh = malloc(sizeof *refresh);
    if (refresh == NULL) {
        done(arg, sh_fail(&err, SH_NO_MEMORY, "no memory for the call"), &err);
        return;
    }
    *refresh = (ShRefresh){.done = done, .arg = arg};
    pthread_mutex_lock(&control->lock);
    bool stopping = control->stopping || atomic_load(&engine->refusing);
    if (!stopping) {
        if (control->last != NULL)
            control->last->next = refresh;
        else
            control->first = refresh;
        control->last = refresh;
        control->refresh_wanted = true;
    }
    pthread_mutex_unlock(&control->lock);
    if (stopping)
        answer_refreshes(refresh, sh_fail(&err, SH_UNAVAILABLE, "the agent is stopping"), &err);
    else
        sh_control_wake(engine);
}

bool sh_control_is_overdue(ShEngine *engine, const ShPartition *partition)
{
    int64_t timeout_ms = partition->orphan_timeout_ms;
    if (timeout_ms == 0)
        return false;
    int64_t margin_ms = timeout_ms / 10;
    if (margin_ms < ORPHAN_MARGIN_MIN_MS)
        margin_ms = ORPHAN_MARGIN_MIN_MS;
    if (margin_ms > ORPHAN_MARGIN_MAX_MS)
        margin_ms = ORPHAN_MARGIN_MAX_MS;
    return sh_clock_now_ms() - atomic_load(&engine->control.confirmed_ms) > timeout_ms - margin_ms;
}

ShStatus sh_control_load_metadata(ShEngine *engine, ShError *err)
{
    ShPgMetadata *metadata = NULL;
    ShStatus status = sh_pg_metadata(engine->control.pg, &metadata, err);
    if (status != SH_OK)
        return status;
    /* Before the topics: no record of a topic that appears now is to pass unchecked. */
    status = sh_schemas_load(engine, err);
    if (status == SH_OK)
        status = sh_meta_replace(&engine->meta, &engine->registered.cluster_id, metadata, err);
    if (status == SH_OK)
        engine->control.metadata_version = metadata->version;
    sh_pg_metadata_free(metadata);
    if (status == SH_OK) {
        forget_outdated(engine);
        sh_fetch_wake_all(engine);
    }
    return status;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int failures = 0;
    while (goes_on(engine)) {
        ShError err = {0};
        ShRefresh *refreshes = NULL;
        ShStatus status = step(engine, &refreshes, &err);
        answer_refreshes(refreshes, status, &err);
        if (status == SH_OK)
            status = wait_for_news(engine, &err);
        if (status == SH_OK) {
            failures = 0;
            continue;
        }
        if (!goes_on(engine))
            break;
        if (status == SH_FENCED || status == SH_OUTDATED) {
            sh_engine_set_fatal(engine, &err);
            break;
        }
        sh_log_warn("control_failed", "attempt=%d status=%s reason=\"%s\"", failures + 1,
                    sh_status_name(status), err.message);
        sh_engine_pause(engine, sh_engine_backoff_ms(failures++));
    }
    return NULL;
}

static bool is_stopping(ShControl *control)
{
    pthread_mutex_lock(&control->lock);
    bool stopping = control->stopping;
    pthread_mutex_unlock(&control->lock);
    return stopping;
}

/* An engine that has failed keeps no lease: others are to take its partitions over. */
static bool goes_on(ShEngine *engine)
{
    return !is_stopping(&engine->control) && !atomic_load(&engine->refusing);
}

/* Whoever asked for a refresh is answered at the end, when new partitions are taken up too. */
static ShStatus step(ShEngine *engine, ShRefresh **refreshes, ShError *err)
{
    ShControl *control = &engine->control;
    ShStatus status = SH_OK;
    bool wanted;
    *refreshes = take_refreshes(control, &wanted);
    if (wanted || sh_clock_now_ms() >= control->next_heartbeat_ms)
        status = heartbeat(engine, err);
    size_t sealed = 0;
    if (status == SH_OK)
        status = sh_strangers_ask(engine, control->pg, err);
    if (status == SH_OK)
        status = sh_claims_make(engine, control->pg, err);
    if (status == SH_OK)
        status = sh_late_settle(engine, control->pg, err);
    if (status == SH_OK)
        status = sh_ownership_settle(engine, control->pg, &sealed, err);
    control->assignments_due |= sealed > 0;
    if (status == SH_OK && control->assignments_due) {
        status = sh_ownership_update(engine, control->pg, err);
        control->assignments_due = status != SH_OK;
    }
    if (status == SH_OK && !control->assignments_due)
        atomic_store(&control->confirmed_ms, atomic_load(&control->renewed_ms));
    if (status == SH_OK && control->metadata_due) {
        status = sh_control_load_metadata(engine, err);
        control->metadata_due = status != SH_OK;
    }
    if (status == SH_OK)
        status = sh_schemas_step(engine, err);
    if (status == SH_OK)
        sh_schemas_note_fresh(engine, atomic_load(&control->renewed_ms));
    return status;
}

static ShStatus heartbeat(ShEngine *engine, ShError *err)
{
    ShControl *control = &engine->control;
    ShPgHeartbeat answer;
    int64_t sent_ms = sh_clock_now_ms();
    ShStatus status = sh_pg_heartbeat(control->pg, engine->registered.incarnation,
                                      atomic_load(&control->calls), atomic_load(&control->unpublished),
                                      &answer, err);
    if (status != SH_OK)
        return status;
    atomic_store(&control->renewed_ms, sent_ms);
    control->next_heartbeat_ms = sent_ms + engine->config->heartbeat_interval_ms;
    sh_wal_note_calls(engine->wal, answer.calls);
    control->assignments_due |= answer.assignment_version != control->assignment_version;
    control->assignment_version = answer.assignment_version;
    control->metadata_due |= answer.metadata_version != control->metadata_version;
    return SH_OK;
}

static ShStatus wait_for_news(ShEngine *engine, ShError *err)
{
    ShControl *control = &engine->control;
    int64_t wait_ms = control->next_heartbeat_ms - sh_clock_now_ms();
    bool news = false;
    if (wait_ms <= 0 || control->assignments_due)
        return SH_OK;
    ShStatus status = sh_pg_wait_news(control->pg, wait_ms, &news, err);
    if (news)
        control->next_heartbeat_ms = 0; /* it tells what changed */
    return status;
}

static ShRefresh *take_refreshes(ShControl *control, bool *wanted)
{
    pthread_mutex_lock(&control->lock);
    ShRefresh *first = control->first;
    control->first = control->last = NULL;
    *wanted = control->refresh_wanted;
    control->refresh_wanted = false;
    pthread_mutex_unlock(&control->lock);
    return first;
}

static void answer_refreshes(ShRefresh *refresh, ShStatus status, const ShError *err)
{
    while (refresh != NULL) {
        ShRefresh *next = refresh->next;
        refresh->done(refresh->arg, status, err);
        free(refresh);
        refresh = next;
    }
}

/* Partitions of topics that are gone go too, once nothing of them waits for a publish. Those of topics that
 * were `object` until now go at once: they have an owner, who may be another agent, and what waits for a
 * publish here is refused by it. */
static void forget_outdated(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++)
        if (has_owner_now(engine, partitions[i]))
            leave_unowned(engine, partitions[i]);
        else if (is_outdated(engine, partitions[i]) && forget_if_drained(engine, partitions[i]))
            sh_partition_table_remove(&engine->partitions, partitions[i]);
    sh_partition_list_free(partitions, count);
}

static bool has_owner_now(ShEngine *engine, const ShPartition *partition)
{
    bool object_durability;
    return partition->object_durability &&
           sh_meta_durability(&engine->meta, &partition->key.topic_id, &object_durability) &&
           !object_durability;
}

static void leave_unowned(ShEngine *engine, ShPartition *partition)
{
    sh_read_cache_forget(engine, partition);
    sh_partition_table_remove(&engine->partitions, partition);
}

/* Is the topic gone, or the partition handed over because the topic's durability has changed to `object`? */
static bool is_outdated(ShEngine *engine, ShPartition *partition)
{
    bool object_durability;
    if (!sh_meta_durability(&engine->meta, &partition->key.topic_id, &object_durability))
        return true;
    pthread_mutex_lock(&partition->mutex);
    bool left = partition->state == SH_PARTITION_REMOTE && !partition->object_durability;
    pthread_mutex_unlock(&partition->mutex);
    return left && object_durability;
}

static bool forget_if_drained(ShEngine *engine, ShPartition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    bool drained = sh_partition_is_drained(partition) && partition->state != SH_PARTITION_RECOVERING;
    int64_t cost = 0;
    if (drained) {
        sh_partition_leave(partition);
        cost = sh_partition_evict(partition, partition->published);
        sh_producers_clear(&partition->producers);
    }
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    if (drained)
        sh_read_cache_forget(engine, partition);
    return drained;
}
