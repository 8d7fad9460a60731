#include "core/codec.h"

#include <stdlib.h>
#include <string.h>

#include "core/codec_internal.h"

#define ROOM_BYTES_MIN ((size_t)16 * 1024)

static ShStatus copy(const uint8_t *data, size_t length, ShScratch *out, ShError *err) SH_MUST_CHECK;

static const char *const codec_names[] = {
    [SH_CODEC_NONE] = "none", [SH_CODEC_GZIP] = "gzip", [SH_CODEC_SNAPPY] = "snappy",
    [SH_CODEC_LZ4] = "lz4",   [SH_CODEC_ZSTD] = "zstd",
};

#define CODEC_COUNT ((int)(sizeof codec_names / sizeof codec_names[0]))

const char *sh_codec_name(int codec)
{
    return codec >= 0 && codec < CODEC_COUNT ? codec_names[codec] : NULL;
}

ShStatus sh_codec_parse(const char *name, ShCodec *out, ShError *err)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        if (strcmp(name, codec_names[codec]) == 0) {
            *out = (ShCodec)codec;
            return SH_OK;
        }
    }
    return sh_fail(err, SH_INVALID, "\"%.64s\" is no codec: none, gzip, snappy, lz4 or zstd is expected",
                   name);
}

void sh_scratch_free(ShScratch *scratch)
{
    if (scratch == NULL)
        return;
    free(scratch->data);
    *scratch = (ShScratch){0};
}

ShStatus sh_scratch_reserve(ShScratch *scratch, size_t capacity, ShError *err)
{
    if (capacity <= scratch->capacity)
        return SH_OK;
    uint8_t *data = realloc(scratch->data, capacity);
    if (data == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu bytes of record data", capacity);
    scratch->data = data;
    scratch->capacity = capacity;
    return SH_OK;
}

ShStatus sh_codec_compress(ShCodec codec, const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    switch (codec) {
    case SH_CODEC_NONE:
        return copy(data, length, out, err);
    case SH_CODEC_GZIP:
        return sh_gzip_compress(data, length, out, err);
    case SH_CODEC_SNAPPY:
        return sh_snappy_compress(data, length, out, err);
    case SH_CODEC_LZ4:
        return sh_lz4_compress(data, length, out, err);
    case SH_CODEC_ZSTD:
        return sh_zstd_compress(data, length, out, err);
    }
    return sh_fail(err, SH_UNSUPPORTED, "codec number %d is unknown", (int)codec);
}

ShStatus sh_codec_decompress(ShCodec codec, const uint8_t *data, size_t length, size_t max_bytes,
                             ShScratch *out, ShError *err)
{
    out->length = 0;
    ShStatus status = sh_scratch_reserve(out, 1, err); /* an empty output has an address too */
    if (status != SH_OK)
        return status;
    switch (codec) {
    case SH_CODEC_NONE:
        return length > max_bytes ? sh_codec_fail_too_large(err, codec, max_bytes)
                                  : copy(data, length, out, err);
    case SH_CODEC_GZIP:
        return sh_gzip_decompress(data, length, max_bytes, out, err);
    case SH_CODEC_SNAPPY:
        return sh_snappy_decompress(data, length, max_bytes, out, err);
    case SH_CODEC_LZ4:
        return sh_lz4_decompress(data, length, max_bytes, out, err);
    case SH_CODEC_ZSTD:
        return sh_zstd_decompress(data, length, max_bytes, out, err);
    }
    return sh_fail(err, SH_UNSUPPORTED, "codec number %d is unknown", (int)codec);
}

ShStatus sh_codec_reserve_extra(ShScratch *out, size_t extra, ShError *err)
{
    if (extra > SIZE_MAX - out->length)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu more bytes of record data", extra);
    size_t needed = out->length + extra;
    if (needed <= out->capacity)
        return SH_OK;
    /* Half as much again keeps the cost of many small additions linear. */
    size_t grown = out->capacity + out->capacity / 2;
    return sh_scratch_reserve(out, needed > grown ? needed : grown, err);
}

ShStatus sh_codec_next_room(ShScratch *out, ShCodec codec, size_t max_bytes, size_t *room, ShError *err)
{
    size_t limit = max_bytes < SIZE_MAX ? max_bytes + 1 : max_bytes;
    if (out->length >= limit)
        return sh_codec_fail_too_large(err, codec, max_bytes);

    if (out->length >= out->capacity) {
        size_t capacity = out->capacity > limit / 2 ? limit : out->capacity * 2;
        if (capacity < ROOM_BYTES_MIN)
            capacity = limit < ROOM_BYTES_MIN ? limit : ROOM_BYTES_MIN;
        ShStatus status = sh_scratch_reserve(out, capacity, err);
        if (status != SH_OK)
            return status;
    }
    *room = (out->capacity < limit ? out->capacity : limit) - out->length;
    return SH_OK;
}

ShStatus sh_codec_fail_too_large(ShError *err, ShCodec codec, size_t max_bytes)
{
    return sh_fail(err, SH_TOO_LARGE, "the %s data decompresses to more than the %zu bytes allowed",
                   codec_names[codec], max_bytes);
}

static ShStatus copy(const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    ShStatus status = sh_codec_reserve_extra(out, length, err);
    if (status != SH_OK)
        return status;
    if (length > 0)
        memcpy(out->data + out->length, data, length);
    out->length += length;
    return SH_OK;
}
