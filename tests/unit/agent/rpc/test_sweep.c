/* Which connections of a host go with its bar: those that take part, and where it goes on those at hand. */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_takes_part_goes),
        TEST(who_may_go_on_with_it_goes_where_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
