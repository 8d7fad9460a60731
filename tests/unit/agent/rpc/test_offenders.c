/* Who is barred, from when on and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/offenders.h"

typedef struct Fixture {
    ShHosts *hosts;
    ShOffenders offenders;
} Fixture;

static ShHost *host_at(const Fixture *fixture, uint8_t last)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET};
    ((uint8_t *)&peer)[7] = last; /* the last byte of an IPv4 address */
    return sh_host_of(fixture->hosts, &peer);
}

static int setup(void **state)
{
    static Fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    fixture.hosts = sh_hosts_new();
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;
    sh_offenders_forget(&fixture->offenders, INT64_MAX);
    sh_hosts_free(fixture->hosts);
    return 0;
}

static bool offend(ShHost *host, uint64_t offences, int64_t now_ms)
{
    atomic_fetch_add(&host->offences, offences);
    return sh_offenders_look(host, now_ms);
}

static void offences_count_for_a_second_or_so(void **state)
{
    ShHost *host = host_at(*state, 1);
    assert_false(offend(host, SH_OFFENCES_MAX, 10000));
    assert_true(offend(host, 1, 10000 + 0) == false); /* one look at a time */
    assert_true(sh_offenders_look(host, 10000 + 1) == false);
    host->offences_lately = SH_OFFENCES_MAX;
    assert_true(offend(host, 10, 10003));
    assert_false(offend(host, 0, 10004)); /* it begins anew */
    host->offences_lately = SH_OFFENCES_MAX;
    assert_false(offend(host, SH_OFFENCES_MAX / 2, 10504));
    assert_int_equal(host->offences_lately, SH_OFFENCES_MAX);
    assert_false(offend(host, SH_OFFENCES_MAX, 11504)); /* nothing is left of those before */
    assert_true(offend(host, SH_OFFENCES_MAX + 1, 20000));
    sh_host_release(host);
}

static void a_bar_grows_each_time_and_is_forgotten_at_last(void **state)
{
    Fixture *fixture = *state;
    ShHost *host = host_at(fixture, 1);
    ShHost *other = host_at(fixture, 2);
    int64_t now_ms = 1000000;
    assert_false(sh_offenders_is_barred(&fixture->offenders, host, now_ms));
    int64_t expected_ms = SH_BARRED_MS_MIN;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms), expected_ms);
        assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms + 10), expected_ms - 10);
        assert_true(sh_offenders_is_barred(&fixture->offenders, host, now_ms + expected_ms - 1));
        assert_false(sh_offenders_is_barred(&fixture->offenders, host, now_ms + expected_ms));
        assert_false(sh_offenders_is_barred(&fixture->offenders, other, now_ms));
        now_ms += expected_ms;
        expected_ms = 2 * expected_ms < SH_BARRED_MS_MAX ? 2 * expected_ms : SH_BARRED_MS_MAX;
        sh_offenders_forget(&fixture->offenders, now_ms + SH_OFFENDER_KNOWN_MS - 1);
    }
    sh_offenders_forget(&fixture->offenders, now_ms + SH_OFFENDER_KNOWN_MS);
    assert_int_equal(fixture->offenders.count, 0);
    assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms), SH_BARRED_MS_MIN);
    sh_host_release(host);
    sh_host_release(other);
}

static void who_would_be_let_in_first_makes_room(void **state)
{
    Fixture *fixture = *state;
    for (int i = 0; i <= SH_OFFENDERS_MAX; i++) {
        ShHost *host = host_at(fixture, (uint8_t)i);
        (void)sh_offenders_bar(&fixture->offenders, host, i == 5 ? 100 : 200 + i);
        sh_host_release(host);
    }
    assert_int_equal(fixture->offenders.count, SH_OFFENDERS_MAX);
    for (int i = 0; i <= SH_OFFENDERS_MAX; i++) {
        ShHost *host = host_at(fixture, (uint8_t)i);
        assert_int_equal(sh_offenders_is_barred(&fixture->offenders, host, 500), i != 5);
        sh_host_release(host);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(offences_count_for_a_second_or_so),
        TEST(a_bar_grows_each_time_and_is_forgotten_at_last),
        TEST(who_would_be_let_in_first_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
