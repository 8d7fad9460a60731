/*
 * fuzz_segment.c - any bytes as a segment object, and as a run read from one.
 *
 * Each input is parsed as it is, then with the trailer's places and all CRCs of the index made true, so that
 * the fuzzer gets past them; then its bytes are rebased as a run, and each batch that comes out must be
 * whole.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/crc32c.h"
#include "core/segment.h"
#include "core/segment_format.h"

static void parse(const uint8_t *object, size_t length);
static void make_true(uint8_t *object, size_t length);
static void make_batches_true(uint8_t *batches, size_t length);
static void rebase(uint8_t *run, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    uint8_t *bytes = malloc(length);
    if (length > 0)
        memcpy(bytes, input, length);
    parse(bytes, length);
    if (length >= SH_SEGMENT_HEADER_BYTES_MIN + SH_SEGMENT_FOOTER_FIXED_BYTES + SH_SEGMENT_TRAILER_BYTES) {
        make_true(bytes, length);
        parse(bytes, length);
        memcpy(bytes, input, length);
    }
    rebase(bytes, length);
    free(bytes);
    return 0;
}

static void parse(const uint8_t *object, size_t length)
{
    ShSegmentIndex *index;
    if (sh_segment_parse(object, length, &index, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < index->run_count; i++) {
        assert(index->runs[i].position + index->runs[i].length <= length);
        assert(index->runs[i].first_transaction + index->runs[i].transaction_count <=
               index->transaction_count);
    }
    sh_segment_index_free(index);
}

/* The header's length decides where the data starts, the runs' lengths where the footer does. */
static void make_true(uint8_t *object, size_t length)
{
    size_t body_bytes = length - SH_SEGMENT_TRAILER_BYTES;
    uint8_t *trailer = object + body_bytes;
    uint64_t footer = sh_get_u64(trailer);
    if (footer < SH_SEGMENT_HEADER_BYTES_MIN || footer > body_bytes - SH_SEGMENT_FOOTER_FIXED_BYTES)
        footer = body_bytes - SH_SEGMENT_FOOTER_FIXED_BYTES;
    uint32_t header_length = sh_get_u32(object + 12);
    if (header_length < SH_SEGMENT_HEADER_BYTES_MIN || header_length > footer)
        header_length = SH_SEGMENT_HEADER_BYTES_MIN;
    make_batches_true(object + header_length, footer - header_length);

    memcpy(object, SH_SEGMENT_HEADER_MAGIC, SH_SEGMENT_MAGIC_BYTES);
    sh_put_u32(object + 8, SH_SEGMENT_VERSION);
    sh_put_u32(object + 12, header_length);
    uint32_t header_crc = sh_crc32c(object, header_length - SH_SEGMENT_CRC_BYTES);
    sh_put_u32(object + header_length - SH_SEGMENT_CRC_BYTES, header_crc);

    sh_put_u64(trailer, footer);
    sh_put_u64(trailer + 8, body_bytes - footer);
    sh_put_u32(trailer + 16, sh_crc32c(object + footer, body_bytes - footer));
    sh_put_u32(trailer + 20, header_crc);
    sh_put_u32(trailer + 24, header_length);
    memcpy(trailer + 28, object + 16, sizeof(ShUuid));
    sh_put_u32(trailer + 48, SH_SEGMENT_VERSION);
    sh_put_u32(trailer + SH_SEGMENT_TRAILER_CRC_POSITION,
               sh_crc32c(trailer, SH_SEGMENT_TRAILER_CRC_POSITION));
    memcpy(trailer + 56, SH_SEGMENT_TRAILER_MAGIC, SH_SEGMENT_MAGIC_BYTES);
}

static void make_batches_true(uint8_t *batches, size_t length)
{
    ShBatchHeader header;
    for (size_t position = 0; sh_batch_peek(batches + position, length - position, &header, NULL) == SH_OK;
         position += header.total_bytes)
        sh_put_u32(batches + position + 17, sh_crc32c(batches + position + SH_BATCH_UNCOVERED_BYTES,
                                                      header.total_bytes - SH_BATCH_UNCOVERED_BYTES));
}

static void rebase(uint8_t *run, size_t length)
{
    size_t usable;
    make_batches_true(run, length);
    const ShRunRange range = {
        .base_offset = 1000, .from_offset = 1000, .end_offset = INT64_MAX, .leader_epoch = 3};
    if (sh_segment_rebase(run, length, &range, &usable, NULL) != SH_OK)
        return;
    assert(usable <= length);
    int64_t next = range.from_offset;
    for (size_t position = 0; position < usable;) {
        ShBatchHeader header;
        assert(sh_batch_peek(run + position, usable - position, &header, NULL) == SH_OK);
        assert(header.base_offset == next && header.leader_epoch == 3);
        next += header.last_offset_delta + 1;
        position += header.total_bytes;
    }
}
