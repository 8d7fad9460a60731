#include "agent/log/ownership.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/producer_load.h"

/* Partitions that one call asks about, with references. */
typedef struct Batch {
    ShPartition **partitions;
    ShPgPartition *names;
    ShPgEpoch *epochs; /* answers; for an open also what the grant had said */
    size_t count;
} Batch;

static ShStatus batch_init(Batch *batch, size_t capacity, ShError *err);
static void batch_free(Batch *batch);
static void batch_add(Batch *batch, ShPartition *partition, const ShPgEpoch *epoch);
static ShStatus take_up(ShEngine *engine, const ShPgAssignment *row, Batch *grants, Batch *opens,
                        Batch *begins, ShError *err);
static ShPartition *partition_of(ShEngine *engine, const ShPgAssignment *row);
static void set_opening(const ShEngine *engine, ShPartition *partition);
static void finish(ShEngine *engine, ShPartition *partition, const ShPgAssignment *row,
                   ShPartitionState state);
static ShStatus leave_unlisted(ShEngine *engine, const ShPgAssignments *told, ShError *err);
static bool leave_if_unlisted(ShEngine *engine, ShPartition *partition);
static ShStatus grant(ShEngine *engine, ShPg *pg, Batch *grants, Batch *opens, ShError *err);
static ShStatus open_epochs(ShEngine *engine, ShPg *pg, Batch *opens, Batch *begins, ShError *err);
static ShStatus begin_all(ShEngine *engine, ShPg *pg, Batch *begins, ShError *err);
static void begin(ShEngine *engine, ShPartition *partition, const ShPgEpoch *epoch);
static void give_up(ShPartition *partition);
static ShStatus collect_drained(ShEngine *engine, Batch *batch, ShError *err);
static ShStatus seal(ShEngine *engine, ShPg *pg, Batch *batch, size_t *sealed, ShError *err);
static bool apply_seal(ShEngine *engine, ShPartition *partition, const ShPgEpoch *answer);

ShStatus sh_ownership_update(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShPgAssignments told = {0};
    Batch grants = {0};
    Batch opens = {0};
    Batch begins = {0};
    ShStatus status = sh_pg_assignments(pg, engine->registered.incarnation, engine->control.assigned_version,
                                        &told, err);
    if (status == SH_OK)
        status = batch_init(&grants, told.count, err);
    if (status == SH_OK)
        status = batch_init(&opens, told.count, err);
    if (status == SH_OK)
        status = batch_init(&begins, told.count, err);
    engine->control.assignment_round++;
    engine->control.timeouts_told = false;
    engine->control.passed_over = false;
    for (size_t i = 0; i < told.count && status == SH_OK; i++)
        if (told.rows[i].action != SH_ACTION_NONE)
            status = take_up(engine, &told.rows[i], &grants, &opens, &begins, err);
    if (status == SH_OK)
        status = leave_unlisted(engine, &told, err);
    if (status == SH_OK && grants.count > 0)
        status = grant(engine, pg, &grants, &opens, err);
    if (status == SH_OK && opens.count > 0)
        status = open_epochs(engine, pg, &opens, &begins, err);
    if (status == SH_OK && begins.count > 0)
        status = begin_all(engine, pg, &begins, err);
    /* Only when all of it was acted on: what failed, or came too early, is told again. */
    if (status == SH_OK && !engine->control.passed_over)
        engine->control.assigned_version = told.version;
    batch_free(&begins);
    batch_free(&opens);
    batch_free(&grants);
    free(told.rows);
    return status;
}

ShStatus sh_ownership_settle(ShEngine *engine, ShPg *pg, size_t *sealed, ShError *err)
{
    Batch batch = {0};
    *sealed = 0;
    ShStatus status = collect_drained(engine, &batch, err);
    if (status == SH_OK && batch.count > 0)
        status = seal(engine, pg, &batch, sealed, err);
    batch_free(&batch);
    return status;
}

ShStatus sh_ownership_release_all(ShEngine *engine, ShError *err)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    ShStatus status = sh_partition_table_list(&engine->partitions, &partitions, &count, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        if (sh_partition_is_owned(partitions[i]))
            partitions[i]->state = SH_PARTITION_RELEASING;
        pthread_mutex_unlock(&partitions[i]->mutex);
    }
    sh_partition_list_free(partitions, count);
    sh_flush_now(engine);
    sh_control_wake(engine);
    return SH_OK;
}

size_t sh_ownership_count(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    size_t owned = 0;
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return 1;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        owned += sh_partition_has_epoch(partitions[i]) || partitions[i]->state == SH_PARTITION_OPENING ||
                 !sh_partition_is_drained(partitions[i]);
        pthread_mutex_unlock(&partitions[i]->mutex);
    }
    sh_partition_list_free(partitions, count);
    return owned;
}

static ShStatus batch_init(Batch *batch, size_t capacity, ShError *err)
{
    batch->partitions = calloc(capacity + 1, sizeof *batch->partitions);
    batch->names = calloc(capacity + 1, sizeof *batch->names);
    batch->epochs = calloc(capacity + 1, sizeof *batch->epochs);
    if (batch->partitions == NULL || batch->names == NULL || batch->epochs == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to take up %zu partitions", capacity);
    return SH_OK;
}

static void batch_free(Batch *batch)
{
    if (batch->partitions != NULL)
        sh_partition_list_free(batch->partitions, batch->count);
    free(batch->names);
    free(batch->epochs);
}

/* `epoch` may be NULL for a grant. */
static void batch_add(Batch *batch, ShPartition *partition, const ShPgEpoch *epoch)
{
    size_t i = batch->count++;
    batch->partitions[i] = sh_partition_ref(partition);
    batch->names[i].topic_id = partition->key.topic_id;
    batch->names[i].partition = partition->key.number;
    if (epoch != NULL) {
        batch->names[i].epoch = epoch->epoch;
        batch->epochs[i] = *epoch;
    }
}

static ShStatus take_up(ShEngine *engine, const ShPgAssignment *row, Batch *grants, Batch *opens,
                        Batch *begins, ShError *err)
{
    ShPartition *partition = partition_of(engine, row);
    if (partition == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for partition %s/%d", row->topic, (int)row->partition);
    ShPgEpoch epoch = {.result = SH_EPOCH_OPEN,
                       .epoch = row->epoch,
                       .start_offset = row->start_offset,
                       .limit_offset = row->limit_offset,
                       .published_end = row->published_end,
                       .orphan_timeout_ms = row->orphan_timeout_ms};
    pthread_mutex_lock(&partition->mutex);
    bool owned = sh_partition_has_epoch(partition);
    if (owned && row->action != SH_ACTION_GRANT && partition->epoch == row->epoch) {
        engine->control.timeouts_told |= partition->orphan_timeout_ms != row->orphan_timeout_ms;
        partition->orphan_timeout_ms = row->orphan_timeout_ms;
        partition->listed_round = engine->control.assignment_round;
    }
    pthread_mutex_unlock(&partition->mutex);
    bool draining = atomic_load(&engine->draining);
    if (row->action == SH_ACTION_RECOVER) {
        finish(engine, partition, row, SH_PARTITION_LATE);
    } else if (row->action == SH_ACTION_RELEASE || (draining && row->action == SH_ACTION_OWN)) {
        finish(engine, partition, row, SH_PARTITION_RELEASING);
    } else if (row->action == SH_ACTION_ROLL) {
        finish(engine, partition, row, draining ? SH_PARTITION_RELEASING : SH_PARTITION_ROLLING);
    } else if (row->action == SH_ACTION_GRANT && !owned && !draining) {
        set_opening(engine, partition);
        batch_add(grants, partition, NULL);
    } else if (row->action == SH_ACTION_OWN && !owned) {
        /* The answer to the grant or to the open was lost. Nothing can have been accepted since. */
        engine->control.timeouts_told = true;
        set_opening(engine, partition);
        if (row->open)
            batch_add(begins, partition, &epoch);
        else
            batch_add(opens, partition, &epoch);
    } else if (row->action == SH_ACTION_GRANT && owned) {
        /* An epoch that was sealed by others is still there: it has to be ended here first. */
        engine->control.passed_over = true;
    }
    sh_partition_unref(partition);
    return SH_OK;
}

/* A reference. Where the topic had durability `object` until now, that partition's state is left behind: its
 * publishes are refused from here on, and its producers told so. */
static ShPartition *partition_of(ShEngine *engine, const ShPgAssignment *row)
{
    ShPartitionTable *table = &engine->partitions;
    ShPartition *partition = sh_partition_table_add(table, &row->topic_id, row->partition, row->topic, false);
    if (partition == NULL || !partition->object_durability)
        return partition;
    sh_read_cache_forget(engine, partition);
    sh_partition_table_leave(table, partition);
    sh_partition_unref(partition);
    return sh_partition_table_add(table, &row->topic_id, row->partition, row->topic, false);
}

static void set_opening(const ShEngine *engine, ShPartition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    partition->state = SH_PARTITION_OPENING;
    partition->listed_round = engine->control.assignment_round;
    pthread_mutex_unlock(&partition->mutex);
}

/* Accept no more, publish what there is, and seal. Where the answer to the grant or to the open was lost,
 * there is nothing to publish. */
static void finish(ShEngine *engine, ShPartition *partition, const ShPgAssignment *row,
                   ShPartitionState state)
{
    char name[SH_PARTITION_NAME_BYTES];
    pthread_mutex_lock(&partition->mutex);
    if (!sh_partition_has_epoch(partition))
        sh_partition_open(partition, row->epoch, row->start_offset, row->limit_offset, row->published_end);
    bool ours = partition->epoch == row->epoch;
    bool fresh = ours && partition->state != state;
    if (ours) {
        partition->state = state;
        partition->listed_round = engine->control.assignment_round;
    }
    bool drained = sh_partition_is_drained(partition);
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
    if (fresh && state == SH_PARTITION_LATE)
        sh_log_warn("partition_taken_over",
                    "partition=%s epoch=%lld reason=\"the lease ran out: what is left is published late\"",
                    sh_partition_name(partition, name), (long long)row->epoch);
    else if (fresh)
        sh_log_debug("partition_releasing", "partition=%s epoch=%lld", sh_partition_name(partition, name),
                     (long long)row->epoch);
    if (drained)
        sh_control_wake(engine);
    else
        sh_flush_now(engine);
}

/* Epochs that the assignments do not tell of, where they tell all there is to do, were sealed without us: by
 * force, or with their topic. A partition that they do not tell of is not to be opened: it rolled, and was
 * placed elsewhere meanwhile. */
static ShStatus leave_unlisted(ShEngine *engine, const ShPgAssignments *told, ShError *err)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    ShStatus status = SH_OK;
    if (told->whole)
        status = sh_partition_table_list(&engine->partitions, &partitions, &count, err);
    bool left = false;
    for (size_t i = 0; i < count; i++)
        left |= leave_if_unlisted(engine, partitions[i]);
    sh_partition_list_free(partitions, count);
    for (size_t i = 0; i < told->count && !told->whole; i++) {
        ShPartition *partition = sh_partition_table_get(&engine->partitions, &told->rows[i].topic_id,
                                                        told->rows[i].partition);
        if (partition != NULL)
            left |= leave_if_unlisted(engine, partition);
        sh_partition_unref(partition);
    }
    if (left)
        sh_flush_now(engine);
    return status;
}

/* True when it goes on as a late one, whose records are to be flushed soon. */
static bool leave_if_unlisted(ShEngine *engine, ShPartition *partition)
{
    int64_t cost = 0;
    bool is_late = false;
    pthread_mutex_lock(&partition->mutex);
    bool is_listed = partition->listed_round == engine->control.assignment_round;
    if (sh_partition_has_epoch(partition) && partition->state != SH_PARTITION_RECOVERING && !is_listed) {
        partition->state = SH_PARTITION_LATE;
        is_late = true;
        sh_fetch_wake(engine, partition);
    } else if (partition->state == SH_PARTITION_OPENING && !is_listed) {
        partition->state = SH_PARTITION_REMOTE;
        cost = sh_partition_evict(partition, partition->published);
        sh_producers_clear(&partition->producers);
        sh_fetch_wake(engine, partition);
    }
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    return is_late;
}

static ShStatus grant(ShEngine *engine, ShPg *pg, Batch *grants, Batch *opens, ShError *err)
{
    ShStatus status = sh_pg_grant(pg, engine->registered.incarnation, grants->names, grants->count,
                                  grants->epochs, err);
    for (size_t i = 0; i < grants->count; i++) {
        if (status == SH_OK && grants->epochs[i].result == SH_EPOCH_GRANTED)
            batch_add(opens, grants->partitions[i], &grants->epochs[i]);
        else
            give_up(grants->partitions[i]);
    }
    return status;
}

static ShStatus open_epochs(ShEngine *engine, ShPg *pg, Batch *opens, Batch *begins, ShError *err)
{
    ShPgEpoch *answers = calloc(opens->count, sizeof *answers);
    if (answers == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to open %zu partitions", opens->count);
    ShStatus status = sh_pg_open(pg, engine->registered.incarnation, opens->names, opens->count, answers,
                                 err);
    for (size_t i = 0; i < opens->count; i++) {
        if (status == SH_OK && answers[i].result == SH_EPOCH_OPEN) {
            batch_add(begins, opens->partitions[i], &opens->epochs[i]);
        } else {
            give_up(opens->partitions[i]);
        }
    }
    free(answers);
    return status;
}

/* Their epochs are open, and their predecessors as far published as they will be for now. Whether any of
 * these is unresolved is known before the first batch is accepted: should PostgreSQL go away then, readers
 * get the tail. */
static ShStatus begin_all(ShEngine *engine, ShPg *pg, Batch *begins, ShError *err)
{
    ShPgBounds *bounds = calloc(begins->count + 1, sizeof *bounds);
    if (bounds == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to open %zu partitions", begins->count);
    ShStatus status = sh_producers_load(engine, pg, begins->partitions, begins->names, begins->count, err);
    int64_t asked_ms = sh_clock_now_ms();
    if (status == SH_OK)
        status = sh_pg_read_bounds(pg, begins->names, begins->count, bounds, err);
    for (size_t i = 0; i < begins->count; i++) {
        if (status == SH_OK) {
            begin(engine, begins->partitions[i], &begins->epochs[i]);
            sh_bounds_apply(engine, begins->partitions[i], &bounds[i], asked_ms);
        } else {
            give_up(begins->partitions[i]);
        }
    }
    free(bounds);
    if (status == SH_OK)
        sh_log_info("partitions_opened", "count=%zu", begins->count);
    engine->control.metadata_due = true; /* clients ask who owns them */
    return status;
}

static void begin(ShEngine *engine, ShPartition *partition, const ShPgEpoch *epoch)
{
    int64_t published_end = epoch->published_end > epoch->start_offset ? epoch->published_end
                                                                       : epoch->start_offset;
    pthread_mutex_lock(&partition->mutex);
    sh_partition_open(partition, epoch->epoch, epoch->start_offset, epoch->limit_offset, published_end);
    partition->orphan_timeout_ms = epoch->orphan_timeout_ms;
    partition->listed_round = engine->control.assignment_round;
    if (atomic_load(&engine->draining))
        partition->state = SH_PARTITION_RELEASING;
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
}

/* Not ours after all, or not yet: the next assignments tell. */
static void give_up(ShPartition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    if (partition->state == SH_PARTITION_OPENING)
        partition->state = SH_PARTITION_REMOTE;
    pthread_mutex_unlock(&partition->mutex);
}

static ShStatus collect_drained(ShEngine *engine, Batch *batch, ShError *err)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    ShStatus status = sh_partition_table_list(&engine->partitions, &partitions, &count, err);
    if (status == SH_OK)
        status = batch_init(batch, count, err);
    for (size_t i = 0; status == SH_OK && i < count; i++) {
        ShPartition *partition = partitions[i];
        pthread_mutex_lock(&partition->mutex);
        bool leaving = partition->state == SH_PARTITION_ROLLING ||
                       partition->state == SH_PARTITION_RELEASING || partition->state == SH_PARTITION_LATE;
        ShPgEpoch epoch = {.epoch = partition->epoch, .published_end = partition->next_offset};
        bool ready = leaving && sh_partition_is_drained(partition);
        pthread_mutex_unlock(&partition->mutex);
        if (ready)
            batch_add(batch, partition, &epoch);
    }
    sh_partition_list_free(partitions, count);
    return status;
}

static ShStatus seal(ShEngine *engine, ShPg *pg, Batch *batch, size_t *sealed, ShError *err)
{
    ShStatus status = SH_OK;
    ShPgSeal *seals = calloc(batch->count, sizeof *seals);
    ShPgEpoch *answers = calloc(batch->count, sizeof *answers);
    if (seals == NULL || answers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to seal %zu epochs", batch->count);
        goto done;
    }
    for (size_t i = 0; i < batch->count; i++)
        seals[i] = (ShPgSeal){.partition = batch->names[i], .end_offset = batch->epochs[i].published_end};
    status = sh_pg_seal(pg, engine->registered.incarnation, seals, batch->count, answers, err);
    for (size_t i = 0; i < batch->count && status == SH_OK; i++)
        *sealed += apply_seal(engine, batch->partitions[i], &answers[i]);
    if (*sealed > 0)
        sh_log_info("epochs_sealed", "count=%zu", *sealed);
done:
    free(answers);
    free(seals);
    return status;
}

static bool apply_seal(ShEngine *engine, ShPartition *partition, const ShPgEpoch *answer)
{
    char name[SH_PARTITION_NAME_BYTES];
    sh_partition_name(partition, name);
    /* FENCED: it was sealed by force, and what is in our ring is published there. */
    if (answer->result != SH_EPOCH_SEALED && answer->result != SH_EPOCH_DROPPED &&
        answer->result != SH_EPOCH_FENCED) {
        ShError err = {0};
        (void)sh_fail(&err, SH_INTERNAL,
                      "partition %s: epoch %lld cannot be sealed: PostgreSQL has its published end at %lld",
                      name, (long long)partition->epoch, (long long)answer->published_end);
        if (answer->published_end < partition->next_offset)
            (void)sh_engine_lost_history(engine, err.message, NULL);
        else
            sh_engine_set_fatal(engine, &err);
        return false;
    }
    pthread_mutex_lock(&partition->mutex);
    bool rolls = partition->state == SH_PARTITION_ROLLING;
    int64_t epoch = partition->epoch;
    int64_t cost = 0;
    sh_partition_leave(partition);
    if (rolls) {
        partition->state = SH_PARTITION_OPENING;
    } else {
        cost = sh_partition_evict(partition, partition->published);
        sh_producers_clear(&partition->producers);
    }
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    sh_log_debug("epoch_sealed", "partition=%s epoch=%lld", name, (long long)epoch);
    return true;
}
