#include "bench/echo.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/echo_server.h"
#include "bench/json_line.h"
#include "client/transport.h"

#define FOREVER_MS      INT64_MAX
#define WINDOW_MESSAGES 4 /* under way on a stream of several */

static char address[32];

/* One stream's client. `left` messages are to come. */
typedef struct Client {
    ShClientCall *call;
    ShBuf *message; /* what is written whenever the stream is writable and the window has room */
    int64_t to_write;
    int64_t left;
    int64_t window; /* messages that may yet be written before one comes back */
    bool closed;
} Client;

static void die(const char *what)
{
    fprintf(stderr, "bench: gRPC reference: %s\n", what);
    exit(1);
}

static void write_next(void *context);
static void take_message(void *context, ShBuf *message);
static void take_end(void *context, const ShRefusal *why);
static double echo(size_t message_bytes, int streams, bool apart, int64_t window, int64_t count);
static double exchange(const char *method, Client *clients, int count, bool apart);

void sh_bench_echo_start(void)
{
    int ends[2];
    int port;
    if (pipe(ends) != 0)
        die("no pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("no process");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        sh_bench_echo_serve(ends[1]);
    }
    close(ends[1]);
    if (read(ends[0], &port, sizeof port) != sizeof port)
        die("the server did not start");
    close(ends[0]);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
}

double sh_bench_echo_both_ways(size_t message_bytes, int streams, int64_t count)
{
    return echo(message_bytes, streams, false, WINDOW_MESSAGES, count);
}

double sh_bench_echo_connections(size_t message_bytes, int connections, int64_t count)
{
    return echo(message_bytes, connections, true, 1, count);
}

double sh_bench_echo_one_way(size_t message_bytes, int64_t count)
{
    ShBenchStreamRequest request = {.message_bytes = message_bytes, .count = count};
    ShBuf *message = sh_buf_copy(&request, sizeof request);
    if (message == NULL)
        die("no room");
    message->length = sizeof request;
    Client client = {.message = message, .to_write = 1, .left = count, .window = 1};
    double seconds = exchange(SH_BENCH_STREAM_METHOD, &client, 1, false);
    sh_buf_unref(message);
    return (double)count / seconds;
}

static double echo(size_t message_bytes, int streams, bool apart, int64_t window, int64_t count)
{
    Client *clients = calloc((size_t)streams, sizeof *clients);
    ShBuf *message = sh_buf_new(message_bytes);
    if (message == NULL || clients == NULL)
        die("no memory");
    memset(message->data, 'x', message_bytes);
    message->length = message_bytes;
    int64_t each = count / streams;
    for (int i = 0; i < streams; i++)
        clients[i] = (Client){.message = message, .to_write = each, .left = each, .window = window};
    double seconds = exchange(SH_BENCH_ECHO_METHOD, clients, streams, apart);
    sh_buf_unref(message);
    free(clients);
    return (double)(each * streams) / seconds;
}

/* Run the streams to their end, on one connection or each on its own: the seconds it took. */
static double exchange(const char *method, Client *clients, int count, bool apart)
{
    char own[64];
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = transport != NULL ? sh_loop_new(transport) : NULL;
    if (loop == NULL)
        die("no memory");
    int64_t begun = sh_bench_now_us();
    for (int i = 0; i < count; i++) {
        ShClientCallEvents events = {write_next, take_message, take_end, &clients[i]};
        /* A query that the resolver ignores makes it another address, and so another connection. */
        snprintf(own, sizeof own, "ipv4:%s?connection=%d", address, apart ? i : 0);
        clients[i].call = sh_client_call_start(loop, own, method, 0, &events);
        if (clients[i].call == NULL)
            die("no call");
        sh_client_call_read(clients[i].call);
    }
    for (int i = 0; i < count; i++) {
        while (!clients[i].closed)
            sh_loop_run(loop, FOREVER_MS);
        if (clients[i].left != 0)
            die("a stream ended early");
    }
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    sh_loop_free(loop);
    sh_transport_free(transport);
    return seconds;
}

static void write_next(void *context)
{
    Client *client = context;
    if (!sh_client_call_writable(client->call))
        return;
    if (client->to_write == 0) {
        sh_client_call_end_writes(client->call);
        client->to_write--;
    } else if (client->to_write > 0 && client->window > 0) {
        client->to_write--;
        client->window--;
        ShSlice piece = {client->message->data, client->message->length, client->message};
        sh_client_call_write(client->call, &piece, 1);
    }
}

static void take_message(void *context, ShBuf *message)
{
    Client *client = context;
    (void)message;
    client->left--;
    client->window++;
    sh_client_call_read(client->call);
    write_next(client);
}

static void take_end(void *context, const ShRefusal *why)
{
    Client *client = context;
    if (why->error.status != SH_OK)
        die(why->error.message);
    client->closed = true;
}
