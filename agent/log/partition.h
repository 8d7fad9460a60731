/*
 * partition.h - the state of one partition at this agent.
 *
 * Lock order, outermost first:
 *
 *   1. a partition's mutex (never two of them at once)
 *   2. one of: the flusher's, the fetcher's, the bounds poller's, the read cache's, the claims' lock, the
 * WAL's own
 *
 * The partition table's lock and the metadata's lock are leaves too, taken without any other. No lock is held
 * across I/O, SQL or a call back to rpc/.
 *
 * The batches in memory stand in one ring; the cursors divide it:
 *
 *   ring.first <= published <= flushed <= durable <= logged <= ring.end
 *   published <= firm <= durable: ours are readable up to there (firm.h)
 *
 *   [first, published)    the tail: readable, in the store too, evicted when memory is short
 *   [published, flushed)  in an object that is being uploaded or published
 *   [flushed, durable)    acknowledged and waiting for the next object (topics of durability `object`: not
 * yet acknowledged) [durable, logged)     handed to the WAL [logged, end)         has offsets, but the WAL
 * was full in the middle of a call; nothing is accepted meanwhile
 */
#ifndef SH_AGENT_LOG_PARTITION_H
#define SH_AGENT_LOG_PARTITION_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "agent/log/batch_ring.h"
#include "agent/log/producers.h"
#include "agent/pg/pg.h"
#include "core/bytes.h"
#include "core/status.h"

typedef enum ShPartitionState {
    SH_PARTITION_REMOTE,    /* another agent's, nobody's, or everybody's (durability `object`) */
    SH_PARTITION_OPENING,   /* placed here: grant and open are under way */
    SH_PARTITION_OPEN,      /* ours, accepting */
    SH_PARTITION_ROLLING,   /* ours, its range is used up: seal, then a new epoch here */
    SH_PARTITION_RELEASING, /* ours, on its way to another agent: seal when everything is published */
    SH_PARTITION_LATE, /* another agent has taken it over: publish what is left of our epoch, and seal it */
    SH_PARTITION_RECOVERING /* what the WAL had left is being published */
} ShPartitionState;

struct ShFetchWaiter;
struct ShCachedRange;

typedef struct ShPartitionKey {
    ShUuid topic_id;
    int32_t number;
} ShPartitionKey;

typedef struct ShPartition {
    ShPartitionKey key;
    char topic[SH_TOPIC_NAME_BYTES];
    bool object_durability;
    atomic_int refs;
    UT_hash_handle hh; /* the partition table's */

    pthread_mutex_t mutex;
    /* guarded by mutex */
    ShPartitionState state;
    int64_t epoch;
    int64_t start_offset;
    int64_t limit_offset;
    int64_t next_offset;    /* of the next batch accepted */
    int64_t high_watermark; /* ours: end of what is durable; `object`: the published end */
    int64_t firm_end;       /* ours: the end of what readers may have */
    int64_t published_end;  /* as far as is known here */
    int64_t log_start;
    bool blocked;              /* earlier epochs are not known to be sealed: readers stop at readable_end */
    int64_t readable_end;      /* while blocked: how far the oldest unsealed epoch is published */
    int64_t orphan_timeout_ms; /* 0: none */
    bool refused;         /* its epoch was sealed by force: nothing is flushed until late.c has settled it */
    int64_t refused_cost; /* of batches that were flushed and are to be flushed again */
    int64_t bounds_ms;    /* when the last answered question for the bounds was asked; INT64_MIN: never */
    ShBatchRing ring;
    uint64_t published;
    uint64_t flushed;
    uint64_t durable;
    uint64_t firm;
    uint64_t logged;
    struct ShFetchWaiter *waiters;
    ShProducers producers; /* ours only: for durability `object` PostgreSQL decides */

    uint64_t listed_round; /* the control thread's own: when the assignments last listed it as ours */

    /* guarded by the partition table's lock */
    struct ShPartition *left_next;

    /* guarded by the flusher's lock */
    bool dirty;
    struct ShPartition *dirty_next;

    /* guarded by the bounds poller's lock */
    bool bounds_wanted;
    struct ShPartition *bounds_next;

    /* guarded by the read cache's lock */
    struct ShIndexRows *rows; /* some consecutive rows of the index, or NULL */
    struct ShCachedRange *ranges;
} ShPartition;

/* One reference; NULL when memory is short. */
ShPartition *sh_partition_new(const ShUuid *topic_id, int32_t number, const char *topic,
                              bool object_durability);
ShPartition *sh_partition_ref(ShPartition *partition);
void sh_partition_unref(ShPartition *partition);

/* With the mutex held: this agent assigns the offsets and has the newest data. */
bool sh_partition_is_owned(const ShPartition *partition);

/* With the mutex held: an epoch of the partition is this agent's to publish and to seal. */
bool sh_partition_has_epoch(const ShPartition *partition);

/* With the mutex held: as far as readers may be served from the store. */
int64_t sh_partition_store_end(const ShPartition *partition);

/* With the mutex held: it is nobody's here any more. */
void sh_partition_leave(ShPartition *partition);

/* With the mutex held: begin to accept in an open epoch. */
void sh_partition_open(ShPartition *partition, int64_t epoch, int64_t start_offset, int64_t limit_offset,
                       int64_t published_end);

/* With the mutex held: everything that was accepted is published. */
bool sh_partition_is_drained(const ShPartition *partition);

/* With the mutex held: take the oldest published batches below `seq` out of memory; returns what they cost.
 */
int64_t sh_partition_evict(ShPartition *partition, uint64_t seq);

/* With the mutex held: put offsets and epoch into the batches [from, ring.end) and count them as accepted. */
void sh_partition_assign_offsets(ShPartition *partition, uint64_t from);

/* With the mutex held: hand what is accepted to the WAL, in order, until it takes no more. */
ShStatus sh_partition_log(ShPartition *partition, ShWal *wal, ShError *err) SH_MUST_CHECK;

/* "topic/partition" for logs and errors. */
#define SH_PARTITION_NAME_BYTES (SH_TOPIC_NAME_BYTES + 12)
const char *sh_partition_name(const ShPartition *partition, char name[SH_PARTITION_NAME_BYTES]);

#endif
