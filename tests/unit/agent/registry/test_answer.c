/* Errors and their codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "agent/registry/answer.h"

static void assert_error(ShRegistryAnswer *answer, unsigned status, int code, const char *message)
{
    json_t *body = json_loadb(answer->body, answer->body_bytes, 0, NULL);
    assert_non_null(body);
    assert_int_equal(answer->status, status);
    assert_int_equal(json_integer_value(json_object_get(body, "error_code")), code);
    assert_string_equal(json_string_value(json_object_get(body, "message")), message);
    json_decref(body);
    sh_registry_answer_free(answer);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        bool for_own_setting;
        unsigned status;
        int code;
    } cases[] = {
        {"SH201", false, 422, 42201}, {"SH209", false, 422, 42209}, {"SH401", false, 404, 40401},
        {"SH408", false, 404, 40408}, {"SH408", true, 404, 40401},  {"SH409", true, 404, 40401},
        {"SH406", true, 404, 40406},  {"SH490", false, 409, 409},   {"22P02", false, 422, 422},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShPgSchemaAnswer said = {.text = (char[]){"what"}, .detail = (char[]){"why \"so\""}};
        ShRegistryAnswer answer = {.status = 0};
        memcpy(said.sqlstate, cases[i].sqlstate, sizeof said.sqlstate);
        sh_registry_answer_refusal(&answer, &said, cases[i].for_own_setting);
        assert_error(&answer, cases[i].status, cases[i].code, "what: why \"so\"");
    }
}

static void test_failures_say_nothing_of_the_inside(void **state)
{
    (void)state;
    ShRegistryAnswer answer = {.status = 0};
    ShError err = {0};
    (void)sh_fail(&err, SH_UNAVAILABLE, "cannot connect to host secret");
    sh_registry_answer_failure(&answer, &err);
    assert_true(answer.retry_after_s > 0);
    assert_null(strstr(answer.body, "secret"));
    assert_int_equal(answer.status, 500);
    assert_non_null(strstr(answer.body, "50001"));
    (void)sh_fail(&err, SH_TIMEOUT, "late");
    sh_registry_answer_failure(&answer, &err);
    assert_non_null(strstr(answer.body, "50002"));
    (void)sh_fail(&err, SH_DENIED, "no right to secret");
    sh_registry_answer_failure(&answer, &err);
    assert_int_equal(answer.retry_after_s, 0);
    assert_null(strstr(answer.body, "secret"));
    sh_registry_answer_free(&answer);
}

/* A message that is cut within a character is still JSON. */
static void test_a_cut_message(void **state)
{
    (void)state;
    ShRegistryAnswer answer = {.status = 0};
    char text[SH_ERROR_MESSAGE_BYTES + 8];
    memset(text, 'x', sizeof text);
    memcpy(text + SH_ERROR_MESSAGE_BYTES - 3, "\xf0\x9f\x99\x82", 4);
    text[sizeof text - 1] = '\0';
    sh_registry_answer_error(&answer, 400, "%s", text);
    char expected[SH_ERROR_MESSAGE_BYTES];
    memset(expected, 'x', sizeof expected);
    expected[SH_ERROR_MESSAGE_BYTES - 3] = '\0';
    assert_error(&answer, 400, 400, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failures_say_nothing_of_the_inside),
        cmocka_unit_test(test_a_cut_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
