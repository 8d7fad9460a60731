#include "tests/unit/agent/base/base_test.h"

#include <arpa/inet.h>

#include "agent/base/address.h"

static void test_addresses_are_parsed_and_formatted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        int port;
    } cases[] = {
        {"127.0.0.1:50051", "127.0.0.1", 50051},
        {"localhost:0", "localhost", 0},
        {"agent-1.example.org:65535", "agent-1.example.org", 65535},
        {"[::1]:8080", "::1", 8080},
        {"[fe80::1%eth0]:1", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShAddress address;
        ShError err;
        ShStatus status = sh_address_parse(cases[i].text, &address, &err);
        if (cases[i].host == NULL) {
            assert_int_equal(status, SH_INVALID);
            continue;
        }
        assert_int_equal(status, SH_OK);
        assert_string_equal(address.host, cases[i].host);
        assert_int_equal(address.port, cases[i].port);
        char text[SH_ADDRESS_TEXT_BYTES];
        sh_address_format(&address, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",        ":",          "host",        "host:",          ":80",     "host:x",
        "host:-1", "host:65536", "host:080808", "::1:80",         "[::1]",   "[::1:80",
        "[]:80",   "a b:80",     "host:80 ",    "http://host:80", "[::1]80", "[x]:80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ShAddress address;
        ShError err;
        if (sh_address_parse(texts[i], &address, &err) != SH_INVALID)
            fail_msg("\"%s\" was accepted", texts[i]);
        assert_contains(err.message, "host:port");
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 300, ":80");
    ShAddress address;
    assert_int_equal(sh_address_parse(longest, &address, NULL), SH_INVALID);
}

static void set_key(const char *text, uint8_t key[SH_ADDRESS_KEY_BYTES])
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        sh_address_key((const struct sockaddr *)&ipv4, key);
    else if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
        sh_address_key((const struct sockaddr *)&ipv6, key);
    else
        fail_msg("%s", text);
}

static void test_a_network_of_ipv6_has_one_key(void **state)
{
    (void)state;
    static const struct {
        const char *left, *right;
        bool same;
    } pairs[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"::1", "0.0.0.1", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.2", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        uint8_t left[SH_ADDRESS_KEY_BYTES];
        uint8_t right[SH_ADDRESS_KEY_BYTES];
        set_key(pairs[i].left, left);
        set_key(pairs[i].right, right);
        assert_int_equal(memcmp(left, right, sizeof left) == 0, pairs[i].same);
    }
    uint8_t other[SH_ADDRESS_KEY_BYTES];
    sh_address_key(&(struct sockaddr){.sa_family = AF_UNIX}, other);
    assert_memory_equal(other, ((uint8_t[SH_ADDRESS_KEY_BYTES]){0}), sizeof other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_parsed_and_formatted),
        cmocka_unit_test(test_what_is_no_address_is_refused),
        cmocka_unit_test(test_a_network_of_ipv6_has_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
