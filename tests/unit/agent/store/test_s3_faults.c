/*
 * The S3 store against a server that misbehaves as written down: throttling, cut and lost answers, silence,
 * and servers that know less than S3.
 */
#include "tests/unit/agent/store/s3_script.h"

#include "agent/base/fault.h"

static void test_throttled_request_is_retried(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY, SLOW_DOWN}, {SCRIPT_REPLY, SLOW_DOWN}, {SCRIPT_REPLY, OK}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    ShMetric *throttled = sh_metric_counter("streamhouse_s3_errors_total", "class=\"throttled\"", "");
    int64_t before = sh_metric_value(throttled);
    contract_assert_status(contract_put_text(f->store, "a/b", "12345", &f->err), SH_OK, &f->err);
    assert_int_equal(sh_metric_value(throttled) - before, 2);
    assert_asked(f, 2, "PUT /bucket/pre/fix/a/b HTTP/1.1", "If-None-Match: *");
    assert_asked(f, 2, "PUT ", "x-amz-security-token: " TOKEN);
    stop(f);
}

static void test_retries_end(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, SLOW_DOWN}, {SCRIPT_REPLY, SLOW_DOWN}};
    Fixture *f = start(STEPS(steps), 5000, 1);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_UNAVAILABLE, &f->err);
    assert_true(f->err.retriable);
    assert_non_null(strstr(f->err.message, "SlowDown"));
    assert_non_null(strstr(f->err.message, "not so fast"));
    stop(f);
}

static void test_refusal_is_not_retried(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, COMPLAINT("403 Forbidden", "40", "AccessDenied")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_DENIED, &f->err);
    assert_false(f->err.retriable);
    stop(f);
}

static void test_truncated_body_is_read_again(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_CUT, PARTIAL "Content-Range: bytes 2-6/7\r\nContent-Length: 5\r\n\r\nhel"},
        {SCRIPT_REPLY, PARTIAL "Content-Range: bytes 2-6/7\r\nContent-Length: 5\r\n\r\nhello"}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_content(f->store, "a", 2, 100, "hello", 5);
    assert_asked(f, 1, "GET /bucket/pre/fix/a HTTP/1.1", "Range: bytes=2-101");
    stop(f);
}

static void test_silence_ends_at_the_deadline(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_HANG, ""}, {SCRIPT_HANG, ""}};
    Fixture *f = start(STEPS(steps), 100, 1);
    ShBuf *got = NULL;
    int64_t start_ms = sh_clock_now_ms();
    contract_assert_status(sh_store_get(f->store, "a", 0, 10, &got, &f->err), SH_TIMEOUT, &f->err);
    assert_true(f->err.retriable);
    assert_in_range(sh_clock_now_ms() - start_ms, 150, 10000);
    stop(f);
}

/* The connection dies after the request, so nobody knows whether the object was stored. */
static void test_lost_reply_meets_its_own_object(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_CUT, ""}, {SCRIPT_REPLY, EXISTS}, {SCRIPT_REPLY, SIZE("5")}, {SCRIPT_CUT, WHOLE_5("12345")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
    assert_asked(f, 2, "GET /bucket/pre/fix/a HTTP/1.1", "Range: bytes=0-0");
    stop(f);
}

static void test_lost_reply_meets_another_object(void **state)
{
    (void)state;
    static const ScriptStep other_size[] = {
        {SCRIPT_CUT, ""}, {SCRIPT_REPLY, EXISTS}, {SCRIPT_CUT, SIZE("6")}};
    static const ScriptStep other_bytes[] = {
        {SCRIPT_CUT, ""}, {SCRIPT_REPLY, EXISTS}, {SCRIPT_REPLY, SIZE("5")}, {SCRIPT_CUT, WHOLE_5("12346")}};
    Fixture *f = start(STEPS(other_size), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_EXISTS, &f->err);
    stop(f);
    f = start(STEPS(other_bytes), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_EXISTS, &f->err);
    stop(f);
}

/* The answer is lost, and all repeats of this put fail; the next put of the same object meets what the first
 * one stored. So the uncertainty is the object's and not the call's. */
static void test_lost_reply_is_settled_by_a_later_put(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_CUT, ""},
                                       {SCRIPT_REPLY, SLOW_DOWN},
                                       {SCRIPT_REPLY, EXISTS},
                                       {SCRIPT_REPLY, SIZE("5")},
                                       {SCRIPT_CUT, WHOLE_5("12345")}};
    Fixture *f = start(STEPS(steps), 5000, 1);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_UNAVAILABLE, &f->err);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
    stop(f);
}

/* Whose object it is cannot be read now: neither stored nor another's. */
static void test_lost_reply_stays_open_while_reads_fail(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, EXISTS}, {SCRIPT_REPLY, SLOW_DOWN}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_UNAVAILABLE, &f->err);
    stop(f);
}

/* A kept connection dies under the second put. libcurl sends it again by itself, over a new one: a lost
 * answer too. */
static void test_lost_reply_on_kept_connection(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, OK},
                                       {SCRIPT_CUT, ""},
                                       {SCRIPT_REPLY, EXISTS},
                                       {SCRIPT_REPLY, SIZE("5")},
                                       {SCRIPT_CUT, WHOLE_5("12345")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "1", &f->err), SH_OK, &f->err);
    contract_assert_status(contract_put_text(f->store, "b", "12345", &f->err), SH_OK, &f->err);
    stop(f);
}

static void test_existing_object_at_first_try(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, EXISTS}, {SCRIPT_REPLY, SIZE("7")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_EXISTS, &f->err);
    stop(f);
}

/* The first put learns that conditions are unknown, the second knows. */
static void test_server_without_conditions(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, NOT_IMPLEMENTED}, {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT},          {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, SIZE("7")},       {SCRIPT_REPLY, SIZE("7")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_EXISTS, &f->err);
    assert_asked(f, 1, "GET ", NULL);
    assert_asked(f, 3, "PUT ", NULL);
    assert_null(strcasestr(f->server.requests[3], "if-none-match"));
    stop(f);
}

static void test_failed_upload_is_aborted(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, UPLOAD_CREATED},
                                       {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"},
                                       {SCRIPT_REPLY, NO_CONTENT}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "0123456789", &f->err), SH_DENIED, &f->err);
    assert_asked(f, 2, "POST /bucket/pre/fix/a?uploads= ", NULL);
    assert_asked(f, 3, "PUT /bucket/pre/fix/a?partNumber=1&uploadId=u1 ", "Content-Length: 8");
    assert_asked(f, 4, "PUT /bucket/pre/fix/a?partNumber=2&uploadId=u1 ", "Content-Length: 2");
    assert_asked(f, 5, "DELETE /bucket/pre/fix/a?uploadId=u1 ", NULL);
    stop(f);
}

/* S3 may answer 200 and then fail; the upload that the retry finds gone has become the object. */
static void test_completion_fails_after_200(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, UPLOAD_CREATED},
                                       {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, COMPLAINT("200 OK", "41", "InternalError")},
                                       {SCRIPT_REPLY, COMPLAINT("404 Not Found", "40", "NoSuchUpload")},
                                       {SCRIPT_REPLY, SIZE("10")},
                                       {SCRIPT_REPLY, SIZE("10")},
                                       {SCRIPT_CUT, PARTIAL "Content-Range: bytes 0-9/10\r\n"
                                                            "Content-Length: 10\r\n\r\n0123456789"}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "0123456789", &f->err), SH_OK, &f->err);
    assert_asked(f, 5, "POST /bucket/pre/fix/a?uploadId=u1 ", "If-None-Match: *");
    stop(f);
}

/* The same, but the upload has vanished and left nothing: the whole put may be tried again. */
static void test_upload_vanishes(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, UPLOAD_CREATED},
                                       {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, OK},
                                       {SCRIPT_REPLY, COMPLAINT("200 OK", "41", "InternalError")},
                                       {SCRIPT_REPLY, COMPLAINT("404 Not Found", "40", "NoSuchUpload")},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "0123456789", &f->err), SH_UNAVAILABLE, &f->err);
    assert_true(f->err.retriable);
    stop(f);
}

static void test_wrong_ranges_are_refused(void **state)
{
    (void)state;
    static const char *const replies[] = {
        /* from another place, too few, not said which, all of it */
        PARTIAL "Content-Range: bytes 0-4/100\r\nContent-Length: 5\r\n\r\nhello",
        PARTIAL "Content-Range: bytes 2-6/100\r\nContent-Length: 5\r\n\r\nhello",
        PARTIAL "Content-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        /* more than asked for, with the length announced and without */
        PARTIAL "Content-Range: bytes 2-21/30\r\nContent-Length: 20\r\n\r\n01234567890123456789",
        PARTIAL "Transfer-Encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        const ScriptStep step = {SCRIPT_CUT, replies[i]};
        Fixture *f = start(&step, 1, 5000, 0);
        ShBuf *got = NULL;
        ShStatus status = sh_store_get(f->store, "a", 2, 10, &got, &f->err);
        if (status != SH_UNAVAILABLE || !f->err.retriable)
            fail_msg("reply %zu gives %s", i, sh_status_name(status));
        assert_null(got);
        stop(f);
    }
}

static void test_delete_of_a_missing_bucket_fails(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, COMPLAINT("404 Not Found", "40", "NoSuchBucket")},
                                       {SCRIPT_REPLY, COMPLAINT("404 Not Found", "37", "NoSuchKey")},
                                       {SCRIPT_REPLY, NO_CONTENT}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    contract_assert_status(sh_store_delete(f->store, "a", &f->err), SH_DENIED, &f->err);
    assert_non_null(strstr(f->err.message, "s3_bucket"));
    contract_assert_status(sh_store_delete(f->store, "a", &f->err), SH_OK, &f->err);
    contract_assert_status(sh_store_delete(f->store, "a", &f->err), SH_OK, &f->err);
    stop(f);
}

static void check_with_reply(const char *reply, ShStatus want, const char *words)
{
    const ScriptStep step = {SCRIPT_CUT, reply};
    Fixture *f = start(&step, 1, 5000, 0);
    contract_assert_status(sh_store_check(f->store, &f->err), want, &f->err);
    if (strstr(f->err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f->err.message, words);
    stop(f);
}

static void test_check_knows_what_is_no_s3_server(void **state)
{
    (void)state;
    check_with_reply("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", SH_UNAVAILABLE,
                     "s3_endpoint");
    check_with_reply("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found", SH_UNAVAILABLE,
                     "not how an S3 server answers");
    check_with_reply("220 mail.example.com ESMTP\r\n", SH_UNAVAILABLE, "s3_endpoint");
    check_with_reply("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nx-amz-bucket-region: eu-x-1\r\n\r\n",
                     SH_DENIED, "s3_region and s3_endpoint; the bucket is in region eu-x-1");
    check_with_reply(COMPLAINT("403 Forbidden", "48", "RequestTimeTooSkewed"), SH_DENIED, "clock");
}

#define EMPTY_LIST LISTED("69", "<IsTruncated>false</IsTruncated>")

/* What is put twice must be refused the second time; a server that takes it is one without conditions. */
static void test_check_notices_that_conditions_are_ignored(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY, EMPTY_LIST}, {SCRIPT_REPLY, OK},     /* stored */
        {SCRIPT_REPLY, OK},                                 /* overwritten */
        {SCRIPT_REPLY, NO_CONTENT}, {SCRIPT_REPLY, ABSENT}, /* looked up from now on */
        {SCRIPT_REPLY, ABSENT},     {SCRIPT_REPLY, SLOW_DOWN}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    ((ShS3Store *)f->store)->part_bytes = 1000; /* in one piece */
    contract_assert_status(sh_store_check(f->store, &f->err), SH_UNAVAILABLE, &f->err);
    assert_true(atomic_load(&((ShS3Store *)f->store)->conditions_refused));
    assert_asked(f, 2, "PUT /bucket/pre/fix/check/agent-agent ", "If-None-Match: *");
    assert_null(strcasestr(f->server.requests[6], "if-none-match"));
    stop(f);
}

/* One that answers 400 to the condition: the put without it tells that it was that. */
static void test_check_gets_along_without_conditions(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY, EMPTY_LIST}, {SCRIPT_REPLY, COMPLAINT("400 Bad Request", "43", "InvalidArgument")},
        {SCRIPT_REPLY, ABSENT},     {SCRIPT_REPLY, ABSENT},
        {SCRIPT_REPLY, OK},         {SCRIPT_REPLY, SIZE("21")}, /* the second one is there */
        {SCRIPT_REPLY, SIZE("22")}, {SCRIPT_REPLY, SLOW_DOWN},
        {SCRIPT_REPLY, NO_CONTENT}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    ((ShS3Store *)f->store)->part_bytes = 1000; /* in one piece */
    contract_assert_status(sh_store_check(f->store, &f->err), SH_UNAVAILABLE, &f->err);
    assert_true(atomic_load(&((ShS3Store *)f->store)->conditions_refused));
    stop(f);
}

/* Both are refused: it was not the condition, and the first answer is the one to tell. */
static void test_check_keeps_conditions_that_are_not_to_blame(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, EMPTY_LIST},
                                       {SCRIPT_REPLY, COMPLAINT("400 Bad Request", "43", "InvalidArgument")},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, ABSENT},
                                       {SCRIPT_REPLY, COMPLAINT("400 Bad Request", "42", "InvalidRequest")}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    ((ShS3Store *)f->store)->part_bytes = 1000; /* in one piece */
    contract_assert_status(sh_store_check(f->store, &f->err), SH_INVALID, &f->err);
    assert_non_null(strstr(f->err.message, "InvalidArgument"));
    assert_false(atomic_load(&((ShS3Store *)f->store)->conditions_refused));
    stop(f);
}

/* The points fail single attempts, so a store that retries gets over them. */
static void test_fault_points_fail_attempts(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, OK}, {SCRIPT_REPLY, NO_CONTENT}};
    Fixture *f = start(STEPS(steps), 5000, 2);
    contract_assert_status(sh_fault_arm("store.put=error:2,store.delete=error:1,store.get=error", &f->err),
                           SH_OK, &f->err);
    contract_assert_status(contract_put_text(f->store, "a", "1", &f->err), SH_OK, &f->err);
    contract_assert_status(sh_store_delete(f->store, "a", &f->err), SH_OK, &f->err);
    ShBuf *got = NULL;
    contract_assert_status(sh_store_get(f->store, "a", 0, 1, &got, &f->err), SH_UNAVAILABLE, &f->err);
    assert_int_equal(sh_fault_arm(NULL, &f->err), SH_OK);
    stop(f);
}

/* It comes from the server and goes back to it, inside XML. */
static void test_an_upload_needs_a_plain_etag(void **state)
{
    (void)state;
    static const ScriptStep steps[][1] = {
        {{SCRIPT_REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}},
        {{SCRIPT_REPLY, "HTTP/1.1 200 OK\r\nETag: \"a<b\"\r\nContent-Length: 0\r\n\r\n"}},
        {{SCRIPT_REPLY, "HTTP/1.1 200 OK\r\nETag: \"a&amp;\"\r\nContent-Length: 0\r\n\r\n"}}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        Fixture *f = start(STEPS(steps[i]), 5000, 0);
        assert_int_not_equal(contract_put_text(f->store, "a", "12345", &f->err), SH_OK);
        assert_non_null(strstr(f->err.message, "ETag"));
        stop(f);
    }
}

/* Without TLS nothing else says that a body came as it was sent. */
static void test_bodies_are_signed_unless_it_is_not_wanted(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, OK}};
    static const struct {
        ShSignPayload sign;
        const char *header;
    } cases[] = {{SH_SIGN_AUTO, "\r\nx-amz-content-sha256: "
                                "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\r\n"},
                 {SH_SIGN_ALWAYS, "\r\nx-amz-content-sha256: "
                                  "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5\r\n"},
                 {SH_SIGN_NEVER, "\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Fixture *f = start_with(STEPS(steps), 5000, 0, &(ShConfig){.s3_sign_payload = cases[i].sign});
        contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
        assert_asked(f, 0, "PUT ", cases[i].header);
        stop(f);
    }
}

/* What is asked of the server with each upload: "12345" has these checksums. */
static void test_uploads_carry_checksums_and_encryption(void **state)
{
    (void)state;
    static const ScriptStep put[] = {{SCRIPT_REPLY, OK}};
    const ShConfig md5 = {.s3_checksum = SH_S3_CHECKSUM_MD5, .s3_encryption = SH_S3_ENCRYPTION_S3};
    Fixture *f = start_with(STEPS(put), 5000, 0, &md5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
    assert_asked(f, 0, "PUT ", "\r\nContent-MD5: gnzLDuqKcGxMNKFokfhOew==\r\n");
    assert_asked(f, 0, "PUT ", "\r\nx-amz-server-side-encryption: AES256\r\n");
    assert_asked(f, 0, "PUT ",
                 "SignedHeaders=content-md5;host;if-none-match;x-amz-content-sha256;x-amz-date;"
                 "x-amz-security-token;x-amz-server-side-encryption,");
    stop(f);

    static const ScriptStep parts[] = {
        {SCRIPT_REPLY, ABSENT},
        {SCRIPT_REPLY, ABSENT},
        {SCRIPT_REPLY, UPLOAD_CREATED},
        {SCRIPT_REPLY, OK},
        {SCRIPT_REPLY, OK},
        {SCRIPT_REPLY, "HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n<CompleteMultipartUploadResult />"}};
    const ShConfig crc = {
        .s3_checksum = SH_S3_CHECKSUM_CRC32C, .s3_encryption = SH_S3_ENCRYPTION_KMS, .s3_kms_key = "key-1"};
    f = start_with(STEPS(parts), 5000, 0, &crc);
    contract_assert_status(contract_put_text(f->store, "a", "0123456789", &f->err), SH_OK, &f->err);
    assert_asked(f, 2, "POST ", "\r\nx-amz-checksum-algorithm: CRC32C\r\n");
    assert_asked(f, 2, "POST ", "\r\nx-amz-server-side-encryption: aws:kms\r\n");
    assert_asked(f, 2, "POST ", "\r\nx-amz-server-side-encryption-aws-kms-key-id: key-1\r\n");
    assert_asked(f, 3, "PUT ",
                 "\r\nx-amz-checksum-crc32c: "); /* the numbers: below, at a server that checks */
    assert_null(strcasestr(f->server.requests[3], "server-side-encryption"));
    assert_null(strcasestr(f->server.requests[0], "checksum"));
    stop(f);

    char sum[SH_S3_CHECKSUM_BYTES];
    ShError err;
    const struct iovec pieces[] = {{.iov_base = "1234", .iov_len = 4}, {.iov_base = "56789", .iov_len = 5}};
    contract_assert_status(sh_s3_checksum(SH_S3_CHECKSUM_CRC32C, pieces, 2, sum, &err), SH_OK, &err);
    assert_string_equal(sum, "4waSgw=="); /* E3069283 */
}

static void test_bad_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const buckets[] = {"", "ab", "UPPER", "a/b", "..", "a..b", "bucket?x", "-bucket"};
    static const char *const endpoints[] = {
        "localhost:9000",          "ftp://host",   "http://", "http://host/path",
        "http://user:secret@host", "http://host?x"};
    char *const empty = "";
    ShConfig config = {.store = SH_STORE_S3,
                       .s3_endpoint = "http://127.0.0.1:1",
                       .s3_access_key = empty,
                       .s3_secret_key = empty,
                       .s3_ca_file = empty,
                       .s3_session_token = empty,
                       .s3_credentials = SH_S3_CREDENTIALS_KEYS,
                       .s3_prefix = empty,
                       .s3_region = "us-east-1"};
    ShStore *store = NULL;
    ShError err = {0};
    for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
        config.s3_bucket = (char *)buckets[i];
        contract_assert_status(sh_store_open(&config, &store, &err), SH_INVALID, &err);
        assert_non_null(strstr(err.message, "s3_bucket"));
    }
    config.s3_bucket = "bucket";
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        config.s3_endpoint = (char *)endpoints[i];
        contract_assert_status(sh_store_open(&config, &store, &err), SH_INVALID, &err);
        assert_non_null(strstr(err.message, "s3_endpoint"));
        assert_null(strstr(err.message, "secret"));
    }
    config.s3_endpoint = empty;
    contract_assert_status(sh_store_open(&config, &store, &err), SH_OK, &err);
    assert_string_equal(sh_store_describe(store),
                        "bucket bucket at https://bucket.s3.us-east-1.amazonaws.com");
    sh_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_throttled_request_is_retried),
        cmocka_unit_test(test_retries_end),
        cmocka_unit_test(test_refusal_is_not_retried),
        cmocka_unit_test(test_truncated_body_is_read_again),
        cmocka_unit_test(test_silence_ends_at_the_deadline),
        cmocka_unit_test(test_lost_reply_meets_its_own_object),
        cmocka_unit_test(test_lost_reply_meets_another_object),
        cmocka_unit_test(test_lost_reply_is_settled_by_a_later_put),
        cmocka_unit_test(test_lost_reply_stays_open_while_reads_fail),
        cmocka_unit_test(test_lost_reply_on_kept_connection),
        cmocka_unit_test(test_existing_object_at_first_try),
        cmocka_unit_test(test_server_without_conditions),
        cmocka_unit_test(test_failed_upload_is_aborted),
        cmocka_unit_test(test_completion_fails_after_200),
        cmocka_unit_test(test_upload_vanishes),
        cmocka_unit_test(test_wrong_ranges_are_refused),
        cmocka_unit_test(test_delete_of_a_missing_bucket_fails),
        cmocka_unit_test(test_check_knows_what_is_no_s3_server),
        cmocka_unit_test(test_check_notices_that_conditions_are_ignored),
        cmocka_unit_test(test_check_gets_along_without_conditions),
        cmocka_unit_test(test_check_keeps_conditions_that_are_not_to_blame),
        cmocka_unit_test(test_fault_points_fail_attempts),
        cmocka_unit_test(test_an_upload_needs_a_plain_etag),
        cmocka_unit_test(test_bodies_are_signed_unless_it_is_not_wanted),
        cmocka_unit_test(test_uploads_carry_checksums_and_encryption),
        cmocka_unit_test(test_bad_addresses_are_refused),
    };
    return cmocka_run_group_tests_name("S3 store against a scripted server", tests, NULL, NULL);
}
