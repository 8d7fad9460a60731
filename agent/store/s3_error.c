#include "agent/store/s3_error.h"

#include <string.h>

/* One kind of refusal. Rows are tried in order; the first that fits decides. */
typedef struct Refusal {
    const char *code; /* S3's error code, or NULL: any */
    long http_first;  /* the range of HTTP codes, 0 to 0: any */
    long http_last;
    ShStatus status;
    bool retriable;
    ShS3ErrorClass class;
    const char *advice; /* what to do, or NULL */
} Refusal;

static const Refusal *find_refusal(long http_code, const char *code);

static const Refusal refusals[] = {
    {"SlowDown", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, NULL},
    {"RequestLimitExceeded", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, NULL},
    {"InternalError", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, NULL},
    {"RequestTimeout", 0, 0, SH_TIMEOUT, true, SH_S3_ERROR_TIMEOUT, NULL},
    /* Two writers of one key at once; the retry learns who won. */
    {"ConditionalRequestConflict", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_NONE, NULL},
    {"OperationAborted", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, NULL},
    /* The payload was damaged on its way. */
    {"BadDigest", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, NULL},
    {"XAmzContentSHA256Mismatch", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, NULL},
    {"IncompleteBody", 0, 0, SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, NULL},

    {"SignatureDoesNotMatch", 0, 0, SH_DENIED, false, SH_S3_ERROR_DENIED,
     "the secret does not fit the key: see the settings s3_secret_key and s3_access_key"},
    {"InvalidAccessKeyId", 0, 0, SH_DENIED, false, SH_S3_ERROR_DENIED,
     "the server does not know this key: see the setting s3_access_key"},
    {"ExpiredToken", 0, 0, SH_DENIED, false, SH_S3_ERROR_DENIED, "see the setting s3_session_token"},
    {"InvalidToken", 0, 0, SH_DENIED, false, SH_S3_ERROR_DENIED, "see the setting s3_session_token"},
    {"RequestTimeTooSkewed", 0, 0, SH_DENIED, false, SH_S3_ERROR_DENIED,
     "this host's clock and the server's are too far apart"},
    {"QuotaExceeded", 0, 0, SH_EXHAUSTED, false, SH_S3_ERROR_REQUEST, "the bucket's or the user's quota is used up"},

    {"NoSuchBucket", 0, 0, SH_NOT_FOUND, false, SH_S3_ERROR_REQUEST,
     "the bucket does not exist: see the setting s3_bucket, or create it with \"aws s3 mb s3://BUCKET\""},
    {"InvalidBucketName", 0, 0, SH_INVALID, false, SH_S3_ERROR_REQUEST, "see the setting s3_bucket"},
    {"AuthorizationHeaderMalformed", 0, 0, SH_INVALID, false, SH_S3_ERROR_REQUEST,
     "the bucket may be in another region: see the setting s3_region"},
    {"EntityTooLarge", 0, 0, SH_TOO_LARGE, false, SH_S3_ERROR_REQUEST, "see the setting s3_multipart_bytes"},

    {NULL, 300, 399, SH_INVALID, false, SH_S3_ERROR_REQUEST,
     "the server points elsewhere: see the settings s3_region and s3_endpoint"},
    {NULL, 401, 401, SH_DENIED, false, SH_S3_ERROR_DENIED, "see the settings s3_access_key and s3_secret_key"},
    {NULL, 403, 403, SH_DENIED, false, SH_S3_ERROR_DENIED,
     "see the settings s3_access_key and s3_secret_key, and what this key may do in the bucket"},
    {NULL, 404, 404, SH_NOT_FOUND, false, SH_S3_ERROR_NONE, NULL},
    {NULL, 408, 408, SH_TIMEOUT, true, SH_S3_ERROR_TIMEOUT, NULL},
    {NULL, 409, 409, SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, NULL},
    {NULL, 412, 412, SH_EXISTS, false, SH_S3_ERROR_NONE, NULL},
    {NULL, 416, 416, SH_OUT_OF_RANGE, false, SH_S3_ERROR_NONE, NULL},
    {NULL, 429, 429, SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, NULL},
    {NULL, 400, 499, SH_INVALID, false, SH_S3_ERROR_REQUEST, NULL},
    {NULL, 501, 501, SH_UNSUPPORTED, false, SH_S3_ERROR_REQUEST, NULL},
    {NULL, 503, 503, SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, NULL},
    {NULL, 500, 599, SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, NULL},
    {NULL, 0, 0, SH_UNAVAILABLE, false, SH_S3_ERROR_REQUEST,
     "this is not how an S3 server answers: see the setting s3_endpoint"},
};

const char *sh_s3_error_class_name(ShS3ErrorClass class)
{
    static const char *const names[SH_S3_ERROR_CLASS_COUNT] = {
        [SH_S3_ERROR_NONE] = "none",       [SH_S3_ERROR_TRANSPORT] = "transport",
        [SH_S3_ERROR_TIMEOUT] = "timeout", [SH_S3_ERROR_THROTTLED] = "throttled",
        [SH_S3_ERROR_SERVER] = "server",   [SH_S3_ERROR_DENIED] = "denied",
        [SH_S3_ERROR_REQUEST] = "request",
    };
    return names[class];
}

ShStatus sh_s3_judge(long http_code, const ShS3Complaint *complaint, ShS3ErrorClass *class, ShError *err)
{
    const Refusal *refusal = find_refusal(http_code, complaint->code);
    *class = refusal->class;
    ShStatus status = sh_fail(err, refusal->status, "HTTP %ld%s%s%s%s%s%s", http_code,
                              complaint->code[0] != '\0' ? " " : "", complaint->code,
                              complaint->message[0] != '\0' ? ": " : "", complaint->message,
                              refusal->advice != NULL ? "; " : "", refusal->advice != NULL ? refusal->advice : "");
    if (err != NULL)
        err->retriable = refusal->retriable;
    return status;
}

ShS3ErrorClass sh_s3_judge_transport(ShStatus status)
{
    return status == SH_TIMEOUT ? SH_S3_ERROR_TIMEOUT : SH_S3_ERROR_TRANSPORT;
}

/* The last row fits everything. */
static const Refusal *find_refusal(long http_code, const char *code)
{
    const Refusal *refusal = refusals;
    for (;; refusal++) {
        bool code_fits = refusal->code == NULL || strcmp(refusal->code, code) == 0;
        bool http_fits = refusal->http_last == 0 ||
                         (http_code >= refusal->http_first && http_code <= refusal->http_last);
        if (code_fits && http_fits)
            return refusal;
    }
}
