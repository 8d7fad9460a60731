/*
 * s3_client.h - requests to one bucket: addressed, signed, sent, judged, and sent again where that helps.
 */
#ifndef SH_AGENT_STORE_S3_CLIENT_H
#define SH_AGENT_STORE_S3_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/base/config.h"
#include "agent/base/metrics.h"
#include "agent/store/s3_error.h"
#include "agent/store/s3_http.h"
#include "agent/store/s3_keys.h"
#include "agent/store/throttle.h"

/* The kinds of request, for metrics, fault points and limits of rate. */
typedef enum ShS3Operation {
    SH_S3_PUT,
    SH_S3_GET,
    SH_S3_DELETE,
    SH_S3_LIST,
    SH_S3_UPLOAD_CREATE,
    SH_S3_UPLOAD_PART,
    SH_S3_UPLOAD_COMPLETE,
    SH_S3_UPLOAD_ABORT,
    SH_S3_UPLOAD_LIST,
    SH_S3_OPERATION_COUNT
} ShS3Operation;

/* Where the bucket is. All strings are owned. */
typedef struct ShS3Address {
    char *origin;      /* "http://127.0.0.1:9000", with the bucket in the host's name unless path_style */
    char *host;        /* the Host header */
    char *bucket_path; /* "/bucket" in path style, else "" */
    char *bucket;
    char *key_prefix; /* "" or ends in '/' */
    bool https;
} ShS3Address;

ShStatus sh_s3_address_parse(const ShConfig *config, ShS3Address *out, ShError *err) SH_MUST_CHECK;
void sh_s3_address_free(ShS3Address *address);

typedef struct ShS3Client {
    ShS3Http *http;
    ShS3Address address;
    ShS3Keyring *keyring;
    char *region;
    bool sign_payload;
    ShS3Encryption encryption;
    char *kms_key; /* "" : the bucket's */
    ShS3Checksum checksum;
    int64_t timeout_ms;
    int64_t deadline_ms; /* of a request with all its attempts; 0: none */
    int64_t retries_max;
    int64_t backoff_base_ms;
    ShThrottle *throttle; /* NULL: not wanted */
    pthread_mutex_t failure_lock;
    /* By failure_lock: why the last request of a kind failed; "" : it did not. */
    char failures[SH_THROTTLE_KIND_COUNT][SH_ERROR_MESSAGE_BYTES];
    atomic_bool gives_request_ids; /* the server has given one: what comes without is not its answer */
    ShMetric *requests_ok[SH_S3_OPERATION_COUNT];
    ShMetric *requests_failed[SH_S3_OPERATION_COUNT];
    ShMetric *duration[SH_S3_OPERATION_COUNT];
    ShMetric *errors[SH_S3_ERROR_CLASS_COUNT];
} ShS3Client;

ShStatus sh_s3_client_new(const ShConfig *config, int64_t backoff_base_ms, ShS3Client **out,
                          ShError *err) SH_MUST_CHECK;
void sh_s3_client_free(ShS3Client *client);

#define SH_S3_CHECKSUM_BYTES 32 /* in base64, with the NUL */

/* The checksum of the pieces as its header has it; "" for none. */
ShStatus sh_s3_checksum(ShS3Checksum kind, const struct iovec *pieces, size_t piece_count,
                        char out[SH_S3_CHECKSUM_BYTES], ShError *err) SH_MUST_CHECK;

/* A query parameter; its value is encoded on the way. */
typedef struct ShS3Parameter {
    const char *name;
    const char *value;
} ShS3Parameter;

typedef struct ShS3Request {
    ShS3Operation operation;
    const char *key;                 /* without the prefix; NULL: the bucket itself */
    const ShS3Parameter *parameters; /* sorted by name */
    size_t parameter_count;
    bool if_none_match; /* only when there is no such object */
    uint64_t position;  /* of a read: the range ... */
    uint64_t length;    /* ... which is not empty; 0: no read */
    const struct iovec *body;
    size_t body_count;
    uint64_t body_bytes;
    uint64_t reply_bytes_max;
    bool fail_fast; /* no retries: the caller wants to know how things stand */
} ShS3Request;

typedef struct ShS3Reply {
    ShS3HttpReply http; /* of the last attempt; its body is released with sh_s3_reply_clear */
    ShS3Complaint complaint;
    uint64_t total_bytes; /* of a read: the size of the whole object */
} ShS3Reply;

/* Send a request, with retries and full jitter, until the deadline. SH_OK for a 2xx answer that an S3 server
 * gives to such a request, else what sh_s3_judge says (SH_NOT_FOUND: to reads alone), or SH_UNAVAILABLE with
 * a retry delay, and with what went wrong before, when the gate does not let it pass; the message begins with
 * operation, key and bucket.
 * `reply` is always set and to be cleared. */
ShStatus sh_s3_request(ShS3Client *client, const ShS3Request *request, ShS3Reply *reply,
                       ShError *err) SH_MUST_CHECK;
void sh_s3_reply_clear(ShS3Reply *reply);

#endif
