#include "agent/log/claims.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define CLAIM_RETRY_MS 20

static ShStatus add(ShClaims *claims, ShPartition *partition, const ShPgClaim *claim, ShError *err);
static bool is_wanted(const ShClaims *claims, const ShPgClaim *claim);
static void take_all(ShClaims *claims, ShClaims *out);
static void free_list(ShClaims *list);
static ShStatus apply(ShEngine *engine, const ShClaims *made, const ShPgClaimAnswer *rows, size_t row_count,
                      ShError *err);
static bool is_made(const ShPartition *partition, const ShPgClaim *claim);
static ShStatus begin_claim(ShEngine *engine, ShPartition *partition, const ShPgClaim *claim, ShError *err);
static ShPgPartition *list_epochs(const ShFlight *flight, size_t *count);
static ShStatus leave_out(ShEngine *engine, const ShFlight *flight, const ShPgPartition *epoch,
                          const ShPgVoid *rows, size_t row_count, size_t place, ShError *err);
static ShStatus cut(ShEngine *engine, ShLogBatch *batch, int32_t count, ShError *err);

void sh_claims_init(ShClaims *claims)
{
    *claims = (ShClaims){0};
    pthread_mutex_init(&claims->lock, NULL);
}

void sh_claims_destroy(ShClaims *claims)
{
    free_list(claims);
    pthread_mutex_destroy(&claims->lock);
}

ShStatus sh_claims_want(ShEngine *engine, ShPartition *partition, const ShBatchHeader *header, ShError *err)
{
    ShPgClaim claim = {.partition = {.topic_id = partition->key.topic_id,
                                     .partition = partition->key.number,
                                     .epoch = partition->epoch},
                       .producer_id = header->producer_id,
                       .producer_epoch = header->producer_epoch,
                       .first_unacked_seq = header->base_sequence};
    pthread_mutex_lock(&engine->claims.lock);
    ShStatus status = is_wanted(&engine->claims, &claim) ? SH_OK
                                                         : add(&engine->claims, partition, &claim, err);
    pthread_mutex_unlock(&engine->claims.lock);
    if (status != SH_OK)
        return status;
    sh_control_wake(engine);
    status = sh_fail(
        err, SH_UNAVAILABLE,
        "the partition was taken over: the claim of producer %lld from sequence %d on is being made",
        (long long)claim.producer_id, claim.first_unacked_seq);
    return sh_fail_retry_after(err, status, CLAIM_RETRY_MS);
}

ShStatus sh_claims_make(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShClaims made;
    ShPgClaimAnswer *rows = NULL;
    size_t row_count = 0;
    take_all(&engine->claims, &made);
    ShStatus status = SH_OK;
    if (made.count > 0)
        status = sh_pg_claim(pg, engine->registered.incarnation, made.list, made.count, &rows, &row_count,
                             err);
    if (status == SH_OK)
        status = apply(engine, &made, rows, row_count, err);
    if (status == SH_OK && made.count > 0)
        sh_log_info("producers_claimed", "count=%zu", made.count);
    free(rows);
    free_list(&made);
    return status;
}

ShStatus sh_claims_learn(ShEngine *engine, ShPg *pg, const ShFlight *flight, ShError *err)
{
    size_t count = 0;
    ShPgPartition *epochs = list_epochs(flight, &count);
    if (epochs == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the epochs of an object");
    ShPgVoid *rows = NULL;
    size_t row_count = 0;
    ShStatus status = sh_pg_claims(pg, engine->registered.incarnation, epochs, count, &rows, &row_count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++)
        status = leave_out(engine, flight, &epochs[i], rows, row_count, i, err);
    free(rows);
    free(epochs);
    return status;
}

int32_t sh_claims_count_unclaimed(const ShBatchHeader *header, const ShPgVoid *rows, size_t row_count,
                                  size_t place)
{
    int32_t count = header->last_offset_delta + 1;
    for (size_t i = 0; i < row_count; i++) {
        if (rows[i].place != place || header->producer_id != rows[i].producer_id ||
            header->producer_epoch != rows[i].producer_epoch)
            continue;
        int32_t before = sh_sequences_before(header, rows[i].first_unacked_seq);
        if (before < count)
            count = before;
    }
    return count;
}

/* With the lock held. */
static ShStatus add(ShClaims *claims, ShPartition *partition, const ShPgClaim *claim, ShError *err)
{
    if (claims->count == claims->capacity) {
        size_t capacity = claims->capacity == 0 ? 16 : 2 * claims->capacity;
        ShPgClaim *list = realloc(claims->list, capacity * sizeof *list);
        if (list != NULL)
            claims->list = list;
        ShPartition **partitions = realloc(claims->partitions, capacity * sizeof(*partitions));
        if (partitions != NULL)
            claims->partitions = partitions;
        if (list == NULL || partitions == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for one more claim");
        claims->capacity = capacity;
    }
    claims->list[claims->count] = *claim;
    claims->partitions[claims->count++] = sh_partition_ref(partition);
    return SH_OK;
}

/* With the lock held. */
static bool is_wanted(const ShClaims *claims, const ShPgClaim *claim)
{
    for (size_t i = 0; i < claims->count; i++) {
        const ShPgClaim *other = &claims->list[i];
        if (other->producer_id == claim->producer_id && other->producer_epoch == claim->producer_epoch &&
            other->partition.partition == claim->partition.partition &&
            other->partition.epoch == claim->partition.epoch &&
            sh_uuid_equal(&other->partition.topic_id, &claim->partition.topic_id))
            return true;
    }
    return false;
}

/* But those that were made since they were wanted, as strangers.c does. */
static void take_all(ShClaims *claims, ShClaims *out)
{
    pthread_mutex_lock(&claims->lock);
    *out = (ShClaims){.list = claims->list, .partitions = claims->partitions, .count = claims->count};
    claims->list = NULL;
    claims->partitions = NULL;
    claims->count = claims->capacity = 0;
    pthread_mutex_unlock(&claims->lock);
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        ShPartition *partition = out->partitions[i];
        pthread_mutex_lock(&partition->mutex);
        bool made = is_made(partition, &out->list[i]);
        pthread_mutex_unlock(&partition->mutex);
        if (made) {
            sh_partition_unref(partition);
            continue;
        }
        out->list[kept] = out->list[i];
        out->partitions[kept++] = partition;
    }
    out->count = kept;
}

static void free_list(ShClaims *list)
{
    for (size_t i = 0; i < list->count; i++)
        sh_partition_unref(list->partitions[i]);
    free(list->partitions);
    free(list->list);
}

/* Rows come by claim and offset: first what is published of the producer, then what was claimed. */
static ShStatus apply(ShEngine *engine, const ShClaims *made, const ShPgClaimAnswer *rows, size_t row_count,
                      ShError *err)
{
    ShStatus status = SH_OK;
    size_t row = 0;
    for (size_t i = 0; i < made->count && status == SH_OK; i++) {
        ShPartition *partition = made->partitions[i];
        const ShPgClaim *claim = &made->list[i];
        pthread_mutex_lock(&partition->mutex);
        bool current = partition->epoch == claim->partition.epoch && sh_partition_is_owned(partition) &&
                       row < row_count && rows[row].place == i && rows[row].id == SH_PG_ID_KNOWN &&
                       !is_made(partition, claim);
        if (current)
            status = begin_claim(engine, partition, claim, err);
        if (status == SH_EXHAUSTED) {
            /* Its next batch asks again. */
            current = false;
            status = SH_OK;
            sh_error_clear(err);
        }
        int32_t claimed_from = -1;
        if (row < row_count && rows[row].place == i)
            sh_strangers_note(engine, claim->producer_id, rows[row].id);
        for (; row < row_count && rows[row].place == i; row++) {
            ShStretch stretch = {.base_offset = rows[row].base_offset,
                                 .base_sequence = rows[row].base_sequence,
                                 .count = rows[row].count};
            claimed_from = rows[row].claimed_from;
            if (current && status == SH_OK && rows[row].count > 0)
                sh_producers_note_stretch(&partition->producers, claim->producer_id, rows[row].producer_epoch,
                                          &stretch);
        }
        if (current && status == SH_OK && claimed_from >= 0)
            sh_producers_note_claim(&partition->producers, claim->producer_id, claim->producer_epoch,
                                    claimed_from);
        pthread_mutex_unlock(&partition->mutex);
    }
    return status;
}

/* With the partition's mutex held: a retry that came while the claim was on its way asked for it again, and
 * batches may have been taken in since. */
static bool is_made(const ShPartition *partition, const ShPgClaim *claim)
{
    const ShProducerState *state = sh_producers_find(&partition->producers, claim->producer_id);
    return state != NULL && state->known && state->claimed && state->epoch >= claim->producer_epoch;
}

/* With the partition's mutex held. */
static ShStatus begin_claim(ShEngine *engine, ShPartition *partition, const ShPgClaim *claim, ShError *err)
{
    if (sh_producers_find(&partition->producers, claim->producer_id) != NULL) {
        sh_producers_reset(&partition->producers, claim->producer_id);
        return SH_OK;
    }
    return sh_producers_reserve(&partition->producers, &engine->producer_budget, claim->producer_id,
                                partition->published_end, sh_clock_now_ms(), err);
}

/* The epochs of the ranges that hold idempotent batches, each once as long as they follow each other. */
static ShPgPartition *list_epochs(const ShFlight *flight, size_t *count)
{
    ShPgPartition *epochs = calloc(flight->range_count + 1, sizeof *epochs);
    for (size_t i = 0; epochs != NULL && i < flight->range_count; i++) {
        const ShFlightRange *range = &flight->ranges[i];
        const ShPgPartition *last = *count == 0 ? NULL : &epochs[*count - 1];
        if (!range->idempotent ||
            (last != NULL && last->epoch == range->epoch && last->partition == range->partition->key.number &&
             sh_uuid_equal(&last->topic_id, &range->partition->key.topic_id)))
            continue;
        epochs[(*count)++] = (ShPgPartition){.topic_id = range->partition->key.topic_id,
                                             .partition = range->partition->key.number,
                                             .epoch = range->epoch};
    }
    return epochs;
}

/* Of the epoch `place` in the question: whatever of it is not published yet. */
static ShStatus leave_out(ShEngine *engine, const ShFlight *flight, const ShPgPartition *epoch,
                          const ShPgVoid *rows, size_t row_count, size_t place, ShError *err)
{
    ShPartition *partition = NULL;
    for (size_t i = 0; i < flight->range_count; i++) {
        ShPartition *other = flight->ranges[i].partition;
        /* Of a topic whose durability changed there may be two: each has epochs of its own. */
        if (flight->ranges[i].epoch == epoch->epoch && other->key.number == epoch->partition &&
            sh_uuid_equal(&other->key.topic_id, &epoch->topic_id))
            partition = other;
    }
    ShStatus status = SH_OK;
    pthread_mutex_lock(&partition->mutex);
    for (uint64_t seq = partition->published; seq < partition->ring.end && status == SH_OK; seq++) {
        ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        if (batch->wal.epoch != epoch->epoch || batch->is_void)
            continue;
        int32_t kept = sh_claims_count_unclaimed(&batch->header, rows, row_count, place);
        batch->is_void = kept == 0;
        if (kept > 0 && kept <= batch->header.last_offset_delta && seq < partition->durable)
            status = cut(engine, batch, kept, err);
    }
    pthread_mutex_unlock(&partition->mutex);
    return status;
}

/* A producer that cuts its batches anew claims from the middle of one. The records before that are stored
 * here, and it knows them to be; the others it has sent elsewhere. Readers and objects under way hold the
 * bytes, so the batch gets others. */
static ShStatus cut(ShEngine *engine, ShLogBatch *batch, int32_t count, ShError *err)
{
    ShBuf *buf = NULL;
    ShSlice old = batch->wal.batch;
    int64_t old_cost = sh_log_batch_cost(batch);
    int32_t old_records = batch->header.record_count;
    ShStatus status = sh_batch_cut(old.data, old.length, count, SH_BATCH_DECOMPRESSED_BYTES_MAX, &buf, err);
    if (status != SH_OK)
        return status;
    batch->wal.batch = (ShSlice){.data = buf->data, .length = buf->length, .owner = buf};
    status = sh_batch_peek(buf->data, buf->length, &batch->header, err);
    sh_memory_force(&engine->memory, sh_log_batch_cost(batch) - old_cost);
    atomic_fetch_sub(&engine->control.unpublished, old_records - batch->header.record_count);
    sh_buf_unref(old.owner);
    return status;
}
