#include "agent/log/control.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/late.h"
#include "agent/log/ownership.h"

/* An owner stops so much before the orphan_timeout: a tenth of it, within these bounds. */
#define ORPHAN_MARGIN_MIN_MS 100
#define ORPHAN_MARGIN_MAX_MS 5000
/* Anybody who may connect may NOTIFY: PostgreSQL is asked what is new at most so often. */
#define NEWS_MS 200

typedef struct ShRefresh {
    struct ShRefresh *next;
    void (*done)(void *arg, ShStatus status, const ShError *err);
    void *arg;
} ShRefresh;

static void *run(void *arg);
static bool is_stopping(ShControl *control);
static bool goes_on(ShEngine *engine);
static ShStatus step(ShEngine *engine, ShRefresh **refreshes, ShError *err);
static ShStatus look(ShEngine *engine, int64_t *as_of_ms, ShError *err);
static void note_versions(ShControl *control, const ShPgVersions *versions);
static ShStatus wait_for_news(ShEngine *engine, ShError *err);
static ShRefresh *take_refreshes(ShControl *control, bool *wanted);
static void answer_refreshes(ShRefresh *refresh, ShStatus status, const ShError *err);
static void forget_outdated(ShEngine *engine);
static bool has_owner_now(ShEngine *engine, const ShPartition *partition);
static void leave_unowned(ShEngine *engine, ShPartition *partition);
static void forget_left(ShEngine *engine);
static bool is_outdated(ShEngine *engine, ShPartition *partition);
static bool forget_if_drained(ShEngine *engine, ShPartition *partition);

void sh_control_init(ShControl *control)
{
    *control = (ShControl){.look_at_ms = INT64_MAX};
    pthread_mutex_init(&control->lock, NULL);
}

ShStatus sh_control_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_thread_start(&engine->control.thread, "sh-control", run, engine, err);
    engine->control.started = status == SH_OK;
    if (status == SH_OK)
        status = sh_heartbeat_start(engine, err);
    return status;
}

void sh_control_stop(ShEngine *engine)
{
    ShControl *control = &engine->control;
    sh_heartbeat_stop(engine);
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
    ShControl *control = &engine->control;
    ShPgMetadata *metadata = NULL;
    ShStatus status = sh_pg_metadata(control->pg, control->metadata_version, &metadata, err);
    if (status != SH_OK)
        return status;
    /* Before the topics: no record of a topic that appears now is to pass unchecked. */
    status = sh_schemas_load(engine, err);
    if (status == SH_OK)
        status = sh_meta_update(&engine->meta, &engine->registered.cluster_id, metadata, err);
    if (status == SH_OK)
        control->metadata_version = metadata->version;
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
    ShHeard heard = sh_heartbeat_heard(engine);
    int64_t as_of_ms = heard.sent_ms;
    note_versions(control, &heard.versions);
    if (wanted || sh_clock_now_ms() >= control->look_at_ms)
        status = look(engine, &as_of_ms, err);
    size_t sealed = 0;
    if (status == SH_OK)
        status = sh_disk_room_step(engine, control->pg, err);
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
        control->assignments_due = status != SH_OK || control->timeouts_told;
    }
    /* What that renewal told of assignments, or something newer, was acted on. */
    if (status == SH_OK && !control->assignments_due)
        atomic_store(&control->confirmed_ms, heard.sent_ms);
    if (status == SH_OK && control->metadata_due) {
        status = sh_control_load_metadata(engine, err);
        control->metadata_due = status != SH_OK;
    }
    if (status == SH_OK)
        status = sh_schemas_step(engine, err);
    if (status == SH_OK)
        sh_schemas_note_fresh(engine, as_of_ms);
    return status;
}

/* Ask for the versions now, and not for what the last heartbeat was told. */
static ShStatus look(ShEngine *engine, int64_t *as_of_ms, ShError *err)
{
    ShControl *control = &engine->control;
    ShPgVersions versions;
    int64_t asked_ms = sh_clock_now_ms();
    ShStatus status = sh_pg_versions(control->pg, engine->registered.incarnation, &versions, err);
    if (status != SH_OK)
        return status;
    control->looked_ms = asked_ms;
    control->look_at_ms = INT64_MAX;
    *as_of_ms = asked_ms;
    note_versions(control, &versions);
    return SH_OK;
}

/* Versions come by two ways: only a higher one is news. */
static void note_versions(ShControl *control, const ShPgVersions *versions)
{
    if (versions->assignment_version > control->assignment_version) {
        control->assignment_version = versions->assignment_version;
        control->assignments_due = true;
    }
    control->metadata_due |= versions->metadata_version > control->metadata_version;
}

/* Until a heartbeat has told something, somebody wakes, or news that came are due to be looked at. */
static ShStatus wait_for_news(ShEngine *engine, ShError *err)
{
    ShControl *control = &engine->control;
    int64_t until_ms = sh_clock_now_ms() + engine->config->heartbeat_interval_ms;
    ShStatus status = SH_OK;
    bool news = !control->assignments_due;
    while (status == SH_OK && news) {
        int64_t now_ms = sh_clock_now_ms();
        int64_t wait_ms = (control->look_at_ms < until_ms ? control->look_at_ms : until_ms) - now_ms;
        if (wait_ms <= 0)
            break;
        status = sh_pg_wait_news(control->pg, wait_ms, &news, err);
        if (news && control->look_at_ms == INT64_MAX)
            control->look_at_ms = control->looked_ms + NEWS_MS;
    }
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
    forget_left(engine);
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
    sh_partition_table_leave(&engine->partitions, partition);
}

/* What was left before its batches were published. */
static void forget_left(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    if (sh_partition_table_list_left(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        bool drained = sh_partition_is_drained(partitions[i]);
        pthread_mutex_unlock(&partitions[i]->mutex);
        if (drained)
            sh_partition_table_forget_left(&engine->partitions, partitions[i]);
    }
    sh_partition_list_free(partitions, count);
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
