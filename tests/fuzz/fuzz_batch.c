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
static int64_t read_all(const uint8_t *batch, size_t length, ShScratch *scratch, bool *whole,
                        int64_t *newest_ms);
static size_t touch(const uint8_t *data, size_t length);
static void check_watched(const uint8_t *batch, size_t length, const ShBatchLimits *limits,
                          ShStatus expected);

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
    int64_t newest_ms;
    int64_t records = read_all(batch, length, &scratch, &whole, &newest_ms);
    assert(status != SH_OK || (whole && records == header.record_count));
    assert(status != SH_OK || newest_ms == header.max_timestamp_ms);
    check_watched(batch, length, &limits, status);
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
static int64_t read_all(const uint8_t *batch, size_t length, ShScratch *scratch, bool *whole,
                        int64_t *newest_ms)
{
    *whole = false;
    *newest_ms = INT64_MIN;
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
        *newest_ms = record.timestamp_ms > *newest_ms ? record.timestamp_ms : *newest_ms;
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

/* What the watch is shown must be what the reader reads. */
typedef struct Watch {
    ShBatchWatch base;
    ShBatchReader reader;
    bool compares; /* the batch is whole */
} Watch;

static bool on_record(ShBatchWatch *watch, int32_t index, const ShRecord *shown)
{
    Watch *self = (Watch *)watch;
    ShRecord read;
    bool more;
    volatile size_t sum = touch(shown->key, shown->key_length) + touch(shown->value, shown->value_length);
    (void)sum;
    if (!self->compares)
        return true;
    do
        assert(sh_batch_reader_next(&self->reader, &read, &more, NULL) == SH_OK && more);
    while (read.offset != index); /* null keys and values are not shown */
    assert(read.key_length == shown->key_length && read.value_length == shown->value_length);
    assert((read.key == NULL) == (shown->key == NULL) && (read.value == NULL) == (shown->value == NULL));
    assert(read.key_length == 0 || memcmp(read.key, shown->key, read.key_length) == 0);
    assert(read.value_length == 0 || memcmp(read.value, shown->value, read.value_length) == 0);
    return false;
}

static void check_watched(const uint8_t *batch, size_t length, const ShBatchLimits *limits, ShStatus expected)
{
    ShScratch scratch = {0};
    ShScratch scratch_of_reader = {0};
    ShBatchHeader header;
    Watch watch = {.base = {.keys = true,
                            .values = true,
                            .key_head = SH_RECORD_HEAD_NONE,
                            .value_head = SH_RECORD_HEAD_NONE,
                            .other = on_record},
                   .compares = expected == SH_OK};
    if (watch.compares) {
        assert(sh_batch_reader_init(&watch.reader, batch, length, DECOMPRESSED_BYTES_MAX, &scratch_of_reader,
                                    NULL) == SH_OK);
        watch.reader.header.base_offset = 0;
    }
    assert(sh_batch_check_watched(batch, length, limits, &scratch, &watch.base, &header, NULL) == expected);
    sh_scratch_free(&scratch);
    sh_scratch_free(&scratch_of_reader);
}
