#include "agent/log/flight.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"

static bool continues(const ShFlightRange *range, const ShPartition *partition, const ShLogBatch *batch);
static ShStatus add_range(ShFlight *flight, ShPartition *partition, uint64_t seq, ShError *err);
static ShStatus split_range(ShFlight *flight, const ShFlightRange *range, ShError *err);
static void forget_ranges(ShFlightRange *ranges, size_t count);
static void number_ranges(ShFlight *flight);
static ShStatus add_batches(ShSegmentWriter *writer, ShFlightRange *range, ShError *err);

ShFlight *sh_flight_new(void)
{
    return calloc(1, sizeof(ShFlight));
}

void sh_flight_free(ShFlight *flight)
{
    if (flight == NULL)
        return;
    sh_segment_writer_free(flight->writer);
    forget_ranges(flight->ranges, flight->range_count);
    free(flight->results);
    free(flight->notes);
    free(flight->stretches);
    free(flight);
}

ShStatus sh_flight_collect(ShFlight *flight, ShPartition *partition, int64_t cost_max, bool *more,
                           ShError *err)
{
    ShStatus status = SH_OK;
    int64_t cost = 0;
    bool may_end = true; /* the batches of one call to an `object` topic get offsets together */
    bool fresh = true;
    pthread_mutex_lock(&partition->mutex);
    while (!partition->refused && partition->flushed < partition->durable &&
           !(may_end && cost >= cost_max && cost > 0)) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, partition->flushed);
        if (fresh || !continues(&flight->ranges[flight->range_count - 1], partition, batch)) {
            status = add_range(flight, partition, partition->flushed, err);
            if (status != SH_OK)
                break;
            fresh = false;
        }
        flight->ranges[flight->range_count - 1].idempotent |= batch->header.producer_id >= 0;
        cost += sh_log_batch_cost(batch);
        may_end = !partition->object_durability || batch->wait != NULL;
        flight->ranges[flight->range_count - 1].end = ++partition->flushed;
    }
    *more = !partition->refused && partition->flushed < partition->durable;
    pthread_mutex_unlock(&partition->mutex);
    flight->cost += cost;
    return status;
}

ShStatus sh_flight_build(ShEngine *engine, ShFlight *flight, ShError *err)
{
    ShSegmentWriterId id = {.wal_uuid = engine->identity.wal_uuid,
                            .incarnation = engine->registered.incarnation,
                            .publish_no = flight->id.publish_no,
                            .created_ms = sh_clock_wall_ms()};
    ShSegmentObject object;
    ShStatus status = sh_uuid_random(&id.object_id, err);
    if (status != SH_OK)
        return status;
    number_ranges(flight);
    ShSegmentWriter *writer = sh_segment_writer_new(&id, flight->results, flight->result_count);
    if (writer == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for an object");
    for (size_t i = 0; i < flight->range_count && status == SH_OK; i++)
        status = add_batches(writer, &flight->ranges[i], err);
    if (status == SH_OK && sh_fault_hit("flush.build"))
        status = sh_fail(err, SH_NO_MEMORY, "fault point flush.build");
    if (status == SH_OK)
        status = sh_segment_writer_finish(writer, &object, err);
    if (status == SH_OK)
        status = sh_flight_note_stretches(flight, err);
    if (status != SH_OK) {
        sh_segment_writer_free(writer);
        return status;
    }
    sh_segment_writer_free(flight->writer);
    flight->writer = writer;
    flight->object = object;
    flight->id = id;
    flight->is_stale = false;
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&id.object_id, uuid);
    snprintf(flight->key, sizeof flight->key, "%.2s/%s/%lld/%lld-%s.seg", uuid, engine->config->agent_id,
             (long long)id.incarnation, (long long)id.publish_no, uuid);
    return SH_OK;
}

ShStatus sh_flight_split(ShFlight *flight, ShError *err)
{
    ShFlightRange *whole = flight->ranges;
    size_t whole_count = flight->range_count;
    size_t whole_capacity = flight->range_capacity;
    ShStatus status = SH_OK;
    flight->ranges = NULL;
    flight->range_count = flight->range_capacity = 0;
    for (size_t i = 0; i < whole_count && status == SH_OK; i++)
        status = split_range(flight, &whole[i], err);
    if (status == SH_OK) {
        forget_ranges(whole, whole_count);
        flight->is_stale = true;
        return SH_OK;
    }
    forget_ranges(flight->ranges, flight->range_count);
    flight->ranges = whole;
    flight->range_count = whole_count;
    flight->range_capacity = whole_capacity;
    return status;
}

ShPgRun sh_flight_pg_run(const ShSegmentRun *run)
{
    return (ShPgRun){.topic_id = run->topic_id,
                     .partition = run->partition,
                     .epoch = run->epoch,
                     .first_offset = run->first_offset,
                     .offset_count = run->offset_count,
                     .record_count = run->record_count,
                     .position = run->position,
                     .length = run->length,
                     .min_timestamp_ms = run->min_timestamp_ms,
                     .max_timestamp_ms = run->max_timestamp_ms};
}

/* Does the batch extend the run? */
static bool continues(const ShFlightRange *range, const ShPartition *partition, const ShLogBatch *batch)
{
    if (range->epoch != batch->wal.epoch || range->is_void != batch->is_void)
        return false;
    if (batch->header.base_offset == SH_OFFSET_UNASSIGNED)
        return !range->idempotent && batch->header.producer_id < 0; /* those are decided one by one */
    return batch->header.base_offset == sh_log_batch_end(sh_batch_ring_at(&partition->ring, range->end - 1));
}

/* With the partition's mutex held: a range that begins at batch `seq`, and is empty yet. */
static ShStatus add_range(ShFlight *flight, ShPartition *partition, uint64_t seq, ShError *err)
{
    const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
    if (flight->range_count == flight->range_capacity) {
        size_t capacity = flight->range_capacity == 0 ? 16 : flight->range_capacity * 2;
        ShFlightRange *ranges = realloc(flight->ranges, capacity * sizeof *ranges);
        if (ranges == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for %zu runs of an object", capacity);
        flight->ranges = ranges;
        flight->range_capacity = capacity;
    }
    flight->ranges[flight->range_count++] = (ShFlightRange){.partition = sh_partition_ref(partition),
                                                            .epoch = batch->wal.epoch,
                                                            .is_void = batch->is_void,
                                                            .first = seq,
                                                            .end = seq};
    return SH_OK;
}

static ShStatus split_range(ShFlight *flight, const ShFlightRange *range, ShError *err)
{
    ShPartition *partition = range->partition;
    ShStatus status = SH_OK;
    pthread_mutex_lock(&partition->mutex);
    for (uint64_t seq = range->first; seq < range->end && status == SH_OK; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        if (seq == range->first || batch->is_void != flight->ranges[flight->range_count - 1].is_void)
            status = add_range(flight, partition, seq, err);
        if (status != SH_OK)
            break;
        ShFlightRange *part = &flight->ranges[flight->range_count - 1];
        part->idempotent |= batch->header.producer_id >= 0;
        part->end = seq + 1;
    }
    pthread_mutex_unlock(&partition->mutex);
    return status;
}

static void forget_ranges(ShFlightRange *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sh_partition_unref(ranges[i].partition);
    free(ranges);
}

static void number_ranges(ShFlight *flight)
{
    size_t run_count = 0;
    flight->told_count = 0;
    for (size_t i = 0; i < flight->range_count; i++) {
        ShFlightRange *range = &flight->ranges[i];
        pthread_mutex_lock(&range->partition->mutex);
        range->first_offset = sh_batch_ring_at(&range->partition->ring, range->first)->header.base_offset;
        pthread_mutex_unlock(&range->partition->mutex);
        range->is_untold = range->is_void && range->first_offset == SH_OFFSET_UNASSIGNED;
        range->run = run_count;
        run_count += !range->is_void;
        range->place = flight->told_count;
        flight->told_count += !range->is_untold;
    }
}

static ShStatus add_batches(ShSegmentWriter *writer, ShFlightRange *range, ShError *err)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    int64_t offset_count = 0;
    ShStatus status = SH_OK;
    if (!range->is_void)
        status = sh_segment_writer_begin_run(writer, &partition->key.topic_id, partition->key.number,
                                             range->epoch, range->first_offset, err);
    for (uint64_t seq = range->first; seq < range->end && status == SH_OK; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        offset_count += (int64_t)batch->header.last_offset_delta + 1;
        if (!range->is_void)
            status = sh_segment_writer_add(writer, batch->wal.batch, &batch->header, err);
    }
    pthread_mutex_unlock(&partition->mutex);
    if (status == SH_OK)
        range->offset_count = offset_count;
    return status;
}
