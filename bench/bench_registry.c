/*
 * bench_registry.c - look-ups of schemas by id at an agent: from its cache, and with the cache off, where
 * each asks PostgreSQL. One thread keeps connections busy, with one request in flight on each.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/agent.h"
#include "bench/json_line.h"

#define CONNECTIONS  32
#define SCHEMAS      200
#define FIELDS       20
#define SECONDS      4
#define SAMPLES_MAX  2000000
#define ANSWER_BYTES 16384
#define WAIT_MS      5000

typedef struct Connection {
    int fd;
    int64_t sent_us;
    size_t received;
    char answer[ANSWER_BYTES];
} Connection;

typedef struct Measured {
    double rate;
    double agent_cpu_us; /* a look-up */
    double p99_us;
} Measured;

static int64_t samples[SAMPLES_MAX];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int connect_to(const char *address)
{
    char host[64];
    unsigned port;
    if (sscanf(address, "%63[^:]:%u", host, &port) != 2)
        die("the registry's address");
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &place.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&place, sizeof place) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die(address);
    return fd;
}

static void send_text(Connection *connection, const char *text)
{
    size_t length = strlen(text);
    connection->received = 0;
    connection->sent_us = sh_bench_now_us();
    if (send(connection->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
        die("send");
}

/* Take what has come. True: the answer is whole; the program ends unless it is 200. */
static bool receive(Connection *connection)
{
    ssize_t got = recv(connection->fd, connection->answer + connection->received,
                       sizeof connection->answer - 1 - connection->received, 0);
    if (got <= 0)
        die("recv");
    connection->received += (size_t)got;
    connection->answer[connection->received] = '\0';
    const char *end = strstr(connection->answer, "\r\n\r\n");
    const char *length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (end == NULL || length == NULL)
        return false;
    size_t whole = (size_t)(end - connection->answer) + 4 + strtoul(length + 17, NULL, 10);
    if (connection->received < whole)
        return false;
    if (strncmp(connection->answer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "bench_registry: %s\n", connection->answer);
        exit(1);
    }
    return true;
}

static void ask_for(Connection *connection, int id)
{
    char text[256];
    snprintf(text, sizeof text,
             "GET /schemas/ids/%d HTTP/1.1\r\nHost: localhost\r\nAccept: "
             "application/vnd.schemaregistry.v1+json\r\n\r\n",
             id);
    send_text(connection, text);
}

static void register_schemas(Connection *connection)
{
    static char body[8192];
    static char text[9216];
    for (int i = 0; i < SCHEMAS; i++) {
        int at = snprintf(
            body, sizeof body,
            "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"R%d\\\",\\\"fields\\\":[", i);
        for (int field = 0; field < FIELDS; field++)
            at += snprintf(body + at, sizeof body - (size_t)at,
                           "%s{\\\"name\\\":\\\"field_%d\\\",\\\"type\\\":\\\"string\\\"}",
                           field == 0 ? "" : ",", field);
        at += snprintf(body + at, sizeof body - (size_t)at, "]}\"}");
        snprintf(
            text, sizeof text,
            "POST /subjects/s%d/versions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: %d\r\n\r\n%s",
            i, at, body);
        send_text(connection, text);
        while (!receive(connection))
            ;
    }
}

/* Ask for the schemas in turn, for a time; the look-ups, whose latencies are in `samples`. */
static int64_t run(Connection *connections, int events, int64_t us)
{
    int64_t count = 0;
    int next = 0;
    int64_t until_us = sh_bench_now_us() + us;
    for (int i = 0; i < CONNECTIONS; i++)
        ask_for(&connections[i], 1 + next++ % SCHEMAS);
    for (int in_flight = CONNECTIONS; in_flight > 0;) {
        struct epoll_event ready[CONNECTIONS];
        int ready_count = epoll_wait(events, ready, CONNECTIONS, WAIT_MS);
        if (ready_count <= 0)
            die("epoll_wait");
        for (int i = 0; i < ready_count; i++) {
            Connection *connection = ready[i].data.ptr;
            if (!receive(connection))
                continue;
            int64_t now_us = sh_bench_now_us();
            samples[count++ % SAMPLES_MAX] = now_us - connection->sent_us;
            if (now_us < until_us)
                ask_for(connection, 1 + next++ % SCHEMAS);
            else
                in_flight--;
        }
    }
    return count;
}

static double agent_cpu_us(const ShBenchAgent *agent)
{
    char path[64];
    unsigned long user;
    unsigned long system;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)agent->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL ||
        fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        die(path);
    fclose(file);
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static Measured measure(const char *settings)
{
    static Connection connections[CONNECTIONS];
    char directory[SH_BENCH_PATH_BYTES];
    ShBenchAgent agent;
    sh_bench_directory("registry", directory);
    sh_bench_agent_start(&agent, directory, settings, NULL);
    int events = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < CONNECTIONS; i++) {
        connections[i].fd = connect_to(agent.registry_address);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        if (epoll_ctl(events, EPOLL_CTL_ADD, connections[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    register_schemas(&connections[0]);
    run(connections, events, 500000);
    double cpu_us = agent_cpu_us(&agent);
    int64_t begun_us = sh_bench_now_us();
    int64_t count = run(connections, events, SECONDS * 1000000ll);
    double seconds = (double)(sh_bench_now_us() - begun_us) / 1e6;
    Measured measured = {
        .rate = (double)count / seconds,
        .agent_cpu_us = (agent_cpu_us(&agent) - cpu_us) / (double)count,
        .p99_us = (double)sh_bench_percentile(samples, count < SAMPLES_MAX ? count : SAMPLES_MAX, 99),
    };
    for (int i = 0; i < CONNECTIONS; i++)
        close(connections[i].fd);
    close(events);
    sh_bench_agent_discard(&agent);
    return measured;
}

int main(void)
{
    Measured asked = measure("schema_registry_cache: 0\n");
    Measured cached = measure("");
    static const char reference[] = "asking PostgreSQL each time";
    sh_bench_line_against("registry", "look-ups by id from the cache", cached.rate, "look-ups/s", reference,
                          asked.rate);
    sh_bench_line_against("registry", "the agent's CPU time of a look-up", cached.agent_cpu_us, "us",
                          reference, asked.agent_cpu_us);
    sh_bench_line_against("registry", "99th percentile with 32 in flight", cached.p99_us, "us", reference,
                          asked.p99_us);
    return 0;
}
