#include "agent/log/segment_read.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define INDEX_ROWS  64
#define CHUNK_BYTES (1 << 20)

static ShStatus read_once(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                          ShSegmentRead *read, ShError *err);
static ShStatus find_segment(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                             ShPgSegment *out, bool *found, ShError *err);
static ShStatus search_segment(ShEngine *engine, ShPartition *partition, const ShPgSegment *segment,
                               int64_t offset, bool is_ahead, ShSegmentRead *read, ShError *err);
static ShStatus get_batches(ShEngine *engine, const ShPgSegment *segment, ShRunPlace place,
                            uint64_t chunk_bytes, ShRange *out, int *store_reads, ShError *err);
static ShStatus get_bytes(ShEngine *engine, const ShPgSegment *segment, ShRunPlace place, uint64_t wanted,
                          ShBuf **out, size_t *usable, ShError *err);
static ShStatus measure(ShRange *range, ShError *err);

ShStatus sh_segment_read(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                         ShSegmentRead *read, ShError *err)
{
    ShError first = {0};
    read->store_reads = 0;
    read->goes_on = false;
    ShStatus status = read_once(engine, pg, partition, offset, read, &first);
    if (status == SH_NOT_FOUND) {
        /* The object may have been replaced since the index was read. */
        sh_read_cache_forget(engine, partition);
        sh_error_clear(&first);
        if (read->store_reads >= read->reads_max && read->reads_max > 0)
            read->reads_max = read->store_reads + 1; /* what is missing has to be found so */
        status = read_once(engine, pg, partition, offset, read, &first);
    }
    if (status == SH_NOT_FOUND)
        return sh_fail(err, SH_CORRUPT, "records of offset %lld are missing: %s", (long long)offset,
                       first.message);
    if (status == SH_OK)
        return SH_OK;
    sh_pushback_read(&first);
    if (err != NULL)
        *err = first;
    return first.status;
}

ShStatus sh_segment_read_ahead(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                               ShError *err)
{
    ShPgSegment segment;
    ShSegmentRead read = {0};
    bool found = false;
    ShStatus status = find_segment(engine, pg, partition, offset, &segment, &found, err);
    if (status != SH_OK || !found)
        return status;
    int64_t from = offset > segment.first_offset ? offset : segment.first_offset;
    int64_t end;
    int64_t bytes;
    if (sh_read_cache_peek(&engine->read_cache, partition, from, &end, &bytes))
        return SH_OK;
    status = search_segment(engine, partition, &segment, from, true, &read, err);
    if (status == SH_OK)
        sh_buf_unref(read.range.bytes.owner);
    return status;
}

static ShStatus read_once(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                          ShSegmentRead *read, ShError *err)
{
    read->found = sh_read_cache_find(&engine->read_cache, partition, offset, &read->range);
    if (read->found)
        return SH_OK;
    ShPgSegment segment;
    ShStatus status = find_segment(engine, pg, partition, offset, &segment, &read->found, err);
    if (status != SH_OK || !read->found)
        return status;
    int64_t from = offset > segment.first_offset ? offset : segment.first_offset;
    sh_read_ahead_join(engine, partition, from);
    if (sh_read_cache_find(&engine->read_cache, partition, from, &read->range))
        return SH_OK;
    return search_segment(engine, partition, &segment, from, false, read, err);
}

static ShStatus find_segment(ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                             ShPgSegment *out, bool *found, ShError *err)
{
    *found = sh_read_cache_segment(&engine->read_cache, partition, offset, out);
    if (*found)
        return SH_OK;
    size_t count = 0;
    ShPgSegment *rows = calloc(INDEX_ROWS, sizeof *rows);
    if (rows == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %d rows of the index", INDEX_ROWS);
    ShStatus status = sh_pg_read_index(pg, &partition->key.topic_id, partition->key.number, offset,
                                       INDEX_ROWS, rows, &count, err);
    if (status != SH_OK || count == 0) {
        free(rows);
        return status;
    }
    *out = rows[0];
    *found = true;
    sh_read_cache_set_segments(engine, partition, rows, count);
    free(rows);
    return SH_OK;
}

/* Read on in the segment until the batch that ends above `offset` is there. */
static ShStatus search_segment(ShEngine *engine, ShPartition *partition, const ShPgSegment *segment,
                               int64_t offset, bool is_ahead, ShSegmentRead *read, ShError *err)
{
    uint64_t chunk_bytes = is_ahead ? SH_AHEAD_CHUNK_BYTES : CHUNK_BYTES;
    ShRunPlace place = sh_read_cache_place(&engine->read_cache, partition, segment, offset);
    if (read->searched != NULL)
        place = sh_searched_further(read->searched, segment, offset, place);
    const ShRunPlace begun = place;
    while (place.position < segment->length) {
        if (read->given_up != NULL && atomic_load(read->given_up))
            return sh_fail(err, SH_CANCELLED, "the read was given up");
        if (read->reads_max > 0 && read->store_reads >= read->reads_max) {
            read->goes_on = true;
            sh_searched_set(read->searched, segment, place);
            sh_read_cache_note_place(&engine->read_cache, segment, begun, place);
            return SH_OK;
        }
        ShRange range = {.segment_offset = segment->first_offset, .run_offset = segment->base_offset};
        ShStatus status = get_batches(engine, segment, place, chunk_bytes, &range, &read->store_reads, err);
        if (status != SH_OK)
            return status;
        place = (ShRunPlace){.position = range.next_position, .offset = range.end_offset};
        sh_read_cache_add(engine, partition, &range, is_ahead);
        if (range.end_offset > offset) {
            read->range = range;
            return SH_OK;
        }
        sh_buf_unref(range.bytes.owner);
    }
    return sh_fail(err, SH_CORRUPT, "object %s does not hold offset %lld, although the index says so",
                   segment->object_key, (long long)offset);
}

/* Whole batches from a place in the segment on, with their offsets. */
static ShStatus get_batches(ShEngine *engine, const ShPgSegment *segment, ShRunPlace place,
                            uint64_t chunk_bytes, ShRange *out, int *store_reads, ShError *err)
{
    uint64_t left = segment->length - place.position;
    uint64_t wanted = left < chunk_bytes ? left : chunk_bytes;
    for (;;) {
        ShBuf *buf = NULL;
        size_t usable = 0;
        ++*store_reads;
        ShStatus status = get_bytes(engine, segment, place, wanted, &buf, &usable, err);
        if (status == SH_OK && usable > 0) {
            sh_metric_add(engine->metrics.fetch_store_bytes, (int64_t)usable);
            out->bytes = (ShSlice){.data = buf->data, .length = usable, .owner = buf};
            out->next_position = place.position + usable;
            status = measure(out, err);
            if (status == SH_OK)
                return SH_OK;
        }
        /* A batch larger than the chunk: its header says how large. */
        uint64_t batch_bytes = status == SH_OK && buf->length >= 12 ? 12 + (uint64_t)sh_get_u32(buf->data + 8)
                                                                    : 0;
        sh_buf_unref(buf);
        if (status != SH_OK)
            return status;
        if (batch_bytes <= wanted || batch_bytes > left)
            return sh_fail(err, SH_CORRUPT, "object %s is damaged or cut off at %llu", segment->object_key,
                           (unsigned long long)(segment->position + place.position));
        wanted = batch_bytes;
    }
}

/* `*out` may be set after an error too. */
static ShStatus get_bytes(ShEngine *engine, const ShPgSegment *segment, ShRunPlace place, uint64_t wanted,
                          ShBuf **out, size_t *usable, ShError *err)
{
    ShStatus status = sh_store_get(engine->store, segment->object_key, segment->position + place.position,
                                   wanted, out, err);
    status = sh_pushback_store(status, err);
    if (status != SH_OK)
        return status;
    const ShRunRange range = {.base_offset = segment->base_offset,
                              .from_offset = place.offset,
                              .end_offset = segment->last_offset + 1,
                              .is_rest = wanted == segment->length - place.position,
                              .leader_epoch = (int32_t)(segment->epoch & INT32_MAX)};
    status = sh_segment_rebase((*out)->data, (*out)->length, &range, usable, err);
    return status == SH_OK ? SH_OK : sh_fail_prefix(err, status, "object %s", segment->object_key);
}

/* Fill in the offsets that the batches, which are checked, cover. */
static ShStatus measure(ShRange *range, ShError *err)
{
    size_t bytes;
    range->first_offset = (int64_t)sh_get_u64(range->bytes.data);
    for (size_t at = 0; at < range->bytes.length; at += bytes) {
        bytes = sh_batch_span(range->bytes.data + at, range->bytes.length - at);
        if (bytes == 0)
            return sh_fail(err, SH_CORRUPT, "what was read from the store ends inside a batch");
        if (at + bytes == range->bytes.length)
            range->end_offset = sh_batch_end_offset(range->bytes.data + at);
    }
    return SH_OK;
}
