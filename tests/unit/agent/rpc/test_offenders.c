/* Who is barred, from when on and for how long. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/offenders.h"
#include "agent/rpc/sweep.h"

typedef struct Fixture {
    ShHosts *hosts;
    ShOffenders offenders;
} Fixture;

static ShHost *host_at(const Fixture *fixture, int number)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET};
    ((struct sockaddr_in *)&peer)->sin_addr.s_addr = htonl((uint32_t)number);
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

static void offences_are_forgotten_with_time(void **state)
{
    ShHost *host = host_at(*state, 1);
    assert_false(offend(host, SH_OFFENCES_MAX, 10000));
    assert_false(offend(host, SH_OFFENCE, 10000)); /* one look at a time */
    assert_false(sh_offenders_look(host, 10001));
    assert_int_equal(host->offences_lately, SH_OFFENCES_MAX);
    assert_true(offend(host, 10 * SH_OFFENCE + 1, 10011));
    assert_false(offend(host, SH_OFFENCES_MAX, 10012)); /* it begins anew */
    assert_false(offend(host, 500 * SH_OFFENCE, 10512));
    assert_false(offend(host, SH_OFFENCES_MAX, 20000));
    for (int64_t now_ms = 20100; now_ms < 30000; now_ms += 100)
        assert_false(offend(host, 100 * SH_OFFENCE, now_ms));
    assert_true(offend(host, 100 * SH_OFFENCE + 1, 30000));
    sh_host_release(host);
}

static void a_bar_grows_each_time_and_is_forgotten_at_last(void **state)
{
    Fixture *fixture = *state;
    ShHost *host = host_at(fixture, 1);
    ShHost *other = host_at(fixture, 2);
    int64_t now_ms = 1000000;
    assert_false(sh_offenders_is_barred(&fixture->offenders, host, now_ms));
    static const int64_t bars_ms[] = {1000, 2000, 4000, 8000, 10000, 10000};
    for (size_t i = 0; i < sizeof bars_ms / sizeof bars_ms[0]; i++) {
        int64_t expected_ms = bars_ms[i];
        assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms), expected_ms);
        assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms + 10), expected_ms);
        now_ms += 10;
        assert_true(sh_offenders_is_barred(&fixture->offenders, host, now_ms + expected_ms - 1));
        assert_false(sh_offenders_is_barred(&fixture->offenders, host, now_ms + expected_ms));
        assert_false(sh_offenders_is_barred(&fixture->offenders, other, now_ms));
        now_ms += expected_ms;
        sh_offenders_forget(&fixture->offenders, now_ms + SH_OFFENDER_KNOWN_MS - 1);
    }
    sh_offenders_forget(&fixture->offenders, now_ms + SH_OFFENDER_KNOWN_MS);
    assert_int_equal(fixture->offenders.count, 0);
    assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms), SH_BARRED_MS_MIN);
    sh_host_release(host);
    sh_host_release(other);
}

/* Once is no habit. */
static void who_does_it_again_is_known(void **state)
{
    Fixture *fixture = *state;
    ShHost *host = host_at(fixture, 1);
    int64_t now_ms = 1000000;
    assert_false(sh_offenders_knew(&fixture->offenders, host, now_ms));
    assert_false(sh_offenders_is_barred(&fixture->offenders, host, now_ms));
    sh_offenders_forget(&fixture->offenders, now_ms + SH_OFFENDER_KNOWN_MS - 1);
    assert_true(sh_offenders_knew(&fixture->offenders, host, now_ms + 1));
    assert_int_equal(sh_offenders_bar(&fixture->offenders, host, now_ms + 1), SH_BARRED_MS_MIN);
    sh_offenders_forget(&fixture->offenders, now_ms + 1 + SH_BARRED_MS_MIN + SH_OFFENDER_KNOWN_MS);
    assert_false(sh_offenders_knew(&fixture->offenders, host, now_ms));
    sh_host_release(host);
}

static void who_would_be_let_in_first_makes_room(void **state)
{
    Fixture *fixture = *state;
    for (int i = 0; i <= SH_OFFENDERS_MAX; i++) {
        ShHost *host = host_at(fixture, i);
        (void)sh_offenders_bar(&fixture->offenders, host, i == 5 ? 100 : 200);
        sh_host_release(host);
    }
    assert_int_equal(fixture->offenders.count, SH_OFFENDERS_MAX);
    for (int i = 0; i <= SH_OFFENDERS_MAX; i++) {
        ShHost *host = host_at(fixture, i);
        assert_int_equal(sh_offenders_is_barred(&fixture->offenders, host, 500), i != 5);
        sh_host_release(host);
    }
}

/* Who is refused because another has far more has done less. */
static void who_stands_in_ones_way_is_to_blame(void **state)
{
    ShHost *host = host_at(*state, 1);
    ShConnection connection = {.host = host};
    ShAcceptor acceptor = {.calls_of_richest = 100, .wake = -1};
    pthread_mutex_init(&acceptor.lock, NULL);
    sh_acceptor_call_refused(&acceptor, &connection, 49);
    assert_int_equal(atomic_load(&host->offences), 1);
    assert_int_equal(acceptor.refused_count, 1);
    sh_acceptor_call_refused(&acceptor, &connection, 50);
    assert_int_equal(atomic_load(&host->offences), 5);
    assert_int_equal(atomic_load(&connection.offences), 5);
    assert_int_equal(acceptor.refused_count, 1);
    pthread_mutex_destroy(&acceptor.lock);
    sh_host_release(host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A quarter of a worker's time, and ten milliseconds at once. */
static void a_host_keeps_workers_for_its_share(void **state)
{
    (void)state;
    ShHost host = {0};
    assert_true(sh_host_may_keep_worker(&host, 1000000));
    sh_host_kept_worker(&host, 1000000, 9000);
    assert_true(sh_host_may_keep_worker(&host, 1000000));
    sh_host_kept_worker(&host, 1000000, 2000);
    assert_false(sh_host_may_keep_worker(&host, 1000000));
    assert_false(sh_host_may_keep_worker(&host, 1004000));
    assert_true(sh_host_may_keep_worker(&host, 1004001));
    sh_host_kept_worker(&host, 2000000, 100000);
    assert_false(sh_host_may_keep_worker(&host, 2360000));
    assert_true(sh_host_may_keep_worker(&host, 2360001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_keeps_workers_for_its_share), TEST(offences_are_forgotten_with_time),
        TEST(a_bar_grows_each_time_and_is_forgotten_at_last), TEST(who_does_it_again_is_known),
        TEST(who_would_be_let_in_first_makes_room),           TEST(who_stands_in_ones_way_is_to_blame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
