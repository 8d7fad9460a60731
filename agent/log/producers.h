/*
 * producers.h - what a partition knows of its idempotent producers, and the check that stores a batch once.
 *
 * Sequences run from 0 to 2^31 - 1 and then from 0 again, per producer, epoch and partition. What was stored
 * is kept as stretches: consecutive sequences at consecutive offsets. The batches of one call always make one
 * stretch, and a producer that writes alone makes a single one that grows, so that SH_STRETCHES_MAX of them
 * reach back over at least as many calls in flight.
 *
 * What is known is bounded, per partition and for all together, and not given up before it is published, nor
 * within a while of its use, as a retry may need it. What is given up later PostgreSQL tells again
 * (strangers.h): the while saves asking, and is short for who has come once.
 *
 * All of it is guarded by the partition's mutex.
 */
#ifndef SH_AGENT_LOG_PRODUCERS_H
#define SH_AGENT_LOG_PRODUCERS_H

#include <stdatomic.h>

#include "agent/log/engine.h"

#define SH_STRETCHES_MAX       5
#define SH_STRETCH_RECORDS_MAX (1 << 24)
#define SH_PRODUCERS_MAX       10000 /* per partition */
/* State that was used within this time is not given up, nor what is not published. */
#define SH_PRODUCER_IDLE_MS 60000
/* The same for who has come with one batch, or with none: so that ids that are made for it fill no partition.
 */
#define SH_PRODUCER_ONCE_MS 5000

typedef struct ShStretch {
    int64_t base_offset;
    int32_t base_sequence;
    int32_t count;
} ShStretch;

typedef struct ShProducerState {
    int64_t producer_id;
    int64_t used_ms;
    ShStretch stretches[SH_STRETCHES_MAX]; /* the oldest first */
    int32_t next_sequence;
    int32_t first_unacked; /* that it has said for this epoch, if says_unacked */
    int16_t epoch;
    int8_t stretch_count;
    bool says_unacked : 1;
    bool known : 1;   /* false: its first batch was never taken in */
    bool claimed : 1; /* see ShProducers.unresolved */
    bool again : 1;   /* has come with a second batch, or stretch */
} ShProducerState;

/* What one producer's state takes with its places in the heap and in the list. */
#define SH_PRODUCER_STATE_BYTES ((int64_t)(sizeof(ShProducerState) + 4 * sizeof(void *)))

/* The bound of all partitions together. */
typedef struct ShProducerBudget {
    atomic_int_fast64_t count;
    int64_t count_max;
    atomic_bool is_short; /* somebody was refused since the last sweep */
} ShProducerBudget;

typedef struct ShProducers {
    ShProducerState **list; /* ordered by id */
    size_t count;
    size_t capacity;
    ShProducerBudget *budget; /* NULL while there are none */
    /* PostgreSQL knows of producers in this partition that are not in the list: nothing may be taken from one
     * that is not before PostgreSQL was asked. */
    bool partial;
    /* An earlier epoch of the partition may still bring batches: each producer needs a claim (claims.h)
     * before its first batch is taken. */
    bool unresolved;
    /* When, and at which published end, there was none to give up: newcomers do not look again at once. */
    int64_t futile_ms;
    int64_t futile_end;
} ShProducers;

/* What a call's batches are. */
typedef struct ShSequenceCheck {
    size_t duplicates; /* so many at the front are stored already, at header.base_offset */
    bool claim_needed; /* those behind them have to be claimed first, and then looked at again */
} ShSequenceCheck;

/* Look at the batches of one call, all of one producer, in their order; `first_unacked` is the
 * sequence behind all that the producer has an acknowledgement of. Changes nothing but the base offsets of
 * duplicates. Failures: SH_OUT_OF_ORDER_SEQUENCE, SH_DUPLICATE_SEQUENCE, SH_INVALID_PRODUCER_EPOCH,
 * SH_UNKNOWN_PRODUCER_ID, and SH_INVALID for batches of several producers. */
ShStatus sh_producers_check(const ShProducers *producers, ShAppendBatch *batches, size_t count,
                            int32_t first_unacked, ShSequenceCheck *out, ShError *err) SH_MUST_CHECK;

/* Make room for a producer, so that noting its batches cannot fail; it is used now. At the bound those are
 * given up that are idle and published up to `published_end`: PostgreSQL has their state. Who has come once
 * is idle after seconds. SH_EXHAUSTED with a delay when there is none, for a newcomer. */
ShStatus sh_producers_reserve(ShProducers *producers, ShProducerBudget *budget, int64_t producer_id,
                              int64_t published_end, int64_t now_ms, ShError *err) SH_MUST_CHECK;

/* As sh_producers_reserve does for a newcomer, without taking it in. */
ShStatus sh_producers_make_room(ShProducers *producers, ShProducerBudget *budget, int64_t published_end,
                                int64_t now_ms, ShError *err) SH_MUST_CHECK;

/* Give up all that are idle and published; returns how many. */
size_t sh_producers_sweep(ShProducers *producers, int64_t published_end, int64_t now_ms);

/* Give the producer up if all of it is published and it was not used after `used_ms`. */
void sh_producers_drop_old(ShProducers *producers, int64_t producer_id, int64_t published_end,
                           int64_t used_ms);

/* The producer has its place and nothing is known of it, as if it had just come. */
void sh_producers_reset(ShProducers *producers, int64_t producer_id);

/* A batch was taken in at header->base_offset. The producer has its place. */
void sh_producers_note(ShProducers *producers, const ShBatchHeader *header);

/* The same for a stretch that PostgreSQL knows of: to be given in the order of the offsets. */
void sh_producers_note_stretch(ShProducers *producers, int64_t producer_id, int16_t epoch,
                               const ShStretch *stretch);

/* NULL when nothing is known of it. */
ShProducerState *sh_producers_find(const ShProducers *producers, int64_t producer_id);

/* A claim was made: the producer's next batch begins at `sequence`, or behind what is known of it, as after a
 * claim that was made long ago. One of an epoch that has ended changes nothing. The producer has its place.
 */
void sh_producers_note_claim(ShProducers *producers, int64_t producer_id, int16_t epoch, int32_t sequence);

/* Forget all. */
void sh_producers_clear(ShProducers *producers);

/* How many of a batch's sequences lie before `sequence`: none, all (last_offset_delta + 1), or those at its
 * front. What a claim makes void, and what can no longer be claimed, goes by this alone. */
int32_t sh_sequences_before(const ShBatchHeader *header, int32_t sequence);

/* The sequence `count` behind another. */
int32_t sh_sequence_add(int32_t sequence, int64_t count);
/* How far `a` lies behind `b`, the shorter way round; negative: before it. */
int32_t sh_sequence_distance(int32_t a, int32_t b);

#endif
