#include "tests/unit/core/segment_fixture.h"

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
        cmocka_unit_test(rebase_gives_absolute_offsets),
        cmocka_unit_test(rebase_takes_a_range_from_the_middle),
        cmocka_unit_test(rebase_stops_before_a_cut_batch),
        cmocka_unit_test(rebase_finds_every_bit_flip_behind_the_epoch),
        cmocka_unit_test(rebase_refuses_wrong_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
