/*
 * read_store.c - serving a part from the store, on a read thread, or from what was read before, on any.
 */
#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/segment_read.h"

/* So many ranges at most go into one part of an answer. */
#define RANGES_MAX 16
/* Requests to the store and questions to the index for one answer: then a thread is for others again. What a
 * part reads may not fit beside what others have added, so that the answer's bound does not end it. */
#define STORE_READS_MAX 32

static int64_t get_store_end(ShPartition *partition);
static ShStatus add_batches(ShFetchState *state, size_t index, const ShRange *range, int64_t from, bool *full,
                            ShError *err);
static void note_progress(ShFetchState *state, size_t index, ShPartition *partition, int64_t store_end);

ShReadOutcome sh_read_cached(ShFetchState *state, size_t index, ShPartition *partition)
{
    ShEngine *engine = state->engine;
    ShFetchPart *part = &state->fetch->parts[index];
    bool full = false;
    ShRange range;
    int64_t store_end = get_store_end(partition);
    int64_t from = state->waiters[index].resume_offset;
    ShError err = {0};
    ShStatus status = SH_OK;
    while (status == SH_OK && !full && from < store_end &&
           sh_read_cache_find(&engine->read_cache, partition, from, &range)) {
        uint64_t before = part->bytes;
        status = add_batches(state, index, &range, from, &full, &err);
        sh_metric_add(engine->metrics.fetch_cache_bytes, (int64_t)(part->bytes - before));
        sh_buf_unref(range.bytes.owner);
        from = range.end_offset;
    }
    if (part->slice_count == 0)
        return SH_READ_STORE;
    note_progress(state, index, partition, store_end);
    return SH_READ_DATA;
}

ShReadOutcome sh_read_store(ShFetchState *state, size_t index, ShPartition *partition, ShPg *pg)
{
    ShEngine *engine = state->engine;
    ShFetchPart *part = &state->fetch->parts[index];
    ShFetchWaiter *waiter = &state->waiters[index];
    bool full = false;
    int64_t store_end = get_store_end(partition);
    int64_t from = waiter->resume_offset;
    if (state->searched == NULL && (state->searched = calloc(1, sizeof *state->searched)) == NULL) {
        (void)sh_fail(&part->error, SH_NO_MEMORY, "no memory to look through a segment");
        return SH_READ_FAILED;
    }
    for (int ranges = 0; !full && from < store_end && ranges < RANGES_MAX; ranges++) {
        if (state->store_reads >= STORE_READS_MAX || atomic_load(&state->cancelled)) {
            full = state->is_full = true; /* the turn of what is left comes with the next answer */
            break;
        }
        ShSegmentRead read = {.given_up = &state->cancelled,
                              .reads_max = STORE_READS_MAX - state->store_reads,
                              .searched = state->searched};
        ShError err = {0};
        ShStatus status = sh_segment_read(engine, pg, partition, from, &read, &err);
        bool cached = status == SH_OK && read.found && read.store_reads == 0;
        if (!cached)
            state->store_reads += read.store_reads > 0 ? read.store_reads : 1;
        if (status == SH_OK && !read.found)
            break;
        if (status == SH_OK && read.goes_on) {
            if (part->slice_count == 0)
                return SH_READ_LATER;
            full = state->is_full = true;
            break;
        }
        if (status == SH_OK) {
            uint64_t before = part->bytes;
            status = add_batches(state, index, &read.range, from, &full, &err);
            if (cached)
                sh_metric_add(engine->metrics.fetch_cache_bytes, (int64_t)(part->bytes - before));
            sh_buf_unref(read.range.bytes.owner);
            from = read.range.end_offset;
        }
        if (status != SH_OK) {
            if (part->slice_count > 0)
                break;
            part->error = err;
            return SH_READ_FAILED;
        }
    }
    if (part->slice_count > 0)
        note_progress(state, index, partition, store_end);
    if (part->slice_count > 0 || full)
        return SH_READ_DATA;
    waiter->resume_offset = store_end;
    return SH_READ_END;
}

static int64_t get_store_end(ShPartition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    int64_t store_end = sh_partition_store_end(partition);
    pthread_mutex_unlock(&partition->mutex);
    return store_end;
}

/* Add the batches of the range that end above `from`, as far as they fit. They were checked when it was read.
 */
static ShStatus add_batches(ShFetchState *state, size_t index, const ShRange *range, int64_t from, bool *full,
                            ShError *err)
{
    ShFetchPart *part = &state->fetch->parts[index];
    for (size_t at = 0; at < range->bytes.length && !*full;) {
        ShSlice batch = {.data = range->bytes.data + at,
                         .length = sh_batch_span(range->bytes.data + at, range->bytes.length - at),
                         .owner = range->bytes.owner};
        if (batch.length == 0)
            return sh_fail(err, SH_CORRUPT, "what was read from the store ends inside a batch");
        at += batch.length;
        int64_t end = sh_batch_end_offset(batch.data);
        if (end <= from)
            continue;
        bool added = false;
        ShStatus status = sh_fetch_add_slice(state, index, &batch, &added, err);
        if (status != SH_OK)
            return status;
        *full = !added;
        if (added)
            part->next_offset = end;
    }
    return SH_OK;
}

/* Remember how the part's reader goes on, and what it will ask for next have read meanwhile. A round may be
 * done again, so what it changes depends only on what the fetch brought along. */
static void note_progress(ShFetchState *state, size_t index, ShPartition *partition, int64_t store_end)
{
    ShFetchPart *part = &state->fetch->parts[index];
    const ShFetchWaiter *waiter = &state->waiters[index];
    state->from_store = true;
    part->store_end_offset = part->next_offset;
    part->store_run_bytes = waiter->store_run_bytes + (int64_t)part->bytes;
    if (waiter->goes_on)
        sh_read_ahead(state->engine, partition, part->next_offset, store_end, part->store_run_bytes);
}
