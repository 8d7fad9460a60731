/* Which connection goes first: by host, by what it has. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/rpc/crowd.h"

#define PLACES 32

typedef struct Crowd {
    ShConnection connections[PLACES];
    ShConnection *by_fd[PLACES];
    int count;
} Crowd;

static void set_ipv4(ShConnection *connection, uint8_t last)
{
    connection->host[10] = connection->host[11] = 0xFF;
    connection->host[12] = 10;
    connection->host[15] = last;
}

/* The next of the crowd, with a gap before it: places of other descriptors are empty. */
static ShConnection *join(Crowd *crowd, uint8_t last, long calls)
{
    crowd->count += 2;
    assert_in_range(crowd->count, 0, PLACES);
    ShConnection *connection = &crowd->connections[crowd->count - 1];
    set_ipv4(connection, last);
    connection->accepted_ms = crowd->count;
    connection->fd = -1;
    atomic_store(&connection->calls, calls);
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
    ShConnection newcomer = {0};
    set_ipv4(&newcomer, 9);
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

static ShConnection *connection_of(const char *text)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        memcpy(&peer, &ipv4, sizeof ipv4);
    else if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
        memcpy(&peer, &ipv6, sizeof ipv6);
    ShConnection *connection = sh_connection_new(STDIN_FILENO, &peer);
    assert_non_null(connection);
    return connection;
}

static void a_network_of_ipv6_is_one_host(void **state)
{
    (void)state;
    static const struct {
        const char *left, *right;
        bool same;
    } pairs[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"2001:db8::1", "2001:db8::2", true},
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"::1", "0.0.0.1", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::1", "::2", true},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.2", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        ShConnection *left = connection_of(pairs[i].left);
        ShConnection *right = connection_of(pairs[i].right);
        assert_int_equal(sh_crowd_same_host(left, right), pairs[i].same);
        sh_connection_unref(left);
        sh_connection_unref(right);
    }
}

static void the_poorest_is_found(void **state)
{
    (void)state;
    Crowd crowd = {0};
    ShConnection *many = join(&crowd, 1, 1000);
    ShConnection *few = join(&crowd, 2, 3);
    join(&crowd, 3, 0);
    join(&crowd, 2, 4);
    ShConnection gone = {0};
    set_ipv4(&gone, 4);
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
        cmocka_unit_test(a_network_of_ipv6_is_one_host),
        cmocka_unit_test(the_poorest_is_found),
        cmocka_unit_test(who_has_most_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
