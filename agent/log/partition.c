#include "agent/log/partition.h"

#include <stdio.h>
#include <stdlib.h>

ShPartition *sh_partition_new(const ShUuid *topic_id, int32_t number, const char *topic,
                              bool object_durability)
{
    ShPartition *partition = calloc(1, sizeof *partition);
    if (partition == NULL)
        return NULL;
    partition->key.topic_id = *topic_id;
    partition->key.number = number;
    snprintf(partition->topic, sizeof partition->topic, "%s", topic);
    partition->object_durability = object_durability;
    partition->bounds_ms = INT64_MIN;
    atomic_init(&partition->refs, 1);
    pthread_mutex_init(&partition->mutex, NULL);
    return partition;
}

ShPartition *sh_partition_ref(ShPartition *partition)
{
    atomic_fetch_add_explicit(&partition->refs, 1, memory_order_relaxed);
    return partition;
}

void sh_partition_unref(ShPartition *partition)
{
    if (partition == NULL || atomic_fetch_sub_explicit(&partition->refs, 1, memory_order_acq_rel) != 1)
        return;
    ShLogBatch *batch;
    while ((batch = sh_batch_ring_pop_oldest(&partition->ring)) != NULL)
        sh_log_batch_free(batch);
    sh_batch_ring_destroy(&partition->ring);
    sh_producers_clear(&partition->producers);
    pthread_mutex_destroy(&partition->mutex);
    free(partition);
}

bool sh_partition_is_owned(const ShPartition *partition)
{
    return partition->state == SH_PARTITION_OPEN || partition->state == SH_PARTITION_ROLLING ||
           partition->state == SH_PARTITION_RELEASING;
}

bool sh_partition_has_epoch(const ShPartition *partition)
{
    return sh_partition_is_owned(partition) || partition->state == SH_PARTITION_LATE ||
           partition->state == SH_PARTITION_RECOVERING;
}

int64_t sh_partition_store_end(const ShPartition *partition)
{
    return partition->blocked ? partition->readable_end : partition->published_end;
}

void sh_partition_leave(ShPartition *partition)
{
    partition->published_end = sh_partition_store_end(partition);
    partition->blocked = false;
    partition->state = SH_PARTITION_REMOTE;
}

void sh_partition_open(ShPartition *partition, int64_t epoch, int64_t start_offset, int64_t limit_offset,
                       int64_t published_end)
{
    /* What earlier epochs are like is asked anew; until the answer nobody reads beyond what is known. */
    partition->readable_end = sh_partition_store_end(partition);
    partition->blocked = true;
    partition->bounds_ms = INT64_MIN;
    partition->state = SH_PARTITION_OPEN;
    partition->epoch = epoch;
    partition->start_offset = start_offset;
    partition->limit_offset = limit_offset;
    partition->next_offset = published_end > start_offset ? published_end : start_offset;
    partition->high_watermark = partition->next_offset;
    partition->firm = partition->durable;
    partition->firm_end = partition->next_offset;
    partition->published_end = published_end;
}

bool sh_partition_is_drained(const ShPartition *partition)
{
    return partition->published == partition->ring.end;
}

int64_t sh_partition_evict(ShPartition *partition, uint64_t seq)
{
    int64_t cost = 0;
    while (partition->ring.first < seq && partition->ring.first < partition->published) {
        ShLogBatch *batch = sh_batch_ring_pop_oldest(&partition->ring);
        cost += sh_log_batch_cost(batch);
        sh_log_batch_free(batch);
    }
    return cost;
}

void sh_partition_assign_offsets(ShPartition *partition, uint64_t from)
{
    for (uint64_t seq = from; seq < partition->ring.end; seq++) {
        ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        uint8_t *bytes = (uint8_t *)(uintptr_t)batch->wal.batch.data;
        batch->header.base_offset = partition->next_offset;
        batch->header.leader_epoch = (int32_t)(partition->epoch & INT32_MAX);
        sh_batch_set_base_offset(bytes, batch->header.base_offset);
        sh_batch_set_leader_epoch(bytes, batch->header.leader_epoch);
        batch->wal.topic_id = partition->key.topic_id;
        batch->wal.partition = partition->key.number;
        batch->wal.epoch = partition->epoch;
        partition->next_offset = sh_log_batch_end(batch);
    }
}

ShStatus sh_partition_log(ShPartition *partition, ShWal *wal, ShError *err)
{
    while (partition->logged < partition->ring.end) {
        ShStatus status = sh_wal_append(wal, &sh_batch_ring_at(&partition->ring, partition->logged)->wal,
                                        err);
        if (status != SH_OK)
            return status;
        partition->logged++;
    }
    return SH_OK;
}

const char *sh_partition_name(const ShPartition *partition, char name[SH_PARTITION_NAME_BYTES])
{
    snprintf(name, SH_PARTITION_NAME_BYTES, "%s/%d", partition->topic, (int)partition->key.number);
    return name;
}
