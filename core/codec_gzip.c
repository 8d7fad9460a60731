#include <limits.h>
#include <zlib.h>

#include "core/codec_internal.h"

#define GZIP_WINDOW_BITS (15 + 16) /* zlib's way to ask for the gzip wrapper of RFC 1952 */
#define MEMORY_LEVEL     8

static ShStatus inflate_members(z_stream *stream, size_t max_bytes, ShScratch *out,
                                ShError *err) SH_MUST_CHECK;

ShStatus sh_gzip_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err)
{
    if (length > UINT_MAX / 2)
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes are too many for one gzip call", length);

    z_stream stream = {0};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a gzip compressor");

    size_t bound = deflateBound(&stream, length);
    ShStatus status = sh_codec_reserve_extra(out, bound, err);
    if (status != SH_OK)
        goto done;

    stream.next_in = (Bytef *)data;
    stream.avail_in = (uInt)length;
    stream.next_out = out->data + out->length;
    stream.avail_out = (uInt)bound;
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        status = sh_fail(err, SH_INTERNAL, "gzip needs more room than it said");
        goto done;
    }
    out->length += stream.total_out;

done:
    deflateEnd(&stream);
    return status;
}

ShStatus sh_gzip_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                            ShError *err)
{
    if (length > UINT_MAX)
        return sh_fail(err, SH_TOO_LARGE, "%zu bytes are too many for one gzip call", length);

    z_stream stream = {.next_in = (Bytef *)data, .avail_in = (uInt)length};
    if (inflateInit2(&stream, GZIP_WINDOW_BITS) != Z_OK)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a gzip decompressor");
    ShStatus status = inflate_members(&stream, max_bytes, out, err);
    inflateEnd(&stream);
    return status;
}

/* A gzip file is one or more members, each ending the stream. */
static ShStatus inflate_members(z_stream *stream, size_t max_bytes, ShScratch *out, ShError *err)
{
    for (;;) {
        size_t room;
        ShStatus status = sh_codec_next_room(out, SH_CODEC_GZIP, max_bytes, &room, err);
        if (status != SH_OK)
            return status;
        if (room > UINT_MAX)
            room = UINT_MAX;

        stream->next_out = out->data + out->length;
        stream->avail_out = (uInt)room;
        int result = inflate(stream, Z_NO_FLUSH);
        out->length += room - stream->avail_out;

        switch (result) {
        case Z_OK:
            break;
        case Z_STREAM_END:
            if (stream->avail_in == 0)
                return out->length > max_bytes ? sh_codec_fail_too_large(err, SH_CODEC_GZIP, max_bytes)
                                               : SH_OK;
            inflateReset(stream);
            break;
        case Z_BUF_ERROR:
            return sh_fail(err, SH_CORRUPT, "the gzip data is cut off");
        case Z_MEM_ERROR:
            return sh_fail(err, SH_NO_MEMORY, "no memory for gzip's window");
        default:
            return sh_fail(err, SH_CORRUPT, "the gzip data is damaged: %s",
                           stream->msg != NULL ? stream->msg : "not a gzip stream");
        }
    }
}
