/*
 * list_offsets.c - the offsets that times stand for. Each call is one job on a read thread, because it may
 * have to ask PostgreSQL and look into a segment.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/firm.h"
#include "agent/log/segment_read.h"

/* So often a search begins anew because what it looked for in memory was published meanwhile. */
#define TRIES_MAX 5

typedef struct ListJob {
    ShEngine *engine;
    ShListOffsets *list;
    bool refreshed;
    ShError refresh_error;
} ListJob;

static void run_job(ShEngine *engine, ShPg *pg, void *arg, bool cancelled);
static bool is_given_up(const ShListOffsets *list);
static void on_refreshed(void *arg, ShStatus status, const ShError *err);
static ShStatus list_part(ListJob *job, ShPg *pg, ShListPart *part, ShError *err);
static ShStatus list_partition(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                               ShError *err);
static ShStatus list_once(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part, bool *again,
                          ShError *err);
static ShStatus ask_bounds(ShPg *pg, const ShPartition *partition, ShPgBounds *bounds, ShError *err);
static ShStatus find_in_store(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                              int64_t from, bool *found, ShError *err);
static ShStatus find_in_segment(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                                const ShPgSegment *segment, bool *found, ShError *err);
static ShStatus find_in_memory(ShPartition *partition, ShListPart *part, int64_t published_end, bool *found,
                               bool *again, ShError *err);
static bool is_gone(ShPartition *partition, int64_t offset);
static bool copy_candidate(ShPartition *partition, int64_t timestamp_ms, int64_t above, ShSlice *out);
static ShStatus find_in_batches(ShSlice batches, ShListPart *part, int64_t from, bool *found, ShError *err);

void sh_engine_list_offsets(ShEngine *engine, ShListOffsets *list)
{
    ListJob *job = calloc(1, sizeof *job);
    if (job == NULL) {
        for (size_t i = 0; i < list->part_count; i++)
            (void)sh_fail(&list->parts[i].error, SH_NO_MEMORY, "no memory for the call");
        list->done(list);
        return;
    }
    *job = (ListJob){.engine = engine, .list = list};
    sh_read_pool_submit(engine, list->asker, run_job, job);
}

static void run_job(ShEngine *engine, ShPg *pg, void *arg, bool cancelled)
{
    ListJob *job = arg;
    ShListOffsets *list = job->list;
    for (size_t i = 0; i < list->part_count; i++) {
        ShListPart *part = &list->parts[i];
        sh_error_clear(&part->error);
        if (cancelled || is_given_up(list)) {
            (void)sh_fail(&part->error, SH_CANCELLED,
                          cancelled ? "the agent is stopping" : "the call was given up");
            continue;
        }
        ShStatus status = list_part(job, pg, part, &part->error);
        if (status == SH_NOT_FOUND && !job->refreshed) {
            sh_engine_meta_refresh(engine, on_refreshed, job);
            return;
        }
        if (status == SH_NOT_FOUND && job->refresh_error.status != SH_OK)
            part->error = job->refresh_error;
    }
    free(job);
    list->done(list);
}

static bool is_given_up(const ShListOffsets *list)
{
    return list->given_up != NULL && atomic_load(list->given_up);
}

static void on_refreshed(void *arg, ShStatus status, const ShError *err)
{
    ListJob *job = arg;
    job->refreshed = true;
    if (status != SH_OK)
        job->refresh_error = *err;
    sh_read_pool_submit(job->engine, job->list->asker, run_job, job);
}

static ShStatus list_part(ListJob *job, ShPg *pg, ShListPart *part, ShError *err)
{
    ShResolved found = {0};
    part->found_timestamp_ms = -1;
    if (part->timestamp_ms < SH_TIMESTAMP_EARLIEST)
        return sh_fail(err, SH_INVALID,
                       "%lld is no time: give milliseconds since 1970, -1 (latest) or -2 (earliest)",
                       (long long)part->timestamp_ms);
    ShStatus status = sh_meta_resolve(job->engine, &part->target, &found, err);
    if (status != SH_OK)
        return status;
    status = list_partition(job, pg, found.partition, part, err);
    sh_partition_unref(found.partition);
    return status;
}

static ShStatus list_partition(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                               ShError *err)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        bool again = false;
        ShStatus status = list_once(job, pg, partition, part, &again, err);
        if (status != SH_OK || !again)
            return status;
    }
    char name[SH_PARTITION_NAME_BYTES];
    ShStatus status = sh_fail(err, SH_UNAVAILABLE, "partition %s is published faster than it is searched",
                              sh_partition_name(partition, name));
    return sh_fail_retry_after(err, status, SH_BOUNDS_INTERVAL_MS);
}

/* The lowest offset from the log start on whose record is at the time or after it: what is published is
 * looked up in the index, the rest, which is the owner's, in memory. */
static ShStatus list_once(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part, bool *again,
                          ShError *err)
{
    ShPgBounds bounds;
    ShStatus status = ask_bounds(pg, partition, &bounds, err);
    if (status != SH_OK)
        return status;
    pthread_mutex_lock(&partition->mutex);
    bool owned = sh_partition_is_owned(partition) && bounds.epoch == partition->epoch &&
                 !sh_control_is_overdue(job->engine, partition);
    int64_t end = owned ? sh_firm_end(partition) : bounds.published_end;
    pthread_mutex_unlock(&partition->mutex);
    if (!owned && !partition->object_durability && part->timestamp_ms != SH_TIMESTAMP_EARLIEST) {
        /* The newest records are at the owner. */
        ShOwner owner;
        char name[SH_PARTITION_NAME_BYTES];
        if (sh_meta_owner(job->engine, partition, &owner) &&
            strcmp(owner.agent_id, job->engine->config->agent_id) != 0) {
            part->redirect = owner;
            return sh_fail(err, SH_NOT_OWNER, "partition %s is owned by agent %s at %s in epoch %lld",
                           sh_partition_name(partition, name), owner.agent_id, owner.address,
                           (long long)owner.epoch);
        }
    }
    part->offset = part->timestamp_ms == SH_TIMESTAMP_EARLIEST ? bounds.log_start : end;
    if (part->timestamp_ms < 0)
        return SH_OK;
    bool found = false;
    status = find_in_store(job, pg, partition, part, bounds.log_start, &found, err);
    if (status == SH_OK && !found && owned)
        status = find_in_memory(partition, part, bounds.published_end, &found, again, err);
    return status;
}

static ShStatus ask_bounds(ShPg *pg, const ShPartition *partition, ShPgBounds *bounds, ShError *err)
{
    ShPgPartition name = {.topic_id = partition->key.topic_id, .partition = partition->key.number};
    ShStatus status = sh_pg_read_bounds(pg, &name, 1, bounds, err);
    if (status == SH_OK && !bounds->found)
        status = sh_fail(err, SH_NOT_FOUND, "topic \"%s\" was dropped", partition->topic);
    return status;
}

static ShStatus find_in_store(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                              int64_t from, bool *found, ShError *err)
{
    for (;;) {
        ShPgSegment segment;
        bool any = false;
        ShStatus status = sh_pg_find_timestamp(pg, &partition->key.topic_id, partition->key.number,
                                               part->timestamp_ms, from, &segment, &any, err);
        if (status == SH_OK && any)
            status = find_in_segment(job, pg, partition, part, &segment, found, err);
        if (status != SH_OK || !any || *found)
            return status;
        /* The newest record of the segment lies below the part of it that counts. */
        from = segment.last_offset + 1;
    }
}

static ShStatus find_in_segment(const ListJob *job, ShPg *pg, ShPartition *partition, ShListPart *part,
                                const ShPgSegment *segment, bool *found, ShError *err)
{
    for (int64_t from = segment->first_offset; !*found && from <= segment->last_offset;) {
        ShSegmentRead read = {.given_up = job->list->given_up};
        ShStatus status = sh_segment_read(job->engine, pg, partition, from, &read, err);
        if (status != SH_OK || !read.found)
            return status;
        status = find_in_batches(read.range.bytes, part, segment->first_offset, found, err);
        from = read.range.end_offset;
        sh_buf_unref(read.range.bytes.owner);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

/* `*again`: what was only in memory when the index was asked is only in the index now. */
static ShStatus find_in_memory(ShPartition *partition, ShListPart *part, int64_t published_end, bool *found,
                               bool *again, ShError *err)
{
    int64_t above = published_end;
    ShSlice batch = {0};
    *again = is_gone(partition, published_end);
    while (!*again && !*found && copy_candidate(partition, part->timestamp_ms, above, &batch)) {
        ShBatchHeader header;
        ShStatus status = sh_batch_peek(batch.data, batch.length, &header, err);
        if (status == SH_OK)
            status = find_in_batches(batch, part, above, found, err);
        sh_buf_unref(batch.owner);
        if (status != SH_OK)
            return status;
        above = header.base_offset + header.last_offset_delta + 1;
        *again = !*found && is_gone(partition, above);
    }
    return SH_OK;
}

/* Has a record at or above the offset been published, and left the memory? */
static bool is_gone(ShPartition *partition, int64_t offset)
{
    pthread_mutex_lock(&partition->mutex);
    const ShBatchRing *ring = &partition->ring;
    bool in_memory = ring->first < ring->end &&
                     sh_batch_ring_at(ring, ring->first)->header.base_offset <= offset;
    bool gone = !in_memory && partition->published_end > offset;
    pthread_mutex_unlock(&partition->mutex);
    return gone;
}

/* The first readable batch that ends above `above` and may hold a record at or after the time, with a
 * reference. */
static bool copy_candidate(ShPartition *partition, int64_t timestamp_ms, int64_t above, ShSlice *out)
{
    bool found = false;
    pthread_mutex_lock(&partition->mutex);
    uint64_t limit = partition->object_durability ? partition->published : partition->firm;
    uint64_t seq = sh_batch_ring_find(&partition->ring, limit, above);
    for (; seq < limit && !found; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        found = batch->header.max_timestamp_ms >= timestamp_ms;
        if (found)
            *out = batch->wal.batch;
    }
    if (found)
        sh_buf_ref(out->owner);
    pthread_mutex_unlock(&partition->mutex);
    return found;
}

static ShStatus find_in_batches(ShSlice batches, ShListPart *part, int64_t from, bool *found, ShError *err)
{
    ShScratch scratch = {0};
    ShStatus status = SH_OK;
    ShBatchReader reader;
    for (size_t at = 0; status == SH_OK && !*found && at < batches.length; at += reader.header.total_bytes) {
        status = sh_batch_reader_init(&reader, batches.data + at, batches.length - at,
                                      SH_BATCH_DECOMPRESSED_BYTES_MAX, &scratch, err);
        bool more = status == SH_OK && reader.header.max_timestamp_ms >= part->timestamp_ms;
        while (more && !*found) {
            ShRecord record;
            status = sh_batch_reader_next(&reader, &record, &more, err);
            if (status != SH_OK || !more)
                break;
            *found = record.timestamp_ms >= part->timestamp_ms && record.offset >= from;
            if (*found) {
                part->offset = record.offset;
                part->found_timestamp_ms = record.timestamp_ms;
            }
        }
    }
    sh_scratch_free(&scratch);
    return status;
}
