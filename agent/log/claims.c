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
static void mark_void(const ShFlight *flight, const ShPgPartition *epoch, const ShPgVoid *rows,
                      size_t row_count, size_t place);
static bool is_claimed(const ShBatchHeader *header, const ShPgVoid *row);

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
    if (made.count == 0)
        return SH_OK;
    ShStatus status = sh_pg_claim(pg, engine->registered.incarnation, made.list, made.count, &rows,
                                  &row_count, err);
    if (status == SH_OK)
        status = apply(engine, &made, rows, row_count, err);
    if (status == SH_OK)
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
        mark_void(flight, &epochs[i], rows, row_count, i);
    free(rows);
    free(epochs);
    return status;
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

static void take_all(ShClaims *claims, ShClaims *out)
{
    pthread_mutex_lock(&claims->lock);
    *out = (ShClaims){.list = claims->list, .partitions = claims->partitions, .count = claims->count};
    claims->list = NULL;
    claims->partitions = NULL;
    claims->count = claims->capacity = 0;
    pthread_mutex_unlock(&claims->lock);
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
                       !is_made(partition, claim);
        if (current)
            status = begin_claim(engine, partition, claim, err);
        bool claimed = false;
        for (; row < row_count && rows[row].place == i; row++) {
            ShStretch stretch = {.base_offset = rows[row].base_offset,
                                 .base_sequence = rows[row].base_sequence,
                                 .count = rows[row].count};
            claimed = rows[row].claimed;
            if (current && status == SH_OK && rows[row].count > 0)
                sh_producers_note_stretch(&partition->producers, claim->producer_id, rows[row].producer_epoch,
                                          &stretch);
        }
        if (current && status == SH_OK && claimed)
            sh_producers_note_claim(&partition->producers, claim->producer_id, claim->producer_epoch,
                                    claim->first_unacked_seq);
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
    sh_producers_forget(&partition->producers, claim->producer_id);
    return sh_producers_reserve(&partition->producers, &engine->producer_budget, claim->producer_id, err);
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
static void mark_void(const ShFlight *flight, const ShPgPartition *epoch, const ShPgVoid *rows,
                      size_t row_count, size_t place)
{
    ShPartition *partition = NULL;
    for (size_t i = 0; i < flight->range_count; i++) {
        ShPartition *other = flight->ranges[i].partition;
        if (other->key.number == epoch->partition && sh_uuid_equal(&other->key.topic_id, &epoch->topic_id))
            partition = other;
    }
    pthread_mutex_lock(&partition->mutex);
    for (uint64_t seq = partition->published; seq < partition->ring.end; seq++) {
        ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        for (size_t i = 0; i < row_count && batch->wal.epoch == epoch->epoch && !batch->is_void; i++)
            batch->is_void = rows[i].place == place && is_claimed(&batch->header, &rows[i]);
    }
    pthread_mutex_unlock(&partition->mutex);
}

static bool is_claimed(const ShBatchHeader *header, const ShPgVoid *row)
{
    return header->producer_id == row->producer_id && header->producer_epoch == row->producer_epoch &&
           sh_sequence_distance(header->base_sequence, row->first_unacked_seq) >= 0;
}
