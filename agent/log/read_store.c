/*
 * read_store.c - serving a part from the store, on a read thread.
 */
#include "agent/log/engine_internal.h"
#include "agent/log/segment_read.h"

/* So many ranges at most go into one part of an answer, which bounds the requests made for it. */
#define RANGES_MAX 16

static ShStatus add_batches(ShFetchState *state, size_t index, const ShRange *range, int64_t from, bool *full,
                            ShError *err);

ShReadOutcome sh_read_store(ShFetchState *state, size_t index, ShPartition *partition, ShPg *pg)
{
    ShEngine *engine = state->engine;
    ShFetchPart *part = &state->fetch->parts[index];
    ShFetchWaiter *waiter = &state->waiters[index];
    bool full = false;
    pthread_mutex_lock(&partition->mutex);
    int64_t store_end = sh_partition_store_end(partition);
    pthread_mutex_unlock(&partition->mutex);
    int64_t from = waiter->resume_offset;
    for (int ranges = 0; !full && from < store_end && ranges < RANGES_MAX; ranges++) {
        ShRange range;
        bool found = false;
        bool cached = false;
        ShError err = {0};
        ShStatus status = sh_segment_read(engine, pg, partition, from, &range, &found, &cached, &err);
        if (status == SH_OK && !found)
            break;
        if (status == SH_OK) {
            status = add_batches(state, index, &range, from, &full, &err);
            if (cached)
                sh_metric_add(engine->metrics.fetch_cache_bytes, (int64_t)range.bytes.length);
            sh_buf_unref(range.bytes.owner);
            from = range.end_offset;
        }
        if (status != SH_OK) {
            if (part->slice_count > 0)
                break;
            part->error = err;
            return SH_READ_FAILED;
        }
    }
    if (part->slice_count > 0 || full)
        return SH_READ_DATA;
    waiter->resume_offset = store_end;
    return SH_READ_END;
}

/* Add the batches of the range that end above `from`, as far as they fit. */
static ShStatus add_batches(ShFetchState *state, size_t index, const ShRange *range, int64_t from, bool *full,
                            ShError *err)
{
    ShFetchPart *part = &state->fetch->parts[index];
    ShBatchHeader header = {0};
    for (size_t at = 0; at < range->bytes.length && !*full; at += header.total_bytes) {
        ShStatus status = sh_batch_peek(range->bytes.data + at, range->bytes.length - at, &header, err);
        if (status != SH_OK)
            return status;
        int64_t end = header.base_offset + header.last_offset_delta + 1;
        if (end <= from)
            continue;
        ShSlice batch = {
            .data = range->bytes.data + at, .length = header.total_bytes, .owner = range->bytes.owner};
        bool added = false;
        status = sh_fetch_add_slice(state, index, batch, &added, err);
        if (status != SH_OK)
            return status;
        *full = !added;
        if (added)
            part->next_offset = end;
    }
    return SH_OK;
}
