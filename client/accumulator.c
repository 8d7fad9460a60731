#include "client/accumulator.h"
#include "client/misfits.h"

#include <stdlib.h>

#define RECORD_OVERHEAD_BYTES 40 /* a record's lengths and deltas at their longest */
#define HEADER_OVERHEAD_BYTES 10
#define OPAQUES_INITIAL       64

static ShStatus open_batch(ShAccumulator *accumulator, ShLane *lane, int64_t now_ms, ShError *err);
static ShStatus make_room(ShPendingBatch *batch, ShError *err);
static void seal(ShAccumulator *accumulator, ShLane *lane);
static void unlink_open(ShAccumulator *accumulator, ShPendingBatch *batch);
static void free_batch(ShPendingBatch *batch);

void sh_accumulator_free(ShAccumulator *accumulator)
{
    while (accumulator->spare_count > 0)
        sh_batch_builder_free(accumulator->spare_builders[--accumulator->spare_count]);
}

size_t sh_accumulator_record_bytes(const ShRecord *record, const ShHeader *headers, size_t header_count)
{
    size_t bytes = RECORD_OVERHEAD_BYTES + record->key_length + record->value_length;
    for (size_t i = 0; i < header_count; i++)
        bytes += HEADER_OVERHEAD_BYTES + headers[i].key_length + headers[i].value_length;
    return bytes;
}

ShStatus sh_accumulator_append(ShAccumulator *accumulator, ShLane *lane, const ShRecord *record,
                               const ShHeader *headers, size_t header_count, void *opaque, int64_t now_ms,
                               bool *sealed, ShError *err)
{
    *sealed = false;
    size_t bytes = sh_accumulator_record_bytes(record, headers, header_count);
    if (accumulator->used_bytes + bytes > accumulator->buffer_bytes)
        return sh_fail(err, SH_EXHAUSTED, "the producer's buffer of %zu bytes is full",
                       accumulator->buffer_bytes);

    if (lane->open != NULL &&
        sh_batch_builder_bytes(lane->open->builder) + bytes > accumulator->batch_bytes) {
        seal(accumulator, lane);
        *sealed = true;
    }
    ShStatus status = SH_OK;
    if (lane->open == NULL)
        status = open_batch(accumulator, lane, now_ms, err);
    if (status == SH_OK)
        status = make_room(lane->open, err);
    if (status == SH_OK)
        status = sh_batch_builder_add(lane->open->builder, record, headers, header_count, err);
    if (status != SH_OK) {
        if (lane->open != NULL && lane->open->count == 0) {
            ShPendingBatch *empty = lane->open;
            unlink_open(accumulator, empty);
            lane->open = NULL;
            free_batch(empty);
        }
        return status;
    }

    ShPendingBatch *batch = lane->open;
    batch->opaques[batch->count++] = opaque;
    batch->charged_bytes += bytes;
    accumulator->used_bytes += bytes;
    if (sh_batch_builder_bytes(batch->builder) >= accumulator->batch_bytes) {
        seal(accumulator, lane);
        *sealed = true;
    }
    return SH_OK;
}

ShPendingBatch *sh_accumulator_take(ShAccumulator *accumulator, int64_t now_ms, bool all)
{
    while (accumulator->open_oldest != NULL &&
           (all || accumulator->open_oldest->created_ms + accumulator->linger_ms <= now_ms))
        seal(accumulator, accumulator->open_oldest->lane);
    ShPendingBatch *taken = accumulator->sealed_first;
    accumulator->sealed_first = accumulator->sealed_last = NULL;
    return taken;
}

int64_t sh_accumulator_due_ms(const ShAccumulator *accumulator)
{
    if (accumulator->sealed_first != NULL)
        return 0;
    return accumulator->open_oldest != NULL ? accumulator->open_oldest->created_ms + accumulator->linger_ms
                                            : INT64_MAX;
}

void sh_accumulator_return_builder(ShAccumulator *accumulator, ShBatchBuilder *builder)
{
    if (accumulator->spare_count < SH_SPARE_BUILDERS_MAX)
        accumulator->spare_builders[accumulator->spare_count++] = builder;
    else
        sh_batch_builder_free(builder);
}

void sh_accumulator_release(ShAccumulator *accumulator, ShPendingBatch *batch)
{
    accumulator->used_bytes -= batch->charged_bytes;
    free_batch(batch);
}

static ShStatus open_batch(ShAccumulator *accumulator, ShLane *lane, int64_t now_ms, ShError *err)
{
    ShPendingBatch *batch = calloc(1, sizeof *batch);
    if (batch != NULL)
        batch->builder = accumulator->spare_count > 0
                             ? accumulator->spare_builders[--accumulator->spare_count]
                             : sh_batch_builder_new(accumulator->codec);
    if (batch == NULL || batch->builder == NULL) {
        free(batch);
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch");
    }
    batch->lane = lane;
    batch->created_ms = now_ms;
    batch->previous = accumulator->open_newest;
    if (batch->previous != NULL)
        batch->previous->next = batch;
    else
        accumulator->open_oldest = batch;
    accumulator->open_newest = batch;
    lane->open = batch;
    return SH_OK;
}

static ShStatus make_room(ShPendingBatch *batch, ShError *err)
{
    if (batch->count < batch->capacity)
        return SH_OK;
    int32_t capacity = batch->capacity == 0 ? OPAQUES_INITIAL : batch->capacity * 2;
    void **opaques = realloc(batch->opaques, (size_t)capacity * sizeof *opaques);
    if (opaques == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch of %d records", capacity);
    batch->opaques = opaques;
    batch->capacity = capacity;
    return SH_OK;
}

static void seal(ShAccumulator *accumulator, ShLane *lane)
{
    ShPendingBatch *batch = lane->open;
    lane->open = NULL;
    unlink_open(accumulator, batch);
    if (accumulator->sealed_last != NULL)
        accumulator->sealed_last->next = batch;
    else
        accumulator->sealed_first = batch;
    accumulator->sealed_last = batch;
}

static void unlink_open(ShAccumulator *accumulator, ShPendingBatch *batch)
{
    if (batch->previous != NULL)
        batch->previous->next = batch->next;
    else
        accumulator->open_oldest = batch->next;
    if (batch->next != NULL)
        batch->next->previous = batch->previous;
    else
        accumulator->open_newest = batch->previous;
    batch->next = batch->previous = NULL;
}

static void free_batch(ShPendingBatch *batch)
{
    sh_batch_builder_free(batch->builder);
    sh_buf_unref(batch->bytes);
    free(batch->opaques);
    sh_misfits_free(batch);
    free(batch);
}
