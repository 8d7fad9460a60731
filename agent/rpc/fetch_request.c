#include "agent/rpc/fetch_request.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/rpc/decode.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"

/* Field numbers of FetchResponse and FetchResult. */
enum { RESPONSE_RESULTS = 1 };
enum {
    RESULT_LOG_START = SH_TARGET_FIELDS + 1,
    RESULT_HIGH_WATERMARK,
    RESULT_NEXT_OFFSET,
    RESULT_EPOCH,
    RESULT_BATCHES,
    RESULT_RECORDS,
    RESULT_ERROR,
};

/* Of a FetchResult without its topic's name and its payload, and of an error's without its texts. */
#define FIELDS_BYTES_MAX 128

static bool has_news(const ShFetchPart *part);
static ShStatus check_part(const Streamhouse__V1__FetchPartition *wire, ShFetchPart *part, ShError *err);
static int64_t at_most(int32_t asked, int64_t limit);
static void on_fetch_done(ShFetch *fetch);
static void log_data_loss(const ShFetchPart *part);
static void decode_postponed(ShCheckJob *job, ShCheckTools *tools);
static bool decode_inline(ShFetchRequest *request);
static bool decode_parts(ShFetchRequest *request, ShCheckTools *tools, bool is_inline);
static void keep_decoded(ShFetchRequest *request, size_t i, const ShScratch *encoded);
static void fail_for_memory(ShFetchPart *part);
static void release_decoded(ShFetchRequest *request);
static void put_batches(ShOut *out, ShFetchPart *part);
static void put_decoded(ShOut *out, const ShFetchPart *part, ShSlice *records);
static void put_error(ShOut *out, const ShFetchPart *part);
static size_t fields_bytes(const ShFetchPart *part);
static void put_fields(ShOut *out, const ShFetchPart *part);
static size_t small_bytes(const ShFetchRequest *request);

ShStatus sh_fetch_request_init(ShFetchRequest *request, ShCall *call, grpc_byte_buffer *message, ShError *err)
{
    const ShConfig *config = sh_call_config(call);
    const Streamhouse__V1__FetchRequest *wire = (const Streamhouse__V1__FetchRequest *)sh_call_parse(
        call, message, &streamhouse__v1__fetch_request__descriptor, 1, err);
    if (wire == NULL)
        return SH_INVALID;
    if (wire->n_partitions == 0)
        return sh_fail(err, SH_INVALID, "the request names no partition");
    if (wire->max_wait_ms < 0 || wire->min_bytes < 0 || wire->max_bytes < 0)
        return sh_fail(err, SH_INVALID, "max_wait_ms, min_bytes and max_bytes must not be negative");

    ShFetchPart *parts = sh_call_alloc(call, wire->n_partitions * sizeof *parts);
    if (parts == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the request");
    for (size_t i = 0; i < wire->n_partitions; i++) {
        ShStatus status = check_part(wire->partitions[i], &parts[i], err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "partition %zu of the request", i);
    }
    request->wake = (ShWake){.call = call};
    request->decode = wire->decode;
    request->bytes_asked = wire->max_bytes > 0;
    request->fetch = (ShFetch){
        .parts = parts,
        .part_count = wire->n_partitions,
        .first_part = call->worker->fetch_turn++ % wire->n_partitions,
        .wait_max_ms = wire->max_wait_ms < config->fetch_wait_max_ms ? wire->max_wait_ms
                                                                     : config->fetch_wait_max_ms,
        .bytes_min = wire->min_bytes > 0 ? wire->min_bytes : 1,
        .bytes_max = at_most(wire->max_bytes, config->fetch_bytes_max),
        .asker = call->connection != NULL ? call->connection->host : NULL,
    };
    atomic_init(&request->state, SH_FETCH_IDLE);
    return SH_OK;
}

void sh_fetch_request_start(ShFetchRequest *request, void (*answered)(ShWake *wake))
{
    request->wake.run = answered;
    request->fetch.done = on_fetch_done;
    request->fetch.arg = request;
    request->fetch.engine_state = NULL;
    for (size_t i = 0; i < request->fetch.part_count; i++) {
        ShFetchPart *part = &request->fetch.parts[i];
        sh_error_clear(&part->error);
        part->redirect.address[0] = '\0';
        part->slices = NULL;
        part->slice_count = 0;
        part->bytes = 0;
        part->next_offset = part->offset;
    }
    atomic_store(&request->state, SH_FETCH_WAITING);
    sh_engine_fetch(sh_call_engine(request->wake.call), &request->fetch);
}

void sh_fetch_request_cancel(ShFetchRequest *request)
{
    int expected = SH_FETCH_WAITING;
    if (!atomic_compare_exchange_strong(&request->state, &expected, SH_FETCH_CANCELLING))
        return;
    sh_engine_fetch_cancel(sh_call_engine(request->wake.call), &request->fetch);
    expected = SH_FETCH_CANCELLING;
    if (!atomic_compare_exchange_strong(&request->state, &expected, SH_FETCH_WAITING))
        sh_worker_post(&request->wake); /* done came meanwhile, and left the wake to us */
}

void sh_fetch_request_unfold(ShFetchRequest *request, void (*unfolded)(ShWake *wake))
{
    ShCall *call = request->wake.call;
    request->wake.run = unfolded;
    if (!request->decode || decode_inline(request)) {
        unfolded(&request->wake);
        return;
    }
    request->job.run = decode_postponed;
    sh_checker_submit(call->worker->rpc->checker, &request->job, call->connection);
}

/* On the worker, as long as its host does not keep it for too long. False: it has to go elsewhere. */
static bool decode_inline(ShFetchRequest *request)
{
    const ShCall *call = request->wake.call;
    ShHost *host = call->connection != NULL ? call->connection->host : NULL;
    int64_t begun_us = sh_clock_now_us();
    if (host != NULL && !sh_host_may_keep_worker(host, begun_us))
        return false;
    bool done = decode_parts(request, &call->worker->tools, true);
    int64_t now_us = sh_clock_now_us();
    if (host != NULL && now_us - begun_us > SH_CHECK_INLINE_US)
        sh_host_kept_worker(host, now_us, now_us - begun_us);
    return done;
}

grpc_byte_buffer *sh_fetch_request_answer(ShFetchRequest *request, bool news_only)
{
    ShOut out;
    sh_out_init(&out, small_bytes(request));
    for (size_t i = 0; i < request->fetch.part_count; i++) {
        ShFetchPart *part = &request->fetch.parts[i];
        if (news_only && !has_news(part))
            continue;
        if (part->error.status != SH_OK)
            put_error(&out, part);
        else if (request->decoded != NULL)
            put_decoded(&out, part, &request->decoded[i]);
        else
            put_batches(&out, part);
    }
    sh_fetch_request_discard(request);
    return sh_out_finish(&out);
}

void sh_fetch_request_discard(ShFetchRequest *request)
{
    release_decoded(request);
    sh_fetch_release(&request->fetch);
}

int64_t sh_fetch_request_bytes(const ShFetchRequest *request, bool news_only)
{
    size_t bytes = 0;
    for (size_t i = 0; i < request->fetch.part_count; i++) {
        const ShFetchPart *part = &request->fetch.parts[i];
        if (news_only && !has_news(part))
            continue;
        bytes += FIELDS_BYTES_MAX + part->target.topic_length;
        if (part->error.status != SH_OK)
            bytes += sizeof part->redirect + 2 * strlen(part->error.message);
        else
            bytes += request->decoded != NULL ? request->decoded[i].length : part->bytes;
    }
    return (int64_t)bytes;
}

bool sh_fetch_request_has_news(const ShFetchRequest *request)
{
    for (size_t i = 0; i < request->fetch.part_count; i++) {
        if (has_news(&request->fetch.parts[i]))
            return true;
    }
    return false;
}

grpc_status_code sh_fetch_request_code(const ShFetchRequest *request)
{
    const ShFetchPart *parts = request->fetch.parts;
    grpc_status_code code = sh_rpc_code(parts[0].error.status, SH_FROM_STORE);
    for (size_t i = 1; i < request->fetch.part_count; i++) {
        if (sh_rpc_code(parts[i].error.status, SH_FROM_STORE) != code)
            return GRPC_STATUS_OK;
    }
    return code;
}

const ShFetchPart *sh_fetch_request_failed_part(const ShFetchRequest *request)
{
    for (size_t i = 0; i < request->fetch.part_count; i++) {
        if (request->fetch.parts[i].error.status != SH_OK)
            return &request->fetch.parts[i];
    }
    return NULL;
}

static bool has_news(const ShFetchPart *part)
{
    return part->slice_count > 0 || sh_fetch_part_is_led_on(part);
}

static ShStatus check_part(const Streamhouse__V1__FetchPartition *wire, ShFetchPart *part, ShError *err)
{
    *part = (ShFetchPart){.offset = wire->offset, .bytes_max = wire->max_bytes};
    ShWireBytes topic = {.data = (const uint8_t *)wire->topic, .length = strlen(wire->topic)};
    ShWireBytes topic_id = {.data = wire->topic_id.data, .length = wire->topic_id.len};
    ShStatus status = sh_target_parse(topic, topic_id, wire->partition, &part->target, err);
    if (status != SH_OK)
        return status;
    if (wire->offset < 0 || wire->max_bytes < 0)
        return sh_fail(err, SH_INVALID, "offset and max_bytes must not be negative");
    return SH_OK;
}

/* What was asked for, or the limit where nothing or more was. */
static int64_t at_most(int32_t asked, int64_t limit)
{
    return asked > 0 && asked < limit ? asked : limit;
}

static void on_fetch_done(ShFetch *fetch)
{
    ShFetchRequest *request = fetch->arg;
    for (size_t i = 0; i < fetch->part_count; i++) {
        if (fetch->parts[i].error.status == SH_CORRUPT)
            log_data_loss(&fetch->parts[i]);
    }
    if (atomic_exchange(&request->state, SH_FETCH_DONE) == SH_FETCH_WAITING)
        sh_worker_post(&request->wake);
}

static void log_data_loss(const ShFetchPart *part)
{
    sh_log_error("data_loss", "topic=%.*s partition=%d offset=%lld reason=\"%s\"",
                 (int)part->target.topic_length, part->target.topic_length > 0 ? part->target.topic : "",
                 (int)part->target.partition, (long long)part->offset, part->error.message);
}

static void decode_postponed(ShCheckJob *job, ShCheckTools *tools)
{
    ShFetchRequest *request = (ShFetchRequest *)((char *)job - offsetof(ShFetchRequest, job));
    (void)decode_parts(request, tools, false);
    sh_worker_post(&request->wake);
}

/* The records of each part, in the order in which they fill the answer: its bound is theirs once they are
 * unfolded. An error in each part when memory is short. False: that takes too long `is_inline`. */
static bool decode_parts(ShFetchRequest *request, ShCheckTools *tools, bool is_inline)
{
    ShFetch *fetch = &request->fetch;
    ShDecoding decoding = {
        .tools = tools,
        .number = RESULT_RECORDS,
        .bytes_left = (size_t)fetch->bytes_max,
        .is_inline = is_inline,
    };
    request->decoded = calloc(fetch->part_count, sizeof *request->decoded);
    for (size_t turn = 0; turn < fetch->part_count; turn++) {
        size_t i = (fetch->first_part + turn) % fetch->part_count;
        ShFetchPart *part = &fetch->parts[i];
        if (part->error.status != SH_OK || part->slice_count == 0)
            continue;
        if (request->decoded == NULL) {
            fail_for_memory(part);
            continue;
        }
        if (!sh_decode_records(&decoding, part)) {
            release_decoded(request);
            return false;
        }
        if (part->error.status == SH_CORRUPT)
            log_data_loss(part);
        if (part->error.status == SH_OK && tools->encoded.length > 0)
            keep_decoded(request, i, &tools->encoded);
        sh_check_scratch_shrink(&tools->encoded);
    }
    return true;
}

static void keep_decoded(ShFetchRequest *request, size_t i, const ShScratch *encoded)
{
    ShBuf *records = sh_buf_copy(encoded->data, encoded->length);
    if (records == NULL)
        fail_for_memory(&request->fetch.parts[i]);
    else
        request->decoded[i] = (ShSlice){.data = records->data, .length = encoded->length, .owner = records};
}

static void fail_for_memory(ShFetchPart *part)
{
    (void)sh_fail(&part->error, SH_NO_MEMORY, "no memory for the decoded records");
    part->next_offset = part->offset;
}

static void release_decoded(ShFetchRequest *request)
{
    for (size_t i = 0; request->decoded != NULL && i < request->fetch.part_count; i++)
        sh_buf_unref(request->decoded[i].owner);
    free(request->decoded);
    request->decoded = NULL;
}

static void put_error(ShOut *out, const ShFetchPart *part)
{
    ShPartitionError error;
    sh_partition_error_fill(&error, &part->error, &part->redirect, SH_FROM_STORE);
    size_t error_bytes = streamhouse__v1__partition_error__get_packed_size(&error.error);
    sh_out_open(out, RESPONSE_RESULTS, fields_bytes(part) + sh_out_bytes_size(RESULT_ERROR, error_bytes));
    put_fields(out, part);
    sh_out_message(out, RESULT_ERROR, &error.error.base);
}

/* The records are encoded as fields of the result already. */
static void put_decoded(ShOut *out, const ShFetchPart *part, ShSlice *records)
{
    sh_out_open(out, RESPONSE_RESULTS, fields_bytes(part) + records->length);
    put_fields(out, part);
    if (records->length > 0)
        sh_out_take_slice(out, records);
}

static void put_batches(ShOut *out, ShFetchPart *part)
{
    size_t batches_bytes = part->bytes > 0 ? sh_out_bytes_size(RESULT_BATCHES, part->bytes) : 0;
    sh_out_open(out, RESPONSE_RESULTS, fields_bytes(part) + batches_bytes);
    put_fields(out, part);
    if (part->bytes == 0)
        return;
    sh_out_open(out, RESULT_BATCHES, part->bytes);
    for (size_t i = 0; i < part->slice_count; i++)
        sh_out_take_slice(out, &part->slices[i]);
}

/* The size of a FetchResult's fields before its payload; zero and empty ones are left out. */
static size_t fields_bytes(const ShFetchPart *part)
{
    size_t bytes = sh_target_bytes(&part->target);
    if (part->log_start != 0)
        bytes += sh_out_varint_size(RESULT_LOG_START, (uint64_t)part->log_start);
    if (part->high_watermark != 0)
        bytes += sh_out_varint_size(RESULT_HIGH_WATERMARK, (uint64_t)part->high_watermark);
    if (part->next_offset != 0)
        bytes += sh_out_varint_size(RESULT_NEXT_OFFSET, (uint64_t)part->next_offset);
    if (part->epoch != 0)
        bytes += sh_out_varint_size(RESULT_EPOCH, (uint64_t)part->epoch);
    return bytes;
}

static void put_fields(ShOut *out, const ShFetchPart *part)
{
    sh_target_put(out, &part->target);
    if (part->log_start != 0)
        sh_out_varint(out, RESULT_LOG_START, (uint64_t)part->log_start);
    if (part->high_watermark != 0)
        sh_out_varint(out, RESULT_HIGH_WATERMARK, (uint64_t)part->high_watermark);
    if (part->next_offset != 0)
        sh_out_varint(out, RESULT_NEXT_OFFSET, (uint64_t)part->next_offset);
    if (part->epoch != 0)
        sh_out_varint(out, RESULT_EPOCH, (uint64_t)part->epoch);
}

/* Room for the fields, and for the batches that are too small to be referred to. */
static size_t small_bytes(const ShFetchRequest *request)
{
    size_t bytes = 0;
    for (size_t i = 0; i < request->fetch.part_count; i++)
        bytes += 80 + request->fetch.parts[i].target.topic_length;
    return bytes < 8192 ? bytes : 8192;
}
