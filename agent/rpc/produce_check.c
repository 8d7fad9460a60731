#include "agent/rpc/produce_check.h"

#include "agent/base/clock.h"
#include "agent/rpc/records.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"

/* Structured records are encoded and compressed, all of a part at once. */
#define INLINE_RECORDS_BYTES ((size_t)256 << 10)
/* Where a topic's schemas cost more than that, requests for it are postponed at once for so long. */
#define SLOW_TOPIC_US 60000000
/* All batches of a request together may unfold to so many times what one may, or the request's own size. */
#define UNFOLDED_BATCHES 4
#define UNFOLDED_RATIO   32
/* The checks of one request may take so long; none that keeps the other bounds comes near. */
#define CHECK_US_MAX 10000000

/* A check of a request's parts under way: on its worker, or on a thread of the checker. */
typedef struct Checking {
    ShCall *call;
    ShProduceRequest *request;
    ShCheckTools *tools;
    bool is_inline;
    int64_t begun_us;
    bool is_over;         /* it has to be postponed */
    ShTimeRule time_rule; /* of the part under way, if its topic is known */
} Checking;

static ShStatus check_all(Checking *checking, const ShWirePartition *last, ShError *err);
static ShStatus check_time(Checking *checking, ShError *err);
static bool has_gone(const Checking *checking);
static void init_part(ShAppendPart *part, ShAppendBatch *batches);
static ShStatus check_part(Checking *checking, const ShWirePartition *wire, ShAppendPart *part, ShError *err);
static ShStatus take_batches(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err);
static ShStatus take_records(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err);
static bool begin_check(Checking *checking, ShAppendPart *part, ShRecordCheck *check);
static bool stops(void *arg);
static bool ends_elsewhere(const Checking *checking, int64_t us);
static bool has_slow_schemas(const Checking *checking, const ShTarget *target, size_t bytes);
static atomic_llong *slow_until_us(const Checking *checking, const ShTarget *target);
static void note_slow_schemas(const Checking *checking, const ShTarget *target, int64_t begun_us);
static ShStatus end_check(Checking *checking, ShRecordCheck *check, ShStatus so_far, ShAppendPart *part,
                          ShError *err);
static ShStatus drop_misfits(Checking *checking, const ShBatchLimits *limits, ShAppendPart *part,
                             ShError *err);
static void drop_part(ShProduceRequest *request, ShAppendPart *part);
static ShStatus confirm(ShCall *call, const ShWirePartition *wire, const ShAppendPart *part, ShError *err);
static ShStatus check_batches(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                              ShRecordCheck *check, ShAppendPart *part, ShError *err);
static ShStatus check_batch(Checking *checking, uint8_t *data, size_t length, const ShBatchLimits *limits,
                            ShRecordCheck *check, ShBatchHeader *header, ShError *err);
static ShStatus check_times(Checking *checking, const ShAppendPart *part, const uint8_t *batch,
                            const ShBatchHeader *header, const ShBatchLimits *limits, ShError *err);

ShStatus sh_produce_check(ShProduceRequest *request, ShCheckTools *tools, const ShWirePartition *last,
                          bool is_inline, ShError *err)
{
    Checking checking = {.call = request->wake.call,
                         .request = request,
                         .tools = tools,
                         .is_inline = is_inline,
                         .begun_us = is_inline ? request->started_us : sh_clock_now_us()};
    return check_all(&checking, last, err);
}

/* Accepted parts fill `parts` from the front, refused ones from the back. A check that is postponed leaves
 * all as it was before the part at which it stopped. */
static ShStatus check_all(Checking *checking, const ShWirePartition *last, ShError *err)
{
    ShProduceRequest *request = checking->request;
    size_t *front = &request->append.part_count;
    for (; request->next_part < request->part_count; request->next_part++) {
        size_t i = request->next_part;
        ShWireReader before = request->reader;
        ShWirePartition read;
        const ShWirePartition *wire = &read;
        if (last != NULL && i == request->part_count - 1) {
            wire = last;
        } else {
            bool more;
            ShStatus status = sh_wire_next_partition(&request->reader, &read, NULL, &more, err);
            if (status != SH_OK)
                return status;
        }
        ShAppendPart *part = &request->parts[*front];
        init_part(part, request->next_batch);
        part->first_unacked_seq = wire->first_unacked_seq;
        ShStatus status = check_part(checking, wire, part, &part->error);
        if (checking->is_over) {
            request->reader = before;
            request->is_postponed = true;
            return SH_OK;
        }
        if (status == SH_OK && part->batch_count > 0) {
            request->next_batch += part->batch_count;
            request->places[i] = (uint32_t)(*front)++;
        } else {
            request->places[i] = (uint32_t)--request->back;
            if (request->back != *front) {
                request->parts[request->back] = *part;
                part->misfits = NULL;
            }
        }
    }
    return SH_OK;
}

/* Between two batches, and two parts: SH_OK to go on. Inline, the rest is postponed when the time is over. */
static ShStatus check_time(Checking *checking, ShError *err)
{
    int64_t now_us = sh_clock_now_us();
    if (checking->is_inline) {
        checking->is_over = now_us - checking->begun_us > SH_CHECK_INLINE_US;
        return checking->is_over ? sh_fail(err, SH_UNAVAILABLE, "the check goes on elsewhere") : SH_OK;
    }
    if (has_gone(checking))
        return sh_fail(err, SH_CANCELLED, "the client has gone");
    if (sh_rpc_phase(checking->call->worker->rpc) == SH_PHASE_STOPPING)
        return sh_fail(err, SH_UNAVAILABLE, "the agent is shutting down; ask for the partitions' new owners");
    if (now_us - checking->begun_us > CHECK_US_MAX)
        return sh_fail(err, SH_TOO_LARGE,
                       "the check of the request takes more than %d s: send it in smaller ones",
                       CHECK_US_MAX / 1000000);
    return SH_OK;
}

/* Nobody is there to be told, or to send the same again. */
static bool has_gone(const Checking *checking)
{
    const ShConnection *connection = checking->call->connection;
    return connection != NULL && atomic_load(&connection->is_over);
}

/* Only what is read before the engine sets it: the structs are large, and requests many. */
static void init_part(ShAppendPart *part, ShAppendBatch *batches)
{
    part->owner = NULL;
    part->is_unchecked = false;
    part->has_checked_times = false;
    part->batches = batches;
    part->batch_count = 0;
    sh_error_clear(&part->error);
    part->scattered = false;
    part->base_offset = 0;
    part->record_count = 0;
    part->epoch = 0;
    part->redirect.agent_id[0] = '\0';
    part->redirect.address[0] = '\0';
    part->redirect.zone[0] = '\0';
    part->redirect.epoch = 0;
}

static ShStatus check_part(Checking *checking, const ShWirePartition *wire, ShAppendPart *part, ShError *err)
{
    ShCall *call = checking->call;
    ShStatus status = sh_target_parse(wire->topic, wire->topic_id, wire->partition, &part->target, err);
    if (status != SH_OK)
        return status;
    if (wire->batches.length > 0 && wire->record_count > 0)
        return sh_fail(err, SH_INVALID, "both batches and records are given");
    if (wire->batches.length == 0 && wire->record_count == 0)
        return confirm(call, wire, part, err);
    bool is_first = checking->is_inline && checking->request->next_part == 0;
    if (!is_first && (status = check_time(checking, err)) != SH_OK)
        return status;

    bool is_known;
    int64_t bytes_max = sh_engine_batch_bytes_max(sh_call_engine(call), &part->target, &checking->time_rule,
                                                  &is_known);
    part->has_checked_times = is_known;
    ShBatchLimits limits = {
        .batch_bytes_max = (size_t)bytes_max,
        .decompressed_bytes_max = (size_t)sh_call_config(call)->batch_decompressed_bytes_max,
    };
    return wire->record_count == 0 ? take_batches(checking, wire, &limits, part, err)
                                   : take_records(checking, wire, &limits, part, err);
}

static ShStatus take_batches(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err)
{
    ShRecordCheck check;
    if (has_slow_schemas(checking, &part->target, wire->batches.length)) {
        checking->is_over = true;
        return SH_UNAVAILABLE;
    }
    bool is_checked = begin_check(checking, part, &check);
    int64_t begun_us = is_checked ? sh_clock_now_us() : 0;
    part->is_unchecked = !is_checked;
    part->owner = checking->request->message;
    ShStatus status = check_batches(checking, wire, limits, is_checked ? &check : NULL, part, err);
    if (is_checked) {
        status = end_check(checking, &check, status, part, err);
        note_slow_schemas(checking, &part->target, begun_us);
    }
    if (status != SH_OK || part->misfits == NULL)
        return status;
    if (part->batches[0].header.producer_id < 0)
        return drop_misfits(checking, limits, part, err);
    /* The sequences leave no holes: all of it is refused, unless it turns out to be stored already. */
    (void)sh_record_errors_explain(part->misfits, check.first_index, &part->misfits->whole);
    return SH_OK;
}

static ShStatus take_records(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                             ShAppendPart *part, ShError *err)
{
    ShRecordCheck check;
    ShProduceRequest *request = checking->request;
    if (has_slow_schemas(checking, &part->target, wire->body.length) ||
        (checking->is_inline && wire->body.length > INLINE_RECORDS_BYTES)) {
        checking->is_over = true;
        return SH_UNAVAILABLE;
    }
    bool is_checked = begin_check(checking, part, &check);
    int64_t begun_us = is_checked ? sh_clock_now_us() : 0;
    part->is_unchecked = !is_checked;
    ShStatus status = sh_records_build(checking->tools, wire, limits, is_checked ? &check.watch : NULL,
                                       &part->owner, err);
    if (is_checked) {
        status = end_check(checking, &check, status, part, err);
        note_slow_schemas(checking, &part->target, begun_us);
    }
    if (status == SH_OK && part->owner == NULL)
        return sh_record_errors_explain(part->misfits, wire->record_count, err);
    if (status == SH_OK)
        status = sh_batch_peek(part->owner->data, part->owner->length, &part->batches[0].header, err);
    if (status == SH_OK)
        status = check_times(checking, part, part->owner->data, &part->batches[0].header, limits, err);
    if (status != SH_OK) {
        drop_part(request, part);
        return status;
    }
    part->batches[0].data = part->owner->data;
    part->batch_count = 1;
    sh_produce_request_hold(request, part->owner->length);
    return SH_OK;
}

static bool begin_check(Checking *checking, ShAppendPart *part, ShRecordCheck *check)
{
    ShSchemaBudget *budget = &checking->request->budget;
    if (!sh_engine_check_begin(sh_call_engine(checking->call), &part->target, budget, check))
        return false;
    sh_budget_ask(budget, stops, checking);
    return true;
}

/* Asked within the check of a batch, whose records may cost far more than its bytes. */
static bool stops(void *arg)
{
    const Checking *checking = arg;
    int64_t us = sh_clock_now_us() - checking->begun_us;
    return checking->is_inline ? us > SH_CHECK_INLINE_US : ends_elsewhere(checking, us);
}

static bool ends_elsewhere(const Checking *checking, int64_t us)
{
    return us > CHECK_US_MAX || has_gone(checking) ||
           sh_rpc_phase(checking->call->worker->rpc) == SH_PHASE_STOPPING;
}

/* Schemas may cost far more than the bytes that are held against them. Topics for which that was seen are
 * kept in mind, by a hash: one that shares its place with such a topic is postponed too. */
static bool has_slow_schemas(const Checking *checking, const ShTarget *target, size_t bytes)
{
    const ShRpc *rpc = checking->call->worker->rpc;
    return bytes > 0 && checking->is_inline &&
           atomic_load_explicit(&rpc->slow_until_us, memory_order_relaxed) > checking->begun_us &&
           atomic_load_explicit(slow_until_us(checking, target), memory_order_relaxed) > checking->begun_us;
}

static atomic_llong *slow_until_us(const Checking *checking, const ShTarget *target)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < target->topic_length; i++)
        hash = hash * 31 + (uint8_t)target->topic[i];
    for (size_t i = 0; target->topic_length == 0 && i < sizeof target->topic_id.bytes; i++)
        hash = hash * 31 + target->topic_id.bytes[i];
    return &checking->call->worker->rpc->slow_topics_until_us[hash % SH_RPC_SLOW_TOPICS];
}

static void note_slow_schemas(const Checking *checking, const ShTarget *target, int64_t begun_us)
{
    int64_t now_us = sh_clock_now_us();
    if (now_us - begun_us <= 2 * SH_CHECK_INLINE_US)
        return;
    atomic_store(slow_until_us(checking, target), now_us + SLOW_TOPIC_US);
    atomic_store(&checking->call->worker->rpc->slow_until_us, now_us + SLOW_TOPIC_US);
}

/* Whether the part is refused for other reasons or not: what the check holds is given back. */
static ShStatus end_check(Checking *checking, ShRecordCheck *check, ShStatus so_far, ShAppendPart *part,
                          ShError *err)
{
    ShError why = {0};
    ShSchemaBudget *budget = &checking->request->budget;
    ShStatus status = sh_engine_check_end(sh_call_engine(checking->call), check, &why);
    if (checking->is_inline && budget->ended == SH_CANCELLED) {
        checking->is_over = true; /* elsewhere it begins anew */
        sh_record_check_budget(budget, checking->request->message->length);
    }
    if (so_far == SH_OK && status != SH_OK)
        *err = why;
    if (so_far == SH_OK && status == SH_OK)
        part->misfits = check->errors;
    else
        sh_record_errors_free(check->errors);
    if (part->misfits != NULL)
        sh_produce_request_hold(checking->request, part->misfits->capacity * sizeof(ShRecordError));
    return so_far != SH_OK ? so_far : status;
}

/* Batches without sequences: the records that fit are stored. */
static ShStatus drop_misfits(Checking *checking, const ShBatchLimits *limits, ShAppendPart *part,
                             ShError *err)
{
    size_t record_count = 0;
    for (size_t i = 0; i < part->batch_count; i++)
        record_count += (size_t)part->batches[i].header.record_count;
    ShBuf *rest = NULL;
    ShStatus status = part->misfits->count == record_count
                          ? sh_record_errors_explain(part->misfits, record_count, err)
                          : sh_records_drop_misfits(checking->tools, part, limits, &rest, err);
    if (status != SH_OK)
        return status;
    part->owner = rest;
    sh_produce_request_hold(checking->request, rest->length);
    return SH_OK;
}

/* Of the refused parts nothing is kept. */
static void drop_part(ShProduceRequest *request, ShAppendPart *part)
{
    if (part->owner != request->message)
        sh_buf_unref(part->owner);
    part->owner = NULL;
    part->batch_count = 0;
}

/* A part without records may say what its producer knows acknowledged. */
static ShStatus confirm(ShCall *call, const ShWirePartition *wire, const ShAppendPart *part, ShError *err)
{
    if (!wire->is_confirmation)
        return sh_fail(err, SH_INVALID, "neither batches nor records are given");
    if (wire->producer_id < 0 || wire->producer_epoch < 0 || wire->producer_epoch > INT16_MAX ||
        wire->first_unacked_seq < 0)
        return sh_fail(err, SH_INVALID,
                       "producer_id, producer_epoch or first_unacked_seq of a confirmation is out of range");
    ShConfirmation confirmation = {.target = part->target,
                                   .producer_id = wire->producer_id,
                                   .producer_epoch = (int16_t)wire->producer_epoch,
                                   .first_unacked_seq = wire->first_unacked_seq};
    sh_engine_confirm(sh_call_engine(call), &confirmation);
    return SH_OK;
}

static ShStatus check_batches(Checking *checking, const ShWirePartition *wire, const ShBatchLimits *limits,
                              ShRecordCheck *check, ShAppendPart *part, ShError *err)
{
    /* The message is this request's own, so the engine may write into it what lies outside the CRC. */
    uint8_t *next = (uint8_t *)(uintptr_t)wire->batches.data;
    size_t left = wire->batches.length;
    while (left > 0) {
        ShBatchHeader header;
        ShStatus status = part->batch_count > 0 ? check_time(checking, err) : SH_OK;
        if (status == SH_OK)
            status = check_batch(checking, next, left, limits, check, &header, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "batch %zu", part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_CONTROL)
            return sh_fail(err, SH_INVALID, "batch %zu: clients cannot write control batches",
                           part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_TRANSACTIONAL)
            return sh_fail(err, SH_UNSUPPORTED, "batch %zu: transactions are not supported",
                           part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_LOG_APPEND_TIME)
            return sh_fail(err, SH_INVALID,
                           "batch %zu: its timestamp type is LogAppendTime, which only the topic's setting "
                           "timestamp_type gives",
                           part->batch_count);
        if (header.attributes & SH_BATCH_ATTR_DELETE_HORIZON)
            return sh_fail(err, SH_INVALID,
                           "batch %zu: attribute bit 6, a delete horizon, is set by compaction alone",
                           part->batch_count);
        if (!sh_batch_says_max_timestamp(next, &header))
            sh_batch_set_max_timestamp(next, &header, header.max_timestamp_ms, false);
        status = check_times(checking, part, next, &header, limits, err);
        if (status != SH_OK)
            return status;
        if (check != NULL)
            sh_record_check_next_batch(check, (size_t)header.record_count);
        part->batches[part->batch_count++] = (ShAppendBatch){.data = next, .header = header};
        next += header.total_bytes;
        left -= header.total_bytes;
    }
    return SH_OK;
}

/* One batch, and what it unfolds to within the bound of the request, and inline within that of the worker. */
static ShStatus check_batch(Checking *checking, uint8_t *data, size_t length, const ShBatchLimits *limits,
                            ShRecordCheck *check, ShBatchHeader *header, ShError *err)
{
    ShProduceRequest *request = checking->request;
    ShScratch *scratch = &checking->tools->scratch;
    bool is_folded = length >= SH_BATCH_HEADER_BYTES && sh_batch_is_compressed(data);
    if (!is_folded)
        return sh_batch_check_watched(data, length, limits, scratch, check != NULL ? &check->watch : NULL,
                                      header, err);
    ShBatchLimits within = *limits;
    size_t unfolded_max = UNFOLDED_BATCHES * limits->decompressed_bytes_max;
    if (unfolded_max < UNFOLDED_RATIO * request->message->length)
        unfolded_max = UNFOLDED_RATIO * request->message->length;
    if (request->unfolded_bytes >= unfolded_max)
        return sh_fail(err, SH_TOO_LARGE,
                       "the batches of the request unfold to more than %zu bytes: send it in smaller ones",
                       unfolded_max);
    bool is_narrow = checking->is_inline && SH_CHECK_INLINE_BYTES_MAX < limits->decompressed_bytes_max;
    if (is_narrow)
        within.decompressed_bytes_max = SH_CHECK_INLINE_BYTES_MAX;
    ShStatus status = sh_batch_check_watched(data, length, &within, scratch,
                                             check != NULL ? &check->watch : NULL, header, err);
    if (is_narrow && status == SH_TOO_LARGE) {
        checking->is_over = true;
        return status;
    }
    request->unfolded_bytes += status == SH_OK ? scratch->length : within.decompressed_bytes_max;
    return status;
}

/* Of the part's next batch. That a topic is not known yet is the engine's to deal with. */
static ShStatus check_times(Checking *checking, const ShAppendPart *part, const uint8_t *batch,
                            const ShBatchHeader *header, const ShBatchLimits *limits, ShError *err)
{
    if (!part->has_checked_times)
        return SH_OK;
    ShStatus status = sh_batch_check_times(batch, header, &checking->time_rule, sh_clock_wall_ms(),
                                           limits->decompressed_bytes_max, &checking->tools->scratch, err);
    return status == SH_OK ? SH_OK : sh_fail_prefix(err, status, "batch %zu", part->batch_count);
}
