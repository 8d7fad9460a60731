#include "agent/log/recover.h"

#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

#define RECOVERY_POLL_MS 5

static ShStatus prepare(ShEngine *engine, const ShPgAssignment *row, ShError *err);
static ShStatus recover_batch(void *arg, const ShWalEntry *entry, ShError *err);
static ShStatus reserve(ShEngine *engine, int64_t cost, ShError *err);
static bool is_known(const ShPartition *partition, const ShWalEntry *entry, const ShBatchHeader *header);
static ShStatus keep_batch(ShEngine *engine, ShPartition *partition, ShLogBatch *batch, ShError *err);
static ShStatus wait_published(ShEngine *engine, ShError *err);
static ShStatus seal_all(ShEngine *engine, ShPg *pg, const ShPgAssignment *rows, size_t count, ShError *err);
static ShStatus check_sealed(const ShPgAssignment *row, const ShPgEpoch *answer, ShError *err);
static void leave_recovery(ShEngine *engine);

ShStatus sh_recover(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShPgAssignment *rows = NULL;
    size_t count = 0;
    ShWalRecovery stats = {0};
    ShStatus status = sh_pg_assignments(pg, engine->registered.incarnation, &rows, &count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++)
        if (rows[i].action == SH_ACTION_RECOVER)
            status = prepare(engine, &rows[i], err);
    if (status == SH_OK)
        status = sh_wal_recover(engine->wal, recover_batch, engine, &stats, err);
    if (status == SH_OK)
        status = wait_published(engine, err);
    if (status == SH_OK)
        status = seal_all(engine, pg, rows, count, err);
    if (status == SH_OK)
        status = sh_wal_start(engine->wal, err);
    if (status == SH_OK)
        leave_recovery(engine);
    free(rows);
    return status;
}

static ShStatus prepare(ShEngine *engine, const ShPgAssignment *row, ShError *err)
{
    ShPartition *partition = sh_partition_table_add(&engine->partitions, &row->topic_id, row->partition,
                                                    row->topic, false);
    if (partition == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for partition %s/%d", row->topic, (int)row->partition);
    pthread_mutex_lock(&partition->mutex);
    sh_partition_open(partition, row->epoch, row->start_offset, row->limit_offset, row->published_end);
    partition->state = SH_PARTITION_RECOVERING;
    pthread_mutex_unlock(&partition->mutex);
    sh_partition_unref(partition);
    return SH_OK;
}

static ShStatus recover_batch(void *arg, const ShWalEntry *entry, ShError *err)
{
    ShEngine *engine = arg;
    ShBatchHeader header;
    ShStatus status = sh_batch_peek(entry->batch.data, entry->batch.length, &header, err);
    if (status != SH_OK)
        return status;
    ShPartition *partition = sh_partition_table_add(&engine->partitions, &entry->topic_id, entry->partition,
                                                    "(of the write-ahead log)", false);
    ShLogBatch *batch = partition == NULL ? NULL : sh_log_batch_new(partition, entry->batch, &header);
    if (batch == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for a recovered batch");
        goto done;
    }
    if (is_known(partition, entry, &header)) {
        sh_wal_release(engine->wal, entry->file_no, 1);
        goto done;
    }
    batch->wal.topic_id = entry->topic_id;
    batch->wal.partition = entry->partition;
    batch->wal.epoch = entry->epoch;
    batch->wal.file_no = entry->file_no;
    status = reserve(engine, sh_log_batch_cost(batch), err);
    if (status == SH_OK)
        status = keep_batch(engine, partition, batch, err);
    if (status == SH_OK)
        batch = NULL;
done:
    sh_log_batch_free(batch);
    sh_partition_unref(partition);
    return status;
}

/* Wait until publishing has made room. What is larger than the budget alone goes through once nothing else is
 * there. */
static ShStatus reserve(ShEngine *engine, int64_t cost, ShError *err)
{
    while (!sh_memory_reserve(engine, cost)) {
        if (sh_memory_used(&engine->memory) == 0) {
            sh_memory_force(&engine->memory, cost);
            return SH_OK;
        }
        sh_flush_now(engine);
        if (sh_engine_fatal(engine, err) != SH_OK)
            return err->status;
        if (!sh_engine_pause(engine, RECOVERY_POLL_MS))
            return sh_fail(err, SH_CANCELLED, "the agent is stopping");
    }
    return SH_OK;
}

/* Is the batch published, or was the same frame handed over before? Where the epoch is not one to recover,
 * PostgreSQL decides. */
static bool is_known(const ShPartition *partition, const ShWalEntry *entry, const ShBatchHeader *header)
{
    return partition->state == SH_PARTITION_RECOVERING && partition->epoch == entry->epoch &&
           header->base_offset + header->last_offset_delta + 1 <= partition->next_offset;
}

static ShStatus keep_batch(ShEngine *engine, ShPartition *partition, ShLogBatch *batch, ShError *err)
{
    int64_t cost = sh_log_batch_cost(batch);
    pthread_mutex_lock(&partition->mutex);
    ShStatus status = sh_batch_ring_reserve(&partition->ring, 1, err);
    if (status == SH_OK) {
        sh_batch_ring_push(&partition->ring, batch);
        partition->durable = partition->logged = partition->ring.end;
        if (batch->wal.epoch == partition->epoch)
            partition->next_offset = sh_log_batch_end(batch);
        sh_flush_mark_dirty(engine, partition, cost);
    }
    pthread_mutex_unlock(&partition->mutex);
    if (status != SH_OK)
        sh_memory_release(&engine->memory, cost);
    return status;
}

static ShStatus wait_published(ShEngine *engine, ShError *err)
{
    while (!sh_flush_is_idle(engine) || !sh_pipeline_is_empty(&engine->pipeline)) {
        sh_flush_now(engine);
        if (!sh_engine_pause(engine, RECOVERY_POLL_MS))
            return sh_fail(err, SH_CANCELLED, "the agent is stopping");
        if (sh_engine_fatal(engine, err) != SH_OK)
            return err->status;
    }
    return sh_engine_fatal(engine, err);
}

static ShStatus seal_all(ShEngine *engine, ShPg *pg, const ShPgAssignment *rows, size_t count, ShError *err)
{
    /* Only a power cut can take what was acknowledged before it was synced. */
    bool lost = engine->identity.previous_sync != SH_WAL_SYNC_ALWAYS &&
                strcmp(engine->identity.boot_id, engine->boot_id) != 0;
    ShStatus status = SH_OK;
    size_t seals_count = 0;
    ShPgSeal *seals = calloc(count + 1, sizeof *seals);
    ShPgEpoch *answers = calloc(count + 1, sizeof *answers);
    if (seals == NULL || answers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to seal %zu epochs", count);
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].action != SH_ACTION_RECOVER)
            continue;
        ShPartition *partition = sh_partition_table_get(&engine->partitions, &rows[i].topic_id,
                                                        rows[i].partition);
        if (partition == NULL)
            continue;
        pthread_mutex_lock(&partition->mutex);
        seals[seals_count++] = (ShPgSeal){.partition = {.topic_id = rows[i].topic_id,
                                                        .partition = rows[i].partition,
                                                        .epoch = rows[i].epoch},
                                          .end_offset = partition->next_offset,
                                          .lost = lost};
        pthread_mutex_unlock(&partition->mutex);
        sh_partition_unref(partition);
    }
    if (seals_count > 0)
        status = sh_pg_seal(pg, engine->registered.incarnation, seals, seals_count, answers, err);
    for (size_t i = 0, seal = 0; i < count && status == SH_OK && seal < seals_count; i++)
        if (rows[i].action == SH_ACTION_RECOVER)
            status = check_sealed(&rows[i], &answers[seal++], err);
    if (status == SH_OK && seals_count > 0)
        sh_log_info("epochs_recovered", "count=%zu lost=%s", seals_count, lost ? "possible" : "no");
done:
    free(answers);
    free(seals);
    return status;
}

static ShStatus check_sealed(const ShPgAssignment *row, const ShPgEpoch *answer, ShError *err)
{
    if (answer->result == SH_EPOCH_SEALED || answer->result == SH_EPOCH_DROPPED)
        return SH_OK;
    return sh_fail(err, SH_INTERNAL,
                   "partition %s/%d: epoch %lld cannot be sealed after its recovery: PostgreSQL has its "
                   "published end at "
                   "%lld; keep the write-ahead log",
                   row->topic, (int)row->partition, (long long)row->epoch, (long long)answer->published_end);
}

/* The recovered batches are no tail to read from: their epochs may have been anybody's since. */
static void leave_recovery(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        int64_t cost = sh_partition_evict(partitions[i], partitions[i]->published);
        partitions[i]->state = SH_PARTITION_REMOTE;
        pthread_mutex_unlock(&partitions[i]->mutex);
        sh_memory_release(&engine->memory, cost);
        /* They come back under their real names when they are asked for. */
        sh_partition_table_remove(&engine->partitions, partitions[i]);
    }
    sh_partition_list_free(partitions, count);
}
