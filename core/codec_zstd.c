#include <zstd.h>
#include <zstd_errors.h>

#include "core/codec_internal.h"

#define FIRST_ROOM_FACTOR 8 /* a usual batch fits at the first attempt */

static size_t first_room(size_t length, size_t max_bytes);

ShStatus sh_zstd_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    size_t bound = ZSTD_compressBound(length);
    if (ZSTD_isError(bound))
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes are too many for one zstd frame", length);
    ShStatus status = sh_codec_reserve_extra(out, bound, err);
    if (status != SH_OK)
        return status;

    size_t written = ZSTD_compress(out->data + out->length, bound, data, length, ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(written))
        return sh_fail(
            err, ZSTD_getErrorCode(written) == ZSTD_error_memory_allocation ? SH_NO_MEMORY : SH_INTERNAL,
            "zstd cannot compress: %s", ZSTD_getErrorName(written));
    out->length += written;
    return SH_OK;
}

/* Decoding straight into the output needs no window buffer, whose size (up to 128 MiB) the input declares.
 * The output is not sized by the declared content either: it doubles, and the frame is decoded again, until
 * it fits. */
ShStatus sh_zstd_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                            ShError *err)
{
    unsigned long long declared = ZSTD_getFrameContentSize(data, length);
    if (declared == ZSTD_CONTENTSIZE_ERROR)
        return sh_fail(err, SH_CORRUPT, "the zstd data is damaged: not a zstd frame");
    if (declared != ZSTD_CONTENTSIZE_UNKNOWN && declared > max_bytes)
        return sh_codec_fail_too_large(err, SH_CODEC_ZSTD, max_bytes);

    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (context == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a zstd decompressor");

    ShStatus status;
    size_t room = first_room(length, max_bytes);
    for (;;) {
        status = sh_scratch_reserve(out, room, err);
        if (status != SH_OK)
            break;
        size_t produced = ZSTD_decompressDCtx(context, out->data, room, data, length);
        if (!ZSTD_isError(produced)) {
            out->length = produced;
            break;
        }
        if (ZSTD_getErrorCode(produced) != ZSTD_error_dstSize_tooSmall) {
            status = sh_fail(err, SH_CORRUPT, "the zstd data is damaged: %s", ZSTD_getErrorName(produced));
            break;
        }
        if (room == max_bytes) {
            status = sh_codec_fail_too_large(err, SH_CODEC_ZSTD, max_bytes);
            break;
        }
        room = room > max_bytes / 2 ? max_bytes : room * 2;
    }
    ZSTD_freeDCtx(context);
    return status;
}

static size_t first_room(size_t length, size_t max_bytes)
{
    if (length > max_bytes / FIRST_ROOM_FACTOR)
        return max_bytes;
    size_t room = length * FIRST_ROOM_FACTOR;
    return room > 0 ? room : 1;
}
