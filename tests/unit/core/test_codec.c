#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "core/bytes.h"
#include "core/codec.h"

#define BOMB_BYTES ((size_t)64 * 1024 * 1024)
#define BOMB_LIMIT ((size_t)1024 * 1024)

static const ShCodec all_codecs[] = {SH_CODEC_NONE, SH_CODEC_GZIP, SH_CODEC_SNAPPY, SH_CODEC_LZ4,
                                     SH_CODEC_ZSTD};

#define EACH_CODEC(codec)                                                                                    \
    for (const ShCodec *codec = all_codecs; codec < all_codecs + sizeof all_codecs / sizeof all_codecs[0];   \
         codec++)

/* Text that compresses, with some noise. */
static void fill(uint8_t *bytes, size_t length)
{
    uint32_t noise = 12345;
    for (size_t i = 0; i < length; i++) {
        noise = noise * 1664525 + 1013904223;
        bytes[i] = (noise >> 24) < 40 ? (uint8_t)(noise >> 16) : (uint8_t)("streamhouse "[i % 12]);
    }
}

static void compress_all(ShCodec codec, const uint8_t *data, size_t length, ShScratch *out)
{
    out->length = 0;
    assert_int_equal(sh_codec_compress(codec, data, length, out, NULL), SH_OK);
}

static void names_round_trip(void **state)
{
    (void)state;
    EACH_CODEC(codec)
    {
        ShCodec parsed = SH_CODEC_NONE;
        assert_int_equal(sh_codec_parse(sh_codec_name((int)*codec), &parsed, NULL), SH_OK);
        assert_int_equal(parsed, *codec);
    }
    assert_null(sh_codec_name(5));
    assert_null(sh_codec_name(-1));
    ShCodec codec;
    ShError err;
    assert_int_equal(sh_codec_parse("brotli", &codec, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "brotli"));
}

static void unknown_number_is_unsupported(void **state)
{
    (void)state;
    ShScratch out = {0};
    assert_int_equal(sh_codec_compress((ShCodec)6, (const uint8_t *)"x", 1, &out, NULL), SH_UNSUPPORTED);
    assert_int_equal(sh_codec_decompress((ShCodec)6, (const uint8_t *)"x", 1, 10, &out, NULL),
                     SH_UNSUPPORTED);
    sh_scratch_free(&out);
}

static void data_round_trips_at_many_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 100, 4095, 65536, 65537, 300000, 1 << 20};
    uint8_t *data = malloc(1 << 20);
    fill(data, 1 << 20);
    ShScratch compressed = {0};
    ShScratch out = {0};
    EACH_CODEC(codec)
    {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            compress_all(*codec, data, sizes[i], &compressed);
            /* The bound may be exactly the size. */
            assert_int_equal(
                sh_codec_decompress(*codec, compressed.data, compressed.length, sizes[i], &out, NULL), SH_OK);
            assert_int_equal(out.length, sizes[i]);
            if (sizes[i] > 0)
                assert_memory_equal(out.data, data, sizes[i]);
        }
    }
    sh_scratch_free(&out);
    sh_scratch_free(&compressed);
    free(data);
}

static void one_byte_beyond_the_bound_is_too_large(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 65536, 300000};
    uint8_t *data = malloc(300000);
    fill(data, 300000);
    ShScratch compressed = {0};
    EACH_CODEC(codec)
    {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            ShScratch out = {0};
            ShError err;
            compress_all(*codec, data, sizes[i], &compressed);
            assert_int_equal(
                sh_codec_decompress(*codec, compressed.data, compressed.length, sizes[i] - 1, &out, &err),
                SH_TOO_LARGE);
            assert_non_null(strstr(err.message, sh_codec_name((int)*codec)));
            assert_true(out.capacity <= sizes[i]);
            sh_scratch_free(&out);
        }
    }
    sh_scratch_free(&compressed);
    free(data);
}

static void empty_output_has_an_address(void **state)
{
    (void)state;
    ShScratch compressed = {0};
    EACH_CODEC(codec)
    {
        ShScratch out = {0};
        compress_all(*codec, (const uint8_t *)"", 0, &compressed);
        assert_int_equal(sh_codec_decompress(*codec, compressed.data, compressed.length, 0, &out, NULL),
                         SH_OK);
        assert_int_equal(out.length, 0);
        assert_non_null(out.data);
        sh_scratch_free(&out);
    }
    sh_scratch_free(&compressed);
}

static void compress_appends(void **state)
{
    (void)state;
    EACH_CODEC(codec)
    {
        ShScratch compressed = {0};
        ShScratch out = {0};
        assert_int_equal(sh_codec_compress(SH_CODEC_NONE, (const uint8_t *)"head", 4, &compressed, NULL),
                         SH_OK);
        assert_int_equal(sh_codec_compress(*codec, (const uint8_t *)"body", 4, &compressed, NULL), SH_OK);
        assert_memory_equal(compressed.data, "head", 4);
        assert_int_equal(
            sh_codec_decompress(*codec, compressed.data + 4, compressed.length - 4, 100, &out, NULL), SH_OK);
        assert_int_equal(out.length, 4);
        assert_memory_equal(out.data, "body", 4);
        sh_scratch_free(&out);
        sh_scratch_free(&compressed);
    }
}

static void bombs_stop_at_the_bound(void **state)
{
    (void)state;
    uint8_t *zeros = calloc(1, BOMB_BYTES);
    ShScratch bomb = {0};
    EACH_CODEC(codec)
    {
        if (*codec == SH_CODEC_NONE)
            continue;
        compress_all(*codec, zeros, BOMB_BYTES, &bomb);
        ShScratch out = {0};
        assert_int_equal(sh_codec_decompress(*codec, bomb.data, bomb.length, BOMB_LIMIT, &out, NULL),
                         SH_TOO_LARGE);
        assert_true(out.capacity <= BOMB_LIMIT + 1);
        sh_scratch_free(&out);
    }
    sh_scratch_free(&bomb);
    free(zeros);
}

static void zstd_bomb_that_declares_nothing_stops_at_the_bound(void **state)
{
    (void)state;
    uint8_t *zeros = calloc(1, BOMB_BYTES);
    size_t bound = ZSTD_compressBound(BOMB_BYTES);
    uint8_t *bomb = malloc(bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    size_t length = ZSTD_compress2(context, bomb, bound, zeros, BOMB_BYTES);
    assert_false(ZSTD_isError(length));
    assert_true(ZSTD_getFrameContentSize(bomb, length) == ZSTD_CONTENTSIZE_UNKNOWN);

    ShScratch out = {0};
    assert_int_equal(sh_codec_decompress(SH_CODEC_ZSTD, bomb, length, BOMB_LIMIT, &out, NULL), SH_TOO_LARGE);
    assert_true(out.capacity <= BOMB_LIMIT);
    assert_int_equal(sh_codec_decompress(SH_CODEC_ZSTD, bomb, length, BOMB_BYTES, &out, NULL), SH_OK);
    assert_int_equal(out.length, BOMB_BYTES);
    sh_scratch_free(&out);
    ZSTD_freeCCtx(context);
    free(bomb);
    free(zeros);
}

static void declared_size_alone_takes_no_memory(void **state)
{
    (void)state;
    /* A snappy stream that declares 512 MiB in 5 bytes, and has nothing behind them. */
    static const uint8_t snappy[] = {0x80, 0x80, 0x80, 0x80, 0x02};
    ShScratch out = {0};
    ShError err;
    assert_int_equal(sh_codec_decompress(SH_CODEC_SNAPPY, snappy, sizeof snappy, SIZE_MAX, &out, &err),
                     SH_CORRUPT);
    assert_true(out.capacity < 1024);

    /* A zstd frame that declares 512 MiB: magic, descriptor (4-byte size, single segment), size, an empty
     * block. */
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x20, 1, 0, 0};
    assert_int_equal(sh_codec_decompress(SH_CODEC_ZSTD, zstd, sizeof zstd, SIZE_MAX, &out, &err), SH_CORRUPT);
    assert_true(out.capacity < 1024);
    sh_scratch_free(&out);
}

static void every_truncation_is_corrupt(void **state)
{
    (void)state;
    uint8_t data[2000];
    fill(data, sizeof data);
    ShScratch compressed = {0};
    ShScratch out = {0};
    EACH_CODEC(codec)
    {
        if (*codec == SH_CODEC_NONE)
            continue;
        compress_all(*codec, data, sizeof data, &compressed);
        for (size_t length = 0; length < compressed.length; length++) {
            /* In a block of its own, so that reading past the end is seen by a sanitizer. */
            ShBuf *cut = sh_buf_copy(compressed.data, length);
            assert_int_equal(sh_codec_decompress(*codec, cut->data, length, 1 << 20, &out, NULL), SH_CORRUPT);
            sh_buf_unref(cut);
        }
    }
    sh_scratch_free(&out);
    sh_scratch_free(&compressed);
}

static void bit_flips_never_overrun(void **state)
{
    (void)state;
    uint8_t data[600];
    fill(data, sizeof data);
    ShScratch compressed = {0};
    ShScratch out = {0};
    EACH_CODEC(codec)
    {
        compress_all(*codec, data, sizeof data, &compressed);
        for (size_t bit = 0; bit < compressed.length * 8; bit++) {
            compressed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            ShStatus status = sh_codec_decompress(*codec, compressed.data, compressed.length, 4096, &out,
                                                  NULL);
            assert_true(status == SH_OK || status == SH_CORRUPT || status == SH_TOO_LARGE);
            assert_true(status != SH_OK || out.length <= 4096);
            compressed.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
    sh_scratch_free(&out);
    sh_scratch_free(&compressed);
}

static void bytes_behind_the_frame_are_corrupt(void **state)
{
    (void)state;
    static const ShCodec framed[] = {SH_CODEC_GZIP, SH_CODEC_LZ4, SH_CODEC_ZSTD, SH_CODEC_SNAPPY};
    ShScratch compressed = {0};
    ShScratch out = {0};
    for (size_t i = 0; i < sizeof framed / sizeof framed[0]; i++) {
        compress_all(framed[i], (const uint8_t *)"abc", 3, &compressed);
        assert_int_equal(sh_codec_compress(SH_CODEC_NONE, (const uint8_t *)"garbage", 7, &compressed, NULL),
                         SH_OK);
        assert_int_equal(sh_codec_decompress(framed[i], compressed.data, compressed.length, 100, &out, NULL),
                         SH_CORRUPT);
    }
    sh_scratch_free(&out);
    sh_scratch_free(&compressed);
}

static void frames_one_after_the_other_are_joined(void **state)
{
    (void)state;
    static const ShCodec framed[] = {SH_CODEC_GZIP, SH_CODEC_LZ4, SH_CODEC_ZSTD};
    ShScratch compressed = {0};
    ShScratch out = {0};
    for (size_t i = 0; i < sizeof framed / sizeof framed[0]; i++) {
        compress_all(framed[i], (const uint8_t *)"abc", 3, &compressed);
        assert_int_equal(sh_codec_compress(framed[i], (const uint8_t *)"defg", 4, &compressed, NULL), SH_OK);
        assert_int_equal(sh_codec_decompress(framed[i], compressed.data, compressed.length, 7, &out, NULL),
                         SH_OK);
        assert_int_equal(out.length, 7);
        assert_memory_equal(out.data, "abcdefg", 7);
    }
    sh_scratch_free(&out);
    sh_scratch_free(&compressed);
}

/* Build the xerial form of blocks of `text`, as Java clients write it. */
static void append_xerial(ShScratch *out, uint32_t compatible, const char *const *blocks, size_t block_count)
{
    uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1};
    sh_put_u32(header + 12, compatible);
    out->length = 0;
    assert_int_equal(sh_codec_compress(SH_CODEC_NONE, header, sizeof header, out, NULL), SH_OK);
    for (size_t i = 0; i < block_count; i++) {
        ShScratch block = {0};
        uint8_t length[4];
        compress_all(SH_CODEC_SNAPPY, (const uint8_t *)blocks[i], strlen(blocks[i]), &block);
        sh_put_u32(length, (uint32_t)block.length);
        assert_int_equal(sh_codec_compress(SH_CODEC_NONE, length, sizeof length, out, NULL), SH_OK);
        assert_int_equal(sh_codec_compress(SH_CODEC_NONE, block.data, block.length, out, NULL), SH_OK);
        sh_scratch_free(&block);
    }
}

static void xerial_snappy_is_read(void **state)
{
    (void)state;
    static const char *const blocks[] = {"the first block, ", "", "and the third"};
    ShScratch framed = {0};
    ShScratch out = {0};
    append_xerial(&framed, 1, blocks, 3);
    assert_int_equal(sh_codec_decompress(SH_CODEC_SNAPPY, framed.data, framed.length, 30, &out, NULL), SH_OK);
    assert_int_equal(out.length, 30);
    assert_memory_equal(out.data, "the first block, and the third", 30);
    assert_int_equal(sh_codec_decompress(SH_CODEC_SNAPPY, framed.data, framed.length, 29, &out, NULL),
                     SH_TOO_LARGE);

    for (size_t length = 0; length < framed.length; length++) {
        ShBuf *cut = sh_buf_copy(framed.data, length);
        ShStatus status = sh_codec_decompress(SH_CODEC_SNAPPY, cut->data, length, 1 << 20, &out, NULL);
        /* At a block's edge the framing is whole: the records inside will be missed by the batch. */
        assert_true(status == SH_CORRUPT || (status == SH_OK && out.length < 30));
        sh_buf_unref(cut);
    }
    append_xerial(&framed, 2, blocks, 3);
    assert_int_equal(sh_codec_decompress(SH_CODEC_SNAPPY, framed.data, framed.length, 30, &out, NULL),
                     SH_UNSUPPORTED);
    sh_scratch_free(&out);
    sh_scratch_free(&framed);
}

static void reserve_keeps_the_content(void **state)
{
    (void)state;
    ShScratch scratch = {0};
    assert_int_equal(sh_codec_compress(SH_CODEC_NONE, (const uint8_t *)"abc", 3, &scratch, NULL), SH_OK);
    assert_int_equal(sh_scratch_reserve(&scratch, 100000, NULL), SH_OK);
    assert_true(scratch.capacity >= 100000);
    assert_int_equal(scratch.length, 3);
    assert_memory_equal(scratch.data, "abc", 3);
    assert_int_equal(sh_scratch_reserve(&scratch, 1, NULL), SH_OK);
    assert_true(scratch.capacity >= 100000);
    sh_scratch_free(&scratch);
    assert_null(scratch.data);
    sh_scratch_free(&scratch);
    sh_scratch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(unknown_number_is_unsupported),
        cmocka_unit_test(data_round_trips_at_many_sizes),
        cmocka_unit_test(one_byte_beyond_the_bound_is_too_large),
        cmocka_unit_test(empty_output_has_an_address),
        cmocka_unit_test(compress_appends),
        cmocka_unit_test(bombs_stop_at_the_bound),
        cmocka_unit_test(zstd_bomb_that_declares_nothing_stops_at_the_bound),
        cmocka_unit_test(declared_size_alone_takes_no_memory),
        cmocka_unit_test(every_truncation_is_corrupt),
        cmocka_unit_test(bit_flips_never_overrun),
        cmocka_unit_test(bytes_behind_the_frame_are_corrupt),
        cmocka_unit_test(frames_one_after_the_other_are_joined),
        cmocka_unit_test(xerial_snappy_is_read),
        cmocka_unit_test(reserve_keeps_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
