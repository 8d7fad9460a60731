#include "agent/log/batch_ring.h"

#include <stdlib.h>

#define RING_SLOTS_MIN 16

ShLogBatch *sh_log_batch_new(struct ShPartition *partition, ShSlice bytes, const ShBatchHeader *header)
{
    ShLogBatch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->wal.batch = bytes;
    sh_buf_ref(bytes.owner);
    batch->header = *header;
    batch->partition = partition;
    return batch;
}

void sh_log_batch_free(ShLogBatch *batch)
{
    if (batch == NULL)
        return;
    sh_buf_unref(batch->wal.batch.owner);
    free(batch);
}

int64_t sh_log_batch_cost(const ShLogBatch *batch)
{
    return (int64_t)(batch->wal.batch.length + sizeof *batch);
}

ShStatus sh_batch_ring_reserve(ShBatchRing *ring, size_t count, ShError *err)
{
    uint64_t needed = ring->end - ring->first + count;
    uint64_t capacity = ring->capacity == 0 ? RING_SLOTS_MIN : ring->capacity;
    while (capacity < needed)
        capacity *= 2;
    if (capacity == ring->capacity)
        return SH_OK;
    ShLogBatch **slots = malloc(capacity * sizeof *slots);
    if (slots == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a queue of %llu batches",
                       (unsigned long long)capacity);
    for (uint64_t seq = ring->first; seq < ring->end; seq++)
        slots[seq & (capacity - 1)] = sh_batch_ring_at(ring, seq);
    free(ring->slots);
    ring->slots = slots;
    ring->capacity = capacity;
    return SH_OK;
}

void sh_batch_ring_push(ShBatchRing *ring, ShLogBatch *batch)
{
    ring->slots[ring->end++ & (ring->capacity - 1)] = batch;
}

ShLogBatch *sh_batch_ring_pop_newest(ShBatchRing *ring)
{
    if (ring->end == ring->first)
        return NULL;
    return sh_batch_ring_at(ring, --ring->end);
}

ShLogBatch *sh_batch_ring_pop_oldest(ShBatchRing *ring)
{
    if (ring->end == ring->first)
        return NULL;
    return sh_batch_ring_at(ring, ring->first++);
}

uint64_t sh_batch_ring_find(const ShBatchRing *ring, uint64_t limit, int64_t offset)
{
    uint64_t low = ring->first;
    uint64_t high = limit;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (sh_log_batch_end(sh_batch_ring_at(ring, middle)) > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void sh_batch_ring_destroy(ShBatchRing *ring)
{
    free(ring->slots);
    *ring = (ShBatchRing){0};
}
