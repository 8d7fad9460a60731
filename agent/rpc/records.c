#include "agent/rpc/records.h"

#include "agent/base/clock.h"

static ShStatus add_records(ShBatchBuilder *builder, const ShWirePartition *partition,
                            const ShBatchLimits *limits, ShError *err);
static ShStatus add_record(ShBatchBuilder *builder, const ShWireRecord *wire, int64_t now_ms, ShError *err);

ShStatus sh_records_build(ShWorker *worker, const ShWirePartition *partition, const ShBatchLimits *limits,
                          ShBuf **out, ShError *err)
{
    if (partition->compression < 0 || sh_codec_name(partition->compression) == NULL)
        return sh_fail(err, SH_INVALID, "compression %d does not exist", partition->compression);
    ShCodec codec = (ShCodec)partition->compression;
    ShBatchBuilder *builder = sh_worker_builder(worker, codec);
    if (builder == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch");

    ShBuf *batch = NULL;
    ShStatus status = add_records(builder, partition, limits, err);
    if (status == SH_OK)
        status = sh_batch_builder_finish(builder, &batch, err);
    if (status == SH_OK && batch->length > limits->batch_bytes_max)
        status = sh_fail(err, SH_TOO_LARGE, "the records make a batch of %zu bytes; at most %zu are allowed",
                         batch->length, limits->batch_bytes_max);
    if (status != SH_OK) {
        sh_buf_unref(batch);
        /* What a failed request has left in the builder must not reach the next one. */
        sh_batch_builder_free(builder);
        worker->builders[codec] = NULL;
        return status;
    }
    *out = batch;
    return SH_OK;
}

static ShStatus add_records(ShBatchBuilder *builder, const ShWirePartition *partition,
                            const ShBatchLimits *limits, ShError *err)
{
    int64_t now_ms = sh_clock_wall_ms();
    ShWireReader reader = sh_wire_reader(partition->body.data, partition->body.length);
    ShWireRecord record;
    bool more;
    for (;;) {
        ShStatus status = sh_wire_next_record(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            return status;
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
