/*
 * The four examples of the Amazon S3 API reference, "Signature Calculations for the Authorization Header:
 * Transferring Payload in a Single Chunk", with the example credentials that it publishes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/store/s3_sign.h"

#define HOST                                                                                                 \
    {                                                                                                        \
        "host", "examplebucket.s3.amazonaws.com"                                                             \
    }
#define EMPTY_PAYLOAD                                                                                        \
    {                                                                                                        \
        "x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"           \
    }
#define DATE                                                                                                 \
    {                                                                                                        \
        "x-amz-date", "20130524T000000Z"                                                                     \
    }

static const ShS3Credentials example = {.access_key = "AKIAIOSFODNN7EXAMPLE",
                                        .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                        .region = "us-east-1"};

static void assert_signed(const ShS3Signable *request, const char *signed_names, const char *signature)
{
    char authorization[SH_S3_AUTHORIZATION_BYTES];
    char expected[SH_S3_AUTHORIZATION_BYTES];
    ShError err = {0};
    assert_int_equal(sh_s3_sign(request, &example, authorization, &err), SH_OK);
    snprintf(expected, sizeof expected,
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
             "SignedHeaders=%s,Signature=%s",
             signed_names, signature);
    assert_string_equal(authorization, expected);
}

static void test_get_object_with_range(void **state)
{
    (void)state;
    const ShS3Header headers[] = {HOST, {"range", "bytes=0-9"}, EMPTY_PAYLOAD, DATE};
    const ShS3Signable request = {.method = "GET",
                                  .path = "/test.txt",
                                  .query = "",
                                  .headers = headers,
                                  .header_count = 4,
                                  .payload_hash = SH_S3_EMPTY_SHA256,
                                  .timestamp = "20130524T000000Z"};
    assert_signed(&request, "host;range;x-amz-content-sha256;x-amz-date",
                  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put_object(void **state)
{
    (void)state;
    char hash[SH_S3_SHA256_HEX_BYTES];
    ShError err = {0};
    const struct iovec pieces[] = {{.iov_base = "Welcome to ", .iov_len = 11},
                                   {.iov_base = NULL, .iov_len = 0},
                                   {.iov_base = "Amazon S3.", .iov_len = 10}};
    assert_int_equal(sh_s3_sha256_hex(pieces, 3, hash, &err), SH_OK);
    assert_string_equal(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");

    const ShS3Header headers[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                  HOST,
                                  {"x-amz-content-sha256", hash},
                                  DATE,
                                  {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    const ShS3Signable request = {.method = "PUT",
                                  .path = "/test%24file.text",
                                  .query = "",
                                  .headers = headers,
                                  .header_count = 5,
                                  .payload_hash = hash,
                                  .timestamp = "20130524T000000Z"};
    assert_signed(&request, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void test_query_parameters(void **state)
{
    (void)state;
    const ShS3Header headers[] = {HOST, EMPTY_PAYLOAD, DATE};
    ShS3Signable request = {.method = "GET",
                            .path = "/",
                            .query = "lifecycle=",
                            .headers = headers,
                            .header_count = 3,
                            .payload_hash = SH_S3_EMPTY_SHA256,
                            .timestamp = "20130524T000000Z"};
    assert_signed(&request, "host;x-amz-content-sha256;x-amz-date",
                  "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    request.query = "max-keys=2&prefix=J";
    assert_signed(&request, "host;x-amz-content-sha256;x-amz-date",
                  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_encodes_all_but_unreserved_characters(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    sh_s3_write_encoded(out, "a b/c+\xc3\xa9%~_-.$", true);
    fputc('|', out);
    sh_s3_write_encoded(out, "a/b=c&", false);
    fclose(out);
    assert_string_equal(text, "a%20b/c%2B%C3%A9%25~_-.%24|a%2Fb%3Dc%26");
    free(text);
}

static void test_timestamp(void **state)
{
    (void)state;
    char text[SH_S3_TIMESTAMP_BYTES];
    sh_s3_format_timestamp(1369353600999, text);
    assert_string_equal(text, "20130524T000000Z");
}

static void test_refuses_names_that_do_not_fit(void **state)
{
    (void)state;
    char authorization[SH_S3_AUTHORIZATION_BYTES];
    char long_text[SH_S3_AUTHORIZATION_BYTES + 100];
    ShError err = {0};
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    const ShS3Header headers[] = {HOST, EMPTY_PAYLOAD, DATE};
    const ShS3Signable request = {.method = "GET",
                                  .path = "/",
                                  .query = "",
                                  .headers = headers,
                                  .header_count = 3,
                                  .payload_hash = SH_S3_EMPTY_SHA256,
                                  .timestamp = "20130524T000000Z"};
    ShS3Credentials long_key = example;
    long_key.access_key = long_text;
    assert_int_equal(sh_s3_sign(&request, &long_key, authorization, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "s3_access_key"));
    ShS3Credentials long_region = example;
    long_region.region = long_text;
    assert_int_equal(sh_s3_sign(&request, &long_region, authorization, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "s3_region"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_object_with_range),
        cmocka_unit_test(test_put_object),
        cmocka_unit_test(test_query_parameters),
        cmocka_unit_test(test_encodes_all_but_unreserved_characters),
        cmocka_unit_test(test_timestamp),
        cmocka_unit_test(test_refuses_names_that_do_not_fit),
    };
    return cmocka_run_group_tests_name("S3 signatures", tests, NULL, NULL);
}
