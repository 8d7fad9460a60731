/*
 * codec_snappy.c - snappy in its raw form, and in the xerial framing of Java clients:
 *
 *   offset  bytes  field
 *        0      8  magic: 0x82 "SNAPPY" 0x00
 *        8      4  version (big-endian, as all integers here)
 *       12      4  lowest compatible version
 *       16      -  blocks: length, 4 bytes, then that many bytes of raw snappy
 *
 * No raw stream can begin with the magic: read as one, it would start with a copy of bytes that do not exist
 * yet.
 */
#include <snappy-c.h>
#include <string.h>

#include "core/bytes.h"
#include "core/codec_internal.h"

#define XERIAL_HEADER_BYTES       16
#define XERIAL_BLOCK_HEADER_BYTES 4
#define XERIAL_VERSION            1

/* The densest element is a 3-byte copy of 64 bytes: a greater declared length is a lie, not worth an
 * allocation. */
#define RAW_RATIO_MAX 22

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

static ShStatus decompress_xerial(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                                  ShError *err) SH_MUST_CHECK;
static ShStatus append_raw(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                           ShError *err) SH_MUST_CHECK;

ShStatus sh_snappy_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    if (length > UINT32_MAX)
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes are too many for one snappy stream", length);
    size_t written = snappy_max_compressed_length(length);
    ShStatus status = sh_codec_reserve_extra(out, written, err);
    if (status != SH_OK)
        return status;
    if (snappy_compress((const char *)data, length, (char *)out->data + out->length, &written) != SNAPPY_OK)
        return sh_fail(err, SH_INTERNAL, "snappy needs more room than it said");
    out->length += written;
    return SH_OK;
}

ShStatus sh_snappy_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                              ShError *err)
{
    if (length >= sizeof xerial_magic && memcmp(data, xerial_magic, sizeof xerial_magic) == 0)
        return decompress_xerial(data, length, max_bytes, out, err);
    return append_raw(data, length, max_bytes, out, err);
}

static ShStatus decompress_xerial(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                                  ShError *err)
{
    if (length < XERIAL_HEADER_BYTES)
        return sh_fail(err, SH_CORRUPT, "the snappy data is cut off inside its xerial header");
    uint32_t compatible = sh_get_u32(data + 12);
    if (compatible > XERIAL_VERSION)
        return sh_fail(err, SH_UNSUPPORTED, "version %u of snappy's xerial framing is unknown", compatible);

    for (size_t position = XERIAL_HEADER_BYTES; position < length;) {
        if (length - position < XERIAL_BLOCK_HEADER_BYTES)
            return sh_fail(err, SH_CORRUPT, "the snappy data is cut off inside a block's length");
        uint32_t block_bytes = sh_get_u32(data + position);
        position += XERIAL_BLOCK_HEADER_BYTES;
        if (block_bytes > length - position)
            return sh_fail(err, SH_CORRUPT, "a snappy block of %u bytes ends %zu bytes past the data",
                           block_bytes, block_bytes - (length - position));
        ShStatus status = append_raw(data + position, block_bytes, max_bytes, out, err);
        if (status != SH_OK)
            return status;
        position += block_bytes;
    }
    return SH_OK;
}

static ShStatus append_raw(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out, ShError *err)
{
    size_t declared;
    if (snappy_uncompressed_length((const char *)data, length, &declared) != SNAPPY_OK)
        return sh_fail(err, SH_CORRUPT, "the snappy data is damaged: no length");
    if (declared > max_bytes - out->length)
        return sh_codec_fail_too_large(err, SH_CODEC_SNAPPY, max_bytes);
    if (declared / RAW_RATIO_MAX > length)
        return sh_fail(err, SH_CORRUPT, "the snappy data is damaged: %zu bytes cannot hold the %zu declared",
                       length, declared);

    ShStatus status = sh_codec_reserve_extra(out, declared, err);
    if (status != SH_OK)
        return status;
    size_t produced = declared;
    if (snappy_uncompress((const char *)data, length, (char *)out->data + out->length, &produced) !=
        SNAPPY_OK)
        return sh_fail(err, SH_CORRUPT, "the snappy data is damaged");
    out->length += produced;
    return SH_OK;
}
