/*
 * What answers in the place of the S3 server: proxies with pages of their own, wrong absences, lists that are
 * not whole. None of it may pass for the store's word.
 */
#include "tests/unit/agent/store/s3_script.h"

/* Absence is what the server says in so many words, twice. Each of these is said by something else, or of
 * something else: the read fails, and so does looking for the size. */
static void test_only_the_servers_word_is_absence(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        ShStatus want;
        const char *words;
    } cases[] = {
        {HTML_404, SH_UNAVAILABLE, "HTTP 404"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "HTTP 404"},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 34\r\n\r\n<Error><Code>NoSuchKey</Code></Err",
         SH_UNAVAILABLE, "HTTP 404"}, /* cut within the document, as the length shows */
        {"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "HTTP 410"},
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nwhat", SH_UNAVAILABLE, "HTTP 400"},
        {COMPLAINT("404 Not Found", "40", "NoSuchBucket"), SH_DENIED, "s3_bucket"},
        {COMPLAINT("404 Not Found", "46", "XAdminUserNotFound"), SH_DENIED, "s3_access_key"},
        {COMPLAINT("404 Not Found", "40", "NoSuchUpload"), SH_UNAVAILABLE, "NoSuchUpload"},
        {COMPLAINT("403 Forbidden", "37", "NoSuchKey"), SH_DENIED, "s3_access_key"},
        {COMPLAINT("301 Moved Permanently", "45", "PermanentRedirect"), SH_DENIED, "s3_region"},
        {COMPLAINT("307 Temporary Redirect", "45", "TemporaryRedirect"), SH_UNAVAILABLE, "s3_region"},
        {HTML_200, SH_UNAVAILABLE, "no S3 server"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "no S3 server"},
        {"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "HTTP 416"},
    };
    ShMetric *failed = sh_metric_counter("streamhouse_s3_requests_total",
                                         "operation=\"get\",result=\"error\"", "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const ScriptStep steps[] = {{SCRIPT_CUT, cases[i].reply}, {SCRIPT_CUT, cases[i].reply}};
        Fixture *f = start(STEPS(steps), 5000, 0);
        ShBuf *got = NULL;
        uint64_t bytes = 0;
        int64_t before = sh_metric_value(failed);
        contract_assert_status(sh_store_get(f->store, "a", 0, 100, &got, &f->err), cases[i].want, &f->err);
        if (strstr(f->err.message, cases[i].words) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, f->err.message, cases[i].words);
        contract_assert_status(sh_store_size(f->store, "a", &bytes, &f->err), cases[i].want, &f->err);
        if (strcmp(cases[i].words, "NoSuchUpload") != 0)
            assert_int_equal(sh_metric_value(failed) - before, 2);
        stop(f);
    }
}

static void test_absence_is_confirmed(void **state)
{
    (void)state;
    static const ScriptStep absent[] = {{SCRIPT_REPLY, ABSENT}, {SCRIPT_REPLY, ABSENT}};
    static const ScriptStep mistaken[] = {{SCRIPT_REPLY, ABSENT}, {SCRIPT_REPLY, WHOLE_5("hello")}};
    Fixture *f = start(STEPS(absent), 5000, 5);
    ShBuf *got = NULL;
    contract_assert_status(sh_store_get(f->store, "a", 0, 100, &got, &f->err), SH_NOT_FOUND, &f->err);
    stop(f);
    f = start(STEPS(mistaken), 5000, 5);
    contract_assert_content(f->store, "a", 0, 100, "hello", 5);
    stop(f);
}

/* A server that names its requests does so when it says that there is no such object. */
static void test_absence_without_the_servers_request_id(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY,
         PARTIAL "x-amz-request-id: tx1\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello"},
        {SCRIPT_REPLY, ABSENT}};
    Fixture *f = start(STEPS(steps), 5000, 0);
    ShBuf *got = NULL;
    contract_assert_content(f->store, "a", 0, 100, "hello", 5);
    contract_assert_status(sh_store_get(f->store, "a", 0, 100, &got, &f->err), SH_UNAVAILABLE, &f->err);
    stop(f);
}

/* What something else answers with 200 is retried, and then the server answers. */
static void test_nonsense_is_retried(void **state)
{
    (void)state;
    static const ScriptStep read[] = {
        {SCRIPT_REPLY, HTML_200}, {SCRIPT_REPLY, HTML_404}, {SCRIPT_REPLY, WHOLE_5("hello")}};
    static const ScriptStep put[] = {{SCRIPT_REPLY, HTML_200}, {SCRIPT_REPLY, OK}};
    static const ScriptStep delete[] = {
        {SCRIPT_REPLY, HTML_200}, {SCRIPT_REPLY, HTML_404}, {SCRIPT_REPLY, NO_CONTENT}};
    Fixture *f = start(STEPS(read), 5000, 5);
    contract_assert_content(f->store, "a", 0, 100, "hello", 5);
    stop(f);
    f = start(STEPS(put), 5000, 5);
    contract_assert_status(contract_put_text(f->store, "a", "12345", &f->err), SH_OK, &f->err);
    stop(f);
    f = start(STEPS(delete), 5000, 5);
    contract_assert_status(sh_store_delete(f->store, "a", &f->err), SH_OK, &f->err);
    stop(f);
}

/* A list that may be cut is no list: what it misses would be taken for absent. Nothing of it is told. */
static void test_doubtful_lists_are_asked_for_again(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY, HTML_200},
        {SCRIPT_REPLY, LISTED("92", KEY("a"))},
        {SCRIPT_REPLY, LISTED("146", KEY("a") "<KeyCount>2</KeyCount><IsTruncated>false</IsTruncated>")},
        {SCRIPT_REPLY, LISTED("123", KEY("a") "<IsTruncated>true</IsTruncated>")},
        {SCRIPT_REPLY,
         LISTED("201", KEY("a") KEY("b") "<KeyCount>2</KeyCount><IsTruncated>false</IsTruncated>")}};
    Fixture *f = start(STEPS(steps), 5000, 5);
    ContractList all = {0};
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &f->err), SH_OK, &f->err);
    assert_int_equal(all.count, 2);
    stop(f);
}

static void test_a_list_without_end_ends(void **state)
{
    (void)state;
    static const char page_a[] = LISTED("172", KEY("a") "<IsTruncated>true</IsTruncated>"
                                                        "<NextContinuationToken>t1</NextContinuationToken>");
    static const char page_b[] = LISTED("172", KEY("b") "<IsTruncated>true</IsTruncated>"
                                                        "<NextContinuationToken>t2</NextContinuationToken>");
    static const ScriptStep same[] = {{SCRIPT_REPLY, page_a}, {SCRIPT_REPLY, page_a}};
    static const ScriptStep two[] = {{SCRIPT_REPLY, page_a}, {SCRIPT_REPLY, page_b}, {SCRIPT_REPLY, page_a}};
    ContractList all = {0};
    Fixture *f = start(STEPS(same), 5000, 0);
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &f->err), SH_UNAVAILABLE,
                           &f->err);
    assert_non_null(strstr(f->err.message, "no end"));
    stop(f);
    f = start(STEPS(two), 5000, 0);
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &f->err), SH_UNAVAILABLE,
                           &f->err);
    stop(f);
}

static void test_keys_of_others_are_no_list(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {
        {SCRIPT_REPLY,
         "HTTP/1.1 200 OK\r\nContent-Length: 108\r\n\r\n<ListBucketResult><Contents><Key>other/a</Key>"
         "</Contents><IsTruncated>false</IsTruncated></ListBucketResult>"}};
    ContractList all = {0};
    Fixture *f = start(STEPS(steps), 5000, 0);
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &f->err), SH_UNAVAILABLE,
                           &f->err);
    assert_int_equal(all.count, 0);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_servers_word_is_absence),
        cmocka_unit_test(test_absence_is_confirmed),
        cmocka_unit_test(test_absence_without_the_servers_request_id),
        cmocka_unit_test(test_nonsense_is_retried),
        cmocka_unit_test(test_doubtful_lists_are_asked_for_again),
        cmocka_unit_test(test_a_list_without_end_ends),
        cmocka_unit_test(test_keys_of_others_are_no_list),
    };
    return cmocka_run_group_tests_name("answers that are not the S3 server's", tests, NULL, NULL);
}
