/* Which connections of a host go with its bar: those that take part, and where it goes on those at hand. And
 * what becomes of connections that have ended. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/rpc/sweep.h"

enum { QUIET, IDLE, REFUSED, TEARING, BUSY, SENDING, OTHER, COUNT };

typedef struct Fixture {
    ShAcceptor acceptor;
    ShConnection *by_fd[256];
    int peers[COUNT];
    ShConnection *connections[COUNT]; /* while they stand */
    ShHost *host;
    int64_t now_ms;
} Fixture;

static int setup(void **state)
{
    static Fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    ShAcceptor *acceptor = &fixture.acceptor;
    pthread_mutex_init(&acceptor->lock, NULL);
    acceptor->hosts = sh_hosts_new();
    acceptor->by_fd = fixture.by_fd;
    static const ShConfig config = {.memory_budget_bytes = 512 << 20, .message_bytes_max = 16 << 20};
    acceptor->config = &config;
    acceptor->connections = sh_metric_gauge("test_connections", NULL, "Connections that stand.");
    acceptor->ended = sh_metric_counter("test_ended", NULL, "Connections that were ended.");
    fixture.now_ms = sh_clock_now_ms() + 100000;
    for (int i = 0; i < COUNT; i++) {
        int ends[2];
        struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i == OTHER ? 2 : 1)};
        struct sockaddr_storage address = {0};
        memcpy(&address, &peer, sizeof peer);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        assert_in_range(ends[0], 0, 255);
        fixture.peers[i] = ends[1];
        fixture.connections[i] = sh_connection_new(ends[0], &address, acceptor->hosts);
        assert_non_null(fixture.connections[i]);
        atomic_store(&fixture.connections[i]->calls, i == IDLE ? 0 : 1);
        atomic_store(&fixture.connections[i]->is_adopted, true);
        fixture.by_fd[ends[0]] = fixture.connections[i];
        acceptor->fd_end = ends[0] + 1;
        acceptor->count++;
        fixture.connections[i]->host->connections++;
    }
    fixture.host = fixture.connections[QUIET]->host;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;
    sh_offenders_forget(&fixture->acceptor.offenders, INT64_MAX);
    for (int fd = 0; fd < fixture->acceptor.fd_end; fd++)
        if (fixture->by_fd[fd] != NULL) {
            sh_sweep_forget(&fixture->acceptor, fixture->by_fd[fd]);
            close(fd);
        }
    for (int i = 0; i < COUNT; i++)
        close(fixture->peers[i]);
    sh_hosts_free(fixture->acceptor.hosts);
    return 0;
}

static bool is_ended(const Fixture *fixture, int i)
{
    struct pollfd watched = {.fd = fixture->peers[i], .events = POLLRDHUP};
    return poll(&watched, 1, 0) > 0;
}

/* What the host was refused by then is too much. */
static void flood(Fixture *fixture, int64_t now_ms)
{
    atomic_fetch_add(&fixture->host->offences, SH_OFFENCES_MAX + 100000 * SH_OFFENCES_A_MS);
    assert_true(sh_sweep_is_barred(&fixture->acceptor, fixture->host, now_ms));
}

static void expect_ended(const Fixture *fixture, const char *ended)
{
    char seen[COUNT + 1] = "";
    for (int i = 0; i < COUNT; i++)
        seen[i] = is_ended(fixture, i) ? 'x' : '.';
    assert_string_equal(seen, ended);
}

static void who_takes_part_goes(void **state)
{
    static const char bytes[17 << 10];
    Fixture *fixture = *state;
    fixture->connections[REFUSED]->offended_ms = fixture->now_ms - 500;
    fixture->connections[QUIET]->offended_ms = fixture->now_ms - 5000;
    fixture->connections[TEARING]->torn_lately = fixture->acceptor.torn_lately = 101;
    atomic_store(&fixture->connections[QUIET]->calls, 32);
    atomic_store(&fixture->connections[BUSY]->calls, 33);
    assert_int_equal(write(fixture->peers[SENDING], bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(write(fixture->peers[QUIET], bytes, 16 << 10), 16 << 10);
    assert_false(sh_sweep_is_barred(&fixture->acceptor, fixture->host, fixture->now_ms - 1));
    flood(fixture, fixture->now_ms);
    expect_ended(fixture, "..xxxx.");
    assert_int_equal(fixture->acceptor.count, 3);
    assert_int_equal(fixture->acceptor.torn_lately, 0);
}

/* The agent's look at itself may come from a host that is barred. */
static void the_own_look_stays(void **state)
{
    Fixture *fixture = *state;
    fixture->connections[IDLE]->is_own = true;
    fixture->connections[REFUSED]->offended_ms = fixture->now_ms;
    flood(fixture, fixture->now_ms);
    flood(fixture, fixture->now_ms + 999);
    expect_ended(fixture, "..x....");
}

/* What waits is reckoned, and a process that has not so much cannot hold it. */
static void nobody_hoards_what_is_not_there(void **state)
{
    Fixture *fixture = *state;
    static const ShConfig vast = {.memory_budget_bytes = 1LL << 50, .message_bytes_max = 16 << 20};
    fixture->acceptor.config = &vast;
    fixture->connections[BUSY]->waiting_bytes = fixture->acceptor.waiting_bytes = 1LL << 49;
    fixture->acceptor.counted_bytes = 1LL << 49;
    sh_sweep(&fixture->acceptor);
    expect_ended(fixture, ".......");
}

/* gRPC has not closed what it has not got: the descriptor counts until then. */
static void what_was_not_handed_over_keeps_its_descriptor(void **state)
{
    Fixture *fixture = *state;
    atomic_store(&fixture->connections[IDLE]->is_adopted, false);
    assert_true(sh_sweep_end(&fixture->acceptor, fixture->connections[IDLE], "makes room"));
    assert_int_equal(fixture->acceptor.over_count, 1);
    assert_int_equal(fixture->host->over, 1);
    sh_sweep_forget(&fixture->acceptor, fixture->connections[IDLE]);
    assert_int_equal(fixture->acceptor.over_count, 0);
}

static void who_may_go_on_with_it_goes_where_it_goes_on(void **state)
{
    Fixture *fixture = *state;
    flood(fixture, fixture->now_ms);
    expect_ended(fixture, ".......");
    flood(fixture, fixture->now_ms + 999);
    expect_ended(fixture, ".x.....");
    assert_true(sh_sweep_is_barred(&fixture->acceptor, fixture->host, fixture->now_ms + 1998));
    assert_false(sh_sweep_is_barred(&fixture->acceptor, fixture->host, fixture->now_ms + 1999));
}

/* Who tears most goes, by host: many connections that each tear a little are one client's like any other. */
static void who_tears_goes_by_host(void **state)
{
    Fixture *fixture = *state;
    ShAcceptor *acceptor = &fixture->acceptor;
    static const ShConfig tiny = {.memory_budget_bytes = 1, .message_bytes_max = 1 << 20}; /* it is over it */
    acceptor->config = &tiny;
    for (int i = 0; i < COUNT; i++) {
        fixture->connections[i]->torn_lately = i == OTHER ? 60 : 20;
        acceptor->torn_lately += fixture->connections[i]->torn_lately;
    }
    sh_sweep(acceptor);
    assert_false(is_ended(fixture, OTHER));
    assert_int_equal(acceptor->torn_lately, 100);
    assert_int_equal(acceptor->count, COUNT - 4);
}

/* A connection over TCP whose client has reset it, and whose descriptor somebody keeps. */
static ShConnection *add_reset(Fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage peer = {0};
    socklen_t length = sizeof address;
    struct linger at_once = {.l_onoff = 1};
    struct pollfd reset = {.events = POLLHUP};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    reset.fd = accept(listener, NULL, NULL);
    assert_in_range(reset.fd, 0, 255);
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(client);
    close(listener);
    assert_int_equal(poll(&reset, 1, 10000), 1);
    memcpy(&peer, &address, sizeof address);
    ShConnection *connection = sh_connection_new(reset.fd, &peer, fixture->acceptor.hosts);
    assert_non_null(connection);
    atomic_store(&connection->calls, 1);
    fixture->by_fd[reset.fd] = connection;
    if (fixture->acceptor.fd_end <= reset.fd)
        fixture->acceptor.fd_end = reset.fd + 1;
    fixture->acceptor.count++;
    connection->host->connections++;
    return connection;
}

static void has_waiting(Fixture *fixture, ShConnection *connection, int64_t bytes)
{
    connection->waiting_bytes = bytes;
    fixture->acceptor.waiting_bytes += bytes;
}

/* Its calls go on, and gRPC keeps its descriptor: it is not chosen in place of those that stand. */
static void who_has_reset_shields_nobody(void **state)
{
    Fixture *fixture = *state;
    ShAcceptor *acceptor = &fixture->acceptor;
    static const ShConfig config = {.memory_budget_bytes = 40 << 20, .message_bytes_max = 16 << 20};
    acceptor->config = &config;
    acceptor->counted_bytes = 1 << 20;
    ShConnection *reset = add_reset(fixture);
    has_waiting(fixture, reset, 20 << 20);
    has_waiting(fixture, fixture->connections[BUSY], 15 << 20);
    has_waiting(fixture, fixture->connections[OTHER], 1 << 20);
    sh_sweep(acceptor);
    expect_ended(fixture, "....x..");
    assert_int_equal(acceptor->waiting_bytes, 1 << 20);
    assert_int_equal(acceptor->count, COUNT - 1);
    assert_int_equal(acceptor->over_count, 2);

    ShConnection *chosen[COUNT + 1];
    ShCrowd crowd = sh_sweep_crowd(acceptor);
    assert_int_equal(sh_crowd_richest(&crowd, sh_crowd_one, fixture->connections[OTHER], chosen, 9), 3);
    for (int i = 0; i < 3; i++)
        assert_false(atomic_load(&chosen[i]->is_over));
}

/* Seen or not, it has ended; and what has ended is known as long as its descriptor is there. */
static void who_has_reset_is_ended(void **state)
{
    Fixture *fixture = *state;
    ShAcceptor *acceptor = &fixture->acceptor;
    ShConnection *reset = add_reset(fixture);
    int fd = reset->fd;
    atomic_store(&reset->torn, 7);
    assert_true(sh_sweep_end(acceptor, reset, "test"));
    assert_true(atomic_load(&reset->is_over));
    assert_int_equal(atomic_load(&reset->host->offences), 7 * SH_OFFENCE);
    assert_int_equal(reset->host->over, 1);
    assert_true(sh_sweep_end(acceptor, fixture->connections[IDLE], "test")); /* gRPC closes it at once */
    assert_int_equal(acceptor->over_count, 1);
    assert_int_equal(acceptor->count, COUNT - 1);
    sh_sweep(acceptor);
    assert_int_equal(acceptor->over_count, 1);
    close(fd);
    sh_sweep(acceptor);
    assert_int_equal(acceptor->over_count, 0);
    assert_null(fixture->by_fd[fd]);
    assert_int_equal(acceptor->count, COUNT - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_takes_part_goes),
        TEST(who_may_go_on_with_it_goes_where_it_goes_on),
        TEST(who_tears_goes_by_host),
        TEST(who_has_reset_shields_nobody),
        TEST(who_has_reset_is_ended),
        TEST(the_own_look_stays),
        TEST(nobody_hoards_what_is_not_there),
        TEST(what_was_not_handed_over_keeps_its_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
