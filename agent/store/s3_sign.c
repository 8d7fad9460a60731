#include "agent/store/s3_sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DATE_LENGTH  8 /* the date's part of a timestamp */
#define DIGEST_BYTES 32

static char *build_string_to_sign(const ShS3Signable *request, const char *scope);
static char *build_canonical_request(const ShS3Signable *request);
static void write_signed_names(FILE *out, const ShS3Signable *request);
static bool derive_signature(const char *secret_key, const char *scope, const char *text,
                             char hex[SH_S3_SHA256_HEX_BYTES]);
static bool hmac(const void *key, size_t key_length, const char *text, size_t text_length,
                 uint8_t digest[DIGEST_BYTES]);
static void format_hex(const uint8_t digest[DIGEST_BYTES], char hex[SH_S3_SHA256_HEX_BYTES]);

const char SH_S3_EMPTY_SHA256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const char SH_S3_UNSIGNED_PAYLOAD[] = "UNSIGNED-PAYLOAD";

ShStatus sh_s3_sign(const ShS3Signable *request, const ShS3Credentials *credentials,
                    char authorization[SH_S3_AUTHORIZATION_BYTES], ShError *err)
{
    char scope[128];
    char signature[SH_S3_SHA256_HEX_BYTES];
    int scope_length = snprintf(scope, sizeof scope, "%.*s/%s/s3/aws4_request", DATE_LENGTH,
                                request->timestamp, credentials->region);
    if (scope_length >= (int)sizeof scope)
        return sh_fail(err, SH_INVALID, "the setting s3_region is too long");

    char *text = build_string_to_sign(request, scope);
    bool derived = text != NULL && derive_signature(credentials->secret_key, scope, text, signature);
    free(text);
    if (!derived)
        return sh_fail(err, SH_INTERNAL, "a request could not be signed");

    FILE *out = fmemopen(authorization, SH_S3_AUTHORIZATION_BYTES, "w");
    if (out == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to sign a request");
    fprintf(out, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", credentials->access_key, scope);
    write_signed_names(out, request);
    fprintf(out, ",Signature=%s", signature);
    bool fits = fflush(out) == 0 && ftell(out) < SH_S3_AUTHORIZATION_BYTES;
    fclose(out);
    return fits ? SH_OK : sh_fail(err, SH_INVALID, "the setting s3_access_key is too long");
}

ShStatus sh_s3_sha256_hex(const struct iovec *pieces, size_t piece_count, char hex[SH_S3_SHA256_HEX_BYTES],
                          ShError *err)
{
    uint8_t digest[DIGEST_BYTES];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < piece_count; i++)
        ok = EVP_DigestUpdate(ctx, pieces[i].iov_base, pieces[i].iov_len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return sh_fail(err, SH_INTERNAL, "SHA-256 is not available");
    format_hex(digest, hex);
    return SH_OK;
}

void sh_s3_format_timestamp(int64_t wall_ms, char out[SH_S3_TIMESTAMP_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(out, SH_S3_TIMESTAMP_BYTES, "%Y%m%dT%H%M%SZ", &utc);
}

void sh_s3_write_encoded(FILE *out, const char *text, bool keep_slash)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(plain, *c) != NULL || (keep_slash && *c == '/'))
            putc(*c, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*c);
    }
}

/* NULL when memory is short, as below. */
static char *build_string_to_sign(const ShS3Signable *request, const char *scope)
{
    char hash[SH_S3_SHA256_HEX_BYTES];
    char *text = NULL;
    char *canonical = build_canonical_request(request);
    if (canonical == NULL)
        return NULL;
    const struct iovec piece = {.iov_base = canonical, .iov_len = strlen(canonical)};
    if (sh_s3_sha256_hex(&piece, 1, hash, NULL) != SH_OK ||
        asprintf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->timestamp, scope, hash) < 0)
        text = NULL;
    free(canonical);
    return text;
}

static char *build_canonical_request(const ShS3Signable *request)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return NULL;
    fprintf(out, "%s\n%s\n%s\n", request->method, request->path, request->query);
    for (size_t i = 0; i < request->header_count; i++)
        fprintf(out, "%s:%s\n", request->headers[i].name, request->headers[i].value);
    putc('\n', out);
    write_signed_names(out, request);
    fprintf(out, "\n%s", request->payload_hash);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static void write_signed_names(FILE *out, const ShS3Signable *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        fprintf(out, "%s%s", i == 0 ? "" : ";", request->headers[i].name);
}

/* The signing key is the secret hashed with each component of the scope in turn: date, region, service,
 * "aws4_request". */
static bool derive_signature(const char *secret_key, const char *scope, const char *text,
                             char hex[SH_S3_SHA256_HEX_BYTES])
{
    uint8_t digest[DIGEST_BYTES];
    char *first_key = NULL;
    int first_key_length = asprintf(&first_key, "AWS4%s", secret_key);
    if (first_key_length < 0)
        return false;

    size_t component_length = strcspn(scope, "/");
    bool ok = hmac(first_key, (size_t)first_key_length, scope, component_length, digest);
    explicit_bzero(first_key, (size_t)first_key_length);
    free(first_key);
    while (ok && scope[component_length] == '/') {
        scope += component_length + 1;
        component_length = strcspn(scope, "/");
        ok = hmac(digest, sizeof digest, scope, component_length, digest);
    }
    ok = ok && hmac(digest, sizeof digest, text, strlen(text), digest);
    if (ok)
        format_hex(digest, hex);
    return ok;
}

/* `digest` may be the key. */
static bool hmac(const void *key, size_t key_length, const char *text, size_t text_length,
                 uint8_t digest[DIGEST_BYTES])
{
    uint8_t result[DIGEST_BYTES];
    unsigned int length = sizeof result;
    if (HMAC(EVP_sha256(), key, (int)key_length, (const uint8_t *)text, text_length, result, &length) == NULL)
        return false;
    memcpy(digest, result, sizeof result);
    return true;
}

static void format_hex(const uint8_t digest[DIGEST_BYTES], char hex[SH_S3_SHA256_HEX_BYTES])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}
