#include "tests/unit/core/batch_bench.h"
#include "tests/unit/core/vectors/librdkafka_batches.h"

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

static void a_cut_batch_keeps_its_offsets_and_its_first_records(void **state)
{
    (void)state;
    for (int codec = SH_CODEC_NONE; codec <= SH_CODEC_ZSTD; codec++) {
        ShBatchBuilder *builder = sh_batch_builder_new((ShCodec)codec);
        for (int i = 0; i < 10; i++)
            add_sent(builder, i);
        sh_batch_builder_set_producer(builder, 7, 1, 100, false);
        ShBuf *whole;
        assert_int_equal(sh_batch_builder_finish(builder, &whole, NULL), SH_OK);
        sh_batch_builder_free(builder);
        sh_batch_set_base_offset(whole->data, 5000);
        for (int count = 1; count <= 10; count++) {
            ShBuf *cut;
            assert_int_equal(sh_batch_cut(whole->data, whole->length, count, INT32_MAX, &cut, NULL), SH_OK);
            assert_int_equal(sh_get_u32(cut->data + 17), sh_crc32c(cut->data + 21, cut->length - 21));
            ShScratch scratch[2] = {{0}};
            ShBatchReader reader[2];
            ShRecord record[2];
            bool more[2];
            assert_int_equal(
                sh_batch_reader_init(&reader[0], whole->data, whole->length, INT32_MAX, &scratch[0], NULL),
                SH_OK);
            assert_int_equal(
                sh_batch_reader_init(&reader[1], cut->data, cut->length, INT32_MAX, &scratch[1], NULL),
                SH_OK);
            assert_int_equal(reader[1].header.base_offset, 5000);
            assert_int_equal(reader[1].header.last_offset_delta, 9);
            assert_int_equal(reader[1].header.producer_id, -1);
            for (int i = 0; i < count; i++) {
                for (int j = 0; j < 2; j++)
                    assert_int_equal(sh_batch_reader_next(&reader[j], &record[j], &more[j], NULL), SH_OK);
                assert_true(more[1]);
                assert_int_equal(record[1].offset, 5000 + i);
                assert_int_equal(record[1].timestamp_ms, record[0].timestamp_ms);
                assert_bytes_equal(record[1].value, record[1].value_length, record[0].value,
                                   record[0].value_length);
                assert_bytes_equal(record[1].headers, record[1].headers_length, record[0].headers,
                                   record[0].headers_length);
            }
            assert_int_equal(sh_batch_reader_next(&reader[1], &record[1], &more[1], NULL), SH_OK);
            assert_false(more[1]);
            sh_scratch_free(&scratch[0]);
            sh_scratch_free(&scratch[1]);
            sh_buf_unref(cut);
        }
        ShBuf *cut;
        assert_int_equal(sh_batch_cut(whole->data, whole->length, 11, INT32_MAX, &cut, NULL), SH_INVALID);
        assert_int_equal(sh_batch_cut(whole->data, whole->length, 0, INT32_MAX, &cut, NULL), SH_INVALID);
        sh_buf_unref(whole);
    }
}

static void a_cut_batch_keeps_the_time_of_its_arrival(void **state)
{
    (void)state;
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int i = 0; i < 3; i++)
        add_sent(builder, i);
    ShBuf *whole;
    assert_int_equal(sh_batch_builder_finish(builder, &whole, NULL), SH_OK);
    sh_batch_builder_free(builder);
    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(whole->data, whole->length, &header, NULL), SH_OK);
    sh_batch_set_max_timestamp(whole->data, &header, 77777, true);
    ShBuf *cut;
    assert_int_equal(sh_batch_cut(whole->data, whole->length, 2, INT32_MAX, &cut, NULL), SH_OK);
    assert_int_equal(sh_get_u32(cut->data + 17), sh_crc32c(cut->data + 21, cut->length - 21));
    assert_int_equal(sh_batch_peek(cut->data, cut->length, &header, NULL), SH_OK);
    assert_true((header.attributes & SH_BATCH_ATTR_LOG_APPEND_TIME) != 0);
    assert_int_equal(header.max_timestamp_ms, 77777);
    sh_buf_unref(cut);
    sh_buf_unref(whole);
}

static void offsets_that_cannot_be_counted_are_refused(void **state)
{
    (void)state;
    Bench bench = bench_of(golden, sizeof golden);
    sh_put_u32(bench.bytes + 23, INT32_MAX);
    ShBatchHeader header;
    ShError err;
    assert_int_equal(sh_batch_peek(bench.bytes, bench.length, &header, &err), SH_CORRUPT);
    assert_non_null(strstr(err.message, "last offset delta of 2147483647"));
    sh_put_u32(bench.bytes + 23, INT32_MAX - 1);
    assert_int_equal(sh_batch_peek(bench.bytes, bench.length, &header, &err), SH_OK);
    assert_int_equal(header.last_offset_delta + 1, INT32_MAX);
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
        cmocka_unit_test(batches_may_follow_each_other),
        cmocka_unit_test(control_batches_are_left_to_the_caller),
        cmocka_unit_test(reader_survives_unchecked_counts),
        cmocka_unit_test(offsets_that_cannot_be_counted_are_refused),
        cmocka_unit_test(a_cut_batch_keeps_its_offsets_and_its_first_records),
        cmocka_unit_test(a_cut_batch_keeps_the_time_of_its_arrival),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
