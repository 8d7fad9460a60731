#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/store/s3_xml.h"

#define LIST_HEAD                                                                                            \
    "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"

typedef struct Seen {
    int count;
    char last_key[256];
    uint64_t last_bytes;
    int stop_after;
} Seen;

static bool see(void *arg, const char *key, uint64_t bytes)
{
    Seen *seen = arg;
    seen->count++;
    snprintf(seen->last_key, sizeof seen->last_key, "%s", key);
    seen->last_bytes = bytes;
    return seen->count != seen->stop_after;
}

static ShStatus parse_list(const char *text, Seen *seen, char token[SH_S3_TEXT_BYTES_MAX])
{
    ShError err;
    ShBuf *body = sh_buf_copy(text, strlen(text));
    assert_non_null(body);
    ShStatus status = sh_s3_xml_list(body, see, seen, token, &err);
    sh_buf_unref(body);
    return status;
}

static void test_list(void **state)
{
    (void)state;
    Seen seen = {0};
    char token[SH_S3_TEXT_BYTES_MAX];
    assert_int_equal(
        parse_list(LIST_HEAD
                   "<Name>b</Name><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
                   "<Contents><Key>a &amp; &lt;b&gt;</Key><Size>12</Size><Owner><ID>x</ID></Owner></Contents>"
                   "<Contents><Size>18446744073709551615</Size><Key>caf\xc3\xa9</Key></Contents>"
                   "<NextContinuationToken>t/1=</NextContinuationToken></ListBucketResult>",
                   &seen, token),
        SH_OK);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.last_key, "caf\xc3\xa9");
    assert_true(seen.last_bytes == UINT64_MAX);
    assert_string_equal(token, "t/1=");
}

static void test_list_stops(void **state)
{
    (void)state;
    Seen seen = {.stop_after = 1};
    char token[SH_S3_TEXT_BYTES_MAX];
    assert_int_equal(parse_list(LIST_HEAD "<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>"
                                          "<Contents><Key>b</Key></Contents></ListBucketResult>",
                                &seen, token),
                     SH_OK);
    assert_int_equal(seen.count, 1);
    assert_string_equal(token, "");
}

static void test_list_refuses_damage(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",
        "not XML",
        "<html><body>Welcome</body></html>",
        "<Error><Code>x</Code></Error>",
        LIST_HEAD "<Contents><Key>a</Key></Contents>",
        LIST_HEAD "<Contents><Size>1</Size></Contents></ListBucketResult>",
        LIST_HEAD "<Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        LIST_HEAD "<Contents><Key>a</Key><Size>1x</Size></Contents></ListBucketResult>",
        LIST_HEAD "<Contents><Key>a</Key><Size></Size></Contents></ListBucketResult>",
        LIST_HEAD "<Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
        LIST_HEAD "<IsTruncated>true</IsTruncated></ListBucketResult>",
        LIST_HEAD "<Contents><Key>a</Key></Contents></ListBucketResult>", /* all of it? */
        LIST_HEAD "<IsTruncated>perhaps</IsTruncated></ListBucketResult>",
        LIST_HEAD "<KeyCount>1</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
        LIST_HEAD "<a><b><c><d><e><f><g><h><i></i></h></g></f></e></d></c></b></a></ListBucketResult>",
        LIST_HEAD "<Contents><Key>\xff\xfe</Key></Contents></ListBucketResult>",
        "<!DOCTYPE x [<!ENTITY a "
        "\"boom\">]><ListBucketResult><Contents><Key>&a;</Key></Contents></ListBucketResult>",
        "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ListBucketResult></ListBucketResult>",
    };
    char token[SH_S3_TEXT_BYTES_MAX];
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        Seen seen = {0};
        if (parse_list(damaged[i], &seen, token) != SH_CORRUPT)
            fail_msg("accepted: %s", damaged[i]);
        assert_int_equal(seen.count, 0); /* what is not whole is told to nobody */
    }
}

static void see_upload(void *arg, const char *key, const char *upload_id, const char *initiated)
{
    Seen *seen = arg;
    seen->count++;
    snprintf(seen->last_key, sizeof seen->last_key, "%s %s %s", key, upload_id, initiated);
}

static void test_upload_list(void **state)
{
    (void)state;
    static const char text[] =
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
        "<Upload><Initiator><ID>x</ID></Initiator><Initiated>2026-11-30T01:02:03.000Z</Initiated>"
        "<UploadId>u1</UploadId><Key>a/b</Key></Upload>"
        "<Upload><Key>no id</Key></Upload></ListMultipartUploadsResult>";
    ShError err;
    Seen seen = {0};
    ShBuf *body = sh_buf_copy(text, sizeof text - 1);
    assert_int_equal(sh_s3_xml_upload_list(body, see_upload, &seen, &err), SH_OK);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last_key, "a/b u1 2026-11-30T01:02:03.000Z");
    sh_buf_unref(body);
    body = sh_buf_copy("<html></html>", 13);
    assert_int_equal(sh_s3_xml_upload_list(body, see_upload, &seen, &err), SH_CORRUPT);
    sh_buf_unref(body);
}

static void test_list_refuses_endless_text(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length;
    char token[SH_S3_TEXT_BYTES_MAX];
    Seen seen = {0};
    FILE *out = open_memstream(&text, &length);
    fputs(LIST_HEAD "<Contents><Key>", out);
    for (int i = 0; i < 100000; i++)
        fputc('k', out);
    fputs("</Key></Contents></ListBucketResult>", out);
    fclose(out);
    assert_int_equal(parse_list(text, &seen, token), SH_CORRUPT);
    assert_int_equal(seen.count, 0);
    free(text);
}

/* Cut everywhere, a document is damaged everywhere but nothing else happens. */
static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    static const char whole[] = LIST_HEAD
        "<Contents><Key>a&amp;b</Key><Size>1</Size></Contents></ListBucketResult>";
    char token[SH_S3_TEXT_BYTES_MAX];
    ShError err;
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        Seen seen = {0};
        ShBuf *body = sh_buf_copy(whole, length);
        assert_int_equal(sh_s3_xml_list(body, see, &seen, token, &err), SH_CORRUPT);
        sh_buf_unref(body);
    }
}

static void test_complaint(void **state)
{
    (void)state;
    ShS3Complaint complaint;
    static const char text[] = "<Error><Code>NoSuchKey</Code><Message>line\nbreak</Message></Error>";
    ShBuf *body = sh_buf_copy(text, sizeof text - 1);
    assert_true(sh_s3_xml_complaint(body, &complaint));
    assert_string_equal(complaint.code, "NoSuchKey");
    assert_string_equal(complaint.message, "line?break");
    sh_buf_unref(body);

    assert_false(sh_s3_xml_complaint(NULL, &complaint));
    assert_string_equal(complaint.code, "");
    body = sh_buf_copy("<Error></Error>", 15);
    assert_false(sh_s3_xml_complaint(body, &complaint));
    sh_buf_unref(body);
}

static void test_upload_id(void **state)
{
    (void)state;
    char id[SH_S3_TEXT_BYTES_MAX];
    ShError err;
    static const char text[] = "<InitiateMultipartUploadResult><Key>k</Key><UploadId>2~abc</UploadId>"
                               "</InitiateMultipartUploadResult>";
    ShBuf *body = sh_buf_copy(text, sizeof text - 1);
    assert_int_equal(sh_s3_xml_upload_id(body, id, &err), SH_OK);
    assert_string_equal(id, "2~abc");
    sh_buf_unref(body);
    assert_int_equal(sh_s3_xml_upload_id(NULL, id, &err), SH_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_stops),
        cmocka_unit_test(test_list_refuses_damage),
        cmocka_unit_test(test_upload_list),
        cmocka_unit_test(test_list_refuses_endless_text),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_complaint),
        cmocka_unit_test(test_upload_id),
    };
    return cmocka_run_group_tests_name("S3 documents", tests, NULL, NULL);
}
