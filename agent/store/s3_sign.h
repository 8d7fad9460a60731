/*
 * s3_sign.h - AWS Signature Version 4 for S3: a pure function of request, time and credentials.
 *
 * Source: Amazon S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload
 * in a Single Chunk". S3 encodes a path once, where other AWS services do it twice.
 */
#ifndef SH_AGENT_STORE_S3_SIGN_H
#define SH_AGENT_STORE_S3_SIGN_H

#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "core/status.h"

#define SH_S3_SHA256_HEX_BYTES    65   /* 64 digits and the NUL */
#define SH_S3_TIMESTAMP_BYTES     17   /* 20130524T000000Z and the NUL */
#define SH_S3_AUTHORIZATION_BYTES 1024 /* bounds the access key and the region */

/* The payload hash of a request without a body, and the words for a body that is not hashed. */
extern const char SH_S3_EMPTY_SHA256[];
extern const char SH_S3_UNSIGNED_PAYLOAD[];

typedef struct ShS3Credentials {
    const char *access_key;
    const char *secret_key;
    const char *region;
} ShS3Credentials;

typedef struct ShS3Header {
    const char *name; /* in lower case */
    const char *value;
} ShS3Header;

/* A request as it will be sent. Headers are sorted by name and include host, x-amz-date and
 * x-amz-content-sha256. */
typedef struct ShS3Signable {
    const char *method;
    const char *path;  /* percent-encoded, begins with '/' */
    const char *query; /* percent-encoded, parameters sorted by name, each with a '='; may be "" */
    const ShS3Header *headers;
    size_t header_count;
    const char *payload_hash;
    const char *timestamp; /* the value of x-amz-date */
} ShS3Signable;

/* The value of the Authorization header. */
ShStatus sh_s3_sign(const ShS3Signable *request, const ShS3Credentials *credentials,
                    char authorization[SH_S3_AUTHORIZATION_BYTES], ShError *err) SH_MUST_CHECK;

/* The SHA-256 of the pieces one after the other, in lower-case hexadecimal. */
ShStatus sh_s3_sha256_hex(const struct iovec *pieces, size_t piece_count, char hex[SH_S3_SHA256_HEX_BYTES],
                          ShError *err) SH_MUST_CHECK;

/* Milliseconds since the Unix epoch as x-amz-date wants them. */
void sh_s3_format_timestamp(int64_t wall_ms, char out[SH_S3_TIMESTAMP_BYTES]);

/* Write `text` percent-encoded: all bytes but letters, digits and "-._~"; a slash is kept on demand. */
void sh_s3_write_encoded(FILE *out, const char *text, bool keep_slash);

#endif
