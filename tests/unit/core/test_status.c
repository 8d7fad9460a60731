#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/status.h"

static void fail_fills_the_error(void **state)
{
    (void)state;
    ShError err;
    assert_int_equal(sh_fail(&err, SH_NOT_FOUND, "topic \"%s\" does not exist", "orders"), SH_NOT_FOUND);
    assert_int_equal(err.status, SH_NOT_FOUND);
    assert_false(err.retriable);
    assert_int_equal(err.retry_after_ms, 0);
    assert_string_equal(err.message, "topic \"orders\" does not exist");
}

static void fail_accepts_no_error(void **state)
{
    (void)state;
    assert_int_equal(sh_fail(NULL, SH_IO, "nobody reads this"), SH_IO);
    assert_int_equal(sh_fail_prefix(NULL, SH_IO, "nor this"), SH_IO);
    assert_int_equal(sh_fail_retry_after(NULL, SH_EXHAUSTED, 5), SH_EXHAUSTED);
    sh_error_clear(NULL);
}

static void transient_failures_are_retriable(void **state)
{
    (void)state;
    for (int status = SH_OK + 1; status <= SH_INTERNAL; status++) {
        ShError err;
        sh_fail(&err, (ShStatus)status, "x");
        assert_int_equal(err.retriable,
                         status == SH_EXHAUSTED || status == SH_UNAVAILABLE || status == SH_TIMEOUT);
    }
}

static void prefix_stands_before_the_message(void **state)
{
    (void)state;
    ShError err;
    sh_fail(&err, SH_UNAVAILABLE, "connection refused");
    assert_int_equal(sh_fail_prefix(&err, SH_IO, "bucket %s", "b1"), SH_UNAVAILABLE);
    assert_string_equal(err.message, "bucket b1: connection refused");
    assert_true(err.retriable);
}

static void message_may_quote_itself(void **state)
{
    (void)state;
    ShError err;
    sh_fail(&err, SH_IO, "inner");
    sh_fail(&err, SH_CORRUPT, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
    sh_fail_prefix(&err, SH_IO, "%s", err.message);
    assert_string_equal(err.message, "outer (inner): outer (inner)");
}

static void long_message_is_cut_at_a_character(void **state)
{
    (void)state;
    char text[SH_ERROR_MESSAGE_BYTES + 100];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    memcpy(text + SH_ERROR_MESSAGE_BYTES - 3, "\xe2\x82\xac", 3); /* the euro sign's last byte does not fit */
    ShError err;
    sh_fail(&err, SH_INVALID, "%s", text);
    assert_int_equal(strlen(err.message), SH_ERROR_MESSAGE_BYTES - 3);

    memcpy(text + SH_ERROR_MESSAGE_BYTES - 4, "\xe2\x82\xacx", 4); /* here it just fits */
    sh_fail(&err, SH_INVALID, "%s", text);
    assert_int_equal(strlen(err.message), SH_ERROR_MESSAGE_BYTES - 1);
}

static void long_prefix_keeps_within_the_message(void **state)
{
    (void)state;
    char text[3 * SH_ERROR_MESSAGE_BYTES];
    memset(text, 'p', sizeof text);
    text[sizeof text - 1] = '\0';
    ShError err;
    sh_fail(&err, SH_INVALID, "short");
    sh_fail_prefix(&err, SH_INVALID, "%s", text);
    assert_int_equal(strlen(err.message), SH_ERROR_MESSAGE_BYTES - 1);
}

static void retry_after_marks_retriable(void **state)
{
    (void)state;
    ShError err;
    sh_fail(&err, SH_FENCED, "later");
    assert_int_equal(sh_fail_retry_after(&err, err.status, 250), SH_FENCED);
    assert_true(err.retriable);
    assert_int_equal(err.retry_after_ms, 250);
    sh_error_clear(&err);
    assert_int_equal(err.status, SH_OK);
    assert_false(err.retriable);
    assert_int_equal(err.retry_after_ms, 0);
    assert_string_equal(err.message, "");
}

static void each_status_has_a_name(void **state)
{
    (void)state;
    for (int status = SH_OK; status <= SH_INTERNAL; status++)
        assert_string_not_equal(sh_status_name((ShStatus)status), "UNKNOWN");
    assert_string_equal(sh_status_name(SH_NOT_OWNER), "NOT_OWNER");
    assert_string_equal(sh_status_name((ShStatus)999), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_fills_the_error),
        cmocka_unit_test(fail_accepts_no_error),
        cmocka_unit_test(transient_failures_are_retriable),
        cmocka_unit_test(prefix_stands_before_the_message),
        cmocka_unit_test(message_may_quote_itself),
        cmocka_unit_test(long_message_is_cut_at_a_character),
        cmocka_unit_test(long_prefix_keeps_within_the_message),
        cmocka_unit_test(retry_after_marks_retriable),
        cmocka_unit_test(each_status_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
