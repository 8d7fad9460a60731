#include <inttypes.h>
#include <stdlib.h>

#include "core/crc32c.h"
#include "core/segment.h"
#include "core/segment_format.h"

static ShStatus parse_header(const uint8_t *object, const ShSegmentTrailer *trailer, ShSegmentIndex *index,
                             ShError *err) SH_MUST_CHECK;
static ShStatus parse_results(const uint8_t *p, size_t count, ShSegmentIndex *index,
                              ShError *err) SH_MUST_CHECK;
static ShStatus parse_footer(const uint8_t *object, const ShSegmentTrailer *trailer, ShSegmentIndex *index,
                             ShError *err) SH_MUST_CHECK;
static void parse_run(const uint8_t *p, ShSegmentRun *run);
static void parse_transactions(const uint8_t *p, ShSegmentIndex *index);
static ShStatus check_runs(const ShSegmentTrailer *trailer, const ShSegmentIndex *index,
                           ShError *err) SH_MUST_CHECK;
static bool run_is_sane(const ShSegmentRun *run);
static ShStatus check_data(const uint8_t *object, const ShSegmentIndex *index, ShError *err) SH_MUST_CHECK;
static ShStatus check_run_data(const uint8_t *object, const ShSegmentRun *run, size_t number,
                               ShError *err) SH_MUST_CHECK;
static const uint8_t *get_uuid(const uint8_t *p, ShUuid *out);

ShStatus sh_segment_parse_trailer(const uint8_t *trailer, uint64_t object_bytes, ShSegmentTrailer *out,
                                  ShError *err)
{
    if (object_bytes < SH_SEGMENT_HEADER_BYTES_MIN + SH_SEGMENT_FOOTER_FIXED_BYTES + SH_SEGMENT_TRAILER_BYTES)
        return sh_fail(err, SH_CORRUPT, "a segment object of %" PRIu64 " bytes is too short", object_bytes);
    if (memcmp(trailer + 56, SH_SEGMENT_TRAILER_MAGIC, SH_SEGMENT_MAGIC_BYTES) != 0)
        return sh_fail(err, SH_CORRUPT, "no segment object: the magic at its end is missing");
    if (sh_get_u32(trailer + SH_SEGMENT_TRAILER_CRC_POSITION) !=
        sh_crc32c(trailer, SH_SEGMENT_TRAILER_CRC_POSITION))
        return sh_fail(err, SH_CORRUPT, "segment trailer with a wrong checksum");

    ShSegmentTrailer parsed = {
        .footer_position = sh_get_u64(trailer),
        .footer_length = sh_get_u64(trailer + 8),
        .footer_crc = sh_get_u32(trailer + 16),
        .header_crc = sh_get_u32(trailer + 20),
        .header_length = sh_get_u32(trailer + 24),
        .version = sh_get_u32(trailer + 48),
    };
    get_uuid(trailer + 28, &parsed.object_id);
    if (parsed.version != SH_SEGMENT_VERSION)
        return sh_fail(err, SH_UNSUPPORTED,
                       "segment object of version %" PRIu32 ": only version %d is supported", parsed.version,
                       SH_SEGMENT_VERSION);

    uint64_t body_bytes = object_bytes - SH_SEGMENT_TRAILER_BYTES;
    if (parsed.footer_position > body_bytes || parsed.footer_length != body_bytes - parsed.footer_position ||
        parsed.footer_length < SH_SEGMENT_FOOTER_FIXED_BYTES)
        return sh_fail(err, SH_CORRUPT,
                       "segment footer of %" PRIu64 " bytes at %" PRIu64 " in an object of %" PRIu64,
                       parsed.footer_length, parsed.footer_position, object_bytes);
    if (parsed.header_length < SH_SEGMENT_HEADER_BYTES_MIN || parsed.header_length > parsed.footer_position)
        return sh_fail(err, SH_CORRUPT, "segment header of %" PRIu32 " bytes before a footer at %" PRIu64,
                       parsed.header_length, parsed.footer_position);
    *out = parsed;
    return SH_OK;
}

ShStatus sh_segment_parse(const uint8_t *object, uint64_t object_bytes, ShSegmentIndex **out, ShError *err)
{
    if (object_bytes < SH_SEGMENT_TRAILER_BYTES)
        return sh_fail(err, SH_CORRUPT, "a segment object of %" PRIu64 " bytes is too short", object_bytes);
    ShSegmentTrailer trailer;
    ShStatus status = sh_segment_parse_trailer(object + object_bytes - SH_SEGMENT_TRAILER_BYTES, object_bytes,
                                               &trailer, err);
    if (status != SH_OK)
        return status;

    ShSegmentIndex *index = calloc(1, sizeof *index);
    if (index == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a segment's index");
    status = parse_header(object, &trailer, index, err);
    if (status == SH_OK)
        status = parse_footer(object, &trailer, index, err);
    if (status == SH_OK)
        status = check_runs(&trailer, index, err);
    if (status == SH_OK)
        status = check_data(object, index, err);
    if (status != SH_OK) {
        sh_segment_index_free(index);
        return status;
    }
    *out = index;
    return SH_OK;
}

void sh_segment_index_free(ShSegmentIndex *index)
{
    if (index == NULL)
        return;
    free(index->results);
    free(index->runs);
    free(index->transactions);
    free(index);
}

static ShStatus parse_header(const uint8_t *object, const ShSegmentTrailer *trailer, ShSegmentIndex *index,
                             ShError *err)
{
    size_t crc_position = trailer->header_length - SH_SEGMENT_CRC_BYTES;
    uint32_t crc = sh_crc32c(object, crc_position);
    if (crc != trailer->header_crc || crc != sh_get_u32(object + crc_position))
        return sh_fail(err, SH_CORRUPT, "segment header with a wrong checksum");
    if (memcmp(object, SH_SEGMENT_HEADER_MAGIC, SH_SEGMENT_MAGIC_BYTES) != 0 ||
        sh_get_u32(object + 8) != trailer->version || sh_get_u32(object + 12) != trailer->header_length)
        return sh_fail(err, SH_CORRUPT, "segment header that does not match the trailer");

    const uint8_t *p = get_uuid(object + 16, &index->writer.object_id);
    p = get_uuid(p, &index->writer.wal_uuid);
    index->writer.incarnation = (int64_t)sh_get_u64(p);
    index->writer.publish_no = (int64_t)sh_get_u64(p + 8);
    index->writer.created_ms = (int64_t)sh_get_u64(p + 16);
    if (!sh_uuid_equal(&index->writer.object_id, &trailer->object_id))
        return sh_fail(err, SH_CORRUPT, "segment header and trailer with different object ids");

    size_t result_count = sh_get_u32(object + 72);
    size_t results_bytes = trailer->header_length - SH_SEGMENT_HEADER_BYTES_MIN;
    if (results_bytes % SH_SEGMENT_RESULT_BYTES != 0 ||
        results_bytes / SH_SEGMENT_RESULT_BYTES != result_count)
        return sh_fail(err, SH_CORRUPT, "segment header with %zu results in %zu bytes", result_count,
                       results_bytes);
    return parse_results(object + SH_SEGMENT_HEADER_FIXED_BYTES, result_count, index, err);
}

static ShStatus parse_results(const uint8_t *p, size_t count, ShSegmentIndex *index, ShError *err)
{
    if (count == 0)
        return SH_OK;
    index->results = calloc(count, sizeof *index->results);
    if (index->results == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the %zu results of a segment", count);
    index->result_count = count;

    for (size_t i = 0; i < count; i++, p += SH_SEGMENT_RESULT_BYTES) {
        ShSegmentResult *result = &index->results[i];
        get_uuid(p, &result->object_id);
        result->publish_no = (int64_t)sh_get_u64(p + 16);
        get_uuid(p + 24, &result->topic_id);
        result->partition = (int32_t)sh_get_u32(p + 40);
        result->epoch = (int64_t)sh_get_u64(p + 44);
        result->first_offset = (int64_t)sh_get_u64(p + 52);
        result->offset_count = (int64_t)sh_get_u64(p + 60);
        result->disposition = (ShDisposition)p[68];
        if (p[68] < SH_DISPOSITION_PUBLISHED || p[68] > SH_DISPOSITION_DROPPED)
            return sh_fail(err, SH_CORRUPT, "segment result %zu of %zu with disposition %d", i + 1, count,
                           p[68]);
    }
    return SH_OK;
}

static ShStatus parse_footer(const uint8_t *object, const ShSegmentTrailer *trailer, ShSegmentIndex *index,
                             ShError *err)
{
    const uint8_t *footer = object + trailer->footer_position;
    if (sh_crc32c(footer, trailer->footer_length) != trailer->footer_crc)
        return sh_fail(err, SH_CORRUPT, "segment footer with a wrong checksum");

    uint64_t run_count = sh_get_u32(footer);
    uint64_t transaction_count = sh_get_u32(footer + 4);
    if (SH_SEGMENT_FOOTER_FIXED_BYTES + run_count * SH_SEGMENT_RUN_BYTES +
            transaction_count * SH_SEGMENT_TRANSACTION_BYTES !=
        trailer->footer_length)
        return sh_fail(err, SH_CORRUPT,
                       "segment footer with %" PRIu64 " runs and %" PRIu64 " transactions in %" PRIu64
                       " bytes",
                       run_count, transaction_count, trailer->footer_length);

    /* The counts are those of entries that are really there, so that they bound the memory taken. */
    index->runs = calloc(run_count + 1, sizeof *index->runs);
    index->transactions = calloc(transaction_count + 1, sizeof *index->transactions);
    if (index->runs == NULL || index->transactions == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the index of a segment of %" PRIu64 " runs",
                       run_count);
    index->run_count = run_count;
    index->transaction_count = transaction_count;

    const uint8_t *p = footer + SH_SEGMENT_FOOTER_FIXED_BYTES;
    for (size_t i = 0; i < run_count; i++, p += SH_SEGMENT_RUN_BYTES)
        parse_run(p, &index->runs[i]);
    parse_transactions(p, index);
    return SH_OK;
}

static void parse_run(const uint8_t *p, ShSegmentRun *run)
{
    get_uuid(p, &run->topic_id);
    run->partition = (int32_t)sh_get_u32(p + 16);
    run->epoch = (int64_t)sh_get_u64(p + 20);
    run->first_offset = (int64_t)sh_get_u64(p + 28);
    run->offset_count = (int64_t)sh_get_u64(p + 36);
    run->record_count = (int64_t)sh_get_u64(p + 44);
    run->position = sh_get_u64(p + 52);
    run->length = sh_get_u64(p + 60);
    run->min_timestamp_ms = (int64_t)sh_get_u64(p + 68);
    run->max_timestamp_ms = (int64_t)sh_get_u64(p + 76);
    run->batch_count = (int32_t)sh_get_u32(p + 84);
    run->headers_crc = sh_get_u32(p + 88);
    run->first_transaction = sh_get_u32(p + 92);
    run->transaction_count = sh_get_u32(p + 96);
}

static void parse_transactions(const uint8_t *p, ShSegmentIndex *index)
{
    for (size_t i = 0; i < index->transaction_count; i++, p += SH_SEGMENT_TRANSACTION_BYTES) {
        index->transactions[i].producer_id = (int64_t)sh_get_u64(p);
        index->transactions[i].producer_epoch = (int16_t)sh_get_u16(p + 8);
    }
}

/* The runs tile the data, and their transactions the list, each in order and without a gap. */
static ShStatus check_runs(const ShSegmentTrailer *trailer, const ShSegmentIndex *index, ShError *err)
{
    uint64_t position = trailer->header_length;
    uint64_t transaction = 0;
    for (size_t i = 0; i < index->run_count; i++) {
        const ShSegmentRun *run = &index->runs[i];
        if (!run_is_sane(run))
            return sh_fail(err, SH_CORRUPT, "segment run %zu of %zu with impossible offsets or counts", i + 1,
                           index->run_count);
        if (run->position != position || run->length > trailer->footer_position - position)
            return sh_fail(err, SH_CORRUPT,
                           "segment run %zu of %zu at a wrong place: %" PRIu64 " bytes at %" PRIu64, i + 1,
                           index->run_count, run->length, run->position);
        if (run->first_transaction != transaction ||
            run->transaction_count > index->transaction_count - transaction)
            return sh_fail(err, SH_CORRUPT, "segment run %zu of %zu with wrong transactions", i + 1,
                           index->run_count);
        position += run->length;
        transaction += run->transaction_count;
    }
    if (position != trailer->footer_position)
        return sh_fail(err, SH_CORRUPT, "segment with %" PRIu64 " bytes between its last run and its footer",
                       trailer->footer_position - position);
    if (transaction != index->transaction_count)
        return sh_fail(err, SH_CORRUPT, "segment with %" PRIu64 " transactions that belong to no run",
                       index->transaction_count - transaction);
    return SH_OK;
}

static bool run_is_sane(const ShSegmentRun *run)
{
    return run->partition >= 0 && run->epoch >= 0 && run->first_offset >= SH_OFFSET_UNASSIGNED &&
           run->offset_count >= 1 &&
           run->offset_count <= INT64_MAX - (run->first_offset < 0 ? 0 : run->first_offset) &&
           run->record_count >= 1 && run->record_count <= run->offset_count && run->batch_count >= 1;
}

static ShStatus check_data(const uint8_t *object, const ShSegmentIndex *index, ShError *err)
{
    for (size_t i = 0; i < index->run_count; i++) {
        ShStatus status = check_run_data(object, &index->runs[i], i + 1, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static ShStatus check_run_data(const uint8_t *object, const ShSegmentRun *run, size_t number, ShError *err)
{
    const uint8_t *next = object + run->position;
    const uint8_t *end = next + run->length;
    ShSegmentRun found = {.min_timestamp_ms = INT64_MAX, .max_timestamp_ms = INT64_MIN};
    while (next < end) {
        ShBatchHeader header;
        ShError problem;
        if (sh_batch_peek(next, (size_t)(end - next), &header, &problem) != SH_OK)
            return sh_fail(err, SH_CORRUPT, "segment run %zu: %s", number, problem.message);
        int64_t offsets = sh_segment_batch_offsets(&header);
        if (offsets == 0 || header.base_offset != found.offset_count ||
            sh_crc32c(next + SH_BATCH_UNCOVERED_BYTES, header.total_bytes - SH_BATCH_UNCOVERED_BYTES) !=
                header.crc)
            return sh_fail(err, SH_CORRUPT, "segment run %zu: batch %" PRId32 " of %" PRId32 " is damaged",
                           number, found.batch_count + 1, run->batch_count);
        found.headers_crc = sh_crc32c_extend(found.headers_crc, next, SH_BATCH_UNCOVERED_BYTES);
        found.offset_count += offsets;
        found.record_count += header.record_count;
        found.batch_count++;
        if (header.base_timestamp_ms < found.min_timestamp_ms)
            found.min_timestamp_ms = header.base_timestamp_ms;
        if (header.max_timestamp_ms > found.max_timestamp_ms)
            found.max_timestamp_ms = header.max_timestamp_ms;
        next += header.total_bytes;
    }
    if (found.headers_crc != run->headers_crc || found.offset_count != run->offset_count ||
        found.record_count != run->record_count || found.batch_count != run->batch_count ||
        found.min_timestamp_ms != run->min_timestamp_ms || found.max_timestamp_ms != run->max_timestamp_ms)
        return sh_fail(err, SH_CORRUPT, "segment run %zu does not match its entry in the footer", number);
    return SH_OK;
}

static const uint8_t *get_uuid(const uint8_t *p, ShUuid *out)
{
    memcpy(out->bytes, p, sizeof out->bytes);
    return p + sizeof out->bytes;
}
