#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/crc32c.h"
#include "core/segment.h"

#define HEADER_BYTES_MIN 80
#define RESULT_BYTES 69
#define RUN_BYTES 100

static const ShSegmentWriterId writer_id = {
    .object_id = {{0xa0, 1, 2, 3}},
    .wal_uuid = {{0xb0, 1, 2, 3}},
    .incarnation = 7,
    .publish_no = 42,
    .created_ms = 1700000000123,
};
static const ShUuid topic_a = {{0xaa}};
static const ShUuid topic_b = {{0xbb}};

static const ShSegmentResult results[] = {
    {
        .object_id = {{1}},
        .publish_no = 40,
        .topic_id = {{0xaa}},
        .partition = 3,
        .epoch = 2,
        .first_offset = 1LL << 33,
        .offset_count = 17,
        .disposition = SH_DISPOSITION_PUBLISHED,
    },
    {
        .object_id = {{2}},
        .publish_no = 41,
        .topic_id = {{0xbb}},
        .partition = 0,
        .epoch = 9,
        .first_offset = SH_OFFSET_UNASSIGNED,
        .offset_count = 1,
        .disposition = SH_DISPOSITION_DROPPED,
    },
};

/* A finished object as one piece of memory. */
typedef struct Object {
    uint8_t *bytes;
    uint64_t length;
} Object;

/* A batch of `count` records "value <n>" from `base_offset` on. */
static ShBuf *new_batch(int64_t base_offset, int count, int64_t timestamp_ms, int64_t transaction_producer_id)
{
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int i = 0; i < count; i++) {
        char value[32];
        int length = snprintf(value, sizeof value, "value %d", (int)base_offset + i);
        ShRecord record = {
            .timestamp_ms = timestamp_ms + i, .value = (uint8_t *)value, .value_length = (size_t)length};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    if (transaction_producer_id >= 0)
        sh_batch_builder_set_producer(builder, transaction_producer_id, 1, 0, true);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    sh_batch_set_base_offset(buf->data, base_offset);
    sh_batch_set_leader_epoch(buf->data, 5);
    sh_batch_builder_free(builder);
    return buf;
}

/* Add a new batch to the current run; the writer keeps it alive. */
static ShStatus add_new(ShSegmentWriter *writer, int64_t base_offset, int count, int64_t timestamp_ms,
                        int64_t transaction_producer_id, ShError *err)
{
    ShBuf *buf = new_batch(base_offset, count, timestamp_ms, transaction_producer_id);
    ShBatchHeader header;
    assert_int_equal(sh_batch_peek(buf->data, buf->length, &header, NULL), SH_OK);
    ShSlice slice = {.data = buf->data, .length = buf->length, .owner = buf};
    ShStatus status = sh_segment_writer_add(writer, slice, &header, err);
    sh_buf_unref(buf);
    return status;
}

static void begin(ShSegmentWriter *writer, const ShUuid *topic, int32_t partition, int64_t epoch,
                  int64_t first_offset)
{
    assert_int_equal(sh_segment_writer_begin_run(writer, topic, partition, epoch, first_offset, NULL), SH_OK);
}

static Object finish(ShSegmentWriter *writer)
{
    ShSegmentObject finished;
    assert_int_equal(sh_segment_writer_finish(writer, &finished, NULL), SH_OK);
    Object object = {.bytes = malloc(finished.total_bytes)};
    for (size_t i = 0; i < finished.piece_count; i++) {
        assert_true(object.length + finished.pieces[i].iov_len <= finished.total_bytes);
        memcpy(object.bytes + object.length, finished.pieces[i].iov_base, finished.pieces[i].iov_len);
        object.length += finished.pieces[i].iov_len;
    }
    assert_true(object.length == finished.total_bytes);
    sh_segment_writer_free(writer);
    return object;
}

/* Two results; run 0: topic a, three batches at 1000, two transactions; run 1: topic b, offsets not assigned.
 */
static Object sample_object(void)
{
    ShSegmentWriter *writer = sh_segment_writer_new(&writer_id, results, 2);
    begin(writer, &topic_a, 3, 2, 1000);
    assert_int_equal(add_new(writer, 1000, 2, 500, 11, NULL), SH_OK);
    assert_int_equal(add_new(writer, 1002, 3, 400, 12, NULL), SH_OK);
    assert_int_equal(add_new(writer, 1005, 1, 450, 11, NULL), SH_OK);
    begin(writer, &topic_b, 0, 9, SH_OFFSET_UNASSIGNED);
    assert_int_equal(add_new(writer, 77, 4, 600, -1, NULL), SH_OK);
    assert_int_equal(add_new(writer, 0, 1, 700, -1, NULL), SH_OK);
    return finish(writer);
}

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

/* The first run of the sample as bytes of their own, as a range read gives them. */
static ShBuf *sample_run(void)
{
    Object object = sample_object();
    ShSegmentIndex *index;
    assert_int_equal(sh_segment_parse(object.bytes, object.length, &index, NULL), SH_OK);
    ShBuf *run = sh_buf_copy(object.bytes + index->runs[0].position, index->runs[0].length);
    sh_segment_index_free(index);
    free(object.bytes);
    return run;
}

static void rebase_gives_absolute_offsets(void **state)
{
    (void)state;
    static const int64_t offsets[] = {5000, 5002, 5005};
    ShBuf *run = sample_run();
    size_t usable;
    assert_int_equal(sh_segment_rebase(run->data, run->length, 5000, 8, &usable, NULL), SH_OK);
    assert_int_equal(usable, run->length);

    ShScratch scratch = {0};
    ShBatchLimits limits = {.batch_bytes_max = 4096, .decompressed_bytes_max = 4096};
    size_t position = 0;
    for (size_t i = 0; i < 3; i++) {
        ShBatchHeader header;
        assert_int_equal(
            sh_batch_check(run->data + position, run->length - position, &limits, &scratch, &header, NULL),
            SH_OK);
        assert_int_equal(header.base_offset, offsets[i]);
        assert_int_equal(header.leader_epoch, 8);
        position += header.total_bytes;
    }
    assert_int_equal(position, run->length);
    sh_scratch_free(&scratch);
    sh_buf_unref(run);
}

static void rebase_takes_a_range_from_the_middle(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShBatchHeader first;
    assert_int_equal(sh_batch_peek(run->data, run->length, &first, NULL), SH_OK);
    uint8_t *second = run->data + first.total_bytes;
    size_t usable;
    assert_int_equal(sh_segment_rebase(second, run->length - first.total_bytes, 5000, 8, &usable, NULL),
                     SH_OK);
    assert_int_equal(usable, run->length - first.total_bytes);
    assert_int_equal(sh_get_u64(second), 5002);
    sh_buf_unref(run);
}

static void rebase_stops_before_a_cut_batch(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShBatchHeader first;
    ShBatchHeader second;
    assert_int_equal(sh_batch_peek(run->data, run->length, &first, NULL), SH_OK);
    assert_int_equal(
        sh_batch_peek(run->data + first.total_bytes, run->length - first.total_bytes, &second, NULL), SH_OK);
    for (size_t length = 0; length <= run->length; length++) {
        ShBuf *cut = sh_buf_copy(run->data, length);
        size_t usable = 12345;
        assert_int_equal(sh_segment_rebase(cut->data, length, 5000, 8, &usable, NULL), SH_OK);
        size_t two = first.total_bytes + second.total_bytes;
        size_t expected = length < first.total_bytes ? 0 : first.total_bytes;
        if (length >= two)
            expected = length < run->length ? two : length;
        assert_int_equal(usable, expected);
        sh_buf_unref(cut);
    }
    sh_buf_unref(run);
}

/* From the magic on: the fields before it are outside any CRC. */
static void rebase_finds_every_bit_flip_behind_the_epoch(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShBatchHeader header;
    for (size_t start = 0; start < run->length; start += header.total_bytes) {
        assert_int_equal(sh_batch_peek(run->data + start, run->length - start, &header, NULL), SH_OK);
        for (size_t bit = 16 * 8; bit < header.total_bytes * 8; bit++) {
            ShBuf *flipped = sh_buf_copy(run->data, run->length);
            flipped->data[start + bit / 8] ^= (uint8_t)(1u << (bit % 8));
            size_t usable;
            assert_int_equal(sh_segment_rebase(flipped->data, run->length, 5000, 8, &usable, NULL),
                             SH_CORRUPT);
            sh_buf_unref(flipped);
        }
    }
    sh_buf_unref(run);
}

static void rebase_refuses_wrong_offsets(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShBatchHeader first;
    size_t usable;
    assert_int_equal(sh_batch_peek(run->data, run->length, &first, NULL), SH_OK);
    assert_int_equal(sh_segment_rebase(run->data, run->length, -1, 8, &usable, NULL), SH_INVALID);
    assert_int_equal(sh_segment_rebase(run->data, run->length, INT64_MAX - 1, 8, &usable, NULL), SH_CORRUPT);

    sh_batch_set_base_offset(run->data + first.total_bytes, 3);
    ShError err;
    assert_int_equal(sh_segment_rebase(run->data, run->length, 0, 8, &usable, &err), SH_CORRUPT);
    assert_non_null(strstr(err.message, "3 where 2 must follow"));
    sh_batch_set_base_offset(run->data, -1);
    assert_int_equal(sh_segment_rebase(run->data, run->length, 0, 8, &usable, &err), SH_CORRUPT);
    sh_buf_unref(run);
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
        cmocka_unit_test(rebase_gives_absolute_offsets),
        cmocka_unit_test(rebase_takes_a_range_from_the_middle),
        cmocka_unit_test(rebase_stops_before_a_cut_batch),
        cmocka_unit_test(rebase_finds_every_bit_flip_behind_the_epoch),
        cmocka_unit_test(rebase_refuses_wrong_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
