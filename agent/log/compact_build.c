/*
 * compact_build.c - one object out of the batches of several segments. Offsets and epochs stay what they are:
 * a hole, or another epoch, begins another run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define MS_PER_S 1000

typedef struct Builder {
    ShCompaction *compaction;
    int64_t epoch;       /* of the run that is open */
    int64_t next_offset; /* where a batch continues it */
} Builder;

static ShStatus begin(ShEngine *engine, ShCompaction *compaction, ShError *err);
static ShStatus wait_for_pace(ShEngine *engine, uint64_t bytes, ShError *err);
static ShStatus add_source(ShEngine *engine, Builder *builder, const ShPgSource *source, ShError *err);
static ShStatus add_batches(Builder *builder, const ShPgSource *source, ShBuf *buf, ShError *err);
static ShStatus add_batch(Builder *builder, const ShPgSource *source, ShSlice bytes,
                          const ShBatchHeader *header, bool *is_first, ShError *err);
static ShStatus fail_source(const ShPgSource *source, ShError *err);

ShStatus sh_compaction_build(ShEngine *engine, ShCompaction *compaction, ShError *err)
{
    Builder builder = {.compaction = compaction, .next_offset = -1};
    ShStatus status = begin(engine, compaction, err);
    for (size_t i = 0; i < compaction->source_count && status == SH_OK; i++) {
        const ShPgSource *source = &compaction->sources[i];
        status = wait_for_pace(engine, source->length, err);
        if (status == SH_OK)
            status = add_source(engine, &builder, source, err);
    }
    if (status == SH_OK)
        status = sh_segment_writer_finish(compaction->writer, &compaction->object, err);
    for (size_t i = 0; status == SH_OK && i < compaction->row_count; i++) {
        compaction->rows[i].position = compaction->object.runs[i].position;
        compaction->rows[i].length = compaction->object.runs[i].length;
    }
    return status;
}

void sh_compaction_free(ShCompaction *compaction)
{
    sh_segment_writer_free(compaction->writer);
    free(compaction->rows);
}

static ShStatus begin(ShEngine *engine, ShCompaction *compaction, ShError *err)
{
    char uuid[SH_UUID_TEXT_BYTES];
    ShStatus status = sh_uuid_random(&compaction->id.object_id, err);
    if (status != SH_OK)
        return status;
    compaction->id.wal_uuid = engine->identity.wal_uuid;
    compaction->id.incarnation = engine->registered.incarnation;
    compaction->id.created_ms = sh_clock_wall_ms();
    sh_uuid_format(&compaction->id.object_id, uuid);
    snprintf(compaction->key, sizeof compaction->key, "%.2s/%s/%lld/compact-%s.seg", uuid,
             engine->config->agent_id, (long long)compaction->id.incarnation, uuid);
    compaction->writer = sh_segment_writer_new(&compaction->id, NULL, 0);
    compaction->rows = calloc(compaction->source_count, sizeof *compaction->rows);
    if (compaction->writer == NULL || compaction->rows == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a compacted object");
    return SH_OK;
}

static ShStatus wait_for_pace(ShEngine *engine, uint64_t bytes, ShError *err)
{
    int64_t pause_ms = (int64_t)bytes * MS_PER_S / engine->config->compaction_rate_bytes;
    if (!sh_engine_pause(engine, pause_ms) || atomic_load(&engine->draining))
        return sh_fail(err, SH_CANCELLED, "the agent is leaving");
    return SH_OK;
}

static ShStatus add_source(ShEngine *engine, Builder *builder, const ShPgSource *source, ShError *err)
{
    ShBuf *buf = NULL;
    size_t usable = 0;
    ShStatus status = sh_store_get(engine->store, source->object_key, source->position, source->length, &buf,
                                   err);
    const ShRunRange range = {.base_offset = source->base_offset,
                              .from_offset = source->base_offset,
                              .end_offset = source->last_offset + 1,
                              .is_rest = true,
                              .leader_epoch = (int32_t)(source->epoch & INT32_MAX)};
    if (status == SH_OK)
        status = sh_segment_rebase(buf->data, buf->length, &range, &usable, err);
    if (status == SH_OK && usable != source->length)
        status = fail_source(source, err);
    if (status == SH_OK)
        status = add_batches(builder, source, buf, err);
    sh_buf_unref(buf);
    return status;
}

static ShStatus add_batches(Builder *builder, const ShPgSource *source, ShBuf *buf, ShError *err)
{
    ShBatchHeader header = {0};
    bool is_first = true;
    ShStatus status = SH_OK;
    for (size_t at = 0; at < buf->length && status == SH_OK; at += header.total_bytes) {
        status = sh_batch_peek(buf->data + at, buf->length - at, &header, err);
        if (status != SH_OK)
            break;
        ShSlice bytes = {.data = buf->data + at, .length = header.total_bytes, .owner = buf};
        /* What lies below the segment's first offset is published elsewhere. */
        if (header.base_offset + header.last_offset_delta >= source->first_offset)
            status = add_batch(builder, source, bytes, &header, &is_first, err);
    }
    if (status == SH_OK && (is_first || builder->next_offset != source->last_offset + 1))
        status = fail_source(source, err);
    return status;
}

static ShStatus add_batch(Builder *builder, const ShPgSource *source, ShSlice bytes,
                          const ShBatchHeader *header, bool *is_first, ShError *err)
{
    ShCompaction *compaction = builder->compaction;
    bool continues = source->epoch == builder->epoch && source->first_offset == builder->next_offset &&
                     header->base_offset == builder->next_offset;
    if (*is_first && !continues) {
        ShStatus status = sh_segment_writer_begin_run(compaction->writer, &source->topic_id,
                                                      source->partition, source->epoch, header->base_offset,
                                                      err);
        if (status != SH_OK)
            return status;
        compaction->rows[compaction->row_count++] = (ShPgCompacted){
            .first_offset = source->first_offset, .base_offset = header->base_offset, .epoch = source->epoch};
        builder->epoch = source->epoch;
    }
    *is_first = false;
    compaction->rows[compaction->row_count - 1].last_offset = source->last_offset;
    builder->next_offset = header->base_offset + header->last_offset_delta + 1;
    return sh_segment_writer_add(compaction->writer, bytes, header, err);
}

static ShStatus fail_source(const ShPgSource *source, ShError *err)
{
    return sh_fail(err, SH_CORRUPT, "object %s does not hold the offsets %lld to %lld at %llu",
                   source->object_key, (long long)source->first_offset, (long long)source->last_offset,
                   (unsigned long long)source->position);
}
