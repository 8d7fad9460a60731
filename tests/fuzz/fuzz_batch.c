/*
 * fuzz_batch.c - any bytes as a record batch: the check and the reader must agree, and stay inside their
 * bounds.
 *
 * A true length and CRC are put into each input first, so that the fuzzer gets past them.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/batch.h"
#include "core/crc32c.h"

#define DECOMPRESSED_BYTES_MAX ((size_t)256 * 1024)

static void make_true(uint8_t *batch, size_t length);
static int64_t read_all(const uint8_t *batch, size_t length, ShScratch *scratch, bool *whole);
static size_t touch(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    static const ShBatchLimits limits = {.batch_bytes_max = SIZE_MAX,
                                         .decompressed_bytes_max = DECOMPRESSED_BYTES_MAX};
    /* A block of its own shows any access past the end. */
    uint8_t *batch = malloc(length);
    if (length > 0)
        memcpy(batch, input, length);
    if (length >= SH_BATCH_HEADER_BYTES)
        make_true(batch, length);

    ShScratch scratch = {0};
    ShBatchHeader header;
    ShError err;
    ShStatus status = sh_batch_check(batch, length, &limits, &scratch, &header, &err);
    assert(scratch.capacity <= DECOMPRESSED_BYTES_MAX + DECOMPRESSED_BYTES_MAX / 2 + 1);

    bool whole;
    int64_t records = read_all(batch, length, &scratch, &whole);
    assert(status != SH_OK || (whole && records == header.record_count));
    sh_scratch_free(&scratch);
    free(batch);
    return 0;
}

static void make_true(uint8_t *batch, size_t length)
{
    sh_put_u32(batch + 8, (uint32_t)length - 12);
    batch[16] = SH_BATCH_MAGIC;
    sh_put_u32(batch + 17, sh_crc32c(batch + SH_BATCH_UNCOVERED_BYTES, length - SH_BATCH_UNCOVERED_BYTES));
}

/* Count the records, touching each byte; `whole` says whether the reader reached the end. */
static int64_t read_all(const uint8_t *batch, size_t length, ShScratch *scratch, bool *whole)
{
    *whole = false;
    ShBatchReader reader;
    if (sh_batch_reader_init(&reader, batch, length, DECOMPRESSED_BYTES_MAX, scratch, NULL) != SH_OK)
        return 0;
    int64_t records = 0;
    volatile size_t sum = 0;
    for (;;) {
        ShRecord record;
        bool more;
        if (sh_batch_reader_next(&reader, &record, &more, NULL) != SH_OK)
            return records;
        if (!more)
            break;
        records++;
        sum += touch(record.key, record.key_length) + touch(record.value, record.value_length);

        ShHeader header;
        int32_t headers = 0;
        for (size_t cursor = 0; sh_record_next_header(&record, &cursor, &header); headers++)
            sum += touch((const uint8_t *)header.key, header.key_length) +
                   touch(header.value, header.value_length);
        assert(headers == record.header_count);
    }
    *whole = true;
    return records;
}

static size_t touch(const uint8_t *data, size_t length)
{
    size_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += data[i];
    return sum;
}
