/*
 * codec.h - the five compression codecs of a record batch, by their numbers in the attributes field.
 *
 * Snappy is accepted raw and in the xerial framing that Java clients write, and is written raw. LZ4 and
 * Zstandard are their standard frame formats, gzip is RFC 1952.
 */
#ifndef SH_CORE_CODEC_H
#define SH_CORE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef enum ShCodec {
    SH_CODEC_NONE = 0,
    SH_CODEC_GZIP = 1,
    SH_CODEC_SNAPPY = 2,
    SH_CODEC_LZ4 = 3,
    SH_CODEC_ZSTD = 4
} ShCodec;

/* "none", "gzip", "snappy", "lz4", "zstd"; NULL for a number that is no codec. */
const char *sh_codec_name(int codec);
ShStatus sh_codec_parse(const char *name, ShCodec *out, ShError *err) SH_MUST_CHECK;

/* A growable byte area that codecs write into and that is reused from call to call. Zero-initialise it. */
typedef struct ShScratch {
    uint8_t *data;
    size_t length;
    size_t capacity;
} ShScratch;

void sh_scratch_free(ShScratch *scratch);
/* Make room for `capacity` bytes in all, keeping what is there. */
ShStatus sh_scratch_reserve(ShScratch *scratch, size_t capacity, ShError *err) SH_MUST_CHECK;

/* Append the compressed form of `data` to `out`. */
ShStatus sh_codec_compress(ShCodec codec, const uint8_t *data, size_t length, ShScratch *out,
                           ShError *err) SH_MUST_CHECK;

/* Replace the content of `out` by the decompressed form of `data`. Output beyond `max_bytes` fails with
 * SH_TOO_LARGE before it is produced, so that a small input cannot fill the memory; damage is SH_CORRUPT.
 * `out->data` is not NULL afterwards, even if nothing came out. */
ShStatus sh_codec_decompress(ShCodec codec, const uint8_t *data, size_t length, size_t max_bytes,
                             ShScratch *out, ShError *err) SH_MUST_CHECK;

#endif
