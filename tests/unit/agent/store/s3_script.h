/*
 * s3_script.h - an S3 store at a scripted server, and answers to write scripts with.
 */
#ifndef SH_TESTS_S3_SCRIPT_H
#define SH_TESTS_S3_SCRIPT_H

#include "tests/unit/agent/store/contract.h"
#include "tests/unit/agent/store/scripted_server.h"

#include "agent/store/s3_store.h"

#define SECRET       "a-secret-that-must-not-be-seen"
#define TOKEN        "a-token-that-must-not-be-seen"
#define STEPS(array) (array), sizeof(array) / sizeof((array)[0])

#define OK         "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 0\r\n\r\n"
#define NO_CONTENT "HTTP/1.1 204 No Content\r\n\r\n"
#define SLOW_DOWN                                                                                            \
    "HTTP/1.1 503 Slow Down\r\nContent-Length: 66\r\n\r\n"                                                   \
    "<Error><Code>SlowDown</Code><Message>not so fast</Message></Error>"
#define EXISTS   "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
#define ABSENT   COMPLAINT("404 Not Found", "37", "NoSuchKey")
#define HTML_404 "HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n<html>not here</html>\n"
#define HTML_200 "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>hello</html>\r\n"
/* One byte of an object of so many, and all of it. */
#define SIZE(bytes)   PARTIAL "Content-Range: bytes 0-0/" bytes "\r\nContent-Length: 1\r\n\r\n1"
#define WHOLE_5(text) PARTIAL "Content-Range: bytes 0-4/5\r\nETag: \"e1\"\r\nContent-Length: 5\r\n\r\n" text
#define COMPLAINT(status, length, code)                                                                      \
    "HTTP/1.1 " status "\r\nContent-Length: " length "\r\n\r\n<Error><Code>" code "</Code></Error>"
#define NOT_IMPLEMENTED COMPLAINT("501 Not Implemented", "42", "NotImplemented")
#define PARTIAL         "HTTP/1.1 206 Partial Content\r\n"
#define UPLOAD_CREATED                                                                                       \
    "HTTP/1.1 200 OK\r\nContent-Length: 86\r\n\r\n<InitiateMultipartUploadResult><UploadId>u1</UploadId>"    \
    "</InitiateMultipartUploadResult>"

typedef struct Fixture {
    ScriptedServer server;
    ShStore *store;
    ShError err;
} Fixture;

static const ShS3Options quick = {.list_keys_max = 4, .backoff_base_ms = 1};

static inline Fixture *start_with(const ScriptStep *steps, size_t step_count, int64_t timeout_ms,
                                  int64_t retries_max, const ShConfig *more)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    script_start(&f->server, steps, step_count);
    ShConfig config = {.store = SH_STORE_S3,
                       .s3_endpoint = f->server.endpoint,
                       .s3_access_key = "key",
                       .s3_secret_key = SECRET,
                       .s3_ca_file = "",
                       .s3_session_token = TOKEN,
                       .s3_bucket = "bucket",
                       .s3_prefix = "pre/fix",
                       .s3_region = "us-east-1",
                       .s3_path_style = true,
                       .s3_multipart_bytes = 8,
                       .s3_timeout_ms = timeout_ms,
                       .s3_retries_max = retries_max};
    config.s3_sign_payload = more->s3_sign_payload;
    config.s3_encryption = more->s3_encryption;
    config.s3_kms_key = more->s3_kms_key;
    config.s3_checksum = more->s3_checksum;
    contract_assert_status(sh_s3_store_open_with(&config, &quick, &f->store, &f->err), SH_OK, &f->err);
    return f;
}

static inline Fixture *start(const ScriptStep *steps, size_t step_count, int64_t timeout_ms,
                             int64_t retries_max)
{
    return start_with(steps, step_count, timeout_ms, retries_max, &(ShConfig){0});
}

static inline void assert_asked(const Fixture *f, size_t number, const char *start_of_request,
                                const char *header)
{
    const char *request = f->server.requests[number];
    if (strncmp(request, start_of_request, strlen(start_of_request)) != 0)
        fail_msg("request %zu is not \"%s\": %s", number, start_of_request, request);
    if (header != NULL && strcasestr(request, header) == NULL)
        fail_msg("request %zu has no \"%s\": %s", number, header, request);
}

static inline void stop(Fixture *f)
{
    sh_store_close(f->store);
    script_stop(&f->server);
    assert_null(strstr(f->err.message, SECRET));
    assert_null(strstr(f->err.message, TOKEN));
    free(f);
}

#define LISTED(length, rest)                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n<ListBucketResult>" rest "</ListBucketResult>"
#define KEY(name) "<Contents><Key>pre/fix/" name "</Key><Size>1</Size></Contents>"

#endif
