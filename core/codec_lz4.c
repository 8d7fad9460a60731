#include <lz4frame.h>

#include "core/codec_internal.h"

static ShStatus decompress_frames(LZ4F_dctx *context, const uint8_t *data, size_t length, size_t max_bytes,
                                  ShScratch *out, ShError *err) SH_MUST_CHECK;

ShStatus sh_lz4_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    size_t bound = LZ4F_compressFrameBound(length, NULL);
    if (bound < length)
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes are too many for one lz4 frame", length);
    ShStatus status = sh_codec_reserve_extra(out, bound, err);
    if (status != SH_OK)
        return status;

    size_t written = LZ4F_compressFrame(out->data + out->length, bound, data, length, NULL);
    if (LZ4F_isError(written))
        return sh_fail(err, SH_INTERNAL, "lz4 cannot compress: %s", LZ4F_getErrorName(written));
    out->length += written;
    return SH_OK;
}

ShStatus sh_lz4_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out, ShError *err)
{
    LZ4F_dctx *context;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return sh_fail(err, SH_NO_MEMORY, "no memory for an lz4 decompressor");
    ShStatus status = decompress_frames(context, data, length, max_bytes, out, err);
    LZ4F_freeDecompressionContext(context);
    return status;
}

/* The library starts the next frame by itself; a hint of 0 says that the last one is complete. */
static ShStatus decompress_frames(LZ4F_dctx *context, const uint8_t *data, size_t length, size_t max_bytes,
                                  ShScratch *out, ShError *err)
{
    for (;;) {
        size_t room;
        ShStatus status = sh_codec_next_room(out, SH_CODEC_LZ4, max_bytes, &room, err);
        if (status != SH_OK)
            return status;

        size_t produced = room;
        size_t consumed = length;
        size_t hint = LZ4F_decompress(context, out->data + out->length, &produced, data, &consumed, NULL);
        if (LZ4F_isError(hint))
            return sh_fail(err, SH_CORRUPT, "the lz4 data is damaged: %s", LZ4F_getErrorName(hint));
        out->length += produced;
        data += consumed;
        length -= consumed;

        if (length == 0 && hint == 0)
            return out->length > max_bytes ? sh_codec_fail_too_large(err, SH_CODEC_LZ4, max_bytes) : SH_OK;
        if (produced == 0 && consumed == 0)
            return sh_fail(err, SH_CORRUPT, "the lz4 data is cut off");
    }
}
