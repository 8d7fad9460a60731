/* Targets that are paths, and those that are whole URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/http/http_target.h"

static void test_paths_and_urls(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *host;
    } cases[] = {
        {"/", "/", ""},
        {"/a?b=http://c/d", "/a?b=http://c/d", ""},
        {"//a/b", "//a/b", ""},
        {"*", "*", ""},
        {"host:80", "host:80", ""},
        {"ftp://host/a", "ftp://host/a", ""},
        {"http:/a", "http:/a", ""},
        {"http://host/a/b?c=d", "/a/b?c=d", "host"},
        {"HTTPS://Host:8081/a%2Fb@c#", "/a%2Fb@c#", "Host:8081"},
        {"http://[::1]:80//", "//", "[::1]:80"},
        {"http://host", "/", "host"},
        {"http://host?a=b/c", "/", "host"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShHttpTarget target;
        assert_true(sh_http_target_split(cases[i].target, &target));
        assert_string_equal(target.path, cases[i].path);
        assert_string_equal(target.host, cases[i].host);
    }
}

static void test_urls_without_a_host_of_ours(void **state)
{
    (void)state;
    char longest[400] = "http://";
    memset(longest + strlen(longest), 'a', SH_ADDRESS_TEXT_BYTES);
    const char *const cases[] = {"http://",          "http:///a",      "https://?a",          "http://:80/a",
                                 "http://user@host", "http://u:p@h/a", "http://host#part/of", longest};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShHttpTarget target;
        if (sh_http_target_split(cases[i], &target))
            fail_msg("%s was taken", cases[i]);
        assert_string_equal(target.path, cases[i]);
        assert_string_equal(target.host, "");
    }
    longest[strlen("http://") + SH_ADDRESS_TEXT_BYTES - 1] = '\0';
    ShHttpTarget target;
    assert_true(sh_http_target_split(longest, &target));
    assert_string_equal(target.host, longest + strlen("http://"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_and_urls),
        cmocka_unit_test(test_urls_without_a_host_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
