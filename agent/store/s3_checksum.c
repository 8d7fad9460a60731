/*
 * s3_checksum.c - the checksum that goes with an upload. It guards the bytes on their way and at the server;
 * the objects' own checksums are read by nobody before the records are.
 */
#include <openssl/evp.h>

#include "agent/store/s3_client.h"
#include "core/crc32c.h"

#define MD5_BYTES 16

static ShStatus md5(const struct iovec *pieces, size_t piece_count, uint8_t out[MD5_BYTES], ShError *err);

ShStatus sh_s3_checksum(ShS3Checksum kind, const struct iovec *pieces, size_t piece_count,
                        char out[SH_S3_CHECKSUM_BYTES], ShError *err)
{
    uint8_t bytes[MD5_BYTES];
    out[0] = '\0';
    if (kind == SH_S3_CHECKSUM_CRC32C) {
        uint32_t crc = 0;
        for (size_t i = 0; i < piece_count; i++)
            crc = sh_crc32c_extend(crc, pieces[i].iov_base, pieces[i].iov_len);
        for (int i = 0; i < 4; i++)
            bytes[i] = (uint8_t)(crc >> (24 - 8 * i));
        EVP_EncodeBlock((unsigned char *)out, bytes, 4);
    } else if (kind == SH_S3_CHECKSUM_MD5) {
        ShStatus status = md5(pieces, piece_count, bytes, err);
        if (status != SH_OK)
            return status;
        EVP_EncodeBlock((unsigned char *)out, bytes, MD5_BYTES);
    }
    return SH_OK;
}

static ShStatus md5(const struct iovec *pieces, size_t piece_count, uint8_t out[MD5_BYTES], ShError *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1;
    for (size_t i = 0; good && i < piece_count; i++)
        good = EVP_DigestUpdate(context, pieces[i].iov_base, pieces[i].iov_len) == 1;
    good = good && EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return good
               ? SH_OK
               : sh_fail(err, SH_UNSUPPORTED, "this host's OpenSSL does no MD5: see the setting s3_checksum");
}
