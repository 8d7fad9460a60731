#include "agent/log/present_claims.h"

#include <stdlib.h>
#include <string.h>

#include "agent/log/claims.h"

static ShStatus part_run(ShPresentRuns *out, const ShPgRun *run, const ShPgEpochOrigin *origin, size_t place,
                         const uint8_t *object, const ShPgVoid *rows, size_t row_count, ShError *err);
static ShStatus begin_piece(ShPresentRuns *out, const ShPgRun *run, const ShPgEpochOrigin *origin,
                            bool is_void, int64_t at, ShError *err);
static ShStatus add_stretch(ShPresentRuns *runs, const ShBatchHeader *header, ShError *err);
static size_t place_of(const ShPresentRuns *runs, const ShPgRun *run);
static bool is_same_epoch(const ShPgRun *a, const ShPgRun *b);

ShStatus sh_present_add_run(ShPresentRuns *runs, const ShSegmentRun *run, const uint8_t *object, ShError *err)
{
    ShPgRun told = sh_flight_pg_run(run);
    ShPgEpochOrigin origin = {.is_ownerless = run->first_offset == SH_OFFSET_UNASSIGNED};
    ShStatus status = begin_piece(runs, &told, &origin, false, 0, err);
    if (status != SH_OK)
        return status;
    runs->runs[runs->count - 1] = told;
    ShBatchHeader header;
    for (uint64_t at = 0; at < run->length; at += header.total_bytes) {
        status = sh_batch_peek(object + run->position + at, run->length - at, &header, err);
        if (status == SH_OK && header.producer_id >= 0)
            status = add_stretch(runs, &header, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

ShStatus sh_present_add_void(ShPresentRuns *runs, const ShSegmentResult *told, ShError *err)
{
    ShPgRun run = {.topic_id = told->topic_id,
                   .partition = told->partition,
                   .epoch = told->epoch,
                   .first_offset = told->first_offset};
    size_t place = place_of(runs, &run);
    if (place > 0 && is_same_epoch(&runs->runs[place - 1], &run) &&
        runs->runs[place - 1].first_offset == run.first_offset)
        return SH_OK;
    ShStatus status = begin_piece(runs, &run, &(ShPgEpochOrigin){0}, true, 0, err);
    if (status != SH_OK)
        return status;
    size_t behind = runs->count - 1 - place;
    run = runs->runs[runs->count - 1];
    run.offset_count = told->offset_count;
    memmove(&runs->runs[place + 1], &runs->runs[place], behind * sizeof run);
    runs->runs[place] = run;
    memmove(&runs->origins[place + 1], &runs->origins[place], behind * sizeof *runs->origins);
    runs->origins[place] = (ShPgEpochOrigin){0};
    for (size_t s = 0; s < runs->stretch_count; s++)
        runs->stretches[s].run += runs->stretches[s].run >= place;
    return SH_OK;
}

ShStatus sh_present_ask_claims(ShPg *pg, int64_t incarnation, const ShPresentRuns *runs,
                               const uint8_t *object, ShPresentRuns *out, ShError *err)
{
    ShPgVoid *rows = NULL;
    size_t row_count = 0;
    ShPgPartition *epochs = calloc(runs->count + 1, sizeof *epochs);
    if (epochs == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the epochs of an object");
    for (size_t i = 0; i < runs->count; i++)
        epochs[i] = (ShPgPartition){.topic_id = runs->runs[i].topic_id,
                                    .partition = runs->runs[i].partition,
                                    .epoch = runs->runs[i].epoch};
    ShStatus status = sh_pg_claims(pg, incarnation, epochs, runs->count, &rows, &row_count, err);
    if (status == SH_OK)
        status = sh_present_leave_out(runs, object, rows, row_count, out, err);
    free(rows);
    free(epochs);
    return status;
}

ShStatus sh_present_leave_out(const ShPresentRuns *runs, const uint8_t *object, const ShPgVoid *rows,
                              size_t row_count, ShPresentRuns *out, ShError *err)
{
    ShPresentRuns parted = {0};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < runs->count && status == SH_OK; i++)
        status = part_run(&parted, &runs->runs[i], &runs->origins[i], i, object, rows, row_count, err);
    if (status != SH_OK) {
        sh_present_runs_free(&parted);
        return status;
    }
    sh_present_runs_free(out);
    *out = parted;
    return SH_OK;
}

void sh_present_runs_free(ShPresentRuns *runs)
{
    free(runs->runs);
    free(runs->origins);
    free(runs->stretches);
    *runs = (ShPresentRuns){0};
}

/* A run whose offsets nobody knows is not placed anyway. */
static ShStatus part_run(ShPresentRuns *out, const ShPgRun *run, const ShPgEpochOrigin *origin, size_t place,
                         const uint8_t *object, const ShPgVoid *rows, size_t row_count, ShError *err)
{
    uint64_t length = 0;
    int64_t records = 0;
    ShPgRun *piece = NULL;
    if (run->is_void) {
        ShStatus status = begin_piece(out, run, origin, true, 0, err);
        if (status == SH_OK)
            out->runs[out->count - 1].offset_count = run->offset_count;
        return status;
    }
    while (length < run->length) {
        ShBatchHeader header;
        ShStatus status = sh_batch_peek(object + run->position + length, run->length - length, &header, err);
        if (status != SH_OK)
            return status;
        int32_t kept = sh_claims_count_unclaimed(&header, rows, row_count, place);
        bool is_claimed = kept <= header.last_offset_delta;
        bool is_void = is_claimed && run->first_offset >= 0;
        if (piece == NULL || piece->is_void != is_void) {
            status = begin_piece(out, run, origin, is_void, header.base_offset, err);
            if (status != SH_OK)
                return status;
            piece = &out->runs[out->count - 1];
        }
        length += header.total_bytes;
        records += header.record_count;
        if (is_void) {
            piece->offset_count += header.last_offset_delta + 1;
            out->unplaced += kept;
            continue;
        }
        piece->offset_count = header.base_offset + header.last_offset_delta + 1;
        piece->length = length;
        piece->record_count = records;
        if (header.producer_id >= 0 && !is_claimed)
            status = add_stretch(out, &header, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

/* `at` is where it begins, relative to the run. */
static ShStatus begin_piece(ShPresentRuns *out, const ShPgRun *run, const ShPgEpochOrigin *origin,
                            bool is_void, int64_t at, ShError *err)
{
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 16 : 2 * out->capacity;
        ShPgRun *runs = realloc(out->runs, capacity * sizeof *runs);
        if (runs != NULL)
            out->runs = runs;
        ShPgEpochOrigin *origins = realloc(out->origins, capacity * sizeof *origins);
        if (origins != NULL)
            out->origins = origins;
        if (runs == NULL || origins == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for %zu runs of an object", capacity);
        out->capacity = capacity;
    }
    out->origins[out->count] = *origin;
    ShPgRun *piece = &out->runs[out->count++];
    *piece = *run;
    piece->is_void = is_void;
    piece->offset_count = piece->record_count = 0;
    if (is_void)
        piece->first_offset += at;
    return SH_OK;
}

/* What a batch of the newest run holds of an idempotent producer; its offset is relative to the run. */
static ShStatus add_stretch(ShPresentRuns *runs, const ShBatchHeader *header, ShError *err)
{
    if (runs->stretch_count == runs->stretch_capacity) {
        size_t capacity = runs->stretch_capacity == 0 ? 16 : 2 * runs->stretch_capacity;
        ShPgStretch *grown = realloc(runs->stretches, capacity * sizeof *grown);
        if (grown == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for %zu sequences", capacity);
        runs->stretches = grown;
        runs->stretch_capacity = capacity;
    }
    int64_t first = runs->runs[runs->count - 1].first_offset;
    runs->stretches[runs->stretch_count++] = (ShPgStretch){.run = runs->count - 1,
                                                           .producer_id = header->producer_id,
                                                           .producer_epoch = header->producer_epoch,
                                                           .base_sequence = header->base_sequence,
                                                           .count = header->last_offset_delta + 1,
                                                           .base_offset = (first < 0 ? 0 : first) +
                                                                          header->base_offset};
    return SH_OK;
}

/* Behind those of its epoch that begin before it or where it does. */
static size_t place_of(const ShPresentRuns *runs, const ShPgRun *run)
{
    for (size_t i = runs->count; i > 0; i--)
        if (is_same_epoch(&runs->runs[i - 1], run) && runs->runs[i - 1].first_offset <= run->first_offset)
            return i;
    for (size_t i = 0; i < runs->count; i++)
        if (is_same_epoch(&runs->runs[i], run))
            return i;
    return runs->count;
}

static bool is_same_epoch(const ShPgRun *a, const ShPgRun *b)
{
    return a->epoch == b->epoch && a->partition == b->partition && sh_uuid_equal(&a->topic_id, &b->topic_id);
}
