#include "agent/log/producers.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_RETRY_MS 1000
#define FUTILE_MS     100 /* a sweep looks at up to SH_PRODUCERS_MAX, under the partition's mutex */

static ShStatus check_one_producer(const ShAppendBatch *batches, size_t count, ShError *err);
static size_t count_stored(const ShProducerState *state, ShAppendBatch *batches, size_t count);
static ShStatus check_claim(const ShProducerState *state, const ShAppendBatch *batches, size_t count,
                            int32_t first_unacked, ShSequenceCheck *out, ShError *err);
static ShStatus check_order(const ShProducerState *state, const ShAppendBatch *batches, size_t count,
                            ShError *err);
static bool ends_before(const ShAppendBatch *batches, size_t count, int32_t expected);
static int64_t stored_offset(const ShProducerState *state, const ShBatchHeader *header);
static int32_t sequence_count(const ShBatchHeader *header);
static ShProducerState *touch(ShProducers *producers, int64_t producer_id, int16_t epoch);
static size_t place_of(const ShProducers *producers, int64_t producer_id);
static bool sweep_for_newcomer(ShProducers *producers, int64_t published_end, int64_t now_ms);
static bool is_spare(const ShProducerState *state, int64_t published_end, int64_t now_ms);
static bool is_published(const ShProducerState *state, int64_t published_end);

ShStatus sh_producers_check(const ShProducers *producers, ShAppendBatch *batches, size_t count,
                            int32_t first_unacked, ShSequenceCheck *out, ShError *err)
{
    *out = (ShSequenceCheck){0};
    const ShBatchHeader *first = &batches[0].header;
    ShStatus status = check_one_producer(batches, count, err);
    if (status != SH_OK)
        return status;
    const ShProducerState *state = sh_producers_find(producers, first->producer_id);
    if (state != NULL && state->known && state->epoch > first->producer_epoch)
        return sh_fail(err, SH_INVALID_PRODUCER_EPOCH,
                       "epoch %d of producer %lld has ended: epoch %d has written to this partition",
                       first->producer_epoch, (long long)first->producer_id, state->epoch);
    bool is_unknown = state == NULL || !state->known;
    if (is_unknown || state->epoch < first->producer_epoch)
        state = NULL;

    out->duplicates = count_stored(state, batches, count);
    if (out->duplicates == count)
        return SH_OK;
    const ShBatchHeader *next = &batches[out->duplicates].header;
    if (producers->unresolved && (state == NULL || !state->claimed))
        return check_claim(state, batches + out->duplicates, count - out->duplicates, first_unacked, out,
                           err);
    if (is_unknown && next->base_sequence != 0)
        return sh_fail(err, SH_UNKNOWN_PRODUCER_ID,
                       "nothing is known here of producer %lld, and sequence %d is not its first",
                       (long long)next->producer_id, next->base_sequence);
    return check_order(state, batches + out->duplicates, count - out->duplicates, err);
}

ShStatus sh_producers_reserve(ShProducers *producers, ShProducerBudget *budget, int64_t producer_id,
                              int64_t published_end, int64_t now_ms, ShError *err)
{
    ShProducerState *state = sh_producers_find(producers, producer_id);
    if (state != NULL) {
        state->used_ms = now_ms;
        return SH_OK;
    }
    ShStatus status = sh_producers_make_room(producers, budget, published_end, now_ms, err);
    if (status != SH_OK)
        return status;
    if (producers->count == producers->capacity) {
        size_t capacity = producers->capacity == 0 ? 1 : 2 * producers->capacity;
        ShProducerState **list = realloc(producers->list, capacity * sizeof(*list));
        if (list == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for one more producer");
        producers->list = list;
        producers->capacity = capacity;
    }
    state = calloc(1, sizeof *state);
    if (state == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for one more producer");
    state->producer_id = producer_id;
    state->used_ms = now_ms;
    size_t place = place_of(producers, producer_id);
    memmove(&producers->list[place + 1], &producers->list[place],
            (producers->count++ - place) * sizeof(*producers->list));
    producers->list[place] = state;
    producers->budget = budget;
    atomic_fetch_add(&budget->count, 1);
    return SH_OK;
}

ShStatus sh_producers_make_room(ShProducers *producers, ShProducerBudget *budget, int64_t published_end,
                                int64_t now_ms, ShError *err)
{
    bool is_full = producers->count >= SH_PRODUCERS_MAX;
    /* One a partition is always kept, whatever the bound of all. */
    bool is_short = producers->count > 0 && atomic_load(&budget->count) >= budget->count_max;
    if ((!is_full && !is_short) || sweep_for_newcomer(producers, published_end, now_ms))
        return SH_OK;
    atomic_store(&budget->is_short, true);
    ShStatus status =
        is_full
            ? sh_fail(
                  err, SH_EXHAUSTED,
                  "%d producers have written to the partition within the last %d seconds, or a moment ago "
                  "for the first time: no more are taken for now",
                  SH_PRODUCERS_MAX, SH_PRODUCER_IDLE_MS / 1000)
            : sh_fail(err, SH_EXHAUSTED,
                      "the agent knows the sequences of %lld producers, counted once for each partition: as "
                      "many as its memory budget allows",
                      (long long)budget->count_max);
    return sh_fail_retry_after(err, status, ROOM_RETRY_MS);
}

size_t sh_producers_sweep(ShProducers *producers, int64_t published_end, int64_t now_ms)
{
    size_t kept = 0;
    size_t count = producers->count;
    for (size_t i = 0; i < count; i++) {
        ShProducerState *state = producers->list[i];
        if (!is_spare(state, published_end, now_ms)) {
            producers->list[kept++] = state;
            continue;
        }
        free(state);
        atomic_fetch_sub(&producers->budget->count, 1);
    }
    producers->count = kept;
    producers->partial |= kept < count;
    return count - kept;
}

void sh_producers_drop_old(ShProducers *producers, int64_t producer_id, int64_t published_end,
                           int64_t used_ms)
{
    ShProducerState *state = sh_producers_find(producers, producer_id);
    if (state == NULL || state->used_ms > used_ms || !is_published(state, published_end))
        return;
    size_t place = place_of(producers, producer_id);
    memmove(&producers->list[place], &producers->list[place + 1],
            (--producers->count - place) * sizeof(*producers->list));
    free(state);
    atomic_fetch_sub(&producers->budget->count, 1);
    producers->partial = true;
}

void sh_producers_reset(ShProducers *producers, int64_t producer_id)
{
    ShProducerState *state = sh_producers_find(producers, producer_id);
    *state = (ShProducerState){.producer_id = producer_id, .used_ms = state->used_ms};
}

void sh_producers_note(ShProducers *producers, const ShBatchHeader *header)
{
    ShStretch stretch = {.base_offset = header->base_offset,
                         .base_sequence = header->base_sequence,
                         .count = sequence_count(header)};
    sh_producers_note_stretch(producers, header->producer_id, header->producer_epoch, &stretch);
}

void sh_producers_note_stretch(ShProducers *producers, int64_t producer_id, int16_t epoch,
                               const ShStretch *stretch)
{
    ShProducerState *state = touch(producers, producer_id, epoch);
    state->again |= state->stretch_count > 0;
    ShStretch *last = state->stretch_count == 0 ? NULL : &state->stretches[state->stretch_count - 1];
    if (last != NULL && sh_sequence_add(last->base_sequence, last->count) == stretch->base_sequence &&
        last->base_offset + last->count == stretch->base_offset &&
        last->count <= SH_STRETCH_RECORDS_MAX - stretch->count) {
        last->count += stretch->count;
    } else {
        if (state->stretch_count == SH_STRETCHES_MAX)
            memmove(&state->stretches[0], &state->stretches[1],
                    (size_t)--state->stretch_count * sizeof state->stretches[0]);
        state->stretches[state->stretch_count++] = *stretch;
    }
    state->next_sequence = sh_sequence_add(stretch->base_sequence, stretch->count);
}

void sh_producers_note_claim(ShProducers *producers, int64_t producer_id, int16_t epoch, int32_t sequence)
{
    ShProducerState *state = sh_producers_find(producers, producer_id);
    if (state->known && state->epoch > epoch)
        return;
    state = touch(producers, producer_id, epoch);
    if (state->stretch_count == 0 || sh_sequence_distance(sequence, state->next_sequence) > 0)
        state->next_sequence = sequence;
    state->claimed = true;
}

ShProducerState *sh_producers_find(const ShProducers *producers, int64_t producer_id)
{
    size_t place = place_of(producers, producer_id);
    if (place == producers->count || producers->list[place]->producer_id != producer_id)
        return NULL;
    return producers->list[place];
}

void sh_producers_clear(ShProducers *producers)
{
    for (size_t i = 0; i < producers->count; i++)
        free(producers->list[i]);
    if (producers->count > 0)
        atomic_fetch_sub(&producers->budget->count, (int64_t)producers->count);
    free(producers->list);
    producers->list = NULL;
    producers->count = producers->capacity = 0;
    producers->unresolved = false;
    producers->partial = false;
}

int32_t sh_sequence_add(int32_t sequence, int64_t count)
{
    return (int32_t)((sequence + count) & INT32_MAX);
}

int32_t sh_sequence_distance(int32_t a, int32_t b)
{
    int32_t ahead = (int32_t)(((int64_t)a - b) & INT32_MAX);
    return ahead < 1 << 30 ? ahead : (int32_t)(ahead - ((int64_t)1 << 31));
}

int32_t sh_sequences_before(const ShBatchHeader *header, int32_t sequence)
{
    int32_t before = sh_sequence_distance(sequence, header->base_sequence);
    int32_t count = sequence_count(header);
    return before <= 0 ? 0 : before < count ? before : count;
}

static ShStatus check_one_producer(const ShAppendBatch *batches, size_t count, ShError *err)
{
    const ShBatchHeader *first = &batches[0].header;
    for (size_t i = 1; i < count; i++) {
        const ShBatchHeader *header = &batches[i].header;
        if (header->producer_id != first->producer_id || header->producer_epoch != first->producer_epoch)
            return sh_fail(err, SH_INVALID,
                           "batch %zu is of another producer than the first: send a partition's batches of "
                           "each producer in a request of their own",
                           i);
    }
    return SH_OK;
}

/* How many at the front are stored; they get their offsets. */
static size_t count_stored(const ShProducerState *state, ShAppendBatch *batches, size_t count)
{
    size_t stored = 0;
    while (state != NULL && stored < count) {
        int64_t offset = stored_offset(state, &batches[stored].header);
        if (offset < 0)
            break;
        batches[stored++].header.base_offset = offset;
    }
    return stored;
}

/* The first batch that is taken in while an earlier epoch is unresolved: what lies before it must be stored,
 * or be acknowledged and so in that epoch. `state` NULL: nothing of this producer epoch is published. */
static ShStatus check_claim(const ShProducerState *state, const ShAppendBatch *batches, size_t count,
                            int32_t first_unacked, ShSequenceCheck *out, ShError *err)
{
    const ShBatchHeader *header = &batches[0].header;
    /* What is published already is not claimed, and what overlaps it was made anew. */
    if (state != NULL && sh_sequence_distance(header->base_sequence, state->next_sequence) < 0)
        return check_order(state, batches, count, err);
    if (ends_before(batches, count, first_unacked))
        return sh_fail(err, SH_DUPLICATE_SEQUENCE, "sequence %d of producer %lld is acknowledged: it says so",
                       header->base_sequence, (long long)header->producer_id);
    bool follows = state != NULL && state->next_sequence == header->base_sequence &&
                   sh_sequence_distance(first_unacked, header->base_sequence) <= 0;
    if (!follows && header->base_sequence != first_unacked)
        return sh_fail(err, SH_OUT_OF_ORDER_SEQUENCE,
                       "the partition was taken over: producer %lld must send again from sequence %d, the "
                       "first that is not acknowledged, and not from %d",
                       (long long)header->producer_id, first_unacked, header->base_sequence);
    out->claim_needed = true;
    return SH_OK;
}

/* `state` NULL: the producer, or its epoch, begins. */
static ShStatus check_order(const ShProducerState *state, const ShAppendBatch *batches, size_t count,
                            ShError *err)
{
    int32_t expected = state == NULL ? 0 : state->next_sequence;
    const ShBatchHeader *first = &batches[0].header;
    if (state != NULL && ends_before(batches, count, expected))
        return sh_fail(err, SH_DUPLICATE_SEQUENCE,
                       "sequence %d of producer %lld was stored long ago; sequence %d is next",
                       first->base_sequence, (long long)first->producer_id, expected);
    for (size_t i = 0; i < count; i++) {
        const ShBatchHeader *header = &batches[i].header;
        if (header->base_sequence != expected)
            return sh_fail(err, SH_OUT_OF_ORDER_SEQUENCE, "sequence %d of producer %lld: sequence %d is next",
                           header->base_sequence, (long long)header->producer_id, expected);
        expected = sh_sequence_add(expected, sequence_count(header));
    }
    return SH_OK;
}

/* Do all of the batches lie before that sequence? */
static bool ends_before(const ShAppendBatch *batches, size_t count, int32_t expected)
{
    for (size_t i = 0; i < count; i++) {
        const ShBatchHeader *header = &batches[i].header;
        if (sh_sequences_before(header, expected) < sequence_count(header))
            return false;
    }
    return true;
}

/* Where the batch is stored; -1 when that is not known. */
static int64_t stored_offset(const ShProducerState *state, const ShBatchHeader *header)
{
    for (int i = state->stretch_count - 1; i >= 0; i--) {
        const ShStretch *stretch = &state->stretches[i];
        int32_t ahead = sh_sequence_distance(header->base_sequence, stretch->base_sequence);
        if (ahead >= 0 && ahead <= stretch->count - sequence_count(header))
            return stretch->base_offset + ahead;
    }
    return -1;
}

/* As many as the batch has offsets. */
static int32_t sequence_count(const ShBatchHeader *header)
{
    return header->last_offset_delta + 1;
}

/* The producer's state, emptied when another epoch begins. */
static ShProducerState *touch(ShProducers *producers, int64_t producer_id, int16_t epoch)
{
    ShProducerState *state = sh_producers_find(producers, producer_id);
    if (!state->known || state->epoch != epoch) {
        state->stretch_count = 0;
        state->claimed = false;
        state->says_unacked = false;
        state->next_sequence = 0;
    }
    state->known = true;
    state->epoch = epoch;
    return state;
}

/* Where the producer is in the list, or would be. */
static size_t place_of(const ShProducers *producers, int64_t producer_id)
{
    size_t low = 0;
    size_t high = producers->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (producers->list[middle]->producer_id < producer_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* False: there is none to give up, or there was none a moment ago and nothing is published since. */
static bool sweep_for_newcomer(ShProducers *producers, int64_t published_end, int64_t now_ms)
{
    if (producers->futile_ms > 0 && now_ms - producers->futile_ms < FUTILE_MS &&
        producers->futile_end == published_end)
        return false;
    if (sh_producers_sweep(producers, published_end, now_ms) > 0)
        return true;
    producers->futile_ms = now_ms;
    producers->futile_end = published_end;
    return false;
}

/* Can PostgreSQL tell its state, and will no retry need it soon? */
static bool is_spare(const ShProducerState *state, int64_t published_end, int64_t now_ms)
{
    if (now_ms - state->used_ms < (state->again ? SH_PRODUCER_IDLE_MS : SH_PRODUCER_ONCE_MS))
        return false;
    return is_published(state, published_end);
}

static bool is_published(const ShProducerState *state, int64_t published_end)
{
    /* Leftovers come above what was sent after them. */
    for (int i = 0; i < state->stretch_count; i++)
        if (state->stretches[i].base_offset + state->stretches[i].count > published_end)
            return false;
    return true;
}
