/* Which connection goes first: by host, by what it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/crowd.h"

#define PLACES 32

typedef struct Crowd {
    ShHost hosts[16];
    ShConnection connections[PLACES];
    ShConnection *by_fd[PLACES];
    int count;
} Crowd;

static ShHost *host_at(Crowd *crowd, uint8_t last)
{
    crowd->hosts[last].key[15] = last;
    return &crowd->hosts[last];
}

/* The next of the crowd, with a gap before it: places of other descriptors are empty. */
static ShConnection *join(Crowd *crowd, uint8_t last, long calls)
{
    crowd->count += 2;
    assert_in_range(crowd->count, 0, PLACES);
    ShConnection *connection = &crowd->connections[crowd->count - 1];
    connection->host = host_at(crowd, last);
    connection->accepted_ms = crowd->count;
    connection->fd = -1;
    atomic_store(&connection->calls, calls + 1000); /* refused ones among them */
    atomic_store(&connection->admitted, calls);
    crowd->by_fd[crowd->count - 1] = connection;
    return connection;
}

static size_t richest(const Crowd *crowd, ShCrowdMeasure measure, const ShConnection *newcomer,
                      ShConnection **out, size_t wanted)
{
    ShCrowd view = {crowd->by_fd, crowd->count};
    return sh_crowd_richest(&view, measure, newcomer, out, wanted);
}

static void the_host_with_most_makes_room(void **state)
{
    (void)state;
    Crowd crowd = {0};
    ShConnection *out[4];
    ShConnection newcomer = {.host = host_at(&crowd, 9)};
    assert_int_equal(richest(&crowd, sh_crowd_one, &newcomer, out, 4), 0);

    join(&crowd, 1, 5);
    assert_int_equal(richest(&crowd, sh_crowd_one, &newcomer, out, 4), 0); /* one is not many */
    ShConnection *busy = join(&crowd, 2, 7);
    ShConnection *older = join(&crowd, 2, 1);
    ShConnection *newer = join(&crowd, 2, 1);
    join(&crowd, 1, 0);
    assert_int_equal(richest(&crowd, sh_crowd_one, &newcomer, out, 4), 2); /* one stays */
    assert_ptr_equal(out[0], newer);
    assert_ptr_equal(out[1], older);

    /* A newcomer whose host has one asks for no more than twice as much. */
    join(&crowd, 9, 0);
    assert_int_equal(richest(&crowd, sh_crowd_one, &newcomer, out, 4), 1);
    assert_ptr_equal(out[0], newer);
    join(&crowd, 9, 0);
    assert_int_equal(richest(&crowd, sh_crowd_one, &newcomer, out, 4), 0);

    /* By calls it is another's turn, and the busiest connection's. */
    busy->is_own = true;
    assert_int_equal(richest(&crowd, sh_crowd_calls, &newcomer, out, 1), 1);
    assert_ptr_equal(out[0], &crowd.connections[1]);
    busy->is_own = false;
    assert_int_equal(richest(&crowd, sh_crowd_calls, &newcomer, out, 1), 1);
    assert_ptr_equal(out[0], busy);
}

/* Where a peer comes from is test_address.c's; here, that it is counted once. */
static void a_host_is_one_as_long_as_it_is_held(void **state)
{
    (void)state;
    struct sockaddr_storage peer = {.ss_family = AF_INET6};
    ShHosts *hosts = sh_hosts_new();
    ShHost *host = sh_host_of(hosts, &peer);
    assert_ptr_equal(sh_host_of(hosts, &peer), host);
    atomic_store(&host->calls, 5);
    sh_host_release(host);
    assert_int_equal(atomic_load(&sh_host_of(hosts, &peer)->calls), 5);
    sh_host_release(host);
    sh_host_release(host);
    host = sh_host_of(hosts, &peer);
    assert_int_equal(atomic_load(&host->calls), 0);
    sh_host_release(host);
    sh_hosts_free(hosts);
}

static void the_poorest_is_found(void **state)
{
    (void)state;
    Crowd crowd = {0};
    ShConnection *many = join(&crowd, 1, 1000);
    ShConnection *few = join(&crowd, 2, 3);
    join(&crowd, 3, 0);
    join(&crowd, 2, 4);
    ShConnection gone = {.host = host_at(&crowd, 4)};
    ShCrowd view = {crowd.by_fd, crowd.count};
    ShConnection *some[] = {many, few, &gone};
    assert_null(sh_crowd_poorest(&view, sh_crowd_calls, some, 0));
    assert_ptr_equal(sh_crowd_poorest(&view, sh_crowd_calls, some, 1), many);
    assert_ptr_equal(sh_crowd_poorest(&view, sh_crowd_calls, some, 2), few);
    assert_ptr_equal(sh_crowd_poorest(&view, sh_crowd_calls, some, 3), &gone);
}

static void who_has_most_is_found(void **state)
{
    (void)state;
    Crowd crowd = {0};
    for (uint8_t i = 0; i < 5; i++) {
        ShConnection *connection = join(&crowd, i, i);
        connection->waiting_bytes = 10 - i;
        connection->torn_lately = i == 2 ? 50 : 0;
    }
    ShCrowd view = {crowd.by_fd, crowd.count};
    assert_ptr_equal(sh_crowd_most(&view, sh_crowd_waiting), &crowd.connections[1]);
    assert_ptr_equal(sh_crowd_most(&view, sh_crowd_calls), &crowd.connections[9]);
    assert_ptr_equal(sh_crowd_most(&view, sh_crowd_torn), &crowd.connections[5]);
    crowd.connections[5].is_own = true;
    assert_null(sh_crowd_most(&view, sh_crowd_torn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_with_most_makes_room),
        cmocka_unit_test(a_host_is_one_as_long_as_it_is_held),
        cmocka_unit_test(the_poorest_is_found),
        cmocka_unit_test(who_has_most_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
