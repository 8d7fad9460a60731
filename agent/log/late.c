#include "agent/log/late.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define DROPPED_RETRY_MS 100

static void rewind_if_last(ShEngine *engine, ShPartition *partition, const ShFlightRange *range);
static bool is_at_rest(const ShPartition *partition);
static void drop_unlogged(ShEngine *engine, ShPartition *partition, ShAppendWait ***waits_end);
static void answer_dropped(ShEngine *engine, ShAppendWait *waits);
static ShStatus ask(ShEngine *engine, ShPg *pg, ShPartition **partitions, size_t count, ShError *err);
static ShStatus apply(ShEngine *engine, ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer,
                      ShError *err);
static ShStatus fail_homeless(ShEngine *engine, const ShPartition *partition, int64_t epoch,
                              const ShPgLeftover *answer, ShError *err);
static ShStatus move_batches(ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer,
                             ShError *err);
static ShStatus move_batch(ShLogBatch *batch, const ShPgLeftover *answer, ShError *err);
static void move_epoch(ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer, int64_t end);

void sh_late_refuse(ShEngine *engine, const ShFlightRange *range)
{
    ShPartition *partition = range->partition;
    char name[SH_PARTITION_NAME_BYTES];
    pthread_mutex_lock(&partition->mutex);
    if (!partition->refused)
        atomic_fetch_add(&engine->control.refused, 1);
    partition->refused = true;
    if (sh_partition_is_owned(partition) && partition->epoch == range->epoch)
        partition->state = SH_PARTITION_LATE;
    rewind_if_last(engine, partition, range);
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
    sh_log_warn("epoch_was_sealed",
                "partition=%s epoch=%lld reason=\"it was sealed without this agent: what is left "
                "gets new offsets\"",
                sh_partition_name(partition, name), (long long)range->epoch);
}

bool sh_late_skip(ShEngine *engine, const ShFlightRange *range)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    bool skip = partition->refused && range->first != partition->published;
    if (skip)
        rewind_if_last(engine, partition, range);
    pthread_mutex_unlock(&partition->mutex);
    return skip;
}

ShStatus sh_late_settle(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    if (!sh_late_is_pending(engine))
        return SH_OK;
    ShStatus status = sh_partition_table_list(&engine->partitions, &partitions, &count, err);
    ShAppendWait *waits = NULL;
    ShAppendWait **waits_end = &waits;
    size_t ready = 0;
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        bool take = is_at_rest(partitions[i]);
        if (take)
            drop_unlogged(engine, partitions[i], &waits_end);
        take = take && partitions[i]->published < partitions[i]->ring.end;
        pthread_mutex_unlock(&partitions[i]->mutex);
        if (!take)
            continue;
        ShPartition *partition = partitions[i];
        partitions[i] = partitions[ready];
        partitions[ready++] = partition;
    }
    answer_dropped(engine, waits);
    if (status == SH_OK && ready > 0)
        status = ask(engine, pg, partitions, ready, err);
    sh_partition_list_free(partitions, count);
    if (status == SH_OK && ready > 0)
        sh_flush_now(engine);
    return status;
}

bool sh_late_is_pending(ShEngine *engine)
{
    return atomic_load(&engine->control.refused) > 0;
}

/* With the mutex held. When no object under way holds anything of the partition any more, all that is not
 * published is to be flushed again. */
static void rewind_if_last(ShEngine *engine, ShPartition *partition, const ShFlightRange *range)
{
    if (range->end != partition->flushed)
        return;
    for (uint64_t seq = partition->published; seq < partition->flushed; seq++)
        partition->refused_cost += sh_log_batch_cost(sh_batch_ring_at(&partition->ring, seq));
    partition->flushed = partition->published;
    sh_control_wake(engine);
}

/* With the mutex held. Batches that the WAL's writer has in hand may not be moved. */
static bool is_at_rest(const ShPartition *partition)
{
    return partition->refused && partition->flushed == partition->published &&
           partition->durable == partition->logged;
}

/* With the mutex held: what of a call has found no room in the WAL. Room may come only when what this
 * partition has there is published, which waits for this; the call is in the WAL in part, and not
 * acknowledged. */
static void drop_unlogged(ShEngine *engine, ShPartition *partition, ShAppendWait ***waits_end)
{
    if (partition->logged == partition->ring.end)
        return;
    partition->next_offset = sh_batch_ring_at(&partition->ring, partition->logged)->header.base_offset;
    while (partition->ring.end > partition->logged) {
        ShLogBatch *batch = sh_batch_ring_pop_newest(&partition->ring);
        sh_append_take_waits(batch, waits_end);
        atomic_fetch_sub(&engine->control.unpublished, batch->header.record_count);
        sh_memory_release(&engine->memory, sh_log_batch_cost(batch));
        sh_log_batch_free(batch);
    }
    atomic_fetch_sub(&engine->flusher.stalled, 1);
}

static void answer_dropped(ShEngine *engine, ShAppendWait *waits)
{
    ShError why = {0};
    ShStatus status = sh_fail(
        &why, SH_CANCELLED,
        "the epoch was sealed without this agent while its write-ahead log had no room for all "
        "of the records: whether they are stored is open");
    sh_fail_retry_after(&why, status, DROPPED_RETRY_MS);
    sh_append_answer(engine, waits, &why);
}

static ShStatus ask(ShEngine *engine, ShPg *pg, ShPartition **partitions, size_t count, ShError *err)
{
    ShPgPartition *names = calloc(count, sizeof *names);
    ShPgLeftover *answers = calloc(count, sizeof *answers);
    ShStatus status = SH_OK;
    if (names == NULL || answers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to settle %zu partitions", count);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        ShPartition *partition = partitions[i];
        names[i] = (ShPgPartition){.topic_id = partition->key.topic_id, .partition = partition->key.number};
        pthread_mutex_lock(&partition->mutex);
        names[i].epoch = sh_batch_ring_at(&partition->ring, partition->published)->wal.epoch;
        pthread_mutex_unlock(&partition->mutex);
    }
    status = sh_pg_leftover(pg, engine->registered.incarnation, names, count, answers, err);
    for (size_t i = 0; i < count && status == SH_OK; i++)
        status = apply(engine, partitions[i], names[i].epoch, &answers[i], err);
done:
    free(answers);
    free(names);
    return status;
}

static ShStatus apply(ShEngine *engine, ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer,
                      ShError *err)
{
    char name[SH_PARTITION_NAME_BYTES];
    if (answer->result != SH_LEFTOVER_FOUND && answer->result != SH_LEFTOVER_DROPPED)
        return fail_homeless(engine, partition, old_epoch, answer, err);
    ShStatus status = SH_OK;
    pthread_mutex_lock(&partition->mutex);
    if (answer->result == SH_LEFTOVER_FOUND)
        status = move_batches(partition, old_epoch, answer, err);
    if (status == SH_OK) {
        partition->refused = false;
        atomic_fetch_sub(&engine->control.refused, 1);
        sh_flush_mark_dirty(engine, partition, partition->refused_cost);
        partition->refused_cost = 0;
    }
    pthread_mutex_unlock(&partition->mutex);
    if (status == SH_OK && answer->result == SH_LEFTOVER_FOUND)
        sh_log_warn("leftovers_moved", "partition=%s epoch=%lld forced_end=%lld to_epoch=%lld to_offset=%lld",
                    sh_partition_name(partition, name), (long long)old_epoch, (long long)answer->forced_end,
                    (long long)answer->epoch, (long long)answer->start_offset);
    return status;
}

static ShStatus fail_homeless(ShEngine *engine, const ShPartition *partition, int64_t epoch,
                              const ShPgLeftover *answer, ShError *err)
{
    char name[SH_PARTITION_NAME_BYTES];
    ShError fatal = {0};
    (void)sh_fail(
        &fatal, SH_UNSUPPORTED,
        "partition %s: records of epoch %lld were refused, and the epoch is %s: the write-ahead log %s "
        "keeps them",
        sh_partition_name(partition, name), (long long)epoch,
        answer->result == SH_LEFTOVER_OPEN ? "not sealed" : "not this write-ahead log's",
        engine->config->wal_dir);
    /* An epoch that was this agent's is another's, or nobody's: PostgreSQL has forgotten it. What a
     * write-ahead log still holds when it is recovered may be of a term that went on without it. */
    if (answer->result != SH_LEFTOVER_OPEN && !atomic_load(&engine->recovering))
        return sh_engine_lost_history(engine, fatal.message, err);
    sh_engine_set_fatal(engine, &fatal);
    if (err != NULL)
        *err = fatal;
    return fatal.status;
}

/* With the mutex held: give the batches from the forced end on their new offsets. Those below are published
 * already, which their next publish will tell. */
static ShStatus move_batches(ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer,
                             ShError *err)
{
    int64_t end = answer->published_end;
    for (uint64_t seq = partition->published; seq < partition->durable; seq++) {
        ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        if (batch->wal.epoch != old_epoch || sh_log_batch_end(batch) <= answer->forced_end)
            continue;
        ShStatus status = move_batch(batch, answer, err);
        if (status != SH_OK)
            return status;
        if (sh_log_batch_end(batch) > end)
            end = sh_log_batch_end(batch);
    }
    move_epoch(partition, old_epoch, answer, end);
    return SH_OK;
}

/* The batch gets bytes of its own, because readers may hold the old ones. */
static ShStatus move_batch(ShLogBatch *batch, const ShPgLeftover *answer, ShError *err)
{
    ShSlice old = batch->wal.batch;
    ShBuf *buf = sh_buf_copy(old.data, old.length);
    if (buf == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch of %zu bytes", old.length);
    batch->wal.batch = (ShSlice){.data = buf->data, .length = old.length, .owner = buf};
    batch->wal.epoch = answer->epoch;
    batch->header.base_offset += answer->start_offset - answer->forced_end;
    batch->header.leader_epoch = (int32_t)(answer->epoch & INT32_MAX);
    sh_batch_set_base_offset(buf->data, batch->header.base_offset);
    sh_batch_set_leader_epoch(buf->data, batch->header.leader_epoch);
    sh_buf_unref(old.owner);
    return SH_OK;
}

/* With the mutex held: the new epoch is the one to seal when all is published. */
static void move_epoch(ShPartition *partition, int64_t old_epoch, const ShPgLeftover *answer, int64_t end)
{
    if (partition->epoch == answer->epoch) {
        if (end > partition->next_offset)
            partition->next_offset = end;
        return;
    }
    if (sh_partition_has_epoch(partition) && partition->epoch != old_epoch)
        return;
    ShPartitionState state = partition->state == SH_PARTITION_REMOTE ? SH_PARTITION_RECOVERING
                                                                     : partition->state;
    sh_partition_open(partition, answer->epoch, answer->start_offset, answer->limit_offset,
                      answer->published_end);
    partition->next_offset = end;
    partition->state = state;
}
