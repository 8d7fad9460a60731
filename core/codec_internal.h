/*
 * codec_internal.h - what the codec files share: one pair of functions per codec, and room that grows as it
 * is used.
 *
 * Only core/codec*.c include it. Each compress appends to `out`; each decompress expects `out` to be empty
 * and never lets it hold more than `max_bytes` on return.
 */
#ifndef SH_CORE_CODEC_INTERNAL_H
#define SH_CORE_CODEC_INTERNAL_H

#include "core/codec.h"

ShStatus sh_gzip_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err) SH_MUST_CHECK;
ShStatus sh_gzip_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                            ShError *err) SH_MUST_CHECK;

ShStatus sh_snappy_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err) SH_MUST_CHECK;
ShStatus sh_snappy_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                              ShError *err) SH_MUST_CHECK;

ShStatus sh_lz4_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err) SH_MUST_CHECK;
ShStatus sh_lz4_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                           ShError *err) SH_MUST_CHECK;

ShStatus sh_zstd_compress(const uint8_t *data, size_t length, ShScratch *out, ShError *err) SH_MUST_CHECK;
ShStatus sh_zstd_decompress(const uint8_t *data, size_t length, size_t max_bytes, ShScratch *out,
                            ShError *err) SH_MUST_CHECK;

/* Room for `extra` more bytes behind what `out` holds. */
ShStatus sh_codec_reserve_extra(ShScratch *out, size_t extra, ShError *err) SH_MUST_CHECK;

/* The next room for a decompressor whose output size is unknown: `*room` bytes, at least one, at out->data +
 * out->length. The area doubles as it fills, whatever the input declares, and ends one byte past `max_bytes`:
 * when that byte has been written too, this fails with SH_TOO_LARGE. */
ShStatus sh_codec_next_room(ShScratch *out, ShCodec codec, size_t max_bytes, size_t *room,
                            ShError *err) SH_MUST_CHECK;

ShStatus sh_codec_fail_too_large(ShError *err, ShCodec codec, size_t max_bytes);

#endif
