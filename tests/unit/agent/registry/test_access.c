#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/registry/access.h"

static ShRegistryAccess access_of(const char *bound, const char *hosts, ShChangesFrom changes)
{
    const ShConfig config = {.schema_registry_hosts = (char *)(uintptr_t)hosts,
                             .schema_registry_changes_from = changes};
    return sh_registry_access(&config, bound);
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const own[] = {NULL,          "localhost",      "LocalHost:8081", "localhost.:8081",
                                      "127.0.0.1",   "127.0.0.1:8081", "[::1]:8081",     "[::1]",
                                      "10.0.0.7:80", "127.9.9.9"};
    static const char *const others[] = {
        "evil.example",     "evil.example:8081",      "localhost.evil.example",
        "127.0.0.1.nip.io", "evil.example:localhost", "127.0.0.1x",
        "xlocalhost",       "[evil.example]"};
    static const char *const nothing[] = {"", ":8081", "[]:8081", "."};
    static const struct {
        const char *bound, *hosts;
        bool takes_others;
    } cases[] = {{"127.0.0.1:8081", "", false},     {"[::1]:8081", "", false},
                 {"localhost:8081", "", false},     {"0.0.0.0:8081", "", true},
                 {"10.1.2.3:8081", "", true},       {"10.1.2.3:8081", "registry.local", false},
                 {"127.0.0.1:8081", "a.b, *", true}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        ShRegistryAccess access = access_of(cases[c].bound, cases[c].hosts, SH_CHANGES_FROM_LOOPBACK);
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            assert_true(sh_registry_access_host(&access, own[i]));
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            if (sh_registry_access_host(&access, others[i]) != cases[c].takes_others)
                fail_msg("%s at %s with \"%s\"", others[i], cases[c].bound, cases[c].hosts);
        for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
            assert_false(sh_registry_access_host(&access, nothing[i]));
    }
    ShRegistryAccess access = access_of("127.0.0.1:8081", "registry.local,other", SH_CHANGES_FROM_LOOPBACK);
    assert_true(sh_registry_access_host(&access, "Registry.Local:8081"));
    assert_true(sh_registry_access_host(&access, "other"));
    assert_false(sh_registry_access_host(&access, "registry"));
    assert_false(sh_registry_access_host(&access, "registry.local.evil.example"));
}

static void test_changes(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1", true},        {"127.3.2.1", true}, {"10.0.0.1", false},        {"::1", true},
        {"::ffff:127.0.0.1", true}, {"fe80::1", false},  {"::ffff:10.0.0.1", false}, {"0.0.0.0", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage any = {0};
        struct sockaddr_in *four = (struct sockaddr_in *)&any;
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)&any;
        if (strchr(cases[i].address, ':') == NULL) {
            any.ss_family = AF_INET;
            assert_int_equal(inet_pton(AF_INET, cases[i].address, &four->sin_addr), 1);
        } else {
            any.ss_family = AF_INET6;
            assert_int_equal(inet_pton(AF_INET6, cases[i].address, &six->sin6_addr), 1);
        }
        const struct sockaddr *client = (const struct sockaddr *)&any;
        ShRegistryAccess loopback = access_of("0.0.0.0:1", "", SH_CHANGES_FROM_LOOPBACK);
        ShRegistryAccess anywhere = access_of("0.0.0.0:1", "", SH_CHANGES_FROM_ANYWHERE);
        ShRegistryAccess nowhere = access_of("127.0.0.1:1", "", SH_CHANGES_FROM_NOWHERE);
        assert_int_equal(sh_registry_access_changes(&loopback, client), cases[i].is_loopback);
        assert_true(sh_registry_access_changes(&anywhere, client));
        assert_false(sh_registry_access_changes(&nowhere, client));
        assert_false(sh_registry_access_changes(&loopback, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hosts), cmocka_unit_test(test_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
