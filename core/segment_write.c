#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/crc32c.h"
#include "core/segment.h"
#include "core/segment_format.h"

#define RESULTS_MAX ((size_t)16 * 1024 * 1024) /* keeps the header's length inside its 32-bit field */

typedef struct Batch {
    ShSlice bytes;
    uint8_t base_offset[SH_SEGMENT_BASE_OFFSET_BYTES]; /* relative, as it is written */
} Batch;

struct ShSegmentWriter {
    ShUuid object_id;
    uint8_t *header;
    size_t header_bytes;
    uint32_t header_crc;
    uint64_t data_bytes;

    Batch *batches;
    size_t batch_count;
    size_t batch_capacity;
    ShSegmentRun *runs;
    size_t run_count;
    size_t run_capacity;
    ShSegmentTransaction *transactions;
    size_t transaction_count;
    size_t transaction_capacity;

    /* Built by finish, when nothing moves any more. */
    uint8_t *tail; /* footer and trailer */
    struct iovec *pieces;
};

static bool encode_header(ShSegmentWriter *writer, const ShSegmentWriterId *id,
                          const ShSegmentResult *results, size_t result_count);
static uint8_t *put_result(uint8_t *p, const ShSegmentResult *result);
static ShStatus check_open(const ShSegmentWriter *writer, ShError *err) SH_MUST_CHECK;
static ShStatus check_last_run(const ShSegmentWriter *writer, ShError *err) SH_MUST_CHECK;
static ShStatus check_batch(const ShSegmentRun *run, ShSlice batch, const ShBatchHeader *header,
                            ShError *err) SH_MUST_CHECK;
static ShStatus note_transaction(ShSegmentWriter *writer, ShSegmentRun *run, const ShBatchHeader *header,
                                 ShError *err) SH_MUST_CHECK;
static int compare_transactions(const void *left, const void *right);
static ShStatus grow(void *array, size_t *capacity, size_t count, size_t item_bytes,
                     ShError *err) SH_MUST_CHECK;
static void tidy_transactions(ShSegmentWriter *writer);
static size_t footer_size(const ShSegmentWriter *writer);
static void encode_tail(const ShSegmentWriter *writer, uint8_t *tail);
static uint8_t *put_run(uint8_t *p, const ShSegmentRun *run);
static void gather_pieces(ShSegmentWriter *writer, size_t tail_bytes);
static uint8_t *put_u16(uint8_t *p, uint16_t value);
static uint8_t *put_u32(uint8_t *p, uint32_t value);
static uint8_t *put_u64(uint8_t *p, uint64_t value);
static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t length);

ShSegmentWriter *sh_segment_writer_new(const ShSegmentWriterId *id, const ShSegmentResult *results,
                                       size_t result_count)
{
    ShSegmentWriter *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->object_id = id->object_id;
    if (!encode_header(writer, id, results, result_count)) {
        sh_segment_writer_free(writer);
        return NULL;
    }
    return writer;
}

void sh_segment_writer_free(ShSegmentWriter *writer)
{
    if (writer == NULL)
        return;
    for (size_t i = 0; i < writer->batch_count; i++)
        sh_buf_unref(writer->batches[i].bytes.owner);
    free(writer->pieces);
    free(writer->tail);
    free(writer->transactions);
    free(writer->runs);
    free(writer->batches);
    free(writer->header);
    free(writer);
}

ShStatus sh_segment_writer_begin_run(ShSegmentWriter *writer, const ShUuid *topic_id, int32_t partition,
                                     int64_t epoch, int64_t first_offset, ShError *err)
{
    ShStatus status = check_open(writer, err);
    if (status == SH_OK)
        status = check_last_run(writer, err);
    if (status != SH_OK)
        return status;
    if (partition < 0 || epoch < 0 || first_offset < SH_OFFSET_UNASSIGNED)
        return sh_fail(err, SH_INVALID,
                       "a run of partition %" PRId32 ", epoch %" PRId64 ", offset %" PRId64
                       " cannot be stored",
                       partition, epoch, first_offset);
    status = grow(&writer->runs, &writer->run_capacity, writer->run_count, sizeof *writer->runs, err);
    if (status != SH_OK)
        return status;
    writer->runs[writer->run_count++] = (ShSegmentRun){
        .topic_id = *topic_id,
        .partition = partition,
        .epoch = epoch,
        .first_offset = first_offset,
        .position = writer->header_bytes + writer->data_bytes,
        .min_timestamp_ms = INT64_MAX,
        .max_timestamp_ms = INT64_MIN,
        .first_transaction = (uint32_t)writer->transaction_count,
    };
    return SH_OK;
}

ShStatus sh_segment_writer_add(ShSegmentWriter *writer, ShSlice batch, const ShBatchHeader *header,
                               ShError *err)
{
    ShStatus status = check_open(writer, err);
    if (status != SH_OK)
        return status;
    if (writer->run_count == 0)
        return sh_fail(err, SH_INVALID, "a batch is added to a segment before any run is begun");
    ShSegmentRun *run = &writer->runs[writer->run_count - 1];
    status = check_batch(run, batch, header, err);
    if (status == SH_OK)
        status = grow(&writer->batches, &writer->batch_capacity, writer->batch_count, sizeof *writer->batches,
                      err);
    if (status == SH_OK && (header->attributes & SH_BATCH_ATTR_TRANSACTIONAL) != 0)
        status = note_transaction(writer, run, header, err);
    if (status != SH_OK)
        return status;

    Batch *added = &writer->batches[writer->batch_count++];
    added->bytes = batch;
    sh_buf_ref(batch.owner);
    sh_put_u64(added->base_offset, (uint64_t)run->offset_count);

    uint8_t uncovered[SH_BATCH_UNCOVERED_BYTES]; /* as they will be written */
    memcpy(uncovered, added->base_offset, SH_SEGMENT_BASE_OFFSET_BYTES);
    memcpy(uncovered + SH_SEGMENT_BASE_OFFSET_BYTES, batch.data + SH_SEGMENT_BASE_OFFSET_BYTES,
           SH_BATCH_UNCOVERED_BYTES - SH_SEGMENT_BASE_OFFSET_BYTES);
    run->headers_crc = sh_crc32c_extend(run->headers_crc, uncovered, sizeof uncovered);
    run->offset_count += sh_segment_batch_offsets(header);
    run->record_count += header->record_count;
    run->batch_count++;
    run->length += batch.length;
    if (header->base_timestamp_ms < run->min_timestamp_ms)
        run->min_timestamp_ms = header->base_timestamp_ms;
    if (header->max_timestamp_ms > run->max_timestamp_ms)
        run->max_timestamp_ms = header->max_timestamp_ms;
    writer->data_bytes += batch.length;
    return SH_OK;
}

uint64_t sh_segment_writer_bytes(const ShSegmentWriter *writer)
{
    return writer->data_bytes;
}

ShStatus sh_segment_writer_finish(ShSegmentWriter *writer, ShSegmentObject *out, ShError *err)
{
    ShStatus status = check_open(writer, err);
    if (status == SH_OK)
        status = check_last_run(writer, err);
    if (status != SH_OK)
        return status;

    tidy_transactions(writer);
    size_t tail_bytes = footer_size(writer) + SH_SEGMENT_TRAILER_BYTES;
    size_t piece_count = 2 + 2 * writer->batch_count;
    uint8_t *tail = malloc(tail_bytes);
    struct iovec *pieces = malloc(piece_count * sizeof *pieces);
    if (tail == NULL || pieces == NULL) {
        free(tail);
        free(pieces);
        return sh_fail(err, SH_NO_MEMORY, "no memory for the index of a segment of %zu runs",
                       writer->run_count);
    }
    encode_tail(writer, tail);
    writer->tail = tail;
    writer->pieces = pieces;
    gather_pieces(writer, tail_bytes);
    *out = (ShSegmentObject){
        .pieces = pieces,
        .piece_count = piece_count,
        .total_bytes = writer->header_bytes + writer->data_bytes + tail_bytes,
        .runs = writer->runs,
        .run_count = writer->run_count,
    };
    return SH_OK;
}

static bool encode_header(ShSegmentWriter *writer, const ShSegmentWriterId *id,
                          const ShSegmentResult *results, size_t result_count)
{
    if (result_count > RESULTS_MAX)
        return false;
    size_t length = SH_SEGMENT_HEADER_BYTES_MIN + result_count * SH_SEGMENT_RESULT_BYTES;
    writer->header = malloc(length);
    if (writer->header == NULL)
        return false;

    uint8_t *p = put_bytes(writer->header, SH_SEGMENT_HEADER_MAGIC, SH_SEGMENT_MAGIC_BYTES);
    p = put_u32(p, SH_SEGMENT_VERSION);
    p = put_u32(p, (uint32_t)length);
    p = put_bytes(p, id->object_id.bytes, sizeof id->object_id.bytes);
    p = put_bytes(p, id->wal_uuid.bytes, sizeof id->wal_uuid.bytes);
    p = put_u64(p, (uint64_t)id->incarnation);
    p = put_u64(p, (uint64_t)id->publish_no);
    p = put_u64(p, (uint64_t)id->created_ms);
    p = put_u32(p, (uint32_t)result_count);
    for (size_t i = 0; i < result_count; i++)
        p = put_result(p, &results[i]);

    writer->header_crc = sh_crc32c(writer->header, (size_t)(p - writer->header));
    put_u32(p, writer->header_crc);
    writer->header_bytes = length;
    return true;
}

static uint8_t *put_result(uint8_t *p, const ShSegmentResult *result)
{
    p = put_bytes(p, result->object_id.bytes, sizeof result->object_id.bytes);
    p = put_u64(p, (uint64_t)result->publish_no);
    p = put_bytes(p, result->topic_id.bytes, sizeof result->topic_id.bytes);
    p = put_u32(p, (uint32_t)result->partition);
    p = put_u64(p, (uint64_t)result->epoch);
    p = put_u64(p, (uint64_t)result->first_offset);
    p = put_u64(p, (uint64_t)result->offset_count);
    *p++ = (uint8_t)result->disposition;
    return p;
}

static ShStatus check_open(const ShSegmentWriter *writer, ShError *err)
{
    return writer->pieces == NULL ? SH_OK : sh_fail(err, SH_INVALID, "the segment is finished already");
}

static ShStatus check_last_run(const ShSegmentWriter *writer, ShError *err)
{
    if (writer->run_count == 0 || writer->runs[writer->run_count - 1].batch_count > 0)
        return SH_OK;
    return sh_fail(err, SH_INVALID, "the run of partition %" PRId32 " has no batch",
                   writer->runs[writer->run_count - 1].partition);
}

static ShStatus check_batch(const ShSegmentRun *run, ShSlice batch, const ShBatchHeader *header, ShError *err)
{
    int64_t offsets = sh_segment_batch_offsets(header);
    if (batch.length < SH_BATCH_HEADER_BYTES || batch.length != header->total_bytes || offsets == 0)
        return sh_fail(err, SH_INVALID, "a batch of %zu bytes does not match its header", batch.length);
    if (run->batch_count == INT32_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the run holds as many batches as it can");

    int64_t first_offset = run->first_offset == SH_OFFSET_UNASSIGNED ? 0 : run->first_offset;
    if (run->offset_count > INT64_MAX - first_offset - offsets)
        return sh_fail(err, SH_INVALID, "the offsets of the run exceed 64 bits");
    int64_t expected = first_offset + run->offset_count;
    if (run->first_offset != SH_OFFSET_UNASSIGNED && header->base_offset != expected)
        return sh_fail(err, SH_INVALID,
                       "a batch at offset %" PRId64 " does not continue its run, which ends at %" PRId64,
                       header->base_offset, expected);
    return SH_OK;
}

/* Add the batch's transaction to the run's list. Finish makes each stand there once. */
static ShStatus note_transaction(ShSegmentWriter *writer, ShSegmentRun *run, const ShBatchHeader *header,
                                 ShError *err)
{
    ShSegmentTransaction noted = {
        .producer_id = header->producer_id,
        .producer_epoch = header->producer_epoch,
    };
    /* Batches of one transaction mostly follow each other. */
    if (run->transaction_count > 0 &&
        compare_transactions(&writer->transactions[writer->transaction_count - 1], &noted) == 0)
        return SH_OK;
    ShStatus status = grow(&writer->transactions, &writer->transaction_capacity, writer->transaction_count,
                           sizeof *writer->transactions, err);
    if (status != SH_OK)
        return status;
    writer->transactions[writer->transaction_count++] = noted;
    run->transaction_count++;
    return SH_OK;
}

static int compare_transactions(const void *left, const void *right)
{
    const ShSegmentTransaction *a = left;
    const ShSegmentTransaction *b = right;
    if (a->producer_id != b->producer_id)
        return a->producer_id < b->producer_id ? -1 : 1;
    return (a->producer_epoch > b->producer_epoch) - (a->producer_epoch < b->producer_epoch);
}

/* Room for one more item in the array that `array` points to; counts stay inside the 32-bit fields. */
static ShStatus grow(void *array, size_t *capacity, size_t count, size_t item_bytes, ShError *err)
{
    if (count < *capacity)
        return SH_OK;
    size_t grown = *capacity == 0 ? 16 : *capacity * 2;
    if (grown > UINT32_MAX / item_bytes)
        return sh_fail(err, SH_TOO_LARGE, "a segment cannot index more than %zu items", count);

    void *items;
    memcpy(&items, array, sizeof items);
    items = realloc(items, grown * item_bytes);
    if (items == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the index of a segment");
    memcpy(array, &items, sizeof items);
    *capacity = grown;
    return SH_OK;
}

/* Sort the transactions of each run, drop those that stand there twice, and close the gaps. */
static void tidy_transactions(ShSegmentWriter *writer)
{
    ShSegmentTransaction *kept = writer->transactions;
    size_t kept_count = 0;
    for (size_t i = 0; i < writer->run_count; i++) {
        ShSegmentRun *run = &writer->runs[i];
        if (run->transaction_count == 0) {
            run->first_transaction = (uint32_t)kept_count;
            continue;
        }
        ShSegmentTransaction *noted = &writer->transactions[run->first_transaction];
        qsort(noted, run->transaction_count, sizeof *noted, compare_transactions);
        size_t first = kept_count;
        for (size_t j = 0; j < run->transaction_count; j++) {
            if (kept_count == first || compare_transactions(&kept[kept_count - 1], &noted[j]) != 0)
                kept[kept_count++] = noted[j];
        }
        run->first_transaction = (uint32_t)first;
        run->transaction_count = (uint32_t)(kept_count - first);
    }
    writer->transaction_count = kept_count;
}

static size_t footer_size(const ShSegmentWriter *writer)
{
    return SH_SEGMENT_FOOTER_FIXED_BYTES + writer->run_count * SH_SEGMENT_RUN_BYTES +
           writer->transaction_count * SH_SEGMENT_TRANSACTION_BYTES;
}

static void encode_tail(const ShSegmentWriter *writer, uint8_t *tail)
{
    uint8_t *p = put_u32(tail, (uint32_t)writer->run_count);
    p = put_u32(p, (uint32_t)writer->transaction_count);
    for (size_t i = 0; i < writer->run_count; i++)
        p = put_run(p, &writer->runs[i]);
    for (size_t i = 0; i < writer->transaction_count; i++) {
        p = put_u64(p, (uint64_t)writer->transactions[i].producer_id);
        p = put_u16(p, (uint16_t)writer->transactions[i].producer_epoch);
    }

    size_t footer_bytes = (size_t)(p - tail);
    uint8_t *trailer = p;
    p = put_u64(p, writer->header_bytes + writer->data_bytes);
    p = put_u64(p, footer_bytes);
    p = put_u32(p, sh_crc32c(tail, footer_bytes));
    p = put_u32(p, writer->header_crc);
    p = put_u32(p, (uint32_t)writer->header_bytes);
    p = put_bytes(p, writer->object_id.bytes, sizeof writer->object_id.bytes);
    p = put_u32(p, 0);
    p = put_u32(p, SH_SEGMENT_VERSION);
    p = put_u32(p, sh_crc32c(trailer, SH_SEGMENT_TRAILER_CRC_POSITION));
    put_bytes(p, SH_SEGMENT_TRAILER_MAGIC, SH_SEGMENT_MAGIC_BYTES);
}

static uint8_t *put_run(uint8_t *p, const ShSegmentRun *run)
{
    p = put_bytes(p, run->topic_id.bytes, sizeof run->topic_id.bytes);
    p = put_u32(p, (uint32_t)run->partition);
    p = put_u64(p, (uint64_t)run->epoch);
    p = put_u64(p, (uint64_t)run->first_offset);
    p = put_u64(p, (uint64_t)run->offset_count);
    p = put_u64(p, (uint64_t)run->record_count);
    p = put_u64(p, run->position);
    p = put_u64(p, run->length);
    p = put_u64(p, (uint64_t)run->min_timestamp_ms);
    p = put_u64(p, (uint64_t)run->max_timestamp_ms);
    p = put_u32(p, (uint32_t)run->batch_count);
    p = put_u32(p, run->headers_crc);
    p = put_u32(p, run->first_transaction);
    return put_u32(p, run->transaction_count);
}

static void gather_pieces(ShSegmentWriter *writer, size_t tail_bytes)
{
    struct iovec *piece = writer->pieces;
    *piece++ = (struct iovec){.iov_base = writer->header, .iov_len = writer->header_bytes};
    for (size_t i = 0; i < writer->batch_count; i++) {
        Batch *batch = &writer->batches[i];
        *piece++ = (struct iovec){.iov_base = batch->base_offset, .iov_len = sizeof batch->base_offset};
        *piece++ = (struct iovec){
            .iov_base = (void *)(batch->bytes.data + SH_SEGMENT_BASE_OFFSET_BYTES),
            .iov_len = batch->bytes.length - SH_SEGMENT_BASE_OFFSET_BYTES,
        };
    }
    *piece = (struct iovec){.iov_base = writer->tail, .iov_len = tail_bytes};
}

static uint8_t *put_u16(uint8_t *p, uint16_t value)
{
    sh_put_u16(p, value);
    return p + sizeof value;
}

static uint8_t *put_u32(uint8_t *p, uint32_t value)
{
    sh_put_u32(p, value);
    return p + sizeof value;
}

static uint8_t *put_u64(uint8_t *p, uint64_t value)
{
    sh_put_u64(p, value);
    return p + sizeof value;
}

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t length)
{
    memcpy(p, bytes, length);
    return p + length;
}
