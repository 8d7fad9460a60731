#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/batch.h"
#include "core/crc32c.h"
#include "tests/unit/core/vectors/librdkafka_batches.h"
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

static ShStatus check(Bench *bench)
{
    return sh_batch_check(bench->bytes, bench->length, &wide, &bench->scratch, &bench->header, &bench->err);
}

static void assert_refused(Bench *bench, ShStatus status, const char *words)
{
    ShBatchHeader before = bench->header;
    assert_int_equal(check(bench), status);
    if (strstr(bench->err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", bench->err.message, words);
    assert_memory_equal(&before, &bench->header, sizeof before);
}

static void release(Bench *bench)
{
    sh_scratch_free(&bench->scratch);
    free(bench->bytes);
}

static void fix_crc(Bench *bench)
{
    sh_put_u32(bench->bytes + 17, sh_crc32c(bench->bytes + 21, bench->length - 21));
}

static Bench bench_of(const uint8_t *bytes, size_t length)
{
    Bench bench = {.bytes = malloc(length), .length = length};
    memcpy(bench.bytes, bytes, length);
    return bench;
}

/* A batch with a true header and CRC around these record bytes. */
static Bench bench_of_records(int32_t count, const uint8_t *records, size_t length)
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

static void add_sent(ShBatchBuilder *builder, int index)
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

static Bench bench_of_sent(ShCodec codec)
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

static void assert_bytes_equal(const void *actual, size_t actual_length, const void *expected, size_t length)
{
    assert_int_equal(actual == NULL, expected == NULL);
    assert_int_equal(actual_length, length);
    if (expected != NULL)
        assert_memory_equal(actual, expected, length);
}

static void assert_record_equals_sent(const ShRecord *record, int index)
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

static void assert_holds_sent(Bench *bench, int codec, int64_t base_offset)
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

static void builder_writes_the_golden_bytes(void **state)
{
    (void)state;
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShRecord record = {.timestamp_ms = 1000,
                       .key = (uint8_t *)"k",
                       .key_length = 1,
                       .value = (uint8_t *)"v",
                       .value_length = 1};
    assert_int_equal(sh_batch_builder_bytes(builder), SH_BATCH_HEADER_BYTES);
    assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    assert_int_equal(sh_batch_builder_count(builder), 1);
    assert_int_equal(sh_batch_builder_bytes(builder), sizeof golden);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    assert_bytes_equal(buf->data, buf->length, golden, sizeof golden);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);

    Bench bench = bench_of(golden, sizeof golden);
    assert_int_equal(check(&bench), SH_OK);
    assert_int_equal(bench.header.producer_id, -1);
    assert_int_equal(bench.header.base_timestamp_ms, 1000);
    assert_int_equal(bench.header.total_bytes, sizeof golden);
    release(&bench);
}

static void batches_of_librdkafka_are_read(void **state)
{
    (void)state;
    static const struct {
        const uint8_t *bytes;
        size_t length;
        int codec;
    } vectors[] = {
        {librdkafka_none, sizeof librdkafka_none, SH_CODEC_NONE},
        {librdkafka_gzip, sizeof librdkafka_gzip, SH_CODEC_GZIP},
        {librdkafka_snappy, sizeof librdkafka_snappy, SH_CODEC_SNAPPY},
        {librdkafka_lz4, sizeof librdkafka_lz4, SH_CODEC_LZ4},
        {librdkafka_zstd, sizeof librdkafka_zstd, SH_CODEC_ZSTD},
        {librdkafka_idempotent, sizeof librdkafka_idempotent, SH_CODEC_NONE},
        {librdkafka_transactional, sizeof librdkafka_transactional, SH_CODEC_NONE},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        Bench bench = bench_of(vectors[i].bytes, vectors[i].length);
        assert_holds_sent(&bench, vectors[i].codec, 0);
        release(&bench);
    }
}

static void producer_fields_of_librdkafka_are_read(void **state)
{
    (void)state;
    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(librdkafka_none, sizeof librdkafka_none, &header, NULL), SH_OK);
    assert_int_equal(header.producer_id, -1);
    assert_int_equal(header.base_sequence, -1);
    assert_int_equal(sh_batch_peek(librdkafka_idempotent, sizeof librdkafka_idempotent, &header, NULL),
                     SH_OK);
    assert_true(header.producer_id > 0);
    assert_int_equal(header.producer_epoch, 0);
    assert_int_equal(header.base_sequence, 0);
    assert_int_equal(header.attributes & SH_BATCH_ATTR_TRANSACTIONAL, 0);
    assert_int_equal(sh_batch_peek(librdkafka_transactional, sizeof librdkafka_transactional, &header, NULL),
                     SH_OK);
    assert_int_equal(header.attributes & SH_BATCH_ATTR_TRANSACTIONAL, SH_BATCH_ATTR_TRANSACTIONAL);
    assert_int_equal(header.max_timestamp_ms, 1700000000000 + 70 * (SENT_RECORD_COUNT - 1));
}

/* Uncompressed, the encoding leaves no choice: both builders must have written the same bytes. */
static void builder_equals_librdkafka_byte_for_byte(void **state)
{
    (void)state;
    Bench bench = bench_of_sent(SH_CODEC_NONE);
    assert_int_equal(bench.length, sizeof librdkafka_none);
    assert_memory_equal(bench.bytes + SH_BATCH_UNCOVERED_BYTES, librdkafka_none + SH_BATCH_UNCOVERED_BYTES,
                        bench.length - SH_BATCH_UNCOVERED_BYTES);
    release(&bench);
}

static void built_batches_round_trip_with_every_codec(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        Bench bench = bench_of_sent((ShCodec)codec);
        assert_holds_sent(&bench, codec, 0);
        sh_batch_set_base_offset(bench.bytes, 1LL << 40);
        sh_batch_set_leader_epoch(bench.bytes, 77);
        assert_holds_sent(&bench, codec, 1LL << 40);
        assert_int_equal(bench.header.leader_epoch, 77);
        release(&bench);
    }
}

static void builder_is_reusable_and_forgets_the_producer(void **state)
{
    (void)state;
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_LZ4);
    ShBuf *first;
    ShBuf *second;
    ShError err;
    assert_int_equal(sh_batch_builder_finish(builder, &first, &err), SH_INVALID);
    sh_batch_builder_set_producer(builder, 9, 3, 42, true);
    add_sent(builder, 1);
    assert_int_equal(sh_batch_builder_finish(builder, &first, NULL), SH_OK);
    assert_int_equal(sh_batch_builder_count(builder), 0);
    add_sent(builder, 1);
    assert_int_equal(sh_batch_builder_finish(builder, &second, NULL), SH_OK);

    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(first->data, first->length, &header, NULL), SH_OK);
    assert_int_equal(header.producer_id, 9);
    assert_int_equal(header.producer_epoch, 3);
    assert_int_equal(header.base_sequence, 42);
    assert_int_equal(header.attributes, SH_CODEC_LZ4 | SH_BATCH_ATTR_TRANSACTIONAL);
    assert_int_equal(sh_batch_peek(second->data, second->length, &header, NULL), SH_OK);
    assert_int_equal(header.producer_id, -1);
    assert_int_equal(header.attributes, SH_CODEC_LZ4);
    sh_buf_unref(first);
    sh_buf_unref(second);
    sh_batch_builder_free(builder);
}

static void builder_refuses_what_no_batch_can_hold(void **state)
{
    (void)state;
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShRecord record = {.value = (uint8_t *)"x", .value_length = (size_t)INT32_MAX + 1};
    assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_TOO_LARGE);
    record.value_length = INT32_MAX;
    assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_TOO_LARGE);
    record.value_length = 1;
    ShHeader header = {.key = NULL};
    assert_int_equal(sh_batch_builder_add(builder, &record, &header, 1, NULL), SH_INVALID);
    header = (ShHeader){.key = "k", .key_length = SIZE_MAX};
    assert_int_equal(sh_batch_builder_add(builder, &record, &header, 1, NULL), SH_TOO_LARGE);
    assert_int_equal(sh_batch_builder_count(builder), 0);
    assert_int_equal(sh_batch_builder_bytes(builder), SH_BATCH_HEADER_BYTES);
    sh_batch_builder_free(builder);
}

static void extreme_timestamps_round_trip(void **state)
{
    (void)state;
    static const int64_t times[] = {0, INT64_MAX, INT64_MIN, -1, 1};
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        assert_int_equal(sh_batch_builder_add(builder, &(ShRecord){.timestamp_ms = times[i]}, NULL, 0, NULL),
                         SH_OK);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    Bench bench = bench_of(buf->data, buf->length);
    assert_int_equal(check(&bench), SH_OK);
    assert_true(bench.header.max_timestamp_ms == INT64_MAX);

    ShBatchReader reader;
    ShRecord record;
    bool more;
    assert_int_equal(sh_batch_reader_init(&reader, bench.bytes, bench.length, 4096, &bench.scratch, NULL),
                     SH_OK);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
        assert_true(record.timestamp_ms == times[i]);
    }
    release(&bench);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);
}

static void log_append_time_replaces_all_timestamps(void **state)
{
    (void)state;
    Bench bench = bench_of_sent(SH_CODEC_NONE);
    bench.bytes[22] |= SH_BATCH_ATTR_LOG_APPEND_TIME;
    sh_put_u64(bench.bytes + 35, 5555);
    ShBatchReader reader;
    ShRecord record;
    bool more;
    assert_int_equal(sh_batch_reader_init(&reader, bench.bytes, bench.length, 1 << 20, &bench.scratch, NULL),
                     SH_OK);
    for (int i = 0; i < SENT_RECORD_COUNT; i++) {
        assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
        assert_int_equal(record.timestamp_ms, 5555);
    }
    release(&bench);
}

static void every_truncation_is_corrupt(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        Bench whole = bench_of_sent((ShCodec)codec);
        for (size_t length = 0; length < whole.length; length++) {
            Bench cut = bench_of(whole.bytes, length);
            assert_refused(&cut, SH_CORRUPT, "cut off");
            release(&cut);
        }
        release(&whole);
    }
}

/* The batch ends early, and its header and CRC agree with that: the records themselves must show it. */
static void every_consistent_truncation_is_refused(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        Bench whole = bench_of_sent((ShCodec)codec);
        for (size_t length = SH_BATCH_HEADER_BYTES; length < whole.length; length++) {
            Bench cut = bench_of(whole.bytes, length);
            sh_put_u32(cut.bytes + 8, (uint32_t)length - 12);
            fix_crc(&cut);
            assert_refused(&cut, SH_CORRUPT, "");
            release(&cut);
        }
        release(&whole);
    }
}

static void every_bit_flip_under_the_crc_is_found(void **state)
{
    (void)state;
    Bench bench = bench_of_sent(SH_CODEC_NONE);
    for (size_t bit = 8 * 17; bit < bench.length * 8; bit++) {
        bench.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_refused(&bench, SH_CORRUPT, "checksum");
        bench.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_holds_sent(&bench, SH_CODEC_NONE, 0);
    release(&bench);
}

/* Damage that carries a true CRC, as a hostile producer sends it: whatever passes the check can be read. */
static void bit_flips_with_a_true_crc_never_break_the_reader(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        Bench bench = bench_of_sent((ShCodec)codec);
        for (size_t bit = 8 * 8; bit < bench.length * 8; bit++) {
            bench.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            uint8_t crc[4];
            memcpy(crc, bench.bytes + 17, sizeof crc);
            fix_crc(&bench);
            bool accepted = check(&bench) == SH_OK;

            ShBatchReader reader;
            bool more =
                sh_batch_reader_init(&reader, bench.bytes, bench.length, 1 << 20, &bench.scratch, NULL)
                == SH_OK;
            assert_true(more || !accepted);
            ShStatus status = SH_OK;
            while (more && status == SH_OK) {
                ShRecord record;
                status = sh_batch_reader_next(&reader, &record, &more, NULL);
            }
            assert_true(status == SH_OK || !accepted);
            memcpy(bench.bytes + 17, crc, sizeof crc);
            bench.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        release(&bench);
    }
}

static void other_magics_are_unsupported(void **state)
{
    (void)state;
    static const uint8_t magics[] = {0, 1, 3, 255};
    for (size_t i = 0; i < sizeof magics; i++) {
        Bench bench = bench_of(golden, sizeof golden);
        bench.bytes[16] = magics[i];
        assert_refused(&bench, SH_UNSUPPORTED, "magic");
        bench.length = 17; /* an old message may be as short */
        assert_refused(&bench, SH_UNSUPPORTED, "magic");
        release(&bench);
    }
}

static void wrong_length_fields_are_corrupt(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 48, 59, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        Bench bench = bench_of(golden, sizeof golden);
        sh_put_u32(bench.bytes + 8, lengths[i]);
        assert_refused(&bench, SH_CORRUPT, "record batch");
        release(&bench);
    }
}

static void batches_may_follow_each_other(void **state)
{
    (void)state;
    Bench bench = {.bytes = malloc(2 * sizeof golden), .length = 2 * sizeof golden};
    memcpy(bench.bytes, golden, sizeof golden);
    memcpy(bench.bytes + sizeof golden, golden, sizeof golden);
    assert_int_equal(check(&bench), SH_OK);
    assert_int_equal(bench.header.total_bytes, sizeof golden);
    release(&bench);
}

static void unknown_codecs_and_reserved_bits_are_unsupported(void **state)
{
    (void)state;
    for (int codec = CODEC_COUNT; codec < 8; codec++) {
        Bench bench = bench_of(golden, sizeof golden);
        bench.bytes[22] = (uint8_t)codec;
        fix_crc(&bench);
        assert_refused(&bench, SH_UNSUPPORTED, "codec number");
        release(&bench);
    }
    for (int bit = 7; bit < 16; bit++) {
        Bench bench = bench_of(golden, sizeof golden);
        sh_put_u16(bench.bytes + 21, (uint16_t)(1u << bit));
        fix_crc(&bench);
        assert_refused(&bench, SH_UNSUPPORTED, "reserved");
        release(&bench);
    }
}

static void bounds_are_kept(void **state)
{
    (void)state;
    ShScratch scratch = {0};
    ShBatchHeader header;
    ShError err;
    ShBatchLimits limits = {.batch_bytes_max = sizeof golden, .decompressed_bytes_max = 9};
    assert_int_equal(sh_batch_check(golden, sizeof golden, &limits, &scratch, &header, &err), SH_OK);
    limits.batch_bytes_max--;
    assert_int_equal(sh_batch_check(golden, sizeof golden, &limits, &scratch, &header, &err), SH_TOO_LARGE);
    assert_non_null(strstr(err.message, "at most 69"));
    limits = (ShBatchLimits){.batch_bytes_max = sizeof golden, .decompressed_bytes_max = 8};
    assert_int_equal(sh_batch_check(golden, sizeof golden, &limits, &scratch, &header, &err), SH_TOO_LARGE);
    sh_scratch_free(&scratch);
}

static void zip_bombs_are_too_large(void **state)
{
    (void)state;
    uint8_t *zeros = calloc(1, 32 << 20);
    for (int codec = SH_CODEC_GZIP; codec <= SH_CODEC_ZSTD; codec++) {
        ShBatchBuilder *builder = sh_batch_builder_new((ShCodec)codec);
        ShRecord record = {.value = zeros, .value_length = 32 << 20};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
        ShBuf *buf;
        assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);

        ShBatchLimits limits = {.batch_bytes_max = 8 << 20, .decompressed_bytes_max = 1 << 20};
        ShScratch scratch = {0};
        ShBatchHeader header;
        ShError err;
        assert_int_equal(sh_batch_check(buf->data, buf->length, &limits, &scratch, &header, &err),
                         SH_TOO_LARGE);
        assert_non_null(strstr(err.message, "1048576"));
        assert_true(scratch.capacity <= limits.decompressed_bytes_max + 1);
        ShBatchReader reader;
        assert_int_equal(sh_batch_reader_init(&reader, buf->data, buf->length, 1 << 20, &scratch, &err),
                         SH_TOO_LARGE);
        sh_scratch_free(&scratch);
        sh_buf_unref(buf);
        sh_batch_builder_free(builder);
    }
    free(zeros);
}

static void wrong_counts_are_refused(void **state)
{
    (void)state;
    static const struct {
        int32_t record_count;
        int32_t last_offset_delta;
        ShStatus status;
        const char *words;
    } cases[] = {
        {0, -1, SH_INVALID, "without records"},
        {0, 0, SH_INVALID, "without records"},
        {-1, -2, SH_CORRUPT, "record count of -1"},
        {INT32_MIN, INT32_MAX, SH_CORRUPT, "record count of -2147483648"},
        {1, 1, SH_CORRUPT, "last offset delta of 1"},
        {1, -1, SH_CORRUPT, "last offset delta of -1"},
        {2, 1, SH_CORRUPT, "record 2 of 2"},
        {INT32_MAX, INT32_MAX - 1, SH_CORRUPT, "record 2 of 2147483647"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Bench bench = bench_of(golden, sizeof golden);
        sh_put_u32(bench.bytes + 57, (uint32_t)cases[i].record_count);
        sh_put_u32(bench.bytes + 23, (uint32_t)cases[i].last_offset_delta);
        fix_crc(&bench);
        assert_refused(&bench, cases[i].status, cases[i].words);
        release(&bench);
    }
}

static void wrong_producer_fields_are_invalid(void **state)
{
    (void)state;
    static const struct {
        int64_t id;
        int16_t epoch;
        int32_t sequence;
        uint16_t attributes;
        ShStatus status;
    } cases[] = {
        {-1, -1, -1, 0, SH_OK},
        {5, 0, 0, 0, SH_OK},
        {5, 0, 0, SH_BATCH_ATTR_TRANSACTIONAL, SH_OK},
        {5, 0, -1, SH_BATCH_ATTR_TRANSACTIONAL | SH_BATCH_ATTR_CONTROL, SH_OK},
        {-2, 0, 0, 0, SH_INVALID},
        {5, -1, 0, 0, SH_INVALID},
        {5, 0, -1, 0, SH_INVALID},
        {-1, -1, -1, SH_BATCH_ATTR_TRANSACTIONAL, SH_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Bench bench = bench_of(golden, sizeof golden);
        sh_put_u16(bench.bytes + 21, cases[i].attributes);
        sh_put_u64(bench.bytes + 43, (uint64_t)cases[i].id);
        sh_put_u16(bench.bytes + 51, (uint16_t)cases[i].epoch);
        sh_put_u32(bench.bytes + 53, (uint32_t)cases[i].sequence);
        fix_crc(&bench);
        assert_int_equal(check(&bench), cases[i].status);
        release(&bench);
    }
}

typedef struct DamagedRecords {
    Bench bench;
    const char *words;
} DamagedRecords;

static void damaged_records_are_named(void **state)
{
    (void)state;
    DamagedRecords cases[] = {
        {RECORDS(1, 26, 0, 0, 0, 2, 'k', 2, 'v', 0), "record 1 of 1 in the batch ends 5 bytes past it"},
        {RECORDS(1, 15, 0, 0, 0, 2, 'k', 2, 'v', 0), "no valid length"},
        {RECORDS(1, 0x80, 0x80, 0x80, 0x80, 0x80, 0), "no valid length"},
        {RECORDS(1, 0xff, 0xff, 0xff, 0xff, 0x1f), "no valid length"},
        {RECORDS(1, 0), "is empty"},
        {RECORDS(1, 2, 0), "no valid timestamp delta"},
        {RECORDS(1, 24, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0),
         "no valid timestamp"},
        {RECORDS(1, 4, 0, 0), "no valid offset delta"},
        {RECORDS(1, 16, 0, 0, 1, 2, 'k', 2, 'v', 0), "no valid offset delta"},
        {RECORDS(1, 16, 0, 0, 2, 2, 'k', 2, 'v', 0), "offset delta of 1, not 0"},
        {RECORDS(1, 6, 0, 0, 0), "key whose length is wrong"},
        {RECORDS(1, 16, 0, 0, 0, 3, 'k', 2, 'v', 0), "key whose length is wrong"},
        {RECORDS(1, 16, 0, 0, 0, 10, 'k', 2, 'v', 0), "key whose length is wrong"},
        {RECORDS(1, 16, 0, 0, 0, 2, 'k', 6, 'v', 0), "value whose length is wrong"},
        {RECORDS(1, 16, 0, 0, 0, 2, 'k', 4, 'v', 0), "no valid header count"},
        {RECORDS(1, 16, 0, 0, 0, 2, 'k', 2, 'v', 1), "no valid header count"},
        {RECORDS(1, 16, 0, 0, 0, 2, 'k', 2, 'v', 2), "wrong key length in header 1 of 1"},
        {RECORDS(1, 16, 0, 0, 0, 2, 'k', 0, 2, 1), "wrong key length in header 1 of 1"},
        {RECORDS(1, 16, 0, 0, 0, 1, 1, 2, 0, 4), "wrong value length in header 1 of 1"},
        {RECORDS(1, 16, 0, 0, 0, 1, 1, 2, 0, 3), "wrong value length in header 1 of 1"},
        {RECORDS(1, 16, 0, 0, 0, 1, 1, 0, 'x', 'y'), "2 bytes left over after its headers"},
        {RECORDS(1, 12, 0, 0, 0, 1, 1, 0, 'x', 'y', 'z'), "3 bytes left over after its 1 records"},
        {RECORDS(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0),
         "record 2 of 2 in the batch has an offset delta of 2"},
        {RECORDS(2, 12, 0, 0, 0, 1, 1, 0), "record 2 of 2 in the batch has no valid length"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(&cases[i].bench, SH_CORRUPT, cases[i].words);
        release(&cases[i].bench);
    }
}

static void longer_varints_than_needed_are_accepted(void **state)
{
    (void)state;
    Bench bench = RECORDS(1, 0xa2, 0x80, 0, 0, 0x80, 0x80, 0, 0x80, 0x80, 0x80, 0x80, 0, 0x81, 0, 0x81, 0x80,
                          0, 0x80, 0x80, 0);
    assert_int_equal(bench.bytes[SH_BATCH_HEADER_BYTES], 0xa2);
    assert_int_equal(check(&bench), SH_OK);
    release(&bench);
}

static void control_batches_are_left_to_the_caller(void **state)
{
    (void)state;
    Bench bench = RECORDS(1, 32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0);
    sh_put_u16(bench.bytes + 21, SH_BATCH_ATTR_CONTROL | SH_BATCH_ATTR_TRANSACTIONAL);
    sh_put_u64(bench.bytes + 43, 1);
    sh_put_u16(bench.bytes + 51, 0);
    fix_crc(&bench);
    assert_int_equal(check(&bench), SH_OK);
    assert_true((bench.header.attributes & SH_BATCH_ATTR_CONTROL) != 0);
    release(&bench);
}

static void reader_survives_unchecked_counts(void **state)
{
    (void)state;
    Bench bench = bench_of(golden, sizeof golden);
    ShBatchReader reader;
    ShRecord record;
    bool more;
    sh_put_u32(bench.bytes + 57, (uint32_t)-5);
    assert_int_equal(sh_batch_reader_init(&reader, bench.bytes, bench.length, 100, &bench.scratch, NULL),
                     SH_CORRUPT);
    sh_put_u32(bench.bytes + 57, 0);
    assert_int_equal(sh_batch_reader_init(&reader, bench.bytes, bench.length, 100, &bench.scratch, NULL),
                     SH_OK);
    assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_CORRUPT);
    sh_put_u32(bench.bytes + 57, 2);
    assert_int_equal(sh_batch_reader_init(&reader, bench.bytes, bench.length, 100, &bench.scratch, NULL),
                     SH_OK);
    assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
    assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_CORRUPT);
    release(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builder_writes_the_golden_bytes),
        cmocka_unit_test(batches_of_librdkafka_are_read),
        cmocka_unit_test(producer_fields_of_librdkafka_are_read),
        cmocka_unit_test(builder_equals_librdkafka_byte_for_byte),
        cmocka_unit_test(built_batches_round_trip_with_every_codec),
        cmocka_unit_test(builder_is_reusable_and_forgets_the_producer),
        cmocka_unit_test(builder_refuses_what_no_batch_can_hold),
        cmocka_unit_test(extreme_timestamps_round_trip),
        cmocka_unit_test(log_append_time_replaces_all_timestamps),
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(every_consistent_truncation_is_refused),
        cmocka_unit_test(every_bit_flip_under_the_crc_is_found),
        cmocka_unit_test(bit_flips_with_a_true_crc_never_break_the_reader),
        cmocka_unit_test(other_magics_are_unsupported),
        cmocka_unit_test(wrong_length_fields_are_corrupt),
        cmocka_unit_test(batches_may_follow_each_other),
        cmocka_unit_test(unknown_codecs_and_reserved_bits_are_unsupported),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(zip_bombs_are_too_large),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(wrong_producer_fields_are_invalid),
        cmocka_unit_test(damaged_records_are_named),
        cmocka_unit_test(longer_varints_than_needed_are_accepted),
        cmocka_unit_test(control_batches_are_left_to_the_caller),
        cmocka_unit_test(reader_survives_unchecked_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
