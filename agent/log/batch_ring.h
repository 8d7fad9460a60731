/*
 * batch_ring.h - the batches of one partition that are in memory, in log order.
 *
 * Batches are named by sequence numbers that only rise: the ring holds [first, end). What has happened to a
 * batch is told by cursors beside the ring (partition.h), never by moving it. The ring has no lock: the
 * partition's mutex guards it.
 */
#ifndef SH_AGENT_LOG_BATCH_RING_H
#define SH_AGENT_LOG_BATCH_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/wal/wal.h"
#include "core/batch.h"
#include "core/status.h"

struct ShAppendWait;
struct ShPartition;

/* One batch. It holds a reference on the owner of its bytes. */
typedef struct ShLogBatch {
    ShWalEntry wal;            /* topic, partition, epoch, bytes, and the WAL file that holds it (0: none) */
    ShBatchHeader header;      /* base_offset is SH_OFFSET_UNASSIGNED until the publish assigns it */
    struct ShAppendWait *wait; /* on the last batch of a call's part: who waits for it, a chain; else NULL */
    struct ShPartition *partition;
    int32_t first_unacked_seq; /* of an idempotent producer, as the call said; for `object` topics */
    bool is_void; /* its offsets are left out: sent anew in a later epoch (claims.h), or lost by the WAL */
} ShLogBatch;

/* A batch of its own, with a reference on the slice's owner; NULL when memory is short. */
ShLogBatch *sh_log_batch_new(struct ShPartition *partition, ShSlice bytes, const ShBatchHeader *header);
void sh_log_batch_free(ShLogBatch *batch);

/* What a batch counts against the memory budget. */
int64_t sh_log_batch_cost(const ShLogBatch *batch);

/* The offset after the batch's last one. */
static inline int64_t sh_log_batch_end(const ShLogBatch *batch)
{
    return batch->header.base_offset + batch->header.last_offset_delta + 1;
}

typedef struct ShBatchRing {
    ShLogBatch **slots;
    uint64_t capacity; /* a power of two, or 0 */
    uint64_t first;
    uint64_t end;
} ShBatchRing;

/* Make room for `count` more batches, so that pushing them cannot fail. */
ShStatus sh_batch_ring_reserve(ShBatchRing *ring, size_t count, ShError *err) SH_MUST_CHECK;
/* Append; room must have been reserved. */
void sh_batch_ring_push(ShBatchRing *ring, ShLogBatch *batch);
/* Take the newest batch off again; NULL when the ring is empty. */
ShLogBatch *sh_batch_ring_pop_newest(ShBatchRing *ring);
/* Take the oldest batch off; NULL when the ring is empty. */
ShLogBatch *sh_batch_ring_pop_oldest(ShBatchRing *ring);
/* The batch `seq`, which must be inside [first, end). */
static inline ShLogBatch *sh_batch_ring_at(const ShBatchRing *ring, uint64_t seq)
{
    return ring->slots[seq & (ring->capacity - 1)];
}
/* The first batch in [first, limit) that ends above `offset`; `limit` when there is none. All batches below
 * `limit` must have offsets. */
uint64_t sh_batch_ring_find(const ShBatchRing *ring, uint64_t limit, int64_t offset);
/* Free the slots; the ring must be empty. */
void sh_batch_ring_destroy(ShBatchRing *ring);

#endif
