#include "agent/rpc/records.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"

static ShStatus add_records(ShBatchBuilder *builder, const ShWirePartition *partition,
                            const ShBatchLimits *limits, ShBatchWatch *watch, ShError *err);
static ShStatus add_record(ShBatchBuilder *builder, const ShWireRecord *wire, int64_t now_ms, ShError *err);
static void forget_builder(ShCheckTools *tools, ShCodec codec);
static ShStatus rebuild(ShCheckTools *tools, const ShAppendBatch *batch, const ShRecordErrors *misfits,
                        size_t *next, size_t first_index, const ShBatchLimits *limits, ShBuf **out,
                        ShError *err);
static ShStatus join(ShAppendPart *part, ShBuf **pieces, size_t count, ShBuf **out, ShError *err);

ShStatus sh_records_build(ShCheckTools *tools, const ShWirePartition *partition, const ShBatchLimits *limits,
                          ShBatchWatch *watch, ShBuf **out, ShError *err)
{
    if (partition->compression < 0 || sh_codec_name(partition->compression) == NULL)
        return sh_fail(err, SH_INVALID, "compression %d does not exist", partition->compression);
    ShCodec codec = (ShCodec)partition->compression;
    ShBatchBuilder *builder = sh_check_tools_builder(tools, codec);
    if (builder == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch");

    ShBuf *batch = NULL;
    ShStatus status = add_records(builder, partition, limits, watch, err);
    if (status == SH_OK && sh_batch_builder_count(builder) > 0)
        status = sh_batch_builder_finish(builder, &batch, err);
    if (status == SH_OK && batch != NULL && batch->length > limits->batch_bytes_max)
        status = sh_fail(err, SH_TOO_LARGE, "the records make a batch of %zu bytes; at most %zu are allowed",
                         batch->length, limits->batch_bytes_max);
    if (status != SH_OK) {
        sh_buf_unref(batch);
        forget_builder(tools, codec);
        return status;
    }
    *out = batch;
    return SH_OK;
}

/* What a failed request has left in the builder must not reach the next one. */
static void forget_builder(ShCheckTools *tools, ShCodec codec)
{
    sh_batch_builder_free(tools->builders[codec]);
    tools->builders[codec] = NULL;
}

static ShStatus add_records(ShBatchBuilder *builder, const ShWirePartition *partition,
                            const ShBatchLimits *limits, ShBatchWatch *watch, ShError *err)
{
    int64_t now_ms = sh_clock_wall_ms();
    ShWireReader reader = sh_wire_reader(partition->body.data, partition->body.length);
    ShWireRecord record;
    bool more;
    for (int32_t index = 0;; index++) {
        ShStatus status = sh_wire_next_record(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            return status;
        const ShRecord shown = {.key = record.key.data,
                                .key_length = record.key.length,
                                .value = record.value.data,
                                .value_length = record.value.length};
        if (watch != NULL && !sh_batch_watch(watch, index, &shown))
            continue;
        status = add_record(builder, &record, now_ms, err);
        if (status != SH_OK)
            return status;
        if (sh_batch_builder_bytes(builder) > limits->decompressed_bytes_max)
            return sh_fail(err, SH_TOO_LARGE, "the records of one partition exceed %zu bytes",
                           limits->decompressed_bytes_max);
    }
}

static ShStatus add_record(ShBatchBuilder *builder, const ShWireRecord *wire, int64_t now_ms, ShError *err)
{
    if (wire->header_count > SH_RECORD_HEADERS_MAX)
        return sh_fail(err, SH_INVALID, "a record has %zu headers; at most %d are allowed",
                       wire->header_count, SH_RECORD_HEADERS_MAX);
    if (wire->timestamp_ms < 0)
        return sh_fail(err, SH_INVALID, "a record's timestamp_ms %lld is negative",
                       (long long)wire->timestamp_ms);

    ShHeader headers[SH_RECORD_HEADERS_MAX];
    ShWireReader reader = sh_wire_reader(wire->body.data, wire->body.length);
    for (size_t i = 0; i < wire->header_count; i++) {
        ShWireHeader header;
        bool more;
        ShStatus status = sh_wire_next_header(&reader, &header, &more, err);
        if (status != SH_OK)
            return status;
        headers[i] = (ShHeader){.key = header.key.data != NULL ? (const char *)header.key.data : "",
                                .key_length = header.key.length,
                                .value = header.value.data,
                                .value_length = header.value.length};
    }

    ShRecord record = {.timestamp_ms = wire->timestamp_ms != 0 ? wire->timestamp_ms : now_ms,
                       .key = wire->key.data,
                       .key_length = wire->key.length,
                       .value = wire->value.data,
                       .value_length = wire->value.length};
    return sh_batch_builder_add(builder, &record, headers, wire->header_count, err);
}

ShStatus sh_records_drop_misfits(ShCheckTools *tools, ShAppendPart *part, const ShBatchLimits *limits,
                                 ShBuf **out, ShError *err)
{
    ShBuf **pieces = calloc(part->batch_count, sizeof pieces[0]);
    if (pieces == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for batches");
    ShStatus status = SH_OK;
    size_t count = 0;
    size_t misfit = 0;
    size_t index = 0;
    for (size_t i = 0; i < part->batch_count && status == SH_OK; i++) {
        const ShAppendBatch *batch = &part->batches[i];
        status = rebuild(tools, batch, part->misfits, &misfit, index, limits, &pieces[count], err);
        index += (size_t)batch->header.record_count;
        count += pieces[count] != NULL;
    }
    if (status == SH_OK)
        status = join(part, pieces, count, out, err);
    for (size_t i = 0; i < count; i++)
        sh_buf_unref(pieces[i]);
    free(pieces);
    return status;
}

/* `*next` is the first misfit that is not before the batch, and then behind it. */
static ShStatus rebuild(ShCheckTools *tools, const ShAppendBatch *batch, const ShRecordErrors *misfits,
                        size_t *next, size_t first_index, const ShBatchLimits *limits, ShBuf **out,
                        ShError *err)
{
    ShCodec codec = (ShCodec)(batch->header.attributes & SH_BATCH_ATTR_CODEC_MASK);
    ShBatchBuilder *builder = sh_check_tools_builder(tools, codec);
    if (builder == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch");
    ShBatchReader reader;
    ShStatus status = sh_batch_reader_init(&reader, batch->data, batch->header.total_bytes,
                                           limits->decompressed_bytes_max, &tools->scratch, err);
    for (size_t index = first_index; status == SH_OK; index++) {
        ShRecord record;
        bool more;
        status = sh_batch_reader_next(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            break;
        if (*next < misfits->count && misfits->items[*next].index == index)
            (*next)++;
        else
            status = sh_batch_builder_copy(builder, &record, err);
    }
    if (status == SH_OK && sh_batch_builder_count(builder) > 0)
        status = sh_batch_builder_finish(builder, out, err);
    if (status == SH_OK && *out != NULL && (*out)->length > limits->batch_bytes_max)
        status = sh_fail(err, SH_TOO_LARGE,
                         "the records that fit make a batch of %zu bytes; at most %zu are allowed",
                         (*out)->length, limits->batch_bytes_max);
    if (status != SH_OK)
        forget_builder(tools, codec);
    return status;
}

/* The pieces, one behind the other, become the part's batches. */
static ShStatus join(ShAppendPart *part, ShBuf **pieces, size_t count, ShBuf **out, ShError *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += pieces[i]->length;
    ShBuf *joined = sh_buf_new(bytes);
    if (joined == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu bytes of batches", bytes);
    joined->length = bytes;
    ShStatus status = SH_OK;
    uint8_t *place = joined->data;
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        memcpy(place, pieces[i]->data, pieces[i]->length);
        part->batches[i].data = place;
        status = sh_batch_peek(place, pieces[i]->length, &part->batches[i].header, err);
        place += pieces[i]->length;
    }
    part->batch_count = count;
    if (status == SH_OK)
        *out = joined;
    else
        sh_buf_unref(joined);
    return status;
}
