/*
 * publish.c - the publisher thread: makes uploaded objects visible, strictly in the order of their numbers.
 *
 * One call publishes an object; its answer is decided for each run. A reply that was lost is asked for again
 * with the same number and object id, which gives the same results. Only a committed result releases batches
 * from the WAL (G6).
 */
#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/firm.h"
#include "agent/log/late.h"

static bool publish_flight(ShEngine *engine, ShPg *pg, ShFlight *flight, ShPgRun *runs,
                           ShPgRunResult *results);
static ShStatus call_publish(ShEngine *engine, ShPg *pg, const ShFlight *flight, const ShPgRun *runs,
                             ShPgRunResult *results, ShError *err);
static bool try_again(ShEngine *engine, ShFlight *flight, ShPgRun *runs, ShStatus status, const ShError *err,
                      int attempt);
static void leave_claimed_out(ShEngine *engine, ShFlight *flight);
static bool rebuild(ShEngine *engine, ShFlight *flight);
static void fill_runs(const ShFlight *flight, ShPgRun *runs);
static bool apply_results(ShEngine *engine, ShFlight *flight, const ShPgRunResult *results);
static bool apply_result(ShEngine *engine, const ShFlight *flight, const ShFlightRange *range,
                         const ShPgRunResult *result, bool *noted);
static ShSegmentResult note_of(const ShFlight *flight, const ShFlightRange *range,
                               const ShPgRunResult *result);
static bool keep_notes(ShEngine *engine, ShFlight *flight);
static void apply_published(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result);
static void apply_dropped(ShEngine *engine, const ShFlightRange *range, const ShError *err);
static void apply_sequence(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result);
static void apply_void(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result);
static void note_batch(ShPartition *partition, uint64_t seq, int64_t offset, const ShError *err);
static void note_part(ShAppendPart *part);
static ShStatus sequence_error(const ShPartition *partition, const ShBatchHeader *header,
                               ShPublishResult result, ShError *err);
static ShAppendWait *settle_batches(ShEngine *engine, const ShFlightRange *range, int64_t first_offset);
static void set_offsets(const ShFlightRange *range, ShLogBatch *batch, int64_t offset);
static void refuse(ShEngine *engine, const ShFlight *flight, const ShFlightRange *range,
                   const ShPgRunResult *result);
static const char *result_name(ShPublishResult result);

void *sh_publish_run(void *arg)
{
    ShEngine *engine = arg;
    ShPg *pg = engine->pipeline.publish_pg;
    ShFlight *flight;
    while ((flight = sh_pipeline_wait_uploaded(&engine->pipeline)) != NULL) {
        ShPgRun *runs = calloc(flight->range_count + 1, sizeof *runs);
        ShPgRunResult *results = calloc(flight->range_count + 1, sizeof *results);
        free(flight->notes);
        flight->note_count = 0;
        flight->notes = calloc(flight->range_count + 1, sizeof *flight->notes);
        bool done = runs != NULL && results != NULL && flight->notes != NULL &&
                    publish_flight(engine, pg, flight, runs, results) &&
                    apply_results(engine, flight, results);
        free(results);
        free(runs);
        if (done)
            sh_pipeline_finish_first(&engine->pipeline);
        else if (sh_engine_fatal(engine, NULL) != SH_OK || !sh_engine_pause(engine, sh_engine_backoff_ms(0)))
            break;
    }
    return NULL;
}

/* False when the engine is stopping or cannot go on. */
static bool publish_flight(ShEngine *engine, ShPg *pg, ShFlight *flight, ShPgRun *runs,
                           ShPgRunResult *results)
{
    if (flight->is_stale && !rebuild(engine, flight))
        return false;
    fill_runs(flight, runs);
    for (int attempt = 0; !atomic_load(&engine->stopping); attempt++) {
        ShError err = {0};
        int64_t started_us = sh_clock_now_us();
        ShStatus status = call_publish(engine, pg, flight, runs, results, &err);
        if (status == SH_OK) {
            engine->pipeline.answered_no = flight->id.publish_no;
            sh_wal_note_calls(engine->wal, atomic_load(&engine->control.calls));
            sh_metric_observe_us(engine->metrics.publish_duration, sh_clock_now_us() - started_us);
            return true;
        }
        if (!try_again(engine, flight, runs, status, &err, attempt))
            return false;
    }
    return false;
}

static ShStatus call_publish(ShEngine *engine, ShPg *pg, const ShFlight *flight, const ShPgRun *runs,
                             ShPgRunResult *results, ShError *err)
{
    ShPgPublish request = {.incarnation = engine->registered.incarnation,
                           .publish_no = flight->id.publish_no,
                           .confirmed_no = flight->id.publish_no - 1,
                           .object_id = flight->id.object_id,
                           .object_key = flight->key,
                           .object_bytes = flight->object.total_bytes,
                           .runs = runs,
                           .run_count = flight->told_count,
                           .stretches = flight->stretches,
                           .stretch_count = flight->stretch_count};
    if (sh_fault_hit("publish.before"))
        return sh_fail(err, SH_UNAVAILABLE, "fault point publish.before");
    ShStatus status = sh_pg_publish(pg, &request, results, err);
    if (status == SH_OK && sh_fault_hit("publish.after"))
        return sh_fail(err, SH_UNAVAILABLE, "fault point publish.after: the reply is lost");
    return status;
}

/* After a failed call: wait, and put an abandoned object up under a new key. False: do not call again. */
static bool try_again(ShEngine *engine, ShFlight *flight, ShPgRun *runs, ShStatus status, const ShError *err,
                      int attempt)
{
    if (atomic_load(&engine->stopping))
        return false;
    sh_log_warn("publish_failed", "publish_no=%lld attempt=%d status=%s reason=\"%s\"",
                (long long)flight->id.publish_no, attempt + 1, sh_status_name(status), err->message);
    if (status == SH_OUT_OF_ORDER_SEQUENCE) {
        leave_claimed_out(engine, flight);
        return false; /* its ranges are others now: it begins anew */
    }
    if (status == SH_FENCED || status == SH_OUTDATED ||
        (atomic_load(&engine->recovering) && !err->retriable && status != SH_CANCELLED)) {
        sh_engine_set_fatal(engine, err);
        return false;
    }
    if (status == SH_CANCELLED) {
        bool rebuilt = rebuild(engine, flight);
        if (rebuilt)
            fill_runs(flight, runs);
        return rebuilt;
    }
    return sh_engine_pause(engine, sh_engine_backoff_ms(attempt));
}

/* Batches of the object were sent anew in a later epoch: it is to be without them, as void. */
static void leave_claimed_out(ShEngine *engine, ShFlight *flight)
{
    ShError err = {0};
    ShStatus status = sh_claims_learn(engine, engine->pipeline.publish_pg, flight, &err);
    if (status == SH_OK)
        status = sh_flight_split(flight, &err);
    if (status != SH_OK)
        sh_log_error("flush_failed", "publish_no=%lld reason=\"%s\"", (long long)flight->id.publish_no,
                     err.message);
}

/* Make another object of the flight and put it into the store. False only when the engine is stopping. */
static bool rebuild(ShEngine *engine, ShFlight *flight)
{
    ShError err = {0};
    for (int attempt = 0; sh_flight_build(engine, flight, &err) != SH_OK; attempt++) {
        sh_log_error("flush_failed", "publish_no=%lld reason=\"%s\"", (long long)flight->id.publish_no,
                     err.message);
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(attempt)))
            return false;
    }
    return sh_upload_flight(engine, flight);
}

static void fill_runs(const ShFlight *flight, ShPgRun *runs)
{
    for (size_t i = 0; i < flight->range_count; i++) {
        const ShFlightRange *range = &flight->ranges[i];
        if (range->is_untold)
            continue;
        if (range->is_void) {
            runs[range->place] = (ShPgRun){.topic_id = range->partition->key.topic_id,
                                           .partition = range->partition->key.number,
                                           .epoch = range->epoch,
                                           .first_offset = range->first_offset,
                                           .offset_count = range->offset_count,
                                           .is_void = true};
            continue;
        }
        runs[range->place] = sh_flight_pg_run(&flight->object.runs[range->run]);
    }
}

/* False when the engine cannot go on: the WAL keeps what is left. */
static bool apply_results(ShEngine *engine, ShFlight *flight, const ShPgRunResult *results)
{
    bool done = true;
    for (size_t i = 0; done && i < flight->range_count; i++) {
        const ShFlightRange *range = &flight->ranges[i];
        const ShPgRunResult *result = &results[range->place];
        bool noted = false;
        done = apply_result(engine, flight, range, result, &noted);
        if (noted)
            flight->notes[flight->note_count++] = note_of(flight, range, result);
    }
    return keep_notes(engine, flight) && done;
}

/* `*noted`: objects have to tell of it. */
static bool apply_result(ShEngine *engine, const ShFlight *flight, const ShFlightRange *range,
                         const ShPgRunResult *result, bool *noted)
{
    ShPartition *partition = range->partition;
    ShError err = {0};
    if (sh_late_skip(engine, range))
        return true;
    if (range->is_untold) {
        apply_sequence(engine, range, &(ShPgRunResult){.result = SH_PUBLISH_VOID});
        return true;
    }
    switch (result->result) {
    case SH_PUBLISH_OUT_OF_ORDER:
    case SH_PUBLISH_OLD_PRODUCER:
    case SH_PUBLISH_UNKNOWN_PRODUCER:
    case SH_PUBLISH_TOO_MANY_PRODUCERS:
        apply_sequence(engine, range, result);
        break;
    case SH_PUBLISH_DUPLICATE:
        if (partition->object_durability) {
            apply_sequence(engine, range, result);
            break;
        }
        /* fall through */
    case SH_PUBLISH_PUBLISHED:
        apply_published(engine, range, result);
        break;
    case SH_PUBLISH_VOID:
        apply_void(engine, range, result);
        break;
    case SH_PUBLISH_DROPPED:
        (void)sh_fail(&err, SH_NOT_FOUND, "topic \"%s\" was dropped", partition->topic);
        apply_dropped(engine, range, &err);
        break;
    default:
        if (partition->object_durability) {
            /* Nothing was acknowledged yet, and the producers are told so. */
            (void)sh_fail(&err, SH_UNAVAILABLE, "topic \"%s\" changed meanwhile (%s): try again",
                          partition->topic, result_name(result->result));
            apply_dropped(engine, range, &err);
            break;
        }
        if (result->result == SH_PUBLISH_FENCED) {
            sh_late_refuse(engine, range);
            break;
        }
        refuse(engine, flight, range, result);
        return false;
    }
    *noted = true;
    return true;
}

static ShSegmentResult note_of(const ShFlight *flight, const ShFlightRange *range,
                               const ShPgRunResult *result)
{
    static const ShDisposition dispositions[] = {
        [SH_PUBLISH_PUBLISHED] = SH_DISPOSITION_PUBLISHED,
        [SH_PUBLISH_DUPLICATE] = SH_DISPOSITION_DUPLICATE,
        [SH_PUBLISH_VOID] = SH_DISPOSITION_VOID,
        [SH_PUBLISH_DROPPED] = SH_DISPOSITION_DROPPED,
        [SH_PUBLISH_TOO_MANY_PRODUCERS] = 0,
    };
    ShDisposition disposition = dispositions[result->result];
    return (ShSegmentResult){.object_id = flight->id.object_id,
                             .publish_no = flight->id.publish_no,
                             .topic_id = range->partition->key.topic_id,
                             .partition = range->partition->key.number,
                             .epoch = range->epoch,
                             .first_offset = result->first_offset,
                             .offset_count = range->offset_count,
                             .disposition = disposition != 0 ? disposition : SH_DISPOSITION_REFUSED};
}

/* False when the engine ends before there is memory: the flight keeps them. */
static bool keep_notes(ShEngine *engine, ShFlight *flight)
{
    ShError err = {0};
    for (int attempt = 0; sh_results_add(&engine->results, flight->notes, flight->note_count, &err) != SH_OK;
         attempt++) {
        sh_log_error("results_not_kept", "publish_no=%lld attempt=%d reason=\"%s\"",
                     (long long)flight->id.publish_no, attempt + 1, err.message);
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(attempt)))
            return false;
    }
    flight->note_count = 0;
    return true;
}

static void apply_published(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    ShAppendWait *waits = settle_batches(engine, range, result->first_offset);
    /* Of an epoch that is not the one readers are in, the end is not theirs yet. */
    if (result->published_end > partition->published_end && range->epoch == partition->epoch)
        partition->published_end = result->published_end;
    if (partition->object_durability && partition->published_end > partition->high_watermark) {
        partition->high_watermark = partition->published_end;
        sh_fetch_wake(engine, partition);
    }
    bool wake_control = sh_partition_is_drained(partition) && partition->state != SH_PARTITION_OPEN;
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_add_tail(engine, partition, range->end);
    sh_append_answer(engine, waits, NULL);
    if (wake_control)
        sh_control_wake(engine);
}

/* The run's batches go nowhere: release them and forget them. */
static void apply_dropped(ShEngine *engine, const ShFlightRange *range, const ShError *err)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    ShAppendWait *waits = settle_batches(engine, range, SH_OFFSET_UNASSIGNED);
    int64_t cost = sh_partition_evict(partition, range->end);
    if (!partition->object_durability && err->status == SH_NOT_FOUND)
        partition->state = SH_PARTITION_REMOTE;
    sh_fetch_wake(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    sh_append_answer(engine, waits, err);
    sh_control_refresh(engine);
}

/* An idempotent producer's batch in an `object` topic that is stored already, or must not be, or that it has
 * claimed since for an owner (void): it leaves no trace in the log. */
static void apply_sequence(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    for (uint64_t seq = range->first; seq < range->end; seq++) {
        ShError err = {0};
        ShStatus status = sequence_error(partition, &sh_batch_ring_at(&partition->ring, seq)->header,
                                         result->result, &err);
        note_batch(partition, seq, result->first_offset, status == SH_OK ? NULL : &err);
    }
    ShAppendWait *waits = settle_batches(engine, range, SH_OFFSET_UNASSIGNED);
    int64_t cost = sh_partition_evict(partition, range->end);
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    sh_append_answer(engine, waits, NULL);
}

/* The run's offsets are left out: nobody may read its batches. */
static void apply_void(ShEngine *engine, const ShFlightRange *range, const ShPgRunResult *result)
{
    ShPartition *partition = range->partition;
    pthread_mutex_lock(&partition->mutex);
    ShAppendWait *waits = settle_batches(engine, range, SH_OFFSET_UNASSIGNED);
    if (result->published_end > partition->published_end)
        partition->published_end = result->published_end;
    int64_t cost = sh_partition_evict(partition, range->end);
    bool wake_control = sh_partition_is_drained(partition) && partition->state != SH_PARTITION_OPEN;
    pthread_mutex_unlock(&partition->mutex);
    sh_memory_release(&engine->memory, cost);
    sh_append_answer(engine, waits, NULL);
    if (wake_control)
        sh_control_wake(engine);
}

/* With the partition's mutex held: note in its call where an idempotent batch is, -1 where that is not known,
 * or why it is refused. A call's batches stand together in the ring, and the last one has the wait. */
static void note_batch(ShPartition *partition, uint64_t seq, int64_t offset, const ShError *err)
{
    uint64_t last = seq;
    while (last < partition->ring.end && sh_batch_ring_at(&partition->ring, last)->wait == NULL)
        last++;
    if (last == partition->ring.end)
        return; /* nobody waits any more */
    ShAppendPart *part = sh_batch_ring_at(&partition->ring, last)->wait->part;
    part->batches[part->batch_count - 1 - (last - seq)].header.base_offset = offset;
    if (err != NULL && part->error.status == SH_OK)
        part->error = *err;
}

/* All batches of the part are noted. */
static void note_part(ShAppendPart *part)
{
    int64_t follows = part->base_offset = part->batches[0].header.base_offset;
    bool found = false;
    for (size_t i = 0; i < part->batch_count; i++) {
        const ShBatchHeader *header = &part->batches[i].header;
        part->scattered |= header->base_offset != follows || header->base_offset < 0;
        found |= header->base_offset >= 0;
        follows = header->base_offset + header->last_offset_delta + 1;
    }
    if (!found && part->error.status == SH_OK)
        (void)sh_fail(&part->error, SH_DUPLICATE_SEQUENCE,
                      "the batches of producer %lld were stored long ago",
                      (long long)part->batches[0].header.producer_id);
}

static ShStatus sequence_error(const ShPartition *partition, const ShBatchHeader *header,
                               ShPublishResult result, ShError *err)
{
    char name[SH_PARTITION_NAME_BYTES];
    sh_partition_name(partition, name);
    switch (result) {
    case SH_PUBLISH_OUT_OF_ORDER:
        return sh_fail(err, SH_OUT_OF_ORDER_SEQUENCE,
                       "partition %s: sequence %d of producer %lld does not follow its last one", name,
                       header->base_sequence, (long long)header->producer_id);
    case SH_PUBLISH_OLD_PRODUCER:
        return sh_fail(err, SH_INVALID_PRODUCER_EPOCH,
                       "partition %s: epoch %d of producer %lld has ended: a newer one has written there",
                       name, header->producer_epoch, (long long)header->producer_id);
    case SH_PUBLISH_UNKNOWN_PRODUCER:
        return sh_fail(err, SH_UNKNOWN_PRODUCER_ID,
                       "partition %s: nothing is known of producer %lld, and sequence %d is not its first",
                       name, (long long)header->producer_id, header->base_sequence);
    case SH_PUBLISH_TOO_MANY_PRODUCERS:
        return sh_strangers_refuse_undecided(header->producer_id, err);
    case SH_PUBLISH_VOID:
        return sh_fail(
            err, SH_UNAVAILABLE,
            "partition %s: its topic changed, and producer %lld sends from a sequence before %d on "
            "to its owner: try again",
            name, (long long)header->producer_id, header->base_sequence);
    default:
        return SH_OK;
    }
}

/* With the partition's mutex held: the range is decided. Gives offsets to batches that have none, releases
 * the WAL's, and collects who waits. */
static ShAppendWait *settle_batches(ShEngine *engine, const ShFlightRange *range, int64_t first_offset)
{
    ShPartition *partition = range->partition;
    ShAppendWait *waits = NULL;
    ShAppendWait **waits_end = &waits;
    int64_t offset = first_offset;
    uint64_t file_no = 0;
    int64_t in_file = 0;
    int64_t records = 0;
    for (uint64_t seq = range->first; seq < range->end; seq++) {
        ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        if (batch->header.base_offset == SH_OFFSET_UNASSIGNED && offset != SH_OFFSET_UNASSIGNED) {
            set_offsets(range, batch, offset);
            offset = sh_log_batch_end(batch);
            if (range->idempotent)
                note_batch(partition, seq, batch->header.base_offset, NULL);
        }
        if (batch->wait != NULL && range->idempotent)
            note_part(batch->wait->part);
        else if (batch->wait != NULL)
            batch->wait->part->base_offset = sh_log_batch_end(batch) - batch->wait->offset_count;
        sh_append_take_waits(batch, &waits_end);
        records += batch->header.record_count;
        if (partition->object_durability || batch->wal.file_no == 0)
            continue;
        if (in_file > 0 && batch->wal.file_no != file_no) {
            sh_wal_release(engine->wal, file_no, in_file);
            in_file = 0;
        }
        file_no = batch->wal.file_no;
        in_file++;
    }
    if (in_file > 0)
        sh_wal_release(engine->wal, file_no, in_file);
    partition->published = range->end;
    sh_firm_advance(engine, partition);
    atomic_fetch_sub(&engine->control.unpublished, records);
    return waits;
}

static void set_offsets(const ShFlightRange *range, ShLogBatch *batch, int64_t offset)
{
    uint8_t *bytes = (uint8_t *)(uintptr_t)batch->wal.batch.data;
    batch->header.base_offset = offset;
    batch->header.leader_epoch = (int32_t)(range->epoch & INT32_MAX);
    sh_batch_set_base_offset(bytes, offset);
    sh_batch_set_leader_epoch(bytes, batch->header.leader_epoch);
}

/* What came before the run was published, as far as this agent knows, and PostgreSQL does not know of it.
 * When all that the store holds was presented a moment ago, there is nothing to begin anew with. */
static void refuse(ShEngine *engine, const ShFlight *flight, const ShFlightRange *range,
                   const ShPgRunResult *result)
{
    ShError err = {0};
    char name[SH_PARTITION_NAME_BYTES];
    (void)sh_fail(&err, SH_INTERNAL,
                  "partition %s: publish %lld of epoch %lld was answered with \"%s\"; the write-ahead log %s "
                  "keeps the records",
                  sh_partition_name(range->partition, name), (long long)flight->id.publish_no,
                  (long long)range->epoch, result_name(result->result), engine->config->wal_dir);
    /* A gap is what an earlier publish left that is not known any more, unless the epoch begins above it. */
    bool is_forgotten = result->result == SH_PUBLISH_UNKNOWN ||
                        (result->result == SH_PUBLISH_GAP && range->first_offset >= result->published_end);
    if (is_forgotten && !atomic_load(&engine->presenting))
        (void)sh_engine_lost_history(engine, err.message, NULL);
    else
        sh_engine_set_fatal(engine, &err);
}

static const char *result_name(ShPublishResult result)
{
    static const char *const names[] = {
        "published",         "duplicate", "void",         "gap",          "fenced",
        "dropped",           "unknown",   "out_of_order", "old_producer", "unknown_producer",
        "too_many_producers"};
    return (size_t)result < sizeof names / sizeof names[0] ? names[result] : "not known";
}
