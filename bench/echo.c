#include "bench/echo.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bench/echo_server.h"
#include "bench/json_line.h"
#include "bench/swarm.h"
#include "client/transport.h"

#define FOREVER_MS      INT64_MAX
#define WINDOW_MESSAGES 4 /* under way on a stream of several */

static char address[32];
static pid_t server;

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
static ShBuf *message_of(size_t bytes);
static double server_cpu_seconds(void);
static double exchange(const char *method, Client *clients, int count);

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
    server = pid;
    close(ends[1]);
    if (read(ends[0], &port, sizeof port) != sizeof port)
        die("the server did not start");
    close(ends[0]);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
}

double sh_bench_echo_both_ways(size_t message_bytes, int streams, int64_t count)
{
    Client *clients = calloc((size_t)streams, sizeof *clients);
    if (clients == NULL)
        die("no memory");
    ShBuf *message = message_of(message_bytes);
    int64_t each = count / streams;
    for (int i = 0; i < streams; i++)
        clients[i] = (Client){.message = message, .to_write = each, .left = each, .window = WINDOW_MESSAGES};
    double seconds = exchange(SH_BENCH_ECHO_METHOD, clients, streams);
    sh_buf_unref(message);
    free(clients);
    return (double)(each * streams) / seconds;
}

double sh_bench_echo_connections(size_t message_bytes, int connections, int in_flight, int64_t count,
                                 double *cpu_us)
{
    double connecting;
    ShBenchSwarmed done;
    ShBuf *message = message_of(message_bytes);
    ShBenchSwarm *swarm = sh_bench_swarm_open(address, SH_BENCH_ECHO_METHOD, connections, &message, 1, NULL,
                                              &connecting);
    double cpu = server_cpu_seconds();
    sh_bench_swarm_run(swarm, in_flight, count, &done);
    *cpu_us = (server_cpu_seconds() - cpu) * 1e6 / (double)done.messages;
    sh_bench_swarm_close(swarm);
    sh_buf_unref(message);
    return (double)done.messages / done.seconds;
}

double sh_bench_echo_one_way(size_t message_bytes, int64_t count)
{
    ShBenchStreamRequest request = {.message_bytes = message_bytes, .count = count};
    ShBuf *message = sh_buf_copy(&request, sizeof request);
    if (message == NULL)
        die("no room");
    message->length = sizeof request;
    Client client = {.message = message, .to_write = 1, .left = count, .window = 1};
    double seconds = exchange(SH_BENCH_STREAM_METHOD, &client, 1);
    sh_buf_unref(message);
    return (double)count / seconds;
}

static ShBuf *message_of(size_t bytes)
{
    ShBuf *message = sh_buf_new(bytes);
    if (message == NULL)
        die("no memory");
    memset(message->data, 'x', bytes);
    message->length = bytes;
    return message;
}

static double server_cpu_seconds(void)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(server, &clock) != 0 || clock_gettime(clock, &used) != 0)
        die("the server is gone");
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Run the streams to their end on one connection: the seconds it took. */
static double exchange(const char *method, Client *clients, int count)
{
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = transport != NULL ? sh_loop_new(transport) : NULL;
    if (loop == NULL)
        die("no memory");
    int64_t begun = sh_bench_now_us();
    for (int i = 0; i < count; i++) {
        ShClientCallEvents events = {write_next, take_message, take_end, &clients[i]};
        clients[i].call = sh_client_call_start(loop, address, method, 0, &events);
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
