/* A request's path and parameters, decoded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/registry/target.h"

static void test_segments_are_decoded_one_by_one(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *segments[4];
    } cases[] = {
        {"/", {NULL}},
        {"/subjects", {"subjects"}},
        {"/subjects/", {"subjects"}},
        {"/subjects/a%2Fb%25/versions", {"subjects", "a/b%", "versions"}},
        {"/a+b", {"a+b"}},
        {"/%c3%A4", {"\xc3\xa4"}},
        {"/a//b", {"a", "", "b"}},
        {"/?a=b", {NULL}},
        {"/%3Fa%3Db", {"?a=b"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryTarget target;
        ShError err = {0};
        if (sh_registry_target_parse(cases[i].text, &target, &err) != SH_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        int count = 0;
        for (; cases[i].segments[count] != NULL; count++)
            assert_string_equal(target.segments[count], cases[i].segments[count]);
        assert_int_equal(target.segment_count, count);
        sh_registry_target_free(&target);
    }
}

static void test_parameters(void **state)
{
    (void)state;
    ShRegistryTarget target;
    const char *number;
    ShError err = {0};
    const char *text =
        "/x?deleted=TRUE&permanent=1&a+b=c%26d&&=skipped&empty&limit=-1&big=2147483648&limit=7";
    assert_int_equal(sh_registry_target_parse(text, &target, &err), SH_OK);
    assert_int_equal(target.parameter_count, 7);
    assert_string_equal(sh_registry_flag(&target, "deleted"), "true");
    assert_string_equal(sh_registry_flag(&target, "permanent"), "false");
    assert_string_equal(sh_registry_flag(&target, "absent"), "false");
    assert_string_equal(sh_registry_parameter(&target, "a b"), "c&d");
    assert_string_equal(sh_registry_parameter(&target, "empty"), "");
    assert_null(sh_registry_parameter(&target, "absent"));
    assert_int_equal(sh_registry_number(&target, "limit", "0", &number, &err), SH_OK);
    assert_string_equal(number, "-1");
    assert_int_equal(sh_registry_number(&target, "absent", "5", &number, &err), SH_OK);
    assert_string_equal(number, "5");
    assert_int_equal(sh_registry_number(&target, "big", "0", &number, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "big"));
    assert_int_equal(sh_registry_number(&target, "empty", "0", &number, &err), SH_INVALID);
    sh_registry_target_free(&target);
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "subjects",
        "*",
        "/%",
        "/%2",
        "/%zz",
        "/%g0",
        "/%0",
        "/a%00b",
        "/%ff",
        "/x?a=%f",
        "/x?%zz",
        "/x?a=%C3",
        "/1/2/3/4/5/6/7/8/9",
        "/x?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryTarget target;
        ShError err = {0};
        if (sh_registry_target_parse(cases[i], &target, &err) != SH_INVALID)
            fail_msg("\"%s\" was read", cases[i]);
        assert_true(err.message[0] != '\0');
    }
}

static void test_integers(void **state)
{
    (void)state;
    int32_t value;
    assert_true(sh_registry_is_int("2147483647", &value) && value == INT32_MAX);
    assert_true(sh_registry_is_int("-2147483648", &value) && value == INT32_MIN);
    assert_true(sh_registry_is_int("007", &value) && value == 7);
    static const char *const others[] = {
        "", "-", "+1", " 1", "1 ", "1.0", "0x1", "2147483648", "99999999999999999999"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(sh_registry_is_int(others[i], &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_decoded_one_by_one),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_what_cannot_be_read),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
