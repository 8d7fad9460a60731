#include "tests/unit/core/segment_fixture.h"

#define RUN_OFFSETS 6

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

/* The whole of the sample's run. */
static ShRunRange whole_run(int64_t base_offset)
{
    return (ShRunRange){.base_offset = base_offset,
                        .from_offset = base_offset,
                        .end_offset = base_offset + RUN_OFFSETS,
                        .is_rest = true,
                        .leader_epoch = 8};
}

static void rebase_gives_absolute_offsets(void **state)
{
    (void)state;
    static const int64_t offsets[] = {5000, 5002, 5005};
    ShBuf *run = sample_run();
    size_t usable;
    const ShRunRange range = whole_run(5000);
    assert_int_equal(sh_segment_rebase(run->data, run->length, &range, &usable, NULL), SH_OK);
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
    ShRunRange range = whole_run(5000);
    range.from_offset = 5002;
    assert_int_equal(sh_segment_rebase(second, run->length - first.total_bytes, &range, &usable, NULL),
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
        ShRunRange range = whole_run(5000);
        range.is_rest = false;
        assert_int_equal(sh_segment_rebase(cut->data, length, &range, &usable, NULL), SH_OK);
        size_t two = first.total_bytes + second.total_bytes;
        size_t expected = length < first.total_bytes ? 0 : first.total_bytes;
        if (length >= two)
            expected = length < run->length ? two : length;
        assert_int_equal(usable, expected);
        sh_buf_unref(cut);
    }
    sh_buf_unref(run);
}

/* Of each bit: what is found wrong, or what makes no difference, since the epoch is written anew. */
static void rebase_finds_every_bit_flip(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShBuf *good = sh_buf_copy(run->data, run->length);
    const ShRunRange range = whole_run(5000);
    size_t usable;
    assert_int_equal(sh_segment_rebase(good->data, good->length, &range, &usable, NULL), SH_OK);
    size_t unharmed = 0;
    for (size_t bit = 0; bit < run->length * 8; bit++) {
        ShBuf *flipped = sh_buf_copy(run->data, run->length);
        flipped->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (sh_segment_rebase(flipped->data, run->length, &range, &usable, NULL) == SH_OK) {
            assert_int_equal(usable, good->length);
            assert_memory_equal(flipped->data, good->data, good->length);
            unharmed++;
        }
        sh_buf_unref(flipped);
    }
    assert_int_equal(unharmed, 3 * 32);
    sh_buf_unref(good);
    sh_buf_unref(run);
}

/* Batches whose offsets follow each other, but not from where the index says or not as far. */
static void rebase_holds_a_run_against_the_index(void **state)
{
    (void)state;
    ShBuf *run = sample_run();
    ShError err;
    size_t usable;
    struct {
        int64_t base, from, end;
        ShStatus status;
    } cases[] = {{-1, 0, 6, SH_INVALID},
                 {5000, 4999, 5006, SH_INVALID},
                 {5000, 5000, 5000, SH_INVALID},
                 {5000, 5001, 5006, SH_CORRUPT},
                 {5000, 5000, 5005, SH_CORRUPT},
                 {5000, 5000, 5007, SH_CORRUPT},
                 {5000, 5000, 5001, SH_CORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShBuf *copy = sh_buf_copy(run->data, run->length);
        const ShRunRange range = {.base_offset = cases[i].base,
                                  .from_offset = cases[i].from,
                                  .end_offset = cases[i].end,
                                  .is_rest = true,
                                  .leader_epoch = 8};
        if (sh_segment_rebase(copy->data, copy->length, &range, &usable, &err) != cases[i].status)
            fail_msg("case %zu: %s", i, err.message);
        sh_buf_unref(copy);
    }

    const ShRunRange range = whole_run(0);
    assert_int_equal(sh_segment_rebase(run->data, run->length - 1, &range, &usable, &err), SH_CORRUPT);
    assert_non_null(strstr(err.message, "left over"));
    sh_buf_unref(run);
    run = sample_run();
    ShBatchHeader first;
    assert_int_equal(sh_batch_peek(run->data, run->length, &first, NULL), SH_OK);
    sh_batch_set_base_offset(run->data + first.total_bytes, 3);
    assert_int_equal(sh_segment_rebase(run->data, run->length, &range, &usable, &err), SH_CORRUPT);
    assert_non_null(strstr(err.message, "3 where 2 must follow"));
    sh_buf_unref(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rebase_gives_absolute_offsets),
        cmocka_unit_test(rebase_takes_a_range_from_the_middle),
        cmocka_unit_test(rebase_stops_before_a_cut_batch),
        cmocka_unit_test(rebase_finds_every_bit_flip),
        cmocka_unit_test(rebase_holds_a_run_against_the_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
