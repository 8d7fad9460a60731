/*
 * test_transport.c - a connection to a server that is slow to answer.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/transport.h"

#define SLOWNESS_MS 300
#define DEADLINE_MS 5000

/* A TCP server that greets its one connection late, as one with a thousand others to greet does. */
typedef struct SlowServer {
    int listener;
    char address[32];
    pthread_t thread;
} SlowServer;

static void *greet_late(void *arg)
{
    static const uint8_t empty_settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0}; /* an HTTP/2 frame */
    SlowServer *server = arg;
    uint8_t received[1024];
    int connection = accept(server->listener, NULL, NULL);
    nanosleep(&(struct timespec){.tv_nsec = SLOWNESS_MS * 1000000L}, NULL);
    if (write(connection, empty_settings, sizeof empty_settings) != sizeof empty_settings)
        perror("greeting");
    while (read(connection, received, sizeof received) > 0)
        ;
    close(connection);
    return NULL;
}

static void start_server(SlowServer *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 1), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, greet_late, server), 0);
}

typedef struct Seen {
    bool writable;
    bool closed;
} Seen;

static void on_writable(void *context)
{
    ((Seen *)context)->writable = true;
}

static void on_closed(void *context, const ShRefusal *why)
{
    (void)why;
    ((Seen *)context)->closed = true;
}

/* A server that is up but busy is waited for: giving up early and coming back only adds to its work. */
static void waits_for_a_busy_server(void **state)
{
    (void)state;
    SlowServer server;
    Seen seen = {0};
    start_server(&server);
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = sh_loop_new(transport);
    ShClientCallEvents events = {.on_writable = on_writable, .on_closed = on_closed, .context = &seen};
    ShClientCall *call = sh_client_call_start(loop, server.address, SH_METHOD_PRODUCE_STREAM, 0, &events);
    assert_non_null(call);
    int64_t deadline_ms = sh_client_now_ms() + DEADLINE_MS;
    while (!seen.writable && !seen.closed && sh_client_now_ms() < deadline_ms)
        sh_loop_run(loop, deadline_ms);
    assert_true(seen.writable);
    assert_false(seen.closed);

    sh_loop_free(loop);
    sh_transport_free(transport);
    pthread_join(server.thread, NULL);
    close(server.listener);
}

/* Where nobody listens, the call ends at once and says so. */
static void says_that_nobody_listens(void **state)
{
    (void)state;
    Seen seen = {0};
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = sh_loop_new(transport);
    ShClientCallEvents events = {.on_writable = on_writable, .on_closed = on_closed, .context = &seen};
    assert_non_null(sh_client_call_start(loop, "127.0.0.1:1", SH_METHOD_PRODUCE_STREAM, 0, &events));
    int64_t begun_ms = sh_client_now_ms();
    while (!seen.closed && sh_client_now_ms() < begun_ms + DEADLINE_MS)
        sh_loop_run(loop, begun_ms + DEADLINE_MS);
    assert_true(seen.closed);
    assert_false(seen.writable);
    sh_loop_free(loop);
    sh_transport_free(transport);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_a_busy_server),
        cmocka_unit_test(says_that_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
