/* Connections are handed to gRPC by threads that these may keep; a stop waits for none of them. */
#include <grpc/support/time.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/rpc/adopt.h"

#define WAIT_MS     20000
#define ROUNDS      6
#define WITHDRAWALS 50
/* More than waits in a socket: gRPC reads. */
#define READ_BYTES (400 << 10)
#define PEERS      (2 * SH_ADOPTERS)

/* Sends a header without an end, as fast as it may. */
typedef struct Sender {
    int peer;
    pthread_t thread;
    atomic_size_t sent;
    atomic_bool sent_enough;
} Sender;

typedef struct Fixture {
    grpc_server *server;
    grpc_completion_queue *queue;
    ShAdopters *adopters;
    ShHosts *hosts;
    ShConnection *connections[PEERS];
    int peers[PEERS];
    Sender senders[PEERS];
    pthread_t poller;
} Fixture;

/* As a worker does. */
static void *poll_queue(void *arg)
{
    Fixture *fixture = arg;
    while (grpc_completion_queue_next(fixture->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    return NULL;
}

static int setup(void **state)
{
    static Fixture fixture;
    grpc_init();
    fixture = (Fixture){.server = grpc_server_create(NULL, NULL),
                        .queue = grpc_completion_queue_create_for_next(NULL),
                        .hosts = sh_hosts_new()};
    grpc_server_register_completion_queue(fixture.server, fixture.queue, NULL);
    grpc_server_start(fixture.server);
    assert_int_equal(pthread_create(&fixture.poller, NULL, poll_queue, &fixture), 0);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;
    sh_adopters_stop(fixture->adopters);
    grpc_server_shutdown_and_notify(fixture->server, fixture->queue, fixture);
    grpc_server_cancel_all_calls(fixture->server);
    grpc_completion_queue_shutdown(fixture->queue);
    pthread_join(fixture->poller, NULL);
    grpc_server_destroy(fixture->server);
    grpc_completion_queue_destroy(fixture->queue);
    sh_hosts_free(fixture->hosts);
    grpc_shutdown();
    return 0;
}

static void open_peers(Fixture *fixture)
{
    static const uint8_t begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                   "\0\0\0\4\0\0\0\0\0"                               /* SETTINGS */
                                   "\0\0\x09\1\0\0\0\0\1\0\1x\x7F\x80\x80\x80\x80\1"; /* HEADERS */
    struct sockaddr_storage address = {.ss_family = AF_INET};
    for (int i = 0; i < PEERS; i++) {
        int ends[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        fixture->peers[i] = ends[1];
        fixture->connections[i] = sh_connection_new(ends[0], &address, fixture->hosts);
        assert_non_null(fixture->connections[i]);
        assert_int_equal(write(ends[1], begin, sizeof begin - 1), sizeof begin - 1);
    }
}

static void *send_headers(void *arg)
{
    Sender *sender = arg;
    static const uint8_t frame[9 + 16000] = {0, 16000 >> 8, 16000 & 255, 9, 0, 0, 0, 0, 1};
    while (!atomic_load(&sender->sent_enough)) {
        size_t at = atomic_load(&sender->sent) % sizeof frame;
        ssize_t count = send(sender->peer, frame + at, sizeof frame - at, MSG_NOSIGNAL);
        atomic_fetch_add(&sender->sent, count > 0 ? (size_t)count : 0);
    }
    return NULL;
}

static bool is_closed(int peer)
{
    struct pollfd watched = {.fd = peer};
    return poll(&watched, 1, 0) > 0 && (watched.revents & POLLHUP) != 0;
}

static bool has_read_enough(Fixture *fixture)
{
    for (int i = 0; i < PEERS; i++) {
        if (atomic_load(&fixture->senders[i].sent) >= READ_BYTES)
            return true;
    }
    return false;
}

static void stop_beside_senders(Fixture *fixture)
{
    ShError err;
    assert_int_equal(sh_adopters_start(&fixture->adopters, fixture->server, &err), SH_OK);
    open_peers(fixture);
    for (int i = 0; i < PEERS; i++) {
        Sender *sender = &fixture->senders[i];
        *sender = (Sender){.peer = fixture->peers[i]};
        assert_int_equal(pthread_create(&sender->thread, NULL, send_headers, sender), 0);
        sh_adopters_take(fixture->adopters, fixture->connections[i]);
    }
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    while (!has_read_enough(fixture) && sh_clock_now_ms() < deadline_ms)
        (void)poll(NULL, 0, 1);
    assert_true(has_read_enough(fixture));
    sh_adopters_stop(fixture->adopters); /* returns, though it all goes on */
    fixture->adopters = NULL;
    for (int i = 0; i < PEERS; i++) {
        atomic_store(&fixture->senders[i].sent_enough, true);
        pthread_join(fixture->senders[i].thread, NULL);
        sh_connection_unref(fixture->connections[i]);
        close(fixture->peers[i]);
    }
}

/* Each connection keeps a thread now and then only. */
static void a_stop_waits_for_none_that_keeps_a_thread(void **state)
{
    alarm(120); /* who waits here waits for ever */
    for (int i = 0; i < ROUNDS; i++)
        stop_beside_senders(*state);
}

/* It costs gRPC nothing: the descriptor is closed, and no byte of gRPC's settings comes. */
static void what_has_been_ended_is_closed(void **state)
{
    Fixture *fixture = *state;
    ShError err;
    assert_int_equal(sh_adopters_start(&fixture->adopters, fixture->server, &err), SH_OK);
    open_peers(fixture);
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    for (int i = 0; i < PEERS; i++) {
        char byte;
        atomic_store(&fixture->connections[i]->is_over, true);
        sh_adopters_take(fixture->adopters, fixture->connections[i]);
        while (!is_closed(fixture->peers[i]) && sh_clock_now_ms() < deadline_ms)
            (void)poll(NULL, 0, 1);
        assert_int_equal(recv(fixture->peers[i], &byte, 1, MSG_DONTWAIT) > 0, false);
        assert_true(is_closed(fixture->peers[i]));
        sh_connection_unref(fixture->connections[i]);
        close(fixture->peers[i]);
    }
}

/* Each is either handed over or taken back. */
static void what_waits_can_be_taken_back(void **state)
{
    Fixture *fixture = *state;
    ShError err;
    assert_int_equal(sh_adopters_start(&fixture->adopters, fixture->server, &err), SH_OK);
    int count = 0;
    for (int round = 0; round < WITHDRAWALS; round++) {
        open_peers(fixture);
        for (int i = 0; i < PEERS; i++)
            sh_adopters_take(fixture->adopters, fixture->connections[i]);
        for (int i = 0; i < PEERS; i++) {
            bool taken_back = sh_adopters_withdraw(fixture->adopters, fixture->connections[i]);
            assert_false(sh_adopters_withdraw(fixture->adopters, fixture->connections[i]));
            assert_int_equal(is_closed(fixture->peers[i]), taken_back);
            count += taken_back;
            sh_connection_unref(fixture->connections[i]);
        }
        for (int i = 0; i < PEERS; i++)
            close(fixture->peers[i]);
    }
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stop_waits_for_none_that_keeps_a_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_been_ended_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_can_be_taken_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
