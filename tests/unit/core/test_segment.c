#include "tests/unit/core/segment_fixture.h"

#define HEADER_BYTES_MIN 80
#define RESULT_BYTES     69
#define RUN_BYTES        100

static ShStatus parse_and_free(const uint8_t *bytes, uint64_t length, ShError *err)
{
    ShSegmentIndex *index = NULL;
    ShStatus status = sh_segment_parse(bytes, length, &index, err);
    assert_int_equal(index != NULL, status == SH_OK);
    sh_segment_index_free(index);
    return status;
}

static uint64_t footer_position(const Object *object)
{
    return sh_get_u64(object->bytes + object->length - SH_SEGMENT_TRAILER_BYTES);
}

/* Make the footer's, the header's and the trailer's CRCs true again. */
static void fix_crcs(Object *object)
{
    uint8_t *trailer = object->bytes + object->length - SH_SEGMENT_TRAILER_BYTES;
    uint64_t footer = footer_position(object);
    uint32_t header_length = sh_get_u32(trailer + 24);
    sh_put_u32(object->bytes + header_length - 4, sh_crc32c(object->bytes, header_length - 4));
    sh_put_u32(trailer + 16,
               sh_crc32c(object->bytes + footer, object->length - SH_SEGMENT_TRAILER_BYTES - footer));
    memcpy(trailer + 20, object->bytes + header_length - 4, 4);
    sh_put_u32(trailer + 52, sh_crc32c(trailer, 52));
}

static void object_round_trips(void **state)
{
    (void)state;
    Object object = sample_object();
    ShSegmentIndex *index;
    ShError err;
    if (sh_segment_parse(object.bytes, object.length, &index, &err) != SH_OK)
        fail_msg("%s", err.message);

    assert_memory_equal(&index->writer, &writer_id, sizeof writer_id);
    assert_int_equal(index->result_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(sh_uuid_equal(&index->results[i].object_id, &results[i].object_id));
        assert_true(sh_uuid_equal(&index->results[i].topic_id, &results[i].topic_id));
        assert_int_equal(index->results[i].publish_no, results[i].publish_no);
        assert_int_equal(index->results[i].partition, results[i].partition);
        assert_int_equal(index->results[i].epoch, results[i].epoch);
        assert_true(index->results[i].first_offset == results[i].first_offset);
        assert_int_equal(index->results[i].offset_count, results[i].offset_count);
        assert_int_equal(index->results[i].disposition, results[i].disposition);
    }

    assert_int_equal(index->run_count, 2);
    const ShSegmentRun *run = &index->runs[0];
    assert_true(sh_uuid_equal(&run->topic_id, &topic_a));
    assert_int_equal(run->partition, 3);
    assert_int_equal(run->epoch, 2);
    assert_int_equal(run->first_offset, 1000);
    assert_int_equal(run->offset_count, 6);
    assert_int_equal(run->record_count, 6);
    assert_int_equal(run->batch_count, 3);
    assert_int_equal(run->position, HEADER_BYTES_MIN + 2 * RESULT_BYTES);
    assert_int_equal(run->min_timestamp_ms, 400);
    assert_int_equal(run->max_timestamp_ms, 501);
    assert_int_equal(run->transaction_count, 2);
    assert_int_equal(index->transaction_count, 2);
    assert_int_equal(index->transactions[0].producer_id, 11);
    assert_int_equal(index->transactions[1].producer_id, 12);
    assert_int_equal(index->transactions[1].producer_epoch, 1);

    run = &index->runs[1];
    assert_true(sh_uuid_equal(&run->topic_id, &topic_b));
    assert_int_equal(run->first_offset, SH_OFFSET_UNASSIGNED);
    assert_int_equal(run->offset_count, 5);
    assert_int_equal(run->position, index->runs[0].position + index->runs[0].length);
    assert_int_equal(run->first_transaction, 2);
    assert_int_equal(run->transaction_count, 0);
    sh_segment_index_free(index);
    free(object.bytes);
}

static void finished_object_shows_its_runs(void **state)
{
    (void)state;
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    begin(writer, &topic_a, 1, 1, 10);
    assert_int_equal(add_new(writer, 10, 2, 0, -1, NULL), SH_OK);
    uint64_t data_bytes = sh_segment_writer_bytes(writer);
    ShSegmentObject object;
    assert_int_equal(sh_segment_writer_finish(writer, &object, NULL), SH_OK);
    assert_int_equal(object.run_count, 1);
    assert_int_equal(object.runs[0].length, data_bytes);
    assert_int_equal(object.runs[0].position, HEADER_BYTES_MIN);
    assert_int_equal(object.total_bytes,
                     HEADER_BYTES_MIN + data_bytes + 8 + RUN_BYTES + SH_SEGMENT_TRAILER_BYTES);
    sh_segment_writer_free(writer);
    sh_segment_writer_free(NULL);
}

static void payload_is_not_copied_or_changed(void **state)
{
    (void)state;
    ShBuf *buf = new_batch(1000, 2, 0, -1);
    ShBuf *original = sh_buf_copy(buf->data, buf->length);
    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(buf->data, buf->length, &header, NULL), SH_OK);
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    begin(writer, &topic_a, 0, 1, 1000);
    ShSlice slice = {.data = buf->data, .length = buf->length, .owner = buf};
    assert_int_equal(sh_segment_writer_add(writer, slice, &header, NULL), SH_OK);
    assert_int_equal(atomic_load(&buf->refs), 2);

    ShSegmentObject object;
    assert_int_equal(sh_segment_writer_finish(writer, &object, NULL), SH_OK);
    assert_int_equal(object.piece_count, 4);
    assert_ptr_equal(object.pieces[2].iov_base, buf->data + 8);
    assert_memory_equal(object.pieces[1].iov_base, "\0\0\0\0\0\0\0\0", 8);
    sh_segment_writer_free(writer);
    assert_int_equal(atomic_load(&buf->refs), 1);
    assert_memory_equal(buf->data, original->data, original->length);
    sh_buf_unref(original);
    sh_buf_unref(buf);
}

static void many_runs_and_batches_round_trip(void **state)
{
    (void)state;
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    for (int32_t partition = 0; partition < 100; partition++) {
        begin(writer, &topic_a, partition, 1, 50);
        for (int i = 0; i < 20; i++)
            assert_int_equal(add_new(writer, 50 + i, 1, i, i, NULL), SH_OK);
    }
    Object object = finish(writer);
    ShSegmentIndex *index;
    assert_int_equal(sh_segment_parse(object.bytes, object.length, &index, NULL), SH_OK);
    assert_int_equal(index->run_count, 100);
    assert_int_equal(index->transaction_count, 2000);
    assert_int_equal(index->runs[99].partition, 99);
    assert_int_equal(index->runs[99].first_transaction, 1980);
    sh_segment_index_free(index);
    free(object.bytes);
}

static void transactions_stand_once_per_run_and_sorted(void **state)
{
    (void)state;
    static const int64_t producers[] = {9, 3, 3, 7, 9, 3};
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    for (int32_t partition = 0; partition < 3; partition++) {
        begin(writer, &topic_a, partition, 1, 0);
        for (int i = 0; i < 6; i++)
            assert_int_equal(add_new(writer, i, 1, 0, partition == 1 ? -1 : producers[i], NULL), SH_OK);
    }
    Object object = finish(writer);
    ShSegmentIndex *index;
    assert_int_equal(sh_segment_parse(object.bytes, object.length, &index, NULL), SH_OK);
    static const int64_t expected[] = {3, 7, 9, 3, 7, 9};
    assert_int_equal(index->transaction_count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(index->transactions[i].producer_id, expected[i]);
    static const uint32_t firsts[] = {0, 3, 3};
    static const uint32_t counts[] = {3, 0, 3};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(index->runs[i].first_transaction, firsts[i]);
        assert_int_equal(index->runs[i].transaction_count, counts[i]);
    }
    sh_segment_index_free(index);
    free(object.bytes);
}

static void object_may_carry_results_alone(void **state)
{
    (void)state;
    Object object = finish(sh_segment_writer_new(&writer_id, results, 2));
    assert_int_equal(object.length, HEADER_BYTES_MIN + 2 * RESULT_BYTES + 8 + SH_SEGMENT_TRAILER_BYTES);
    ShSegmentIndex *index;
    assert_int_equal(sh_segment_parse(object.bytes, object.length, &index, NULL), SH_OK);
    assert_int_equal(index->run_count, 0);
    assert_int_equal(index->result_count, 2);
    sh_segment_index_free(index);
    free(object.bytes);
}

static void golden_bytes_of_an_empty_object(void **state)
{
    (void)state;
    static const uint8_t header[] = {
        'S',  'H', 'S',  'E',  'G',  'H',  'D',  'R',  0, 0, 0, 1,
        0,    0,   0,    80, /* magic, version, length */
        0xa0, 1,   2,    3,    0,    0,    0,    0,    0, 0, 0, 0,
        0,    0,   0,    0, /* object id */
        0xb0, 1,   2,    3,    0,    0,    0,    0,    0, 0, 0, 0,
        0,    0,   0,    0, /* WAL uuid */
        0,    0,   0,    0,    0,    0,    0,    7,    0, 0, 0, 0,
        0,    0,   0,    42,                                       /* incarnation, publish number */
        0,    0,   0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b, 0, 0, 0, 0, /* time, result count */
    };
    static const uint8_t tail[] = {
        0, 0, 0, 0, 0, 0, 0, 0,                         /* footer: no runs, no transactions */
        0, 0, 0, 0, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 8 /* trailer: footer's place */
    };
    Object object = finish(sh_segment_writer_new(&writer_id, NULL, 0));
    assert_int_equal(object.length, 80 + 8 + 64);
    assert_memory_equal(object.bytes, header, sizeof header);
    assert_int_equal(sh_get_u32(object.bytes + 76), sh_crc32c(header, sizeof header));
    assert_memory_equal(object.bytes + 80, tail, sizeof tail);
    const uint8_t *trailer = object.bytes + 88;
    assert_int_equal(sh_get_u32(trailer + 16), sh_crc32c(tail, 8));
    assert_memory_equal(trailer + 20, object.bytes + 76, 4);
    assert_memory_equal(trailer + 24, "\0\0\0\x50", 4);
    assert_memory_equal(trailer + 28, writer_id.object_id.bytes, 16);
    assert_memory_equal(trailer + 44, "\0\0\0\0\0\0\0\1", 8);
    assert_int_equal(sh_get_u32(trailer + 52), sh_crc32c(trailer, 52));
    assert_memory_equal(trailer + 56, "SHSEGEND", 8);
    free(object.bytes);
}

static void writer_refuses_what_does_not_fit(void **state)
{
    (void)state;
    ShError err;
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    assert_int_equal(add_new(writer, 0, 1, 0, -1, &err), SH_INVALID);
    assert_int_equal(sh_segment_writer_begin_run(writer, &topic_a, -1, 1, 0, &err), SH_INVALID);
    assert_int_equal(sh_segment_writer_begin_run(writer, &topic_a, 0, -1, 0, &err), SH_INVALID);
    assert_int_equal(sh_segment_writer_begin_run(writer, &topic_a, 0, 1, -2, &err), SH_INVALID);

    begin(writer, &topic_a, 0, 1, 10);
    assert_int_equal(sh_segment_writer_begin_run(writer, &topic_a, 1, 1, 0, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "has no batch"));
    ShSegmentObject object;
    assert_int_equal(sh_segment_writer_finish(writer, &object, &err), SH_INVALID);

    assert_int_equal(add_new(writer, 9, 1, 0, -1, &err), SH_INVALID);
    assert_int_equal(add_new(writer, 10, 3, 0, -1, &err), SH_OK);
    assert_int_equal(add_new(writer, 12, 1, 0, -1, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "ends at 13"));
    assert_int_equal(add_new(writer, 14, 1, 0, -1, &err), SH_INVALID);

    ShBuf *buf = new_batch(13, 1, 0, -1);
    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(buf->data, buf->length, &header, NULL), SH_OK);
    ShSlice slice = {.data = buf->data, .length = buf->length - 1, .owner = buf};
    assert_int_equal(sh_segment_writer_add(writer, slice, &header, &err), SH_INVALID);
    slice.length = buf->length;
    header.last_offset_delta = -1;
    assert_int_equal(sh_segment_writer_add(writer, slice, &header, &err), SH_INVALID);
    sh_buf_unref(buf);

    assert_int_equal(sh_segment_writer_finish(writer, &object, &err), SH_OK);
    assert_int_equal(object.runs[0].batch_count, 1);
    assert_int_equal(add_new(writer, 13, 1, 0, -1, &err), SH_INVALID);
    assert_int_equal(sh_segment_writer_begin_run(writer, &topic_a, 1, 1, 0, &err), SH_INVALID);
    assert_int_equal(sh_segment_writer_finish(writer, &object, &err), SH_INVALID);
    sh_segment_writer_free(writer);
}

static void offsets_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, NULL, 0);
    begin(writer, &topic_a, 0, 1, INT64_MAX - 1);
    assert_int_equal(add_new(writer, INT64_MAX - 1, 2, 0, -1, NULL), SH_INVALID);
    assert_int_equal(add_new(writer, INT64_MAX - 1, 1, 0, -1, NULL), SH_OK);
    Object object = finish(writer);
    assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_OK);
    free(object.bytes);
}

static void every_truncation_is_corrupt(void **state)
{
    (void)state;
    Object object = sample_object();
    for (uint64_t length = 0; length < object.length; length++) {
        ShBuf *front = sh_buf_copy(object.bytes, length);
        assert_int_equal(parse_and_free(front->data, length, NULL), SH_CORRUPT);
        sh_buf_unref(front);
        ShBuf *back = sh_buf_copy(object.bytes + object.length - length, length);
        assert_int_equal(parse_and_free(back->data, length, NULL), SH_CORRUPT);
        sh_buf_unref(back);
    }
    free(object.bytes);
}

static void every_bit_flip_is_corrupt(void **state)
{
    (void)state;
    Object object = sample_object();
    for (uint64_t bit = 0; bit < object.length * 8; bit++) {
        object.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (parse_and_free(object.bytes, object.length, NULL) != SH_CORRUPT)
            fail_msg("a flip of bit %d of byte %d is not found", (int)(bit % 8), (int)(bit / 8));
        object.bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_OK);
    free(object.bytes);
}

/* Index entries that disagree with the data, under true CRCs. */
static void inconsistent_footer_is_corrupt(void **state)
{
    (void)state;
    Object object = sample_object();
    uint64_t footer = footer_position(&object);
    /* All but topic, partition, epoch and first offset (the first 36 bytes of a run) can be told from the
     * data. */
    for (size_t byte = 8 + 36; byte < 8 + RUN_BYTES; byte++) {
        object.bytes[footer + byte] ^= 1;
        fix_crcs(&object);
        assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_CORRUPT);
        object.bytes[footer + byte] ^= 1;
    }
    for (size_t byte = 0; byte < 8; byte++) {
        object.bytes[footer + byte] ^= 0x80;
        fix_crcs(&object);
        assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_CORRUPT);
        object.bytes[footer + byte] ^= 0x80;
    }
    fix_crcs(&object);
    assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_OK);
    free(object.bytes);
}

static void inconsistent_header_is_corrupt(void **state)
{
    (void)state;
    static const size_t bytes[] = {0, 7, 11, 15, 16, 72, 75, 76 + RESULT_BYTES - 1};
    Object object = sample_object();
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        object.bytes[bytes[i]] ^= 0x10;
        fix_crcs(&object);
        assert_int_equal(parse_and_free(object.bytes, object.length, NULL), SH_CORRUPT);
        object.bytes[bytes[i]] ^= 0x10;
    }
    free(object.bytes);
}

static void other_version_is_unsupported(void **state)
{
    (void)state;
    Object object = sample_object();
    ShError err;
    object.bytes[object.length - 64 + 51] = 2;
    fix_crcs(&object);
    assert_int_equal(parse_and_free(object.bytes, object.length, &err), SH_UNSUPPORTED);
    assert_non_null(strstr(err.message, "version 2"));
    free(object.bytes);
}

static void trailer_is_checked_against_the_object_size(void **state)
{
    (void)state;
    Object object = sample_object();
    const uint8_t *trailer = object.bytes + object.length - SH_SEGMENT_TRAILER_BYTES;
    ShSegmentTrailer parsed;
    assert_int_equal(sh_segment_parse_trailer(trailer, object.length, &parsed, NULL), SH_OK);
    assert_int_equal(parsed.version, 1);
    assert_int_equal(parsed.footer_position, footer_position(&object));
    assert_int_equal(parsed.footer_position + parsed.footer_length + SH_SEGMENT_TRAILER_BYTES, object.length);
    assert_int_equal(parsed.header_length, HEADER_BYTES_MIN + 2 * RESULT_BYTES);
    assert_true(sh_uuid_equal(&parsed.object_id, &writer_id.object_id));
    assert_int_equal(sh_segment_parse_trailer(trailer, object.length - 1, &parsed, NULL), SH_CORRUPT);
    assert_int_equal(sh_segment_parse_trailer(trailer, object.length + 1, &parsed, NULL), SH_CORRUPT);
    assert_int_equal(sh_segment_parse_trailer(trailer, 0, &parsed, NULL), SH_CORRUPT);
    assert_int_equal(sh_segment_parse_trailer(trailer, 64, &parsed, NULL), SH_CORRUPT);
    assert_int_equal(sh_segment_parse_trailer(trailer, UINT64_MAX, &parsed, NULL), SH_CORRUPT);
    free(object.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_round_trips),
        cmocka_unit_test(finished_object_shows_its_runs),
        cmocka_unit_test(payload_is_not_copied_or_changed),
        cmocka_unit_test(many_runs_and_batches_round_trip),
        cmocka_unit_test(transactions_stand_once_per_run_and_sorted),
        cmocka_unit_test(object_may_carry_results_alone),
        cmocka_unit_test(golden_bytes_of_an_empty_object),
        cmocka_unit_test(writer_refuses_what_does_not_fit),
        cmocka_unit_test(offsets_beyond_64_bits_are_refused),
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(every_bit_flip_is_corrupt),
        cmocka_unit_test(inconsistent_footer_is_corrupt),
        cmocka_unit_test(inconsistent_header_is_corrupt),
        cmocka_unit_test(other_version_is_unsupported),
        cmocka_unit_test(trailer_is_checked_against_the_object_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
