/*
 * segment_fixture.h - a sample object, for the tests of writing, parsing and rebasing.
 */
#ifndef SH_TESTS_SEGMENT_FIXTURE_H
#define SH_TESTS_SEGMENT_FIXTURE_H

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
static inline ShBuf *new_batch(int64_t base_offset, int count, int64_t timestamp_ms,
                               int64_t transaction_producer_id)
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
static inline ShStatus add_new(ShSegmentWriter *writer, int64_t base_offset, int count, int64_t timestamp_ms,
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

static inline void begin(ShSegmentWriter *writer, const ShUuid *topic, int32_t partition, int64_t epoch,
                         int64_t first_offset)
{
    assert_int_equal(sh_segment_writer_begin_run(writer, topic, partition, epoch, first_offset, NULL), SH_OK);
}

static inline Object finish(ShSegmentWriter *writer)
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
static inline Object sample_object(void)
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

#endif
