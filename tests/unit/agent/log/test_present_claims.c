/* How an object is presented around what was claimed since it was uploaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/log/present_claims.h"

#define ID 7

/* Three batches at relative offsets 0 to 3, 4 to 9 and 10; the second one is the producer's, as sequences 100
 * to 105, the last one its sequence 106. */
typedef struct Object {
    uint8_t bytes[1024];
    size_t ends[3];
} Object;

static void add(Object *object, size_t i, int64_t base, int32_t count, int64_t id, int32_t sequence)
{
    size_t at = i == 0 ? 0 : object->ends[i - 1];
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"v", .value_length = 1};
    for (int32_t j = 0; j < count; j++)
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    if (id >= 0)
        sh_batch_builder_set_producer(builder, id, 0, sequence, false);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    sh_batch_builder_free(builder);
    sh_batch_set_base_offset(buf->data, base);
    memcpy(object->bytes + at, buf->data, buf->length);
    object->ends[i] = at + buf->length;
    sh_buf_unref(buf);
}

static void object_of(Object *object)
{
    add(object, 0, 0, 4, -1, -1);
    add(object, 1, 4, 6, ID, 100);
    add(object, 2, 10, 1, ID, 106);
}

/* The run of all three at offset 500, claimed from `sequence` on in a later epoch. */
static ShPresentRuns present(const Object *object, int32_t sequence, int64_t first_offset)
{
    ShPgRun run = {.first_offset = first_offset,
                   .offset_count = 11,
                   .record_count = 11,
                   .length = object->ends[2],
                   .epoch = 3};
    ShPgEpochOrigin origin = {.start_offset = 400};
    ShPresentRuns whole = {.runs = &run, .origins = &origin, .count = 1};
    ShPgVoid claim = {.producer_id = ID, .first_unacked_seq = sequence};
    ShPresentRuns parted = {0};
    assert_int_equal(sh_present_leave_out(&whole, object->bytes, &claim, 1, &parted, NULL), SH_OK);
    return parted;
}

static void assert_piece(const ShPresentRuns *runs, size_t i, bool is_void, int64_t first, int64_t count)
{
    assert_true(i < runs->count);
    assert_int_equal(runs->runs[i].is_void, is_void);
    assert_int_equal(runs->runs[i].first_offset, first);
    assert_int_equal(runs->runs[i].offset_count, count);
    assert_int_equal(runs->runs[i].epoch, 3);
    assert_int_equal(runs->origins[i].start_offset, 400);
}

static void the_pieces_lie_around_what_is_void(void **state)
{
    (void)state;
    Object object;
    object_of(&object);
    for (int32_t from = 98; from <= 108; from++) {
        ShPresentRuns runs = present(&object, from, 500);
        if (from <= 105) {
            assert_int_equal(runs.count, 2);
            assert_piece(&runs, 0, false, 500, 4);
            assert_int_equal(runs.runs[0].length, object.ends[0]);
            assert_piece(&runs, 1, true, 504, 7);
            assert_int_equal(runs.stretch_count, 0);
            assert_int_equal(runs.unplaced, from <= 100 ? 0 : from - 100);
        } else if (from == 106) {
            assert_int_equal(runs.count, 2);
            assert_piece(&runs, 0, false, 500, 10);
            assert_int_equal(runs.runs[0].length, object.ends[1]);
            assert_int_equal(runs.runs[0].record_count, 10);
            assert_piece(&runs, 1, true, 510, 1);
            assert_int_equal(runs.stretch_count, 1);
            assert_int_equal(runs.stretches[0].base_offset, 504);
            assert_int_equal(runs.stretches[0].count, 6);
        } else {
            assert_int_equal(runs.count, 1);
            assert_piece(&runs, 0, false, 500, 11);
            assert_int_equal(runs.stretch_count, 2);
        }
        sh_present_runs_free(&runs);
    }
}

/* What stands behind a void batch begins in the object where the run does. */
static void a_piece_behind_a_void_one_covers_the_whole_run(void **state)
{
    (void)state;
    Object object;
    add(&object, 0, 0, 4, ID, 100);
    add(&object, 1, 4, 6, -1, -1);
    add(&object, 2, 10, 1, -1, -1);
    ShPresentRuns runs = present(&object, 100, 500);
    assert_int_equal(runs.count, 2);
    assert_piece(&runs, 0, true, 500, 4);
    assert_piece(&runs, 1, false, 500, 11);
    assert_int_equal(runs.runs[1].position, 0);
    assert_int_equal(runs.runs[1].length, object.ends[2]);
    sh_present_runs_free(&runs);
}

static void a_run_without_offsets_stays_whole(void **state)
{
    (void)state;
    Object object;
    object_of(&object);
    ShPresentRuns runs = present(&object, 100, -1);
    assert_int_equal(runs.count, 1);
    assert_piece(&runs, 0, false, -1, 11);
    assert_int_equal(runs.stretch_count, 0);
    sh_present_runs_free(&runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pieces_lie_around_what_is_void),
        cmocka_unit_test(a_piece_behind_a_void_one_covers_the_whole_run),
        cmocka_unit_test(a_run_without_offsets_stays_whole),
    };
    return cmocka_run_group_tests_name("present_claims", tests, NULL, NULL);
}
