/*
 * stretches.c - what a flight's runs hold of idempotent producers, for the publish to store beside them.
 *
 * Of each producer and epoch of it the last SH_STRETCHES_MAX stretches of a run go along, as more is not kept
 * anyway, and the first one: while a term is not settled PostgreSQL compares from which sequence on a
 * producer wrote in an epoch.
 */
#include <stdlib.h>

#include "agent/log/flight.h"
#include "agent/log/producers.h"

static ShStatus collect(const ShFlightRange *range, ShPgStretch **list, size_t *count, size_t *capacity,
                        ShError *err);
static int compare(const void *a, const void *b);
static bool same_producer(const ShPgStretch *a, const ShPgStretch *b);
static size_t join(ShPgStretch *list, size_t count);
static size_t keep_ends(ShPgStretch *list, size_t count);

ShStatus sh_flight_note_stretches(ShFlight *flight, ShError *err)
{
    ShPgStretch *list = NULL;
    size_t count = 0;
    size_t capacity = 0;
    ShStatus status = SH_OK;
    for (size_t i = 0; i < flight->range_count && status == SH_OK; i++)
        if (flight->ranges[i].idempotent && !flight->ranges[i].is_void)
            status = collect(&flight->ranges[i], &list, &count, &capacity, err);
    if (status != SH_OK) {
        free(list);
        return status;
    }
    if (count > 1) {
        qsort(list, count, sizeof *list, compare);
        count = keep_ends(list, join(list, count));
    }
    free(flight->stretches);
    flight->stretches = list;
    flight->stretch_count = count;
    return SH_OK;
}

/* One entry for each batch. */
static ShStatus collect(const ShFlightRange *range, ShPgStretch **list, size_t *count, size_t *capacity,
                        ShError *err)
{
    size_t needed = *count + (size_t)(range->end - range->first);
    if (needed > *capacity) {
        size_t larger = needed > 2 * *capacity ? needed : 2 * *capacity;
        ShPgStretch *grown = realloc(*list, larger * sizeof *grown);
        if (grown == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for the sequences of %zu batches", needed);
        *list = grown;
        *capacity = larger;
    }
    pthread_mutex_lock(&range->partition->mutex);
    for (uint64_t seq = range->first; seq < range->end; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&range->partition->ring, seq);
        const ShBatchHeader *header = &batch->header;
        if (header->producer_id < 0)
            continue;
        (*list)[(*count)++] = (ShPgStretch){.run = range->place,
                                            .producer_id = header->producer_id,
                                            .producer_epoch = header->producer_epoch,
                                            .base_sequence = header->base_sequence,
                                            .count = header->last_offset_delta + 1,
                                            .base_offset = header->base_offset,
                                            .first_unacked_seq = batch->first_unacked_seq};
    }
    pthread_mutex_unlock(&range->partition->mutex);
    return SH_OK;
}

/* By run and producer, in the order of the log. */
static int compare(const void *a, const void *b)
{
    const ShPgStretch *x = a;
    const ShPgStretch *y = b;
    if (x->run != y->run)
        return x->run < y->run ? -1 : 1;
    if (x->producer_id != y->producer_id)
        return x->producer_id < y->producer_id ? -1 : 1;
    return (x->base_offset > y->base_offset) - (x->base_offset < y->base_offset);
}

static bool same_producer(const ShPgStretch *a, const ShPgStretch *b)
{
    return a->run == b->run && a->producer_id == b->producer_id && a->producer_epoch == b->producer_epoch;
}

/* Make one entry of those that continue each other. */
static size_t join(ShPgStretch *list, size_t count)
{
    size_t joined = 1;
    for (size_t i = 1; i < count; i++) {
        ShPgStretch *last = &list[joined - 1];
        const ShPgStretch *next = &list[i];
        if (same_producer(last, next) && last->base_offset + last->count == next->base_offset &&
            sh_sequence_add(last->base_sequence, last->count) == next->base_sequence &&
            last->count <= SH_STRETCH_RECORDS_MAX - next->count)
            last->count += next->count;
        else
            list[joined++] = *next;
    }
    return joined;
}

static size_t keep_ends(ShPgStretch *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_first = kept == 0 || !same_producer(&list[kept - 1], &list[i]);
        bool crowded = i + SH_STRETCHES_MAX < count && same_producer(&list[i], &list[i + SH_STRETCHES_MAX]);
        if (is_first || !crowded)
            list[kept++] = list[i];
    }
    return kept;
}
