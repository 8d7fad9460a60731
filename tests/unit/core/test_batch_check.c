#include "tests/unit/core/batch_bench.h"

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
            bool more = sh_batch_reader_init(&reader, bench.bytes, bench.length, 1 << 20, &bench.scratch,
                                             NULL) == SH_OK;
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
        {INT32_MIN, INT32_MAX - 1, SH_CORRUPT, "record count of -2147483648"},
        {INT32_MIN, INT32_MAX, SH_CORRUPT, "last offset delta of 2147483647"},
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

/* Records on both sides of where a length or an offset takes one byte more; plain ones and others mixed. */
static Bench bench_of_borders(int32_t count)
{
    static const size_t lengths[] = {0, 1, 63, 64, 100, 8191, 8192};
    static const uint8_t zeros[8192] = {0};
    ShHeader header = {.key = "h", .key_length = 1};
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int32_t i = 0; i < count; i++) {
        bool is_border = i < 100;
        size_t key_length = lengths[i % 7];
        size_t value_length = lengths[i / 7 % 7];
        ShRecord record = {.timestamp_ms = i < 50 ? i * 3 : INT64_C(1) << (i % 62),
                           .key = i % 3 == 0 || !is_border ? NULL : zeros,
                           .key_length = i % 3 == 0 || !is_border ? 0 : key_length,
                           .value = i % 11 == 10 ? NULL : zeros,
                           .value_length = i % 11 == 10 || !is_border ? 0 : value_length};
        assert_int_equal(sh_batch_builder_add(builder, &record, &header, i % 13 == 12, NULL), SH_OK);
    }
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    Bench bench = bench_of(buf->data, buf->length);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);
    return bench;
}

static void records_on_both_sides_of_a_length_are_accepted(void **state)
{
    (void)state;
    Bench bench = bench_of_borders(8200); /* offsets of one, two and three bytes */
    if (check(&bench) != SH_OK)
        fail_msg("%s", bench.err.message);
    release(&bench);
}

/* Does the reader, which knows no plain records, find them all, numbered without a hole? */
static bool reads_without_a_hole(Bench *bench)
{
    ShBatchReader reader;
    if (sh_batch_reader_init(&reader, bench->bytes, bench->length, 1 << 20, &bench->scratch, NULL) != SH_OK)
        return false;
    ShRecord record;
    bool more = true;
    for (int64_t offset = 0; sh_batch_reader_next(&reader, &record, &more, NULL) == SH_OK; offset++) {
        if (!more)
            return true;
        if (record.offset != offset)
            return false;
    }
    return false;
}

/* Whatever byte of a record is changed to whatever other: the short way through plain records and the careful
 * one come to the same verdict. */
static void check_and_reader_agree_about_every_changed_byte(void **state)
{
    (void)state;
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    size_t begins[67];
    for (int i = 0; i < 67; i++) {
        begins[i] = sh_batch_builder_bytes(builder);
        ShRecord record = {.timestamp_ms = i * 2,
                           .key = i % 2 == 0 ? NULL : (const uint8_t *)"key",
                           .key_length = i % 2 == 0 ? 0 : 3,
                           .value = (const uint8_t *)"\0\1\2\x80\x81\0\0\0",
                           .value_length = (size_t)(i % 9)};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    Bench bench = bench_of(buf->data, buf->length);
    int accepted = 0;
    for (size_t at = begins[60]; at < bench.length; at++) {
        uint8_t kept = bench.bytes[at];
        for (int change = 1; change < 256; change++) {
            bench.bytes[at] = (uint8_t)(kept ^ change);
            fix_crc(&bench);
            bool is_good = check(&bench) == SH_OK;
            assert_int_equal(is_good, reads_without_a_hole(&bench));
            accepted += is_good;
        }
        bench.bytes[at] = kept;
    }
    assert_true(accepted > 0); /* changed keys and values are none of its business */
    release(&bench);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);
}

typedef struct Watcher {
    ShBatchWatch watch;
    int32_t shown[8];
    size_t count;
    bool learns; /* takes the value's head as the one to expect */
} Watcher;

static bool note(ShBatchWatch *watch, int32_t index, const ShRecord *record)
{
    Watcher *watcher = (Watcher *)watch;
    assert_true(watcher->count < 8);
    watcher->shown[watcher->count++] = index;
    if (watcher->learns && record->value_length >= SH_RECORD_HEAD_BYTES)
        watch->value_head = sh_record_head(record->value);
    return true;
}

/* Values of a batch: "", "aaaaax", null, "aaaaa", "bbbbby", "bbbbb", "aaaa", all with the key "kkkkkk" but
 * the third, which has none, and the fourth, whose key "kkkkk" is a head and no more. */
static Bench bench_of_heads(ShCodec codec)
{
    static const char *const values[] = {"", "aaaaax", NULL, "aaaaa", "bbbbby", "bbbbb", "aaaa"};
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    ShBuf *buf = NULL;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        ShRecord record = {.timestamp_ms = 1, .key = (const uint8_t *)(i == 2 ? NULL : "kkkkkk")};
        record.key_length = record.key == NULL ? 0 : i == 3 ? 5 : 6;
        record.value = (const uint8_t *)values[i];
        record.value_length = values[i] == NULL ? 0 : strlen(values[i]);
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    Bench bench = bench_of(buf->data, buf->length);
    sh_buf_unref(buf);
    sh_batch_builder_free(builder);
    return bench;
}

static void watch_heads(Bench *bench, Watcher *watcher)
{
    const ShBatchLimits limits = {.batch_bytes_max = SIZE_MAX, .decompressed_bytes_max = 1 << 20};
    ShBatchHeader header;
    watcher->watch.other = note;
    assert_int_equal(sh_batch_check_watched(bench->bytes, bench->length, &limits, &bench->scratch,
                                            &watcher->watch, &header, NULL),
                     SH_OK);
}

static void records_of_another_head_are_shown(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        Bench bench = bench_of_heads((ShCodec)codec);
        Watcher values = {.watch = {.values = true, .value_head = SH_RECORD_HEAD_NONE}, .learns = true};
        watch_heads(&bench, &values);
        static const int32_t changes[] = {0, 1, 4, 6};
        assert_int_equal(values.count, 4);
        assert_memory_equal(values.shown, changes, sizeof changes);

        Watcher keys = {.watch = {.keys = true, .key_head = SH_RECORD_HEAD_NONE}};
        watch_heads(&bench, &keys);
        static const int32_t with_key[] = {0, 1, 3, 4, 5, 6};
        assert_int_equal(keys.count, 6);
        assert_memory_equal(keys.shown, with_key, sizeof with_key);

        Watcher known = {.watch = {.keys = true, .key_head = sh_record_head((const uint8_t *)"kkkkk")}};
        watch_heads(&bench, &known);
        assert_int_equal(known.count, 0);
        release(&bench);
    }
}

/* What the header says of the newest time is not believed: it is that of the records, whatever their order
 * and the lengths of their deltas, as the reader has them. */
static void the_newest_time_is_that_of_the_records(void **state)
{
    (void)state;
    static const int64_t spans_ms[] = {1, 60, 100, 9000, 3000000, 1LL << 40, INT64_MAX / 2};
    uint64_t random = 9;
    for (int round = 0; round < 2000; round++) {
        ShBatchBuilder *builder = sh_batch_builder_new((ShCodec)(round % CODEC_COUNT));
        int64_t span_ms = spans_ms[round % 7];
        int64_t newest_ms = INT64_MIN;
        for (int i = 0; i <= round % 13; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            int64_t offset_ms = (int64_t)(random >> 1) % span_ms;
            bool is_falling = round % 3 == 0 || (round % 3 == 1 && i % 2 == 0);
            ShRecord record = {.timestamp_ms = is_falling ? -offset_ms : offset_ms,
                               .value = (const uint8_t *)"plain value",
                               .value_length = round % 5 == 0 ? 0 : 11};
            newest_ms = record.timestamp_ms > newest_ms ? record.timestamp_ms : newest_ms;
            assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
        }
        ShBuf *buf;
        assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
        sh_batch_builder_free(builder);
        Bench bench = bench_of(buf->data, buf->length);
        sh_buf_unref(buf);

        assert_int_equal(check(&bench), SH_OK);
        if (bench.header.max_timestamp_ms != newest_ms)
            fail_msg("round %d: %lld, not %lld", round, (long long)bench.header.max_timestamp_ms,
                     (long long)newest_ms);
        assert_true(sh_batch_says_max_timestamp(bench.bytes, &bench.header));
        sh_put_u64(bench.bytes + SH_BATCH_MAX_TIMESTAMP_POSITION, random);
        fix_crc(&bench);
        assert_int_equal(check(&bench), SH_OK);
        assert_int_equal(bench.header.max_timestamp_ms, newest_ms);
        assert_false(sh_batch_says_max_timestamp(bench.bytes, &bench.header));
        sh_batch_set_max_timestamp(bench.bytes, &bench.header, newest_ms, false);
        ShBatchHeader fixed = bench.header;
        assert_int_equal(check(&bench), SH_OK); /* with the CRC too */
        assert_memory_equal(&fixed, &bench.header, sizeof fixed);
        assert_true(sh_batch_says_max_timestamp(bench.bytes, &bench.header));
        release(&bench);
    }
}

/* Deltas that lead beyond what a time can be, and encodings longer than they need be, which look greater. */
static void odd_deltas_are_measured_as_they_are_read(void **state)
{
    (void)state;
    Bench bench = bench_of(golden, sizeof golden);
    sh_put_u64(bench.bytes + 27, (uint64_t)INT64_MAX - 5);
    bench.bytes[63] = 20; /* the delta: 10 */
    fix_crc(&bench);
    assert_int_equal(check(&bench), SH_OK);
    assert_int_equal(bench.header.max_timestamp_ms, INT64_MAX);
    ShBatchReader reader;
    ShRecord record;
    bool more;
    assert_int_equal(
        sh_batch_reader_init(&reader, bench.bytes, bench.length, 1 << 20, &bench.scratch, &bench.err), SH_OK);
    assert_int_equal(sh_batch_reader_next(&reader, &record, &more, &bench.err), SH_OK);
    assert_int_equal(record.timestamp_ms, INT64_MAX);
    release(&bench);

    /* Two plain records with values of 20 bytes: deltas 5, in two bytes, and 6, in one. */
    uint8_t bytes[SH_BATCH_HEADER_BYTES + 28 + 27];
    memcpy(bytes, golden, SH_BATCH_HEADER_BYTES);
    uint8_t *p = bytes + SH_BATCH_HEADER_BYTES;
    static const uint8_t heads[2][7] = {{54, 0, 0x8A, 0, 0, 1, 40}, {52, 0, 12, 2, 1, 40}};
    for (int i = 0; i < 2; i++) {
        size_t head = i == 0 ? 7 : 6;
        memcpy(p, heads[i], head);
        memset(p + head, 'v', 20);
        p[head + 20] = 0;
        p += head + 21;
    }
    size_t length = (size_t)(p - bytes);
    bench = bench_of(bytes, length);
    sh_put_u32(bench.bytes + 8, (uint32_t)length - 12);
    sh_put_u32(bench.bytes + 23, 1);
    sh_put_u32(bench.bytes + 57, 2);
    fix_crc(&bench);
    if (check(&bench) != SH_OK)
        fail_msg("%s", bench.err.message);
    assert_int_equal(bench.header.max_timestamp_ms, 1006);
    release(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(the_newest_time_is_that_of_the_records),
        cmocka_unit_test(odd_deltas_are_measured_as_they_are_read),
        cmocka_unit_test(every_consistent_truncation_is_refused),
        cmocka_unit_test(every_bit_flip_under_the_crc_is_found),
        cmocka_unit_test(bit_flips_with_a_true_crc_never_break_the_reader),
        cmocka_unit_test(other_magics_are_unsupported),
        cmocka_unit_test(wrong_length_fields_are_corrupt),
        cmocka_unit_test(unknown_codecs_and_reserved_bits_are_unsupported),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(zip_bombs_are_too_large),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(wrong_producer_fields_are_invalid),
        cmocka_unit_test(damaged_records_are_named),
        cmocka_unit_test(longer_varints_than_needed_are_accepted),
        cmocka_unit_test(records_on_both_sides_of_a_length_are_accepted),
        cmocka_unit_test(check_and_reader_agree_about_every_changed_byte),
        cmocka_unit_test(records_of_another_head_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
