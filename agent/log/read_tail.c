/*
 * read_tail.c - serving a part from memory, and deciding what else could serve it.
 */
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/firm.h"

/* What is known of the end of a partition that others may write to is no older. */
#define BOUNDS_AGE_MAX_MS 1000

static ShReadOutcome decide(ShFetchState *state, size_t index, ShPartition *partition);
static bool find_in_memory(const ShPartition *partition, int64_t from, uint64_t *seq, uint64_t *limit);
static ShReadOutcome take(ShFetchState *state, size_t index, ShPartition *partition, uint64_t seq,
                          uint64_t limit);
static ShReadOutcome at_end(ShFetchState *state, size_t index, ShPartition *partition);
static bool serves_tail(ShEngine *engine, const ShPartition *partition);
static ShReadOutcome fail_range(ShFetchPart *part);
static ShReadOutcome wait_for(ShFetchState *state, size_t index, ShPartition *partition,
                              ShReadOutcome outcome);
static bool is_outdated(ShFetchState *state, ShPartition *partition);
static bool is_fresh(const ShFetchState *state, const ShPartition *partition);

ShReadOutcome sh_read_tail(ShFetchState *state, size_t index, ShPartition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    ShReadOutcome outcome = decide(state, index, partition);
    pthread_mutex_unlock(&partition->mutex);
    return outcome;
}

static ShReadOutcome decide(ShFetchState *state, size_t index, ShPartition *partition)
{
    ShEngine *engine = state->engine;
    ShFetchPart *part = &state->fetch->parts[index];
    bool knows_end = partition->object_durability || serves_tail(engine, partition);
    if (partition->bounds_ms == INT64_MIN) {
        sh_bounds_want(engine, partition, true);
        return wait_for(state, index, partition, SH_READ_BOUNDS);
    }
    if ((partition->object_durability || !knows_end) && is_outdated(state, partition))
        return wait_for(state, index, partition, SH_READ_BOUNDS);
    part->log_start = partition->log_start;
    part->high_watermark = knows_end ? sh_firm_end(partition) : sh_partition_store_end(partition);
    part->epoch = partition->epoch;
    if (part->offset > part->high_watermark && !sh_partition_is_owned(partition) &&
        !is_fresh(state, partition)) {
        sh_bounds_want(engine, partition, false);
        return wait_for(state, index, partition, SH_READ_BOUNDS);
    }
    if (part->offset < part->log_start || (knows_end && part->offset > part->high_watermark))
        return fail_range(part);
    int64_t from = state->waiters[index].resume_offset;
    uint64_t seq;
    uint64_t limit;
    if (knows_end && find_in_memory(partition, from, &seq, &limit))
        return take(state, index, partition, seq, limit);
    if (from < sh_partition_store_end(partition))
        return SH_READ_STORE;
    return at_end(state, index, partition);
}

/* The readable batch that holds `from`, or the next one above it if nothing else can lie between. */
static bool find_in_memory(const ShPartition *partition, int64_t from, uint64_t *seq, uint64_t *limit)
{
    *limit = partition->object_durability ? partition->published : partition->firm;
    *seq = sh_batch_ring_find(&partition->ring, *limit, from);
    if (*seq == *limit)
        return false;
    if (sh_batch_ring_at(&partition->ring, *seq)->header.base_offset <= from)
        return true;
    /* Above a hole. Other agents write to `object` topics too, so theirs may lie in it. */
    if (partition->object_durability)
        return false;
    /* Below the epoch's start others may have written: leftovers stand in an epoch of their own. */
    return (*seq > partition->ring.first && from >= partition->start_offset) ||
           from >= partition->published_end;
}

static ShReadOutcome take(ShFetchState *state, size_t index, ShPartition *partition, uint64_t seq,
                          uint64_t limit)
{
    ShFetchPart *part = &state->fetch->parts[index];
    const ShFetchWaiter *waiter = &state->waiters[index];
    bool added = true;
    uint64_t before = part->bytes;
    if (state->counts_only && waiter->found_bytes > 0) {
        part->bytes = waiter->found_bytes;
        state->bytes += waiter->found_bytes;
        part->next_offset = waiter->found_end_offset;
        seq = sh_batch_ring_find(&partition->ring, limit, part->next_offset);
    }
    for (; seq < limit && added; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        bool is_shared = partition->object_durability || part->next_offset < partition->start_offset;
        if (is_shared && part->bytes > 0 && batch->header.base_offset != part->next_offset)
            break;
        if (sh_fetch_add_slice(state, index, &batch->wal.batch, &added, &part->error) != SH_OK)
            return SH_READ_FAILED;
        if (added)
            part->next_offset = sh_log_batch_end(batch);
    }
    state->tail_bytes += part->bytes - before;
    /* All there is, and not enough: the next batch shall wake the call. */
    if (added && state->bytes < state->bytes_enough)
        return wait_for(state, index, partition, SH_READ_DATA);
    return SH_READ_DATA;
}

static ShReadOutcome at_end(ShFetchState *state, size_t index, ShPartition *partition)
{
    ShEngine *engine = state->engine;
    ShFetchPart *part = &state->fetch->parts[index];
    /* Nothing is left below the end, nor will be: a reader is led over the hole before it. Elsewhere, over
     * what of the published log was looked through in vain. */
    int64_t known_offset = serves_tail(engine, partition) ? part->high_watermark
                                                          : state->waiters[index].resume_offset;
    if (part->next_offset < known_offset)
        part->next_offset = known_offset;
    if (serves_tail(engine, partition))
        return wait_for(state, index, partition, SH_READ_END);
    sh_bounds_want(engine, partition, false);
    if (sh_partition_is_owned(partition))
        return wait_for(state, index, partition, SH_READ_END); /* at the gap */
    if (partition->object_durability)
        return wait_for(state, index, partition, is_fresh(state, partition) ? SH_READ_END : SH_READ_BOUNDS);
    if (!is_fresh(state, partition))
        return wait_for(state, index, partition, SH_READ_BOUNDS);
    ShOwner owner;
    if (partition->state != SH_PARTITION_REMOTE || !sh_meta_owner(engine, partition, &owner) ||
        strcmp(owner.agent_id, engine->config->agent_id) == 0)
        return wait_for(state, index, partition, SH_READ_END);
    char name[SH_PARTITION_NAME_BYTES];
    part->redirect = owner;
    (void)sh_fail(&part->error, SH_NOT_OWNER,
                  "partition %s is owned by agent %s at %s in epoch %lld: its newest records "
                  "are there",
                  sh_partition_name(partition, name), owner.agent_id, owner.address, (long long)owner.epoch);
    return SH_READ_FAILED;
}

/* May readers have what is not published yet? Not while an earlier epoch may still grow, and not when others
 * may have gone on without us. */
static bool serves_tail(ShEngine *engine, const ShPartition *partition)
{
    return sh_partition_is_owned(partition) && !partition->blocked &&
           !sh_control_is_overdue(engine, partition);
}

static ShReadOutcome fail_range(ShFetchPart *part)
{
    (void)sh_fail(&part->error, SH_OUT_OF_RANGE,
                  "offset %lld is outside of the partition's log, which begins at %lld and ends before %lld",
                  (long long)part->offset, (long long)part->log_start, (long long)part->high_watermark);
    return SH_READ_FAILED;
}

static ShReadOutcome wait_for(ShFetchState *state, size_t index, ShPartition *partition,
                              ShReadOutcome outcome)
{
    ShFetchWaiter *waiter = &state->waiters[index];
    waiter->is_unknown = outcome == SH_READ_BOUNDS;
    waiter->partition = sh_partition_ref(partition);
    waiter->prev = NULL;
    waiter->next = partition->waiters;
    if (waiter->next != NULL)
        waiter->next->prev = waiter;
    partition->waiters = waiter;
    return outcome;
}

/* Where others may go on: is what is known of the end so old that a reader who goes up to it and no further
 * would miss what has been there for long? It is asked for in time, so that who reads on waits for nothing.
 */
static bool is_outdated(ShFetchState *state, ShPartition *partition)
{
    bool is_ours_alone = sh_partition_is_owned(partition) && !partition->blocked &&
                         !partition->object_durability;
    if (is_ours_alone || is_fresh(state, partition))
        return false;
    int64_t age_ms = sh_clock_now_ms() - partition->bounds_ms;
    if (age_ms > BOUNDS_AGE_MAX_MS / 2)
        sh_bounds_want(state->engine, partition, false);
    return age_ms > BOUNDS_AGE_MAX_MS;
}

/* Do the bounds stem from after the call? */
static bool is_fresh(const ShFetchState *state, const ShPartition *partition)
{
    return partition->bounds_ms >= state->started_ms;
}
