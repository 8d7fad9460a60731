#include "agent/store/s3_error.h"

#include <limits.h>
#include <string.h>

/* What a refusal means, and what to do about it ("" : nothing to say). */
typedef struct Verdict {
    ShStatus status;
    bool retriable;
    ShS3ErrorClass class;
    const char *advice;
} Verdict;

static const Verdict *find_verdict(long http_code, const char *code);
static bool has_meaning_alone(long http_code);
static const char *before(const char *text, const char *separator);

/* By S3's error code, which says more than the HTTP code. */
static const struct {
    const char *code;
    Verdict verdict;
} by_code[] = {
    {"SlowDown", {SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, ""}},
    {"RequestLimitExceeded", {SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, ""}},
    {"InternalError", {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, ""}},
    {"RequestTimeout", {SH_TIMEOUT, true, SH_S3_ERROR_TIMEOUT, ""}},
    /* Two writers of one key at once; the retry learns who won. */
    {"ConditionalRequestConflict", {SH_UNAVAILABLE, true, SH_S3_ERROR_NONE, ""}},
    {"OperationAborted", {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, ""}},
    /* The payload was damaged on its way. */
    {"BadDigest", {SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, ""}},
    {"XAmzContentSHA256Mismatch", {SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, ""}},
    {"IncompleteBody", {SH_UNAVAILABLE, true, SH_S3_ERROR_TRANSPORT, ""}},
    {"SignatureDoesNotMatch",
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the secret does not fit the key: see the settings s3_secret_key and s3_access_key"}},
    {"InvalidAccessKeyId",
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the server does not know this key: see the setting s3_access_key"}},
    {"ExpiredToken", {SH_DENIED, false, SH_S3_ERROR_DENIED, "see the setting s3_session_token"}},
    {"InvalidToken", {SH_DENIED, false, SH_S3_ERROR_DENIED, "see the setting s3_session_token"}},
    {"RequestTimeTooSkewed",
     {SH_DENIED, false, SH_S3_ERROR_DENIED, "this host's clock and the server's are too far apart"}},
    {"QuotaExceeded",
     {SH_EXHAUSTED, false, SH_S3_ERROR_REQUEST, "the bucket's or the user's quota is used up"}},
    /* What versitygw and Ceph say of an unknown key. */
    {"XAdminUserNotFound",
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the server does not know this key: see the setting s3_access_key"}},
    {"XAdminNoSuchUser",
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the server does not know this key: see the setting s3_access_key"}},
    /* The parts are gone: what is to be done about it, the upload knows. */
    {"NoSuchUpload", {SH_UNAVAILABLE, false, SH_S3_ERROR_NONE, ""}},
    {"InvalidRange", {SH_OUT_OF_RANGE, false, SH_S3_ERROR_NONE, ""}},
    {"NotImplemented", {SH_UNSUPPORTED, false, SH_S3_ERROR_REQUEST, ""}},
    {"NoSuchBucket",
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the bucket does not exist: see the setting s3_bucket, or create it with \"aws s3 mb s3://BUCKET\""}},
    {"InvalidBucketName", {SH_INVALID, false, SH_S3_ERROR_REQUEST, "see the setting s3_bucket"}},
    {"AuthorizationHeaderMalformed",
     {SH_INVALID, false, SH_S3_ERROR_REQUEST,
      "the bucket may be in another region: see the setting s3_region"}},
    {"EntityTooLarge", {SH_TOO_LARGE, false, SH_S3_ERROR_REQUEST, "see the setting s3_multipart_size"}},
};

/* By HTTP code, in order: the first range that fits decides. The last one fits everything. */
static const struct {
    long first;
    long last;
    Verdict verdict;
} by_http_code[] = {
    {300,
     306,
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "the server points elsewhere: see the settings s3_region and s3_endpoint"}},
    /* S3 does so for some minutes after a bucket was made. */
    {307,
     399,
     {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER,
      "the server points elsewhere: see the settings s3_region and s3_endpoint"}},
    {401, 401, {SH_DENIED, false, SH_S3_ERROR_DENIED, "see the settings s3_access_key and s3_secret_key"}},
    {403,
     403,
     {SH_DENIED, false, SH_S3_ERROR_DENIED,
      "see the settings s3_access_key and s3_secret_key, and what this key may do in the bucket"}},
    {408, 408, {SH_TIMEOUT, true, SH_S3_ERROR_TIMEOUT, ""}},
    {409, 409, {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, ""}},
    {412, 412, {SH_EXISTS, false, SH_S3_ERROR_NONE, ""}},
    {429, 429, {SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, ""}},
    {400, 499, {SH_INVALID, false, SH_S3_ERROR_REQUEST, ""}},
    {503, 503, {SH_UNAVAILABLE, true, SH_S3_ERROR_THROTTLED, ""}},
    {500, 599, {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER, ""}},
    {0,
     LONG_MAX,
     {SH_UNAVAILABLE, false, SH_S3_ERROR_REQUEST,
      "this is not how an S3 server answers: see the setting s3_endpoint"}},
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

ShStatus sh_s3_judge(long http_code, const ShS3Complaint *complaint, const char *region,
                     ShS3ErrorClass *class, ShError *err)
{
    const Verdict *verdict = find_verdict(http_code, complaint->code);
    *class = verdict->class;
    bool elsewhere = http_code >= 300 && http_code <= 399 && region[0] != '\0';
    ShStatus status = sh_fail(err, verdict->status, "HTTP %ld%s%s%s%s%s%s%s%s", http_code,
                              before(complaint->code, " "), complaint->code, before(complaint->message, ": "),
                              complaint->message, before(verdict->advice, "; "), verdict->advice,
                              elsewhere ? "; the bucket is in region " : "", elsewhere ? region : "");
    if (err != NULL)
        err->retriable = verdict->retriable;
    return status;
}

ShS3ErrorClass sh_s3_judge_transport(ShStatus status)
{
    return status == SH_TIMEOUT ? SH_S3_ERROR_TIMEOUT : SH_S3_ERROR_TRANSPORT;
}

static const Verdict *find_verdict(long http_code, const char *code)
{
    static const Verdict absent = {SH_NOT_FOUND, false, SH_S3_ERROR_NONE, ""};
    static const Verdict nonsense = {SH_UNAVAILABLE, true, SH_S3_ERROR_SERVER,
                                     "this is not how an S3 server answers: see the setting s3_endpoint"};
    if (http_code == 404 && strcmp(code, "NoSuchKey") == 0)
        return &absent;
    for (size_t i = 0; i < sizeof by_code / sizeof by_code[0]; i++)
        if (strcmp(by_code[i].code, code) == 0)
            return &by_code[i].verdict;

    /* What stands between may say anything, until the server itself answers again. */
    bool is_wordless = code[0] == '\0' && http_code >= 400 && http_code <= 499;
    if (http_code == 404 || http_code == 416 || (is_wordless && !has_meaning_alone(http_code)))
        return &nonsense;
    size_t row = 0;
    while (http_code < by_http_code[row].first || http_code > by_http_code[row].last)
        row++;
    return &by_http_code[row].verdict;
}

/* Codes that mean the same without S3's words. */
static bool has_meaning_alone(long http_code)
{
    static const long codes[] = {401, 403, 408, 409, 412, 429};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == http_code)
            return true;
    return false;
}

/* The separator where a text follows it. */
static const char *before(const char *text, const char *separator)
{
    return text[0] != '\0' ? separator : "";
}
