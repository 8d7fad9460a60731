/*
 * throttling_server.h - an S3 server in one thread that takes so many PUTs a second and answers SlowDown to
 * the others. It keeps no objects, and tells what it was asked.
 */
#ifndef SH_TESTS_HARNESS_THROTTLING_SERVER_H
#define SH_TESTS_HARNESS_THROTTLING_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THROTTLING_CONNECTIONS_MAX 64
#define THROTTLING_HEAD_BYTES_MAX  8192
#define THROTTLING_BURST_S         0.1 /* tokens are saved for so long */

typedef struct ThrottlingConnection {
    int fd;
    size_t length; /* of what is in `head` */
    char head[THROTTLING_HEAD_BYTES_MAX];
    size_t body_left;
    bool is_put;
    bool has_head;
} ThrottlingConnection;

typedef struct ThrottlingServer {
    int listen_fd;
    int stop_fds[2]; /* closing the writing end ends the thread */
    char endpoint[64];
    int port;
    pthread_t thread;
    double put_rate;
    double tokens;
    double filled_s;
    ThrottlingConnection *connections[THROTTLING_CONNECTIONS_MAX];
    size_t count;
    atomic_long taken;
    atomic_long refused;
} ThrottlingServer;

static inline double throttling_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline bool throttling_take_token(ThrottlingServer *server)
{
    double now_s = throttling_now_s();
    double saved_max = 1 + server->put_rate * THROTTLING_BURST_S;
    server->tokens += (now_s - server->filled_s) * server->put_rate;
    server->filled_s = now_s;
    if (server->tokens > saved_max)
        server->tokens = saved_max;
    if (server->tokens < 1)
        return false;
    server->tokens -= 1;
    return true;
}

/* Answer the request whose head and body are complete; false when the peer has gone. */
static inline bool throttling_answer(ThrottlingServer *server, ThrottlingConnection *connection)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n";
    static const char absent[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 37\r\n\r\n"
                                 "<Error><Code>NoSuchKey</Code></Error>";
    static const char slow_down[] = "HTTP/1.1 503 Slow Down\r\nContent-Length: 38\r\n\r\n"
                                    "<Error><Code>SlowDown</Code></Error>\r\n";
    const char *answer = absent;
    if (connection->is_put) {
        bool taken = throttling_take_token(server);
        atomic_fetch_add(taken ? &server->taken : &server->refused, 1);
        answer = taken ? ok : slow_down;
    }
    connection->has_head = false;
    return send(connection->fd, answer, strlen(answer), MSG_NOSIGNAL) == (ssize_t)strlen(answer);
}

/* Read what is there; false when the connection is over. */
static inline bool throttling_read(ThrottlingServer *server, ThrottlingConnection *connection)
{
    char *to = connection->head + connection->length;
    ssize_t got = recv(connection->fd, to, THROTTLING_HEAD_BYTES_MAX - 1 - connection->length, 0);
    if (got <= 0)
        return false;
    connection->length += (size_t)got;
    for (;;) {
        if (!connection->has_head) {
            connection->head[connection->length] = '\0';
            char *end = strstr(connection->head, "\r\n\r\n");
            if (end == NULL)
                return connection->length < THROTTLING_HEAD_BYTES_MAX - 1;
            end[2] = '\0';
            const char *announced = strcasestr(connection->head, "\r\nContent-Length:");
            connection->body_left = announced != NULL ? strtoul(announced + 17, NULL, 10) : 0;
            connection->is_put = strncmp(connection->head, "PUT ", 4) == 0;
            connection->has_head = true;
            connection->length -= (size_t)(end + 4 - connection->head);
            memmove(connection->head, end + 4, connection->length);
        }
        size_t body = connection->length < connection->body_left ? connection->length : connection->body_left;
        connection->length -= body;
        connection->body_left -= body;
        memmove(connection->head, connection->head + body, connection->length);
        if (connection->body_left > 0)
            return true;
        if (!throttling_answer(server, connection))
            return false;
    }
}

static inline void throttling_accept(ThrottlingServer *server)
{
    int fd = accept(server->listen_fd, NULL, NULL);
    ThrottlingConnection *connection = fd >= 0 && server->count < THROTTLING_CONNECTIONS_MAX
                                           ? calloc(1, sizeof *connection)
                                           : NULL;
    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->fd = fd;
    server->connections[server->count++] = connection;
}

static inline void *throttling_run(void *arg)
{
    ThrottlingServer *server = arg;
    struct pollfd fds[THROTTLING_CONNECTIONS_MAX + 2];
    for (;;) {
        size_t count = server->count;
        fds[0] = (struct pollfd){.fd = server->stop_fds[0], .events = POLLIN};
        fds[1] = (struct pollfd){.fd = server->listen_fd, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            fds[i + 2] = (struct pollfd){.fd = server->connections[i]->fd, .events = POLLIN};
        poll(fds, (nfds_t)count + 2, 30000);
        if (fds[0].revents != 0)
            break;
        for (size_t i = count; i-- > 0;) {
            if (fds[i + 2].revents == 0 || throttling_read(server, server->connections[i]))
                continue;
            close(server->connections[i]->fd);
            free(server->connections[i]);
            server->connections[i] = server->connections[--server->count];
        }
        if (fds[1].revents != 0)
            throttling_accept(server);
    }
    while (server->count > 0) {
        close(server->connections[--server->count]->fd);
        free(server->connections[server->count]);
    }
    return NULL;
}

/* On a port of its own, or (above 0) on this one. False when it cannot be started. */
static inline bool throttling_start_at(ThrottlingServer *server, double put_rate, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int yes = 1;
    socklen_t address_bytes = sizeof address;
    memset(server, 0, sizeof *server);
    server->put_rate = put_rate;
    server->filled_s = throttling_now_s();
    server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (server->listen_fd < 0 ||
        setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(server->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server->listen_fd, THROTTLING_CONNECTIONS_MAX) != 0 ||
        getsockname(server->listen_fd, (struct sockaddr *)&address, &address_bytes) != 0 ||
        pipe(server->stop_fds) != 0)
        return false;
    server->port = ntohs(address.sin_port);
    snprintf(server->endpoint, sizeof server->endpoint, "http://127.0.0.1:%d", server->port);
    return pthread_create(&server->thread, NULL, throttling_run, server) == 0;
}

static inline bool throttling_start(ThrottlingServer *server, double put_rate)
{
    return throttling_start_at(server, put_rate, 0);
}

static inline void throttling_stop(ThrottlingServer *server)
{
    close(server->stop_fds[1]);
    pthread_join(server->thread, NULL);
    close(server->stop_fds[0]);
    close(server->listen_fd);
}

#endif
