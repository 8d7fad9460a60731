/*
 * accumulator.h - records gather into batches per partition, within a bound of memory. Pure: the producer's
 * lock guards it, time is an argument.
 */
#ifndef SH_CLIENT_ACCUMULATOR_H
#define SH_CLIENT_ACCUMULATOR_H

#include "client/lane.h"
#include "core/codec.h"

#define SH_SPARE_BUILDERS_MAX 64

typedef struct ShAccumulator {
    size_t batch_bytes;
    int64_t linger_ms;
    size_t buffer_bytes;
    ShCodec codec;
    size_t used_bytes;                         /* of buffer_bytes */
    ShPendingBatch *open_oldest, *open_newest; /* in the order in which they fall due */
    ShPendingBatch *sealed_first, *sealed_last;
    ShBatchBuilder *spare_builders[SH_SPARE_BUILDERS_MAX];
    size_t spare_count;
} ShAccumulator;

/* Options are set by the caller, the rest is zero. Frees the spare builders; batches must be gone. */
void sh_accumulator_free(ShAccumulator *accumulator);

/* What a record takes of a batch at most. */
size_t sh_accumulator_record_bytes(const ShRecord *record, const ShHeader *headers, size_t header_count);

/* Append a record to its lane's open batch. `*sealed`: a batch of the lane became complete. SH_EXHAUSTED: the
 * bound is reached; nothing was appended. */
ShStatus sh_accumulator_append(ShAccumulator *accumulator, ShLane *lane, const ShRecord *record,
                               const ShHeader *headers, size_t header_count, void *opaque, int64_t now_ms,
                               bool *sealed, ShError *err) SH_MUST_CHECK;

/* Take the batches that are complete or have lingered, or all; a list in their order, NULL: none. */
ShPendingBatch *sh_accumulator_take(ShAccumulator *accumulator, int64_t now_ms, bool all);

/* When sh_accumulator_take has something: 0 at once, INT64_MAX: never. */
int64_t sh_accumulator_due_ms(const ShAccumulator *accumulator);

/* Give back the builder of a batch that was built, and the room of one that was delivered, which is freed. */
void sh_accumulator_return_builder(ShAccumulator *accumulator, ShBatchBuilder *builder);
void sh_accumulator_release(ShAccumulator *accumulator, ShPendingBatch *batch);

#endif
