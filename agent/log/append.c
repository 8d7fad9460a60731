#include "agent/log/append.h"

#include <stddef.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/firm.h"

#define HAND_OVER_RETRY_MS 100
#define MEMORY_RETRY_MS    200
#define UNCHECKED_RETRY_MS 10

/* The batches of one part, made before the partition is locked. */
typedef struct Intake {
    ShLogBatch *first; /* chained by wal.next */
    size_t count;
    int64_t offsets;
    int64_t records;
    int64_t bytes;
    int64_t cost;
    ShLogBatch *stored; /* those that were taken in before, chained too, and counted here alone */
    int64_t stored_cost;
    ShAppendWait *idle_wait; /* all are stored, and durable: nobody waits */
} Intake;

static void start_part(ShEngine *engine, ShAppend *append, ShAppendPart *part);
static bool is_stranger(ShEngine *engine, ShAppendPart *part);
static ShStatus check_batches(const ShAppendPart *part, int64_t batch_bytes_max, ShError *err);
static ShStatus refuse_unchecked(ShEngine *engine, ShAppendPart *part);
static ShStatus settle_times(ShEngine *engine, ShAppendPart *part, const ShTimeRule *rule);
static ShStatus make_intake(const ShResolved *target, const ShAppendPart *part, Intake *intake, ShError *err);
static void free_intake(Intake *intake);
static ShStatus check_state(ShEngine *engine, ShPartition *partition, const Intake *intake,
                            ShAppendPart *part);
static ShStatus refuse_not_owned(ShEngine *engine, const ShPartition *partition, ShAppendPart *part);
static ShStatus take_in(ShEngine *engine, ShPartition *partition, Intake *intake, ShAppendPart *part);
static bool is_idempotent(const ShAppendPart *part);
static ShStatus check_sequences(ShEngine *engine, ShPartition *partition, Intake *intake, ShAppendPart *part);
static ShStatus refuse_misfits(ShAppendPart *part);
static void set_stored_aside(Intake *intake, size_t count);
static void note_offsets(const ShPartition *partition, ShAppendPart *part, size_t stored);
static ShAppendWait *await_stored(ShPartition *partition, Intake *intake);
static void note_sequences(ShEngine *engine, ShPartition *partition, const ShAppendPart *part, uint64_t from);
static void take_back(ShPartition *partition, Intake *intake, uint64_t from);
static ShLogBatch *batch_of(ShWalEntry *entry);
static ShWalEntry *mark_durable(ShEngine *engine, ShWalEntry *entries, ShAppendWait ***waits_end);

void sh_engine_append(ShEngine *engine, ShAppend *append)
{
    /* One more than there are parts, so that `done` cannot come before all of them are started. */
    __atomic_store_n(&append->pending, (int)append->part_count + 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < append->part_count; i++)
        start_part(engine, append, &append->parts[i]);
    sh_append_finish(append);
}

ShStatus sh_append_try(ShEngine *engine, ShAppend *append, ShAppendPart *part)
{
    ShResolved found = {0};
    Intake intake = {0};
    ShAppendWait *wait = NULL;
    sh_error_clear(&part->error);
    part->asks_in_vain = false;
    part->record_count = 0;
    part->scattered = false;
    ShStatus status = sh_meta_resolve(engine, &part->target, &found, &part->error);
    if (status != SH_OK)
        goto done;
    status = check_batches(part, found.batch_bytes_max, &part->error);
    if (status == SH_OK && part->is_unchecked)
        status = refuse_unchecked(engine, part);
    if (status == SH_OK)
        status = settle_times(engine, part, &found.time_rule);
    if (status != SH_OK)
        goto done;
    status = make_intake(&found, part, &intake, &part->error);
    if (status != SH_OK)
        goto done;
    wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        status = sh_fail(&part->error, SH_NO_MEMORY, "no memory for the call");
        goto done;
    }
    if (!sh_memory_reserve(engine, intake.cost)) {
        status = sh_fail(
            &part->error, SH_EXHAUSTED,
            "the agent's memory budget of %lld bytes is full of records that are not yet in the store",
            (long long)engine->memory.budget_bytes);
        sh_fail_retry_after(&part->error, status, MEMORY_RETRY_MS);
        goto done;
    }
    *wait = (ShAppendWait){
        .append = append, .part = part, .offset_count = intake.offsets, .started_us = sh_clock_now_us()};
    int64_t records = intake.records;
    ShLogBatch *last = intake.first;
    while (last->wal.next != NULL)
        last = batch_of(last->wal.next);
    last->wait = wait;
    atomic_fetch_add(&engine->control.unpublished, records); /* before it can be published */
    status = take_in(engine, found.partition, &intake, part);
    if (status == SH_OK) {
        /* Unless it is idle it is the batches' now, and perhaps answered already. */
        wait = intake.idle_wait;
        sh_metric_add(engine->metrics.records, intake.records);
        sh_metric_add(engine->metrics.bytes, intake.bytes);
        atomic_fetch_sub(&engine->control.unpublished, records - intake.records); /* stored already */
        sh_memory_release(&engine->memory, intake.stored_cost);
        if (wait != NULL)
            sh_append_finish(append);
    } else {
        atomic_fetch_sub(&engine->control.unpublished, records);
        sh_memory_release(&engine->memory, intake.cost + intake.stored_cost);
    }
done:
    if (status == SH_EXHAUSTED)
        status = sh_pushback_explain(engine, &part->error);
    free_intake(&intake);
    sh_partition_unref(found.partition);
    free(wait);
    return status;
}

void sh_append_take_waits(ShLogBatch *batch, ShAppendWait ***waits_end)
{
    if (batch->wait == NULL)
        return;
    **waits_end = batch->wait;
    batch->wait = NULL;
    while (**waits_end != NULL)
        *waits_end = &(**waits_end)->next;
}

void sh_append_finish(ShAppend *append)
{
    if (__atomic_sub_fetch(&append->pending, 1, __ATOMIC_ACQ_REL) == 0)
        append->done(append);
}

void sh_append_answer(ShEngine *engine, ShAppendWait *waits, const ShError *err)
{
    while (waits != NULL) {
        ShAppendWait *wait = waits;
        waits = wait->next;
        if (err != NULL)
            wait->part->error = *err;
        sh_metric_observe_us(engine->metrics.append_duration, sh_clock_now_us() - wait->started_us);
        ShAppend *append = wait->append;
        free(wait);
        sh_append_finish(append);
    }
}

void sh_append_on_written(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err)
{
    ShEngine *engine = arg;
    ShAppendWait *waits = NULL;
    ShAppendWait **waits_end = &waits;
    if (status != SH_OK) {
        sh_engine_set_fatal(engine, err);
        for (; entries != NULL; entries = entries->next) {
            ShLogBatch *batch = batch_of(entries);
            pthread_mutex_lock(&batch->partition->mutex);
            sh_append_take_waits(batch, &waits_end);
            pthread_mutex_unlock(&batch->partition->mutex);
        }
        sh_append_answer(engine, waits, err);
        return;
    }
    while (entries != NULL)
        entries = mark_durable(engine, entries, &waits_end);
    sh_append_answer(engine, waits, NULL);
}

void sh_append_retry_stalled(ShEngine *engine)
{
    if (atomic_load(&engine->flusher.stalled) == 0)
        return;
    ShPartition **partitions = NULL;
    size_t count = 0;
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        ShPartition *partition = partitions[i];
        pthread_mutex_lock(&partition->mutex);
        if (partition->logged < partition->ring.end &&
            sh_partition_log(partition, engine->wal, NULL) == SH_OK)
            atomic_fetch_sub(&engine->flusher.stalled, 1);
        pthread_mutex_unlock(&partition->mutex);
    }
    sh_partition_list_free(partitions, count);
}

static void start_part(ShEngine *engine, ShAppend *append, ShAppendPart *part)
{
    bool others_wait = atomic_load_explicit(&engine->parked.count, memory_order_relaxed) > 0;
    if (others_wait && sh_parked_follow(engine, append, part, is_stranger(engine, part)))
        return;
    ShStatus status = sh_append_try(engine, append, part);
    if (status == SH_OK)
        return;
    /* The topic, or this agent's part in it, may be new. A store that is away is not waited for. */
    int retry_after_ms;
    bool may_be_early = status == SH_NOT_FOUND ||
                        (status == SH_UNAVAILABLE && !sh_store_is_away(engine->store, &retry_after_ms));
    if (!may_be_early || part->asks_in_vain || !sh_parked_add(engine, append, part))
        sh_append_finish(append);
}

/* Is PostgreSQL to be asked about its producer? That begins here, so that one question is for all that come
 * at a time. */
static bool is_stranger(ShEngine *engine, ShAppendPart *part)
{
    ShResolved found = {0};
    ShStatus status = SH_OK;
    if (part->batch_count == 0 || !is_idempotent(part) ||
        sh_meta_resolve(engine, &part->target, &found, NULL) != SH_OK)
        return false;
    pthread_mutex_lock(&found.partition->mutex);
    if (found.partition->state == SH_PARTITION_OPEN && !found.partition->object_durability)
        status = sh_strangers_check(engine, found.partition, part->batches[0].header.producer_id, NULL);
    pthread_mutex_unlock(&found.partition->mutex);
    sh_partition_unref(found.partition);
    return status == SH_UNAVAILABLE;
}

static ShStatus check_batches(const ShAppendPart *part, int64_t batch_bytes_max, ShError *err)
{
    if (part->batch_count == 0)
        return sh_fail(err, SH_INVALID, "the request holds no records");
    for (size_t i = 0; i < part->batch_count; i++) {
        const ShBatchHeader *header = &part->batches[i].header;
        if (header->attributes & SH_BATCH_ATTR_CONTROL)
            return sh_fail(err, SH_INVALID, "control batches are written by the agent alone");
        if (header->attributes & SH_BATCH_ATTR_TRANSACTIONAL)
            return sh_fail(err, SH_UNSUPPORTED, "transactional batches are not in this version");
        if (header->producer_id != part->batches[0].header.producer_id)
            return sh_fail(err, SH_INVALID,
                           "batch %zu is of another producer than the first: send a partition's batches of "
                           "each producer in a request of their own",
                           i);
        if ((int64_t)header->total_bytes > batch_bytes_max)
            return sh_fail(err, SH_TOO_LARGE,
                           "a batch of %zu bytes: the topic takes at most %lld (max_batch_size)",
                           header->total_bytes, (long long)batch_bytes_max);
    }
    return SH_OK;
}

/* It came before this agent knew the topic, or that it is validated. */
static ShStatus refuse_unchecked(ShEngine *engine, ShAppendPart *part)
{
    if (!sh_schemas_validates(engine, &part->target.topic_id))
        return SH_OK;
    part->asks_in_vain = true;
    ShStatus status = sh_fail(
        &part->error, SH_UNAVAILABLE,
        "the topic's records are held against schemas since a moment ago: send them again");
    return sh_fail_retry_after(&part->error, status, UNCHECKED_RETRY_MS);
}

/* Records of a topic of append time get that; the others are checked, unless they were when they came. */
static ShStatus settle_times(ShEngine *engine, ShAppendPart *part, const ShTimeRule *rule)
{
    if (part->has_checked_times && !rule->is_append_time)
        return SH_OK;
    ShStatus status = SH_OK;
    ShScratch scratch = {0};
    int64_t now_ms = sh_clock_wall_ms();
    for (size_t i = 0; i < part->batch_count && status == SH_OK; i++) {
        ShAppendBatch *batch = &part->batches[i];
        if (rule->is_append_time)
            sh_batch_set_max_timestamp(batch->data, &batch->header, now_ms, true);
        else
            status = sh_batch_check_times(batch->data, &batch->header, rule, now_ms,
                                          (size_t)engine->config->batch_decompressed_bytes_max, &scratch,
                                          &part->error);
        if (status != SH_OK)
            status = sh_fail_prefix(&part->error, status, "batch %zu", i);
    }
    sh_scratch_free(&scratch);
    return status;
}

static ShStatus make_intake(const ShResolved *target, const ShAppendPart *part, Intake *intake, ShError *err)
{
    ShWalEntry *last = NULL;
    for (size_t i = 0; i < part->batch_count; i++) {
        ShBatchHeader header = part->batches[i].header;
        header.base_offset = SH_OFFSET_UNASSIGNED;
        ShSlice bytes = {.data = part->batches[i].data, .length = header.total_bytes, .owner = part->owner};
        ShLogBatch *batch = sh_log_batch_new(target->partition, bytes, &header);
        if (batch == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for a batch");
        batch->wal.epoch = target->epoch;
        batch->first_unacked_seq = part->first_unacked_seq;
        if (last == NULL)
            intake->first = batch;
        else
            last->next = &batch->wal;
        last = &batch->wal;
        intake->count++;
        intake->offsets += (int64_t)header.last_offset_delta + 1;
        intake->records += header.record_count;
        intake->bytes += (int64_t)header.total_bytes;
        intake->cost += sh_log_batch_cost(batch);
    }
    return SH_OK;
}

static void free_intake(Intake *intake)
{
    ShLogBatch *chains[] = {intake->first, intake->stored};
    for (size_t i = 0; i < 2; i++) {
        for (ShLogBatch *batch = chains[i]; batch != NULL;) {
            ShWalEntry *next = batch->wal.next;
            sh_log_batch_free(batch);
            batch = next == NULL ? NULL : batch_of(next);
        }
    }
}

/* With the partition's mutex held: may it take these batches now? */
static ShStatus check_state(ShEngine *engine, ShPartition *partition, const Intake *intake,
                            ShAppendPart *part)
{
    ShStatus status;
    char name[SH_PARTITION_NAME_BYTES];
    if (atomic_load(&engine->stopping) || atomic_load(&engine->refusing)) {
        part->asks_in_vain = true;
        status = sh_fail(&part->error, SH_UNAVAILABLE, "the agent is stopping");
        return sh_fail_retry_after(&part->error, status, HAND_OVER_RETRY_MS);
    }
    if (partition->object_durability) {
        if (!atomic_load(&engine->draining))
            return sh_pushback_object(engine, &part->error);
        status = sh_fail(&part->error, SH_UNAVAILABLE, "the agent is draining: turn to another one");
        return sh_fail_retry_after(&part->error, status, HAND_OVER_RETRY_MS);
    }
    if (partition->state != SH_PARTITION_OPEN)
        return refuse_not_owned(engine, partition, part);
    if (sh_control_is_overdue(engine, partition)) {
        part->asks_in_vain = true;
        status = sh_fail(&part->error, SH_UNAVAILABLE,
                         "PostgreSQL does not answer, and others may have gone on without this agent "
                         "(orphan_timeout)");
        return sh_fail_retry_after(&part->error, status, HAND_OVER_RETRY_MS);
    }
    if (partition->logged < partition->ring.end) {
        status = sh_fail(&part->error, SH_EXHAUSTED, "the write-ahead log is full");
        return sh_fail_retry_after(&part->error, status, MEMORY_RETRY_MS);
    }
    if (partition->next_offset + intake->offsets <= partition->limit_offset)
        return SH_OK;
    /* Offsets beyond the range belong to the next epoch, which the control thread opens. */
    partition->state = SH_PARTITION_ROLLING;
    sh_flush_now(engine);
    sh_control_wake(engine);
    status = sh_fail(&part->error, SH_UNAVAILABLE, "partition %s moves on to a new epoch",
                     sh_partition_name(partition, name));
    return sh_fail_retry_after(&part->error, status, HAND_OVER_RETRY_MS);
}

static ShStatus refuse_not_owned(ShEngine *engine, const ShPartition *partition, ShAppendPart *part)
{
    char name[SH_PARTITION_NAME_BYTES];
    sh_partition_name(partition, name);
    ShOwner owner;
    bool is_elsewhere = partition->state == SH_PARTITION_REMOTE || partition->state == SH_PARTITION_LATE;
    if (is_elsewhere && sh_meta_owner(engine, partition, &owner) &&
        strcmp(owner.agent_id, engine->config->agent_id) != 0) {
        part->redirect = owner;
        return sh_fail(&part->error, SH_NOT_OWNER, "partition %s is owned by agent %s at %s in epoch %lld",
                       name, owner.agent_id, owner.address, (long long)owner.epoch);
    }
    const char *why = partition->state == SH_PARTITION_REMOTE      ? "has no owner at the moment"
                      : partition->state == SH_PARTITION_LATE      ? "was taken over by another agent"
                      : partition->state == SH_PARTITION_RELEASING ? "is being handed over"
                      : partition->state == SH_PARTITION_ROLLING   ? "moves on to a new epoch"
                                                                   : "is being opened";
    ShStatus status = sh_fail(&part->error, SH_UNAVAILABLE, "partition %s %s", name, why);
    return sh_fail_retry_after(&part->error, status, HAND_OVER_RETRY_MS);
}

/* Put the batches into the partition. On success they are the partition's, and `part` may be answered at any
 * time. */
static ShStatus take_in(ShEngine *engine, ShPartition *partition, Intake *intake, ShAppendPart *part)
{
    pthread_mutex_lock(&partition->mutex);
    ShStatus status = check_state(engine, partition, intake, part);
    if (status == SH_OK && is_idempotent(part) && !partition->object_durability)
        status = check_sequences(engine, partition, intake, part);
    if (status == SH_OK && intake->count > 0)
        status = refuse_misfits(part);
    if (status == SH_OK)
        status = sh_batch_ring_reserve(&partition->ring, intake->count, &part->error);
    if (status != SH_OK || intake->count == 0)
        goto done;
    uint64_t from = partition->ring.end;
    if (intake->stored == NULL)
        part->base_offset = partition->object_durability ? SH_OFFSET_UNASSIGNED : partition->next_offset;
    part->record_count += intake->records;
    part->epoch = partition->object_durability ? intake->first->wal.epoch : partition->epoch;
    for (ShLogBatch *batch = intake->first; batch != NULL;) {
        ShWalEntry *next = batch->wal.next;
        batch->wal.next = NULL;
        sh_batch_ring_push(&partition->ring, batch);
        batch = next == NULL ? NULL : batch_of(next);
    }
    if (partition->object_durability) {
        partition->logged = partition->durable = partition->ring.end;
        sh_flush_mark_dirty(engine, partition, intake->cost);
    } else {
        sh_partition_assign_offsets(partition, from);
        status = sh_partition_log(partition, engine->wal, &part->error);
        if (status != SH_OK && partition->logged == from) {
            take_back(partition, intake, from);
            goto done;
        }
        if (status != SH_OK) {
            /* Some batches are in the WAL already: the rest follows when there is room. */
            atomic_fetch_add(&engine->flusher.stalled, 1);
            sh_error_clear(&part->error);
            status = SH_OK;
        }
        if (is_idempotent(part))
            note_sequences(engine, partition, part, from);
    }
    intake->first = NULL;
done:
    pthread_mutex_unlock(&partition->mutex);
    return status;
}

/* What is stored already was good when it came. */
static ShStatus refuse_misfits(ShAppendPart *part)
{
    if (part->misfits == NULL || part->misfits->whole.status == SH_OK)
        return SH_OK;
    part->error = part->misfits->whole;
    return part->error.status;
}

/* Undo what no one has seen: no offset is consumed. */
static void take_back(ShPartition *partition, Intake *intake, uint64_t from)
{
    partition->next_offset = sh_batch_ring_at(&partition->ring, from)->header.base_offset;
    intake->first = NULL;
    while (partition->ring.end > from) {
        ShLogBatch *batch = sh_batch_ring_pop_newest(&partition->ring);
        batch->wal.next = intake->first == NULL ? NULL : &intake->first->wal;
        intake->first = batch;
    }
}

static bool is_idempotent(const ShAppendPart *part)
{
    return part->batches[0].header.producer_id >= 0;
}

/* With the partition's mutex held: leave in the intake what is to be stored. When that is nothing, the call
 * waits for what was taken in before. */
static ShStatus check_sequences(ShEngine *engine, ShPartition *partition, Intake *intake, ShAppendPart *part)
{
    ShSequenceCheck check;
    ShStatus status = sh_strangers_check(engine, partition, part->batches[0].header.producer_id,
                                         &part->error);
    if (status != SH_OK)
        return status;
    status = sh_producers_check(&partition->producers, part->batches, part->batch_count,
                                part->first_unacked_seq, &check, &part->error);
    if (status == SH_OK && check.claim_needed)
        status = sh_claims_want(engine, partition, &part->batches[check.duplicates].header, &part->error);
    if (status != SH_OK)
        return status;
    set_stored_aside(intake, check.duplicates);
    note_offsets(partition, part, check.duplicates);
    if (intake->count == 0) {
        const ShBatchHeader *header = &part->batches[0].header;
        sh_firm_note(engine, partition, header->producer_id, header->producer_epoch, part->first_unacked_seq);
        part->epoch = partition->epoch;
        intake->idle_wait = await_stored(partition, intake);
        return SH_OK;
    }
    return sh_producers_reserve(&partition->producers, &engine->producer_budget,
                                part->batches[0].header.producer_id, partition->published_end,
                                sh_clock_now_ms(), &part->error);
}

static void set_stored_aside(Intake *intake, size_t count)
{
    ShWalEntry **link = NULL;
    ShLogBatch *rest = intake->first;
    for (size_t i = 0; i < count; i++) {
        int64_t cost = sh_log_batch_cost(rest);
        intake->count--;
        intake->offsets -= (int64_t)rest->header.last_offset_delta + 1;
        intake->records -= rest->header.record_count;
        intake->bytes -= (int64_t)rest->header.total_bytes;
        intake->cost -= cost;
        intake->stored_cost += cost;
        link = &rest->wal.next;
        rest = *link == NULL ? NULL : batch_of(*link);
    }
    if (count == 0)
        return;
    intake->stored = intake->first;
    intake->first = rest;
    *link = NULL;
}

/* Say where the batches are, those that are stored and those that will be: the answer tells each one's offset
 * unless they follow each other. */
static void note_offsets(const ShPartition *partition, ShAppendPart *part, size_t stored)
{
    if (stored == 0)
        return;
    int64_t next_offset = partition->next_offset;
    int64_t follows = part->batches[0].header.base_offset;
    part->base_offset = follows;
    for (size_t i = 0; i < part->batch_count; i++) {
        ShBatchHeader *header = &part->batches[i].header;
        int64_t count = (int64_t)header->last_offset_delta + 1;
        if (i < stored) {
            part->record_count += header->record_count;
        } else {
            header->base_offset = next_offset;
            next_offset += count;
        }
        part->scattered |= header->base_offset != follows;
        follows = header->base_offset + count;
    }
}

/* All batches of the call were taken in before: wait for the last of them as its first sender does. Returns
 * the wait when it is durable already. */
static ShAppendWait *await_stored(ShPartition *partition, Intake *intake)
{
    ShLogBatch *last = intake->stored;
    while (last->wal.next != NULL)
        last = batch_of(last->wal.next);
    ShAppendWait *wait = last->wait;
    last->wait = NULL;
    const ShAppendPart *part = wait->part;
    const ShBatchHeader *header = &part->batches[part->batch_count - 1].header;
    int64_t end = header->base_offset + header->last_offset_delta + 1;
    uint64_t seq = end <= partition->high_watermark
                       ? partition->ring.end
                       : sh_batch_ring_find(&partition->ring, partition->ring.end, end - 1);
    if (seq == partition->ring.end)
        return wait;
    ShAppendWait **waits_end = &sh_batch_ring_at(&partition->ring, seq)->wait;
    while (*waits_end != NULL)
        waits_end = &(*waits_end)->next;
    *waits_end = wait;
    return NULL;
}

static void note_sequences(ShEngine *engine, ShPartition *partition, const ShAppendPart *part, uint64_t from)
{
    const ShBatchHeader *header = &part->batches[0].header;
    for (uint64_t seq = from; seq < partition->ring.end; seq++)
        sh_producers_note(&partition->producers, &sh_batch_ring_at(&partition->ring, seq)->header);
    sh_firm_note(engine, partition, header->producer_id, header->producer_epoch, part->first_unacked_seq);
}

static ShLogBatch *batch_of(ShWalEntry *entry)
{
    return (ShLogBatch *)((char *)entry - offsetof(ShLogBatch, wal));
}

/* Make the leading entries of one partition readable and collect who waits for them; returns the rest. A
 * batch may be gone as soon as the mutex is released. */
static ShWalEntry *mark_durable(ShEngine *engine, ShWalEntry *entries, ShAppendWait ***waits_end)
{
    ShPartition *partition = batch_of(entries)->partition;
    int64_t cost = 0;
    pthread_mutex_lock(&partition->mutex);
    bool overdue = sh_control_is_overdue(engine, partition);
    while (entries != NULL && batch_of(entries)->partition == partition) {
        ShLogBatch *batch = batch_of(entries);
        entries = entries->next;
        partition->durable++;
        partition->high_watermark = sh_log_batch_end(batch);
        cost += sh_log_batch_cost(batch);
        for (ShAppendWait *wait = overdue ? batch->wait : NULL; wait != NULL; wait = wait->next)
            (void)sh_fail(&wait->part->error, SH_CANCELLED,
                          "PostgreSQL does not answer, and others may have gone on without this agent "
                          "(orphan_timeout): whether the records are stored is open");
        sh_append_take_waits(batch, waits_end);
    }
    sh_flush_mark_dirty(engine, partition, cost);
    sh_firm_advance(engine, partition);
    pthread_mutex_unlock(&partition->mutex);
    return entries;
}
