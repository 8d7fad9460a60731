#include "agent/log/recover.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/fault.h"
#include "agent/log/engine_internal.h"
#include "agent/log/late.h"
#include "agent/log/present.h"

#define RECOVERY_POLL_MS 5

static ShStatus prepare(ShEngine *engine, const ShPgAssignment *row, ShError *err);
static ShStatus recover_batch(void *arg, const ShWalEntry *entry, ShError *err);
static ShStatus fill_hole(ShEngine *engine, ShPartition *partition, const ShWalEntry *entry,
                          const ShBatchHeader *header, ShError *err);
static int64_t expected_offset(ShPartition *partition, const ShWalEntry *entry);
static ShStatus reserve(ShEngine *engine, int64_t cost, ShError *err);
static bool is_known(const ShPartition *partition, const ShWalEntry *entry, const ShBatchHeader *header);
static ShStatus keep_batch(ShEngine *engine, ShPartition *partition, ShLogBatch *batch, ShError *err);
static ShStatus wait_published(ShEngine *engine, ShError *err);
static ShStatus wait_a_moment(ShEngine *engine, ShError *err);
static ShStatus seal_all(ShEngine *engine, ShPg *pg, bool damaged, ShError *err);
static size_t list_seals(ShPartition *const *partitions, size_t count, bool lost, ShPgSeal *seals);
static ShStatus check_sealed(const ShPgSeal *seal, const ShPgEpoch *answer, ShError *err);
static void leave_recovery(ShEngine *engine);

ShStatus sh_recover(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShPgAssignments all = {0};
    ShWalRecovery stats = {0};
    ShStatus status = sh_pg_assignments(pg, engine->registered.incarnation, 0, &all, err);
    for (size_t i = 0; i < all.count && status == SH_OK; i++)
        if (all.rows[i].action == SH_ACTION_RECOVER)
            status = prepare(engine, &all.rows[i], err);
    if (status == SH_OK)
        status = sh_wal_recover(engine->wal, recover_batch, engine, &stats, err);
    if (status == SH_OK)
        status = wait_published(engine, err);
    if (status == SH_OK && sh_fault_hit("recover.before_seal"))
        status = sh_fail(err, SH_IO, "fault point recover.before_seal");
    if (status == SH_OK)
        status = seal_all(engine, pg, stats.holes > 0, err);
    if (status == SH_OK)
        status = sh_wal_start(engine->wal, err);
    if (status == SH_OK)
        leave_recovery(engine);
    free(all.rows);
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
    status = sh_present_epoch(engine, partition, entry, header.base_offset, err);
    if (status != SH_OK)
        goto done;
    if (is_known(partition, entry, &header)) {
        sh_wal_release(engine->wal, entry->file_no, 1);
        goto done;
    }
    batch->wal.topic_id = entry->topic_id;
    batch->wal.partition = entry->partition;
    batch->wal.epoch = entry->epoch;
    batch->wal.file_no = entry->file_no;
    status = fill_hole(engine, partition, entry, &header, err);
    if (status == SH_OK)
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

/* Offsets that damage took from the log are declared void, so that what follows them can be published where
 * it was acknowledged. */
static ShStatus fill_hole(ShEngine *engine, ShPartition *partition, const ShWalEntry *entry,
                          const ShBatchHeader *header, ShError *err)
{
    int64_t expected = expected_offset(partition, entry);
    if (engine->config->wal_corruption != SH_WAL_CORRUPTION_SKIP || expected < 0 ||
        header->base_offset <= expected)
        return SH_OK;
    ShBatchHeader hole = {.base_offset = expected,
                          .last_offset_delta = (int32_t)(header->base_offset - expected - 1),
                          .producer_id = -1};
    ShBuf *buf = sh_buf_new(SH_BATCH_HEADER_BYTES);
    ShLogBatch *batch = NULL;
    if (buf != NULL) {
        memset(buf->data, 0, SH_BATCH_HEADER_BYTES);
        buf->length = SH_BATCH_HEADER_BYTES;
        batch = sh_log_batch_new(partition, (ShSlice){buf->data, buf->length, buf}, &hole);
        sh_buf_unref(buf);
    }
    if (batch == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to recover a partition");
    batch->is_void = true;
    batch->wal.topic_id = entry->topic_id;
    batch->wal.partition = entry->partition;
    batch->wal.epoch = entry->epoch;
    ShStatus status = reserve(engine, sh_log_batch_cost(batch), err);
    if (status == SH_OK)
        status = keep_batch(engine, partition, batch, err);
    if (status != SH_OK) {
        sh_log_batch_free(batch);
        return status;
    }
    char name[SH_PARTITION_NAME_BYTES];
    sh_log_error("records_lost",
                 "partition=%s epoch=%lld from=%lld to=%lld reason=\"the write-ahead log is damaged\"",
                 sh_partition_name(partition, name), (long long)entry->epoch, (long long)expected,
                 (long long)header->base_offset - 1);
    return SH_OK;
}

/* Where the next batch of that epoch must begin; -1: not known. */
static int64_t expected_offset(ShPartition *partition, const ShWalEntry *entry)
{
    int64_t expected = -1;
    pthread_mutex_lock(&partition->mutex);
    if (partition->state == SH_PARTITION_RECOVERING && partition->epoch == entry->epoch) {
        expected = partition->next_offset;
    } else if (partition->ring.first < partition->ring.end) {
        const ShLogBatch *newest = sh_batch_ring_at(&partition->ring, partition->ring.end - 1);
        if (newest->wal.epoch == entry->epoch)
            expected = sh_log_batch_end(newest);
    }
    pthread_mutex_unlock(&partition->mutex);
    return expected;
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
        ShStatus status = wait_a_moment(engine, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

/* Is the batch published, or was the same frame handed over before? Where the epoch is not one to recover, or
 * begins above the batch, PostgreSQL decides. */
static bool is_known(const ShPartition *partition, const ShWalEntry *entry, const ShBatchHeader *header)
{
    return partition->state == SH_PARTITION_RECOVERING && partition->epoch == entry->epoch &&
           header->base_offset >= partition->start_offset &&
           header->base_offset + header->last_offset_delta + 1 <= partition->next_offset;
}

static ShStatus keep_batch(ShEngine *engine, ShPartition *partition, ShLogBatch *batch, ShError *err)
{
    int64_t cost = sh_log_batch_cost(batch);
    pthread_mutex_lock(&partition->mutex);
    ShStatus status = sh_batch_ring_reserve(&partition->ring, 1, err);
    if (status == SH_OK) {
        sh_batch_ring_push(&partition->ring, batch);
        atomic_fetch_add(&engine->control.unpublished, batch->header.record_count);
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
    while (!sh_flush_is_idle(engine) || !sh_pipeline_is_empty(&engine->pipeline) ||
           sh_late_is_pending(engine)) {
        ShStatus status = wait_a_moment(engine, err);
        if (status != SH_OK)
            return status;
    }
    return sh_engine_fatal(engine, err);
}

/* While the other threads publish; what was refused is settled here, because the control thread does not run
 * yet. */
static ShStatus wait_a_moment(ShEngine *engine, ShError *err)
{
    sh_flush_now(engine);
    ShStatus status = sh_late_settle(engine, engine->control.pg, err);
    if (status != SH_OK && (err == NULL || !err->retriable))
        return status;
    if (!sh_engine_pause(engine, RECOVERY_POLL_MS))
        return sh_fail(err, SH_CANCELLED, "the agent is stopping");
    return sh_engine_fatal(engine, err);
}

/* After damage, now or in a start that did not get this far, nobody knows how far an epoch went. */
static ShStatus seal_all(ShEngine *engine, ShPg *pg, bool damaged, ShError *err)
{
    /* Else only a power cut can take what was acknowledged before it was synced. */
    bool lost = damaged || engine->identity.damaged ||
                (engine->identity.previous_sync != SH_WAL_SYNC_ALWAYS &&
                 strcmp(engine->identity.boot_id, engine->boot_id) != 0);
    ShPartition **partitions = NULL;
    size_t count = 0;
    ShStatus status = sh_partition_table_list(&engine->partitions, &partitions, &count, err);
    if (status != SH_OK)
        return status;
    ShPgSeal *seals = calloc(count + 1, sizeof *seals);
    ShPgEpoch *answers = calloc(count + 1, sizeof *answers);
    if (seals == NULL || answers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to seal %zu epochs", count);
        goto done;
    }
    size_t seal_count = list_seals(partitions, count, lost, seals);
    if (seal_count > 0)
        status = sh_pg_seal(pg, engine->registered.incarnation, seals, seal_count, answers, err);
    for (size_t i = 0; i < seal_count && status == SH_OK; i++)
        status = check_sealed(&seals[i], &answers[i], err);
    if (status == SH_OK && seal_count > 0)
        sh_log_info("epochs_recovered", "count=%zu lost=%s", seal_count, lost ? "possible" : "no");
done:
    free(answers);
    free(seals);
    sh_partition_list_free(partitions, count);
    return status;
}

/* The epochs that this WAL had to end: inherited ones, and those made for leftovers meanwhile. */
static size_t list_seals(ShPartition *const *partitions, size_t count, bool lost, ShPgSeal *seals)
{
    size_t seal_count = 0;
    for (size_t i = 0; i < count; i++) {
        ShPartition *partition = partitions[i];
        pthread_mutex_lock(&partition->mutex);
        if (partition->state == SH_PARTITION_RECOVERING)
            seals[seal_count++] = (ShPgSeal){.partition = {.topic_id = partition->key.topic_id,
                                                           .partition = partition->key.number,
                                                           .epoch = partition->epoch},
                                             .end_offset = partition->next_offset,
                                             .lost = lost};
        pthread_mutex_unlock(&partition->mutex);
    }
    return seal_count;
}

/* FENCED: sealed by force meanwhile, when all was published. */
static ShStatus check_sealed(const ShPgSeal *seal, const ShPgEpoch *answer, ShError *err)
{
    if (answer->result == SH_EPOCH_SEALED || answer->result == SH_EPOCH_DROPPED ||
        answer->result == SH_EPOCH_FENCED)
        return SH_OK;
    char topic_id[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&seal->partition.topic_id, topic_id);
    return sh_fail(
        err, SH_INTERNAL,
        "topic %s, partition %d: epoch %lld cannot be sealed at %lld after its recovery: PostgreSQL has "
        "its published end at %lld; keep the write-ahead log",
        topic_id, (int)seal->partition.partition, (long long)seal->partition.epoch,
        (long long)seal->end_offset, (long long)answer->published_end);
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
