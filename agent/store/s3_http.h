/*
 * s3_http.h - one HTTP exchange, blocking. s3_http.c is the only file that knows libcurl.
 *
 * Connections are kept and reused. Nothing is retried here, redirects are not followed, and certificates are
 * checked. May be called from several threads at once.
 */
#ifndef SH_AGENT_STORE_S3_HTTP_H
#define SH_AGENT_STORE_S3_HTTP_H

#include <stdint.h>
#include <sys/uio.h>

#include "agent/store/s3_sign.h"
#include "core/bytes.h"
#include "core/status.h"

#define SH_S3_ETAG_BYTES 80

typedef struct ShS3Http ShS3Http;

typedef struct ShS3HttpRequest {
    const char *method; /* PUT and POST send a body, if an empty one */
    const char *url;
    const ShS3Header *headers; /* "host" among them is what is sent */
    size_t header_count;
    const struct iovec *body;
    size_t body_count;
    uint64_t body_bytes;
    uint64_t reply_bytes_max; /* a longer body of a successful reply is SH_TOO_LARGE */
    int64_t timeout_ms;       /* for the whole exchange */
    bool direct;              /* past any proxy */
} ShS3HttpRequest;

/* What the server answered. Strings are "" when the header was absent. */
typedef struct ShS3HttpReply {
    long code;
    bool has_length;
    uint64_t content_length; /* what the header says */
    char etag[SH_S3_ETAG_BYTES];
    char content_range[80];
    char region[80];     /* x-amz-bucket-region: where the bucket is */
    char request_id[80]; /* x-amz-request-id: the server's name for the request */
    int retry_after_s;
    ShBuf *body; /* NULL when empty; the caller's to release */
} ShS3HttpReply;

/* `ca_file` (PEM; copied) holds the authorities that are trusted; "" : those of the system. SH_INVALID when
 * it cannot be read. */
ShStatus sh_s3_http_new(const char *ca_file, ShS3Http **out, ShError *err) SH_MUST_CHECK;
void sh_s3_http_free(ShS3Http *http);

/* Any answer of the server is SH_OK, an HTTP error too. Otherwise, with `reply` untouched:
 * SH_UNAVAILABLE (host not found, refused, cut; retriable but for a bad certificate), SH_TIMEOUT,
 * SH_TOO_LARGE. */
ShStatus sh_s3_http_exchange(ShS3Http *http, const ShS3HttpRequest *request, ShS3HttpReply *reply,
                             ShError *err) SH_MUST_CHECK;

#endif
