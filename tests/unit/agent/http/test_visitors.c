/* Who has to go when connections, bodies and answers are too many. Of libmicrohttpd there is only what it
 * knows about a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/http/visitors.h"

enum { PLACES = 16, CLIENTS_MAX = 32 };
#define KB      ((size_t)1024)
#define HOUR_MS ((int64_t)3600000)

struct MHD_Connection {
    union MHD_ConnectionInfo fd, address, context;
    struct sockaddr_storage peer;
    void *visitor;
    int client; /* the other end */
};

typedef struct House {
    ShVisitors *visitors;
    struct MHD_Connection clients[CLIENTS_MAX];
    int count;
} House;

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType type, ...)
{
    if (type == MHD_CONNECTION_INFO_CONNECTION_FD)
        return &connection->fd;
    if (type == MHD_CONNECTION_INFO_CLIENT_ADDRESS)
        return &connection->address;
    assert_int_equal(type, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    connection->context.socket_context = connection->visitor;
    return &connection->context;
}

static int open_house(void **state)
{
    House *house = calloc(1, sizeof *house);
    assert_int_equal(sh_visitors_start(PLACES, HOUR_MS, &house->visitors, NULL), SH_OK);
    *state = house;
    return 0;
}

static int close_house(void **state)
{
    House *house = *state;
    for (int i = 0; i < house->count; i++) {
        struct MHD_Connection *client = &house->clients[i];
        sh_visitors_notify(house->visitors, client, &client->visitor, MHD_CONNECTION_NOTIFY_CLOSED);
        close(client->fd.connect_fd);
        close(client->client);
    }
    sh_visitors_stop(house->visitors);
    free(house);
    return 0;
}

static struct MHD_Connection *come(House *house, const char *from)
{
    assert_in_range(house->count, 0, CLIENTS_MAX - 1);
    struct MHD_Connection *client = &house->clients[house->count++];
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&client->peer;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&client->peer;
    if (inet_pton(AF_INET, from, &ipv4->sin_addr) == 1)
        ipv4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, from, &ipv6->sin6_addr) == 1)
        ipv6->sin6_family = AF_INET6;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    client->fd.connect_fd = ends[0];
    client->client = ends[1];
    client->address.client_addr = (struct sockaddr *)&client->peer;
    sh_visitors_notify(house->visitors, client, &client->visitor, MHD_CONNECTION_NOTIFY_STARTED);
    return client;
}

static struct MHD_Connection *hold(House *house, const char *from, size_t bytes)
{
    struct MHD_Connection *client = come(house, from);
    sh_visitors_hold_answer(house->visitors, client, bytes);
    return client;
}

static bool is_ended(const struct MHD_Connection *client)
{
    char byte;
    return recv(client->client, &byte, 1, MSG_DONTWAIT) == 0;
}

static void test_an_answer_goes_for_one_of_an_address_that_has_less(void **state)
{
    House *house = *state;
    struct MHD_Connection *honest = hold(house, "10.0.0.3", 100 * KB);
    struct MHD_Connection *small = hold(house, "10.0.0.1", 40 * KB);
    struct MHD_Connection *large = hold(house, "10.0.0.1", 80 * KB);
    hold(house, "10.0.0.2", 60 * KB);
    hold(house, "10.0.0.2", 50 * KB);
    assert_true(
        sh_visitors_end_largest_answers(house->visitors, hold(house, "10.0.0.4", 8 * KB), 8 * KB, HOUR_MS));
    assert_true(is_ended(large) && !is_ended(small) && !is_ended(honest));
}

/* However small those are that another address holds: what is large, and comes once, stays. */
static void test_many_small_answers_do_not_end_a_large_one(void **state)
{
    House *house = *state;
    struct MHD_Connection *honest = hold(house, "10.0.0.3", 100 * KB);
    struct MHD_Connection *last = NULL;
    for (int i = 0; i < 4; i++)
        last = hold(house, "10.0.0.1", 64 * KB);
    for (int i = 0; i < 4; i++)
        hold(house, "10.0.0.2", 64 * KB);
    assert_false(sh_visitors_end_largest_answers(house->visitors, last, 64 * KB, HOUR_MS));
    assert_true(sh_visitors_end_largest_answers(house->visitors, last, 64 * KB, 0));
    assert_false(is_ended(honest));
}

static void test_old_answers_go_for_addresses_that_have_no_more(void **state)
{
    House *house = *state;
    struct MHD_Connection *old = hold(house, "10.0.0.1", 20 * KB);
    struct MHD_Connection *rich = hold(house, "10.0.0.2", 30 * KB);
    struct MHD_Connection *second = hold(house, "10.0.0.2", 40 * KB);
    struct MHD_Connection *newcomer = hold(house, "10.0.0.3", 90 * KB);
    assert_false(sh_visitors_end_largest_answers(house->visitors, newcomer, 20 * KB, HOUR_MS));
    assert_true(sh_visitors_end_largest_answers(house->visitors, newcomer, 90 * KB, 0));
    assert_true(is_ended(second) && is_ended(rich) && is_ended(old) && !is_ended(newcomer));
    assert_false(sh_visitors_end_largest_answers(house->visitors, newcomer, 1, 0));
}

static void test_a_smaller_answer_ends_larger_ones_of_its_own_address(void **state)
{
    House *house = *state;
    struct MHD_Connection *large = hold(house, "10.0.0.1", 80 * KB);
    struct MHD_Connection *equal = hold(house, "10.0.0.1", 20 * KB);
    struct MHD_Connection *newcomer = hold(house, "10.0.0.1", 20 * KB);
    assert_true(sh_visitors_end_largest_answers(house->visitors, newcomer, 20 * KB, HOUR_MS));
    assert_true(is_ended(large));
    assert_false(sh_visitors_end_largest_answers(house->visitors, newcomer, 20 * KB, HOUR_MS));
    assert_false(is_ended(equal));
}

/* For one of twice the size two go, and what is free then does not count a second time. */
static void test_as_many_answers_go_as_one_needs(void **state)
{
    House *house = *state;
    struct MHD_Connection *held[4];
    for (int i = 0; i < 4; i++)
        held[i] = hold(house, "10.0.0.1", (size_t)(40 - i) * KB);
    struct MHD_Connection *newcomer = hold(house, "10.0.0.2", 60 * KB);
    assert_true(sh_visitors_end_largest_answers(house->visitors, newcomer, 60 * KB, HOUR_MS));
    assert_true(is_ended(held[0]) && is_ended(held[1]) && !is_ended(held[2]) && !is_ended(held[3]));
    sh_visitors_hold_answer(house->visitors, held[0], 500 * KB);
    assert_true(sh_visitors_end_largest_answers(house->visitors, hold(house, "10.0.0.3", KB), KB, HOUR_MS));
    assert_true(is_ended(held[2]) + is_ended(held[3]) + is_ended(newcomer) == 1);
}

static void test_a_body_goes_of_the_address_that_has_most(void **state)
{
    House *house = *state;
    struct MHD_Connection *slow = come(house, "10.0.0.3");
    sh_visitors_hold(house->visitors, slow, 90 * KB);
    struct MHD_Connection *first = come(house, "10.0.0.1");
    sh_visitors_hold(house->visitors, first, 50 * KB);
    struct MHD_Connection *last = come(house, "10.0.0.1");
    sh_visitors_hold(house->visitors, last, 60 * KB);
    assert_false(sh_visitors_end_slowest_body(house->visitors, last, HOUR_MS));
    assert_true(sh_visitors_end_slowest_body(house->visitors, slow, 0));
    assert_true(is_ended(first) && !is_ended(last));
    struct MHD_Connection *more = come(house, "10.0.0.1");
    sh_visitors_hold(house->visitors, more, 60 * KB);
    assert_true(sh_visitors_end_slowest_body(house->visitors, more, 0));
    assert_true(is_ended(last) && !is_ended(slow));
    struct MHD_Connection *newcomer = come(house, "10.0.0.4");
    sh_visitors_hold(house->visitors, newcomer, KB);
    assert_true(sh_visitors_end_slowest_body(house->visitors, newcomer, 0));
    assert_true(is_ended(slow));
}

static void test_a_network_of_ipv6_has_the_places_of_one_address(void **state)
{
    House *house = *state;
    struct MHD_Connection *other = come(house, "2001:db8:0:1::1");
    struct MHD_Connection *first = come(house, "2001:db8::1");
    char text[] = "2001:db8::2";
    for (int i = 1; i < PLACES / 2; i++, text[strlen(text) - 1]++)
        come(house, text);
    assert_false(is_ended(first));
    come(house, "2001:db8::ffff:0:0:1");
    assert_true(is_ended(first) && !is_ended(other));
}

static void test_beyond_three_quarters_the_oldest_goes(void **state)
{
    House *house = *state;
    char text[] = "10.0.0.a";
    struct MHD_Connection *clients[PLACES];
    for (int i = 0; i < PLACES / 4 * 3; i++) {
        text[strlen(text) - 1] = (char)('0' + i % 4);
        clients[i] = come(house, text);
    }
    sh_visitors_set_busy(house->visitors, clients[0], true);
    assert_false(is_ended(clients[0]));
    come(house, "10.0.0.9");
    assert_true(!is_ended(clients[0]) && is_ended(clients[1]) && !is_ended(clients[2]));
}

/* Those whose requests the agent works on hold their places: the newcomer of their address has none. */
static void test_an_address_that_only_waits_refuses_its_newcomer(void **state)
{
    House *house = *state;
    struct MHD_Connection *other = come(house, "10.0.0.2");
    struct MHD_Connection *clients[PLACES / 2];
    for (int i = 0; i < PLACES / 2; i++) {
        clients[i] = come(house, "10.0.0.1");
        sh_visitors_set_busy(house->visitors, clients[i], true);
    }
    for (int i = 0; i < PLACES; i++)
        assert_true(is_ended(come(house, "10.0.0.1")));
    for (int i = 0; i < PLACES / 2; i++)
        assert_false(is_ended(clients[i]));
    assert_false(is_ended(other));
    assert_false(is_ended(come(house, "10.0.0.3")));
}

/* Beyond three quarters one goes of the address that has most: one that waits for its client, or the one
 * that is at it for the longest; never one of an address with few. */
static void test_who_has_few_connections_keeps_them(void **state)
{
    House *house = *state;
    struct MHD_Connection *oldest = come(house, "10.0.0.2");
    struct MHD_Connection *large[7];
    for (int i = 0; i < 7; i++) {
        large[i] = come(house, "10.0.0.1");
        sh_visitors_set_busy(house->visitors, large[i], i != 3);
    }
    struct MHD_Connection *small[4];
    for (int i = 0; i < 4; i++)
        small[i] = come(house, "10.0.0.3");
    come(house, "10.0.0.4");
    assert_true(is_ended(large[3]));
    come(house, "10.0.0.4");
    assert_true(is_ended(large[0]) && !is_ended(large[1]));
    sh_visitors_set_busy(house->visitors, large[0], false); /* what it waited for comes, too late */
    come(house, "10.0.0.4");
    assert_true(is_ended(large[1]) && !is_ended(large[2]));
    assert_false(is_ended(oldest));
    for (int i = 0; i < 4; i++)
        assert_false(is_ended(small[i]));
}

int main(void)
{
#define each(test) cmocka_unit_test_setup_teardown(test, open_house, close_house)
    const struct CMUnitTest tests[] = {
        each(test_an_answer_goes_for_one_of_an_address_that_has_less),
        each(test_many_small_answers_do_not_end_a_large_one),
        each(test_old_answers_go_for_addresses_that_have_no_more),
        each(test_a_smaller_answer_ends_larger_ones_of_its_own_address),
        each(test_as_many_answers_go_as_one_needs),
        each(test_a_body_goes_of_the_address_that_has_most),
        each(test_a_network_of_ipv6_has_the_places_of_one_address),
        each(test_beyond_three_quarters_the_oldest_goes),
        each(test_an_address_that_only_waits_refuses_its_newcomer),
        each(test_who_has_few_connections_keeps_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
