/*
 * batch_bench.h - what the tests of the record batch share: a batch whose bytes a test changes, ways to make
 * one, and the comparison with the records that were put in.
 */
#ifndef TESTS_UNIT_CORE_BATCH_BENCH_H
#define TESTS_UNIT_CORE_BATCH_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/batch.h"
#include "core/crc32c.h"
#include "tests/unit/core/vectors/sent_records.h"

#define CODEC_COUNT 5

static const ShBatchLimits wide = {.batch_bytes_max = 1 << 20, .decompressed_bytes_max = 1 << 20};

/* One record, {key "k", value "v", timestamp 1000}, as its bytes must be. */
static const uint8_t golden[] = {
    0,    0,    0,    0,    0,    0,    0,    0,       /* base offset */
    0,    0,    0,    58,                              /* length */
    0xff, 0xff, 0xff, 0xff,                            /* leader epoch */
    2,                                                 /* magic */
    0x71, 0x6a, 0x61, 0x89,                            /* crc */
    0,    0,                                           /* attributes */
    0,    0,    0,    0,                               /* last offset delta */
    0,    0,    0,    0,    0,    0,    3,    0xe8,    /* base timestamp */
    0,    0,    0,    0,    0,    0,    3,    0xe8,    /* max timestamp */
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,    /* producer id */
    0xff, 0xff,                                        /* producer epoch */
    0xff, 0xff, 0xff, 0xff,                            /* base sequence */
    0,    0,    0,    1,                               /* record count */
    16,   0,    0,    0,    2,    'k',  2,    'v',  0, /* the record */
};

/* A batch whose bytes a test changes; the scratch that checks use; the last error. */
typedef struct Bench {
    uint8_t *bytes;
    size_t length;
    ShScratch scratch;
    ShBatchHeader header;
    ShError err;
} Bench;

static inline ShStatus check(Bench *bench)
{
    return sh_batch_check(bench->bytes, bench->length, &wide, &bench->scratch, &bench->header, &bench->err);
}

static inline void assert_refused(Bench *bench, ShStatus status, const char *words)
{
    ShBatchHeader before = bench->header;
    assert_int_equal(check(bench), status);
    if (strstr(bench->err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", bench->err.message, words);
    assert_memory_equal(&before, &bench->header, sizeof before);
}

static inline void release(Bench *bench)
{
    sh_scratch_free(&bench->scratch);
    free(bench->bytes);
}

static inline void fix_crc(Bench *bench)
{
    sh_put_u32(bench->bytes + 17, sh_crc32c(bench->bytes + 21, bench->length - 21));
}

static inline Bench bench_of(const uint8_t *bytes, size_t length)
{
    Bench bench = {.bytes = malloc(length), .length = length};
    memcpy(bench.bytes, bytes, length);
    return bench;
}

/* A batch with a true header and CRC around these record bytes. */
static inline Bench bench_of_records(int32_t count, const uint8_t *records, size_t length)
{
    Bench bench = {.bytes = calloc(1, SH_BATCH_HEADER_BYTES + length),
                   .length = SH_BATCH_HEADER_BYTES + length};
    memcpy(bench.bytes, golden, SH_BATCH_HEADER_BYTES);
    memcpy(bench.bytes + SH_BATCH_HEADER_BYTES, records, length);
    sh_put_u32(bench.bytes + 8, (uint32_t)bench.length - 12);
    sh_put_u32(bench.bytes + 23, (uint32_t)count - 1);
    sh_put_u32(bench.bytes + 57, (uint32_t)count);
    fix_crc(&bench);
    return bench;
}

#define RECORDS(count, ...)                                                                                  \
    bench_of_records(count, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void add_sent(ShBatchBuilder *builder, int index)
{
    SentRecord sent;
    sent_record(index, &sent);
    ShHeader headers[SENT_HEADER_COUNT] = {
        {.key = "trace", .key_length = 5, .value = (uint8_t *)sent.trace, .value_length = strlen(sent.trace)},
        {.key = "none", .key_length = 4},
    };
    ShRecord record = {
        .timestamp_ms = sent.timestamp_ms,
        .key = (const uint8_t *)sent.key,
        .key_length = sent.key_length,
        .value = (const uint8_t *)sent.value,
        .value_length = sent.value_length,
    };
    assert_int_equal(sh_batch_builder_add(builder, &record, headers, (size_t)sent.header_count, NULL), SH_OK);
}

static inline Bench bench_of_sent(ShCodec codec)
{
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    for (int i = 0; i < SENT_RECORD_COUNT; i++)
        add_sent(builder, i);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    Bench bench = bench_of(buf->data, buf->length);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);
    return bench;
}

static inline void assert_bytes_equal(const void *actual, size_t actual_length, const void *expected,
                                      size_t length)
{
    assert_int_equal(actual == NULL, expected == NULL);
    assert_int_equal(actual_length, length);
    if (expected != NULL)
        assert_memory_equal(actual, expected, length);
}

static inline void assert_record_equals_sent(const ShRecord *record, int index)
{
    SentRecord sent;
    sent_record(index, &sent);
    assert_int_equal(record->timestamp_ms, sent.timestamp_ms);
    assert_bytes_equal(record->key, record->key_length, sent.key, sent.key_length);
    assert_bytes_equal(record->value, record->value_length, sent.value, sent.value_length);
    assert_int_equal(record->header_count, sent.header_count);

    size_t cursor = 0;
    ShHeader header;
    if (sent.header_count > 0) {
        assert_true(sh_record_next_header(record, &cursor, &header));
        assert_bytes_equal(header.key, header.key_length, "trace", 5);
        assert_bytes_equal(header.value, header.value_length, sent.trace, strlen(sent.trace));
        assert_true(sh_record_next_header(record, &cursor, &header));
        assert_bytes_equal(header.key, header.key_length, "none", 4);
        assert_bytes_equal(header.value, header.value_length, NULL, 0);
    }
    assert_false(sh_record_next_header(record, &cursor, &header));
}

static inline void assert_holds_sent(Bench *bench, int codec, int64_t base_offset)
{
    if (check(bench) != SH_OK)
        fail_msg("%s", bench->err.message);
    assert_int_equal(bench->header.attributes & SH_BATCH_ATTR_CODEC_MASK, codec);
    assert_int_equal(bench->header.record_count, SENT_RECORD_COUNT);

    ShBatchReader reader;
    ShRecord record;
    bool more;
    assert_int_equal(
        sh_batch_reader_init(&reader, bench->bytes, bench->length, 1 << 20, &bench->scratch, NULL), SH_OK);
    for (int i = 0; i < SENT_RECORD_COUNT; i++) {
        assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
        assert_true(more);
        assert_int_equal(record.offset, base_offset + i);
        assert_record_equals_sent(&record, i);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
        assert_false(more);
    }
}

#endif
