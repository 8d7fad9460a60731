#include "agent/log/firm.h"

#include "agent/log/engine_internal.h"

static bool is_firm(const ShPartition *partition, const ShLogBatch *batch);

void sh_firm_advance(ShEngine *engine, ShPartition *partition)
{
    if (partition->object_durability || !sh_partition_is_owned(partition))
        return;
    uint64_t from = partition->firm;
    if (partition->firm < partition->published)
        partition->firm = partition->published;
    while (partition->firm < partition->durable &&
           is_firm(partition, sh_batch_ring_at(&partition->ring, partition->firm)))
        partition->firm++;
    if (partition->firm == from)
        return;
    /* What is published may have left the memory: its end is known otherwise. */
    int64_t end = partition->firm > partition->ring.first
                      ? sh_log_batch_end(sh_batch_ring_at(&partition->ring, partition->firm - 1))
                      : partition->published_end;
    if (end > partition->firm_end)
        partition->firm_end = end;
    sh_fetch_wake(engine, partition);
}

void sh_firm_note(ShEngine *engine, ShPartition *partition, int64_t producer_id, int16_t producer_epoch,
                  int32_t first_unacked)
{
    ShProducerState *state = sh_producers_find(&partition->producers, producer_id);
    if (state == NULL || !state->known || state->epoch != producer_epoch)
        return;
    if (state->says_unacked && sh_sequence_distance(first_unacked, state->first_unacked) <= 0)
        return;
    state->says_unacked = true;
    state->first_unacked = first_unacked;
    sh_firm_advance(engine, partition);
}

int64_t sh_firm_end(const ShPartition *partition)
{
    return partition->object_durability ? partition->high_watermark : partition->firm_end;
}

static bool is_firm(const ShPartition *partition, const ShLogBatch *batch)
{
    const ShBatchHeader *header = &batch->header;
    if (header->producer_id < 0)
        return true;
    const ShProducerState *state = sh_producers_find(&partition->producers, header->producer_id);
    return state != NULL && state->known && state->epoch == header->producer_epoch && state->says_unacked &&
           sh_sequences_before(header, state->first_unacked) == header->last_offset_delta + 1;
}

void sh_engine_confirm(ShEngine *engine, const ShConfirmation *confirmation)
{
    ShResolved found = {0};
    ShTarget target = confirmation->target;
    if (sh_meta_resolve(engine, &target, &found, NULL) != SH_OK)
        return;
    pthread_mutex_lock(&found.partition->mutex);
    sh_firm_note(engine, found.partition, confirmation->producer_id, confirmation->producer_epoch,
                 confirmation->first_unacked_seq);
    pthread_mutex_unlock(&found.partition->mutex);
    sh_partition_unref(found.partition);
}
