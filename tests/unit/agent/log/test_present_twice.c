/* What is left of a segment around batches that are stored in a later epoch too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/log/present_twice.h"
#include "core/batch.h"

/* Three batches at offsets 500 to 503, 504 to 509 and 510. */
static uint8_t bytes[1024];
static size_t ends[3];
static ShPgPiece pieces[SH_PIECES_MAX];

static void add(size_t i, int64_t base, int32_t count)
{
    size_t at = i == 0 ? 0 : ends[i - 1];
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"v", .value_length = 1};
    for (int32_t j = 0; j < count; j++)
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    ShBuf *buf;
    assert_int_equal(sh_batch_builder_finish(builder, &buf, NULL), SH_OK);
    sh_batch_builder_free(builder);
    sh_batch_set_base_offset(buf->data, base);
    memcpy(bytes + at, buf->data, buf->length);
    ends[i] = at + buf->length;
    sh_buf_unref(buf);
}

static int setup(void **state)
{
    (void)state;
    add(0, 0, 4);
    add(1, 4, 6);
    add(2, 10, 1);
    return 0;
}

/* Of a segment that begins at `first_offset`, as the store gave it: what is void, and the pieces. */
static ShStatus part_bytes(const uint8_t *stored, int64_t first_offset, int64_t void_from, int64_t void_end,
                           size_t *count)
{
    static uint8_t read[sizeof bytes];
    memcpy(read, stored, sizeof read);
    ShPgTwice twice = {.void_from = void_from,
                       .void_end = void_end,
                       .segment = {.first_offset = first_offset,
                                   .base_offset = 500,
                                   .last_offset = 510,
                                   .length = ends[2],
                                   .records = 511 - first_offset}};
    memset(pieces, 0xff, sizeof pieces);
    return sh_present_part_twice(&twice, read, pieces, count, NULL);
}

/* Returns how many pieces. */
static size_t part(int64_t first_offset, int64_t void_from, int64_t void_end)
{
    size_t count = 0;
    assert_int_equal(part_bytes(bytes, first_offset, void_from, void_end, &count), SH_OK);
    return count;
}

static void assert_piece(size_t i, int64_t first, int64_t last, size_t length, int64_t records)
{
    assert_int_equal(pieces[i].first_offset, first);
    assert_int_equal(pieces[i].last_offset, last);
    assert_int_equal(pieces[i].length, length);
    assert_int_equal(pieces[i].records, records);
}

static void test_pieces(void **state)
{
    (void)state;
    assert_int_equal(part(500, 504, 510), 2);
    assert_piece(0, 500, 503, ends[0], 4);
    assert_piece(1, 510, 510, ends[2], 1);

    assert_int_equal(part(500, 490, 504), 1);
    assert_piece(0, 504, 510, ends[2], 7);

    assert_int_equal(part(500, 504, 600), 1);
    assert_piece(0, 500, 503, ends[0], 4);

    assert_int_equal(part(500, 500, 511), 0);
}

/* A producer that cut its batches anew: what a batch holds besides is nowhere else. */
static void test_a_batch_that_only_overlaps_stays(void **state)
{
    (void)state;
    assert_int_equal(part(500, 505, 510), 1);
    assert_piece(0, 500, 510, ends[2], 11);
    assert_int_equal(part(500, 502, 510), 2);
    assert_piece(0, 500, 503, ends[0], 4);
}

/* What lies below the segment is another one's. */
static void test_a_segment_that_begins_inside_a_batch(void **state)
{
    (void)state;
    assert_int_equal(part(506, 510, 511), 1);
    assert_piece(0, 506, 509, ends[1], 4);
    assert_int_equal(part(504, 504, 510), 1);
    assert_piece(0, 510, 510, ends[2], 1);
}

/* Whichever byte is damaged: an error, or the pieces that are right. An offset has no CRC of its own. */
static void test_damage(void **state)
{
    (void)state;
    static uint8_t damaged[sizeof bytes];
    size_t count;
    size_t refused = 0;
    for (size_t i = 0; i < ends[2]; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(damaged, bytes, sizeof damaged);
            damaged[i] ^= (uint8_t)(1 << bit);
            if (part_bytes(damaged, 500, 504, 510, &count) != SH_OK) {
                refused++;
                continue;
            }
            assert_int_equal(count, 2);
            assert_piece(0, 500, 503, ends[0], 4);
            assert_piece(1, 510, 510, ends[2], 1);
        }
    }
    assert_true(refused >= 8 * (ends[2] - 3 * 4)); /* all but the leader's epoch, which is written anew */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pieces, setup),
        cmocka_unit_test_setup(test_a_batch_that_only_overlaps_stays, setup),
        cmocka_unit_test_setup(test_a_segment_that_begins_inside_a_batch, setup),
        cmocka_unit_test_setup(test_damage, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
