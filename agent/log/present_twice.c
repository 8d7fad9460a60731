#include "agent/log/present_twice.h"

#include <inttypes.h>

#include "agent/log/engine_internal.h"
#include "agent/log/start_wait.h"
#include "core/batch.h"
#include "core/segment.h"

static ShStatus void_one(ShEngine *engine, const ShPgTwice *twice, bool *store_failed, ShError *err);
static bool wait_for_store(ShEngine *engine, int attempt, const ShError *err);

ShStatus sh_present_void_twice(ShEngine *engine, ShError *err)
{
    ShPg *pg = engine->control.pg;
    ShPgTwice twice;
    bool found = false;
    int attempt = 0;
    ShStatus status;
    while ((status = sh_pg_next_twice(pg, engine->registered.incarnation, &twice, &found, err)) == SH_OK &&
           found) {
        bool store_failed = false;
        status = void_one(engine, &twice, &store_failed, err);
        if (status == SH_OK)
            attempt = 0;
        else if (!store_failed || !wait_for_store(engine, attempt++, err))
            break;
    }
    sh_start_wait_over();
    return status;
}

ShStatus sh_present_part_twice(const ShPgTwice *twice, uint8_t *bytes, ShPgPiece *pieces, size_t *count,
                               ShError *err)
{
    const ShPgSegment *segment = &twice->segment;
    const ShRunRange range = {.base_offset = segment->base_offset,
                              .from_offset = segment->base_offset,
                              .end_offset = segment->last_offset + 1,
                              .is_rest = true,
                              .leader_epoch = (int32_t)(segment->epoch & INT32_MAX)};
    size_t usable;
    bool begins = true;
    *count = 0;
    ShStatus status = sh_segment_rebase(bytes, (size_t)segment->length, &range, &usable, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, status, "object %s", segment->object_key);
    ShBatchHeader header;
    for (uint64_t at = 0; at < segment->length; at += header.total_bytes) {
        status = sh_batch_peek(bytes + at, segment->length - at, &header, err);
        if (status != SH_OK)
            return status;
        int64_t first = header.base_offset;
        int64_t end = first + header.last_offset_delta + 1;
        if (end <= segment->first_offset)
            continue;
        if (first >= twice->void_from && end <= twice->void_end) {
            begins = true;
            continue;
        }
        if (begins && *count == SH_PIECES_MAX)
            return sh_fail(err, SH_CORRUPT, "object %s: the batches at offset %" PRId64 " are out of order",
                           segment->object_key, first);
        int64_t seen = first > segment->first_offset ? first : segment->first_offset;
        if (begins)
            pieces[(*count)++] = (ShPgPiece){.first_offset = seen};
        begins = false;
        ShPgPiece *piece = &pieces[*count - 1];
        piece->last_offset = end - 1;
        piece->length = at + header.total_bytes;
        piece->records += header.record_count < end - seen ? header.record_count : end - seen;
    }
    return SH_OK;
}

static ShStatus void_one(ShEngine *engine, const ShPgTwice *twice, bool *store_failed, ShError *err)
{
    const ShPgSegment *segment = &twice->segment;
    char topic_id[SH_UUID_TEXT_BYTES];
    ShBuf *buffer = NULL;
    ShPgPiece pieces[SH_PIECES_MAX];
    size_t count = 0;
    ShStatus status = sh_store_get(engine->store, segment->object_key, segment->position, segment->length,
                                   &buffer, err);
    if (status == SH_OK && buffer->length != segment->length)
        status = sh_fail(err, SH_UNAVAILABLE, "object %s: the store gave %zu of %" PRIu64 " bytes",
                         segment->object_key, buffer->length, segment->length);
    *store_failed = status != SH_OK;
    if (status == SH_OK)
        status = sh_present_part_twice(twice, buffer->data, pieces, &count, err);
    if (status == SH_OK)
        status = sh_pg_void_twice(engine->control.pg, engine->registered.incarnation, twice, pieces, count,
                                  err);
    sh_buf_unref(buffer);
    if (status != SH_OK)
        return status;
    sh_uuid_format(&twice->topic_id, topic_id);
    sh_log_warn("stored_twice",
                "topic_id=%s partition=%d epoch=%" PRId64 " from=%" PRId64 " to=%" PRId64
                " reason=\"a later epoch has these records too: they are void here\"",
                topic_id, (int)twice->partition, segment->epoch, twice->void_from, twice->void_end - 1);
    return SH_OK;
}

/* False when it is no use. */
static bool wait_for_store(ShEngine *engine, int attempt, const ShError *err)
{
    if (!err->retriable)
        return false;
    sh_start_wait_note("store", err);
    return sh_engine_pause(engine, sh_engine_backoff_ms(attempt));
}
