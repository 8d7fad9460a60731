/*
 * scripted_server.h - an HTTP server that answers as the test has written down, one step for each request.
 *
 * It serves one connection at a time, from a thread of its own. What it was asked is recorded.
 */
#ifndef SH_TESTS_SCRIPTED_SERVER_H
#define SH_TESTS_SCRIPTED_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "core/status.h"

#define SCRIPT_STEPS_MAX      16
#define SCRIPT_HEAD_BYTES_MAX 8192

typedef enum ScriptAction {
    SCRIPT_REPLY, /* send the text, keep the connection */
    SCRIPT_CUT,   /* send the text, which may be "" or cut off itself, and close */
    SCRIPT_HANG   /* say nothing until the client goes */
} ScriptAction;

typedef struct ScriptStep {
    ScriptAction action;
    const char *text;
} ScriptStep;

typedef struct ScriptedServer {
    int listen_fd;
    int stop_fds[2]; /* closing the writing end ends the thread */
    char endpoint[64];
    pthread_t thread;
    const ScriptStep *steps;
    size_t step_count;
    /* Written by the thread, read once it has ended. */
    size_t request_count;
    char requests[SCRIPT_STEPS_MAX][SCRIPT_HEAD_BYTES_MAX];
} ScriptedServer;

/* False when the test ends or the peer has gone, rather than bytes arriving. */
static inline bool script_await(const ScriptedServer *server, int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = server->stop_fds[0], .events = POLLIN}};
    return poll(fds, 2, 30000) > 0 && fds[1].revents == 0;
}

/* Read a request's head into `head`, and its body to nowhere. */
static inline bool script_read_request(const ScriptedServer *server, int fd, char *head)
{
    size_t length = 0;
    char *end = NULL;
    while (end == NULL) {
        if (length == SCRIPT_HEAD_BYTES_MAX - 1 || !script_await(server, fd))
            return false;
        ssize_t got = recv(fd, head + length, SCRIPT_HEAD_BYTES_MAX - 1 - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
        head[length] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    const char *announced = strcasestr(head, "\r\nContent-Length:");
    size_t body_length = announced != NULL ? strtoul(announced + 17, NULL, 10) : 0;
    size_t got_of_body = length - (size_t)(end + 4 - head);
    end[4] = '\0';
    static __thread char nowhere[65536];
    while (got_of_body < body_length) {
        ssize_t got = script_await(server, fd) ? recv(fd, nowhere, sizeof nowhere, 0) : 0;
        if (got <= 0)
            return false;
        got_of_body += (size_t)got;
    }
    return true;
}

/* Serve requests of one connection; false when the script says that it is to be closed, or it is. */
static inline bool script_serve_request(ScriptedServer *server, int fd)
{
    size_t number = server->request_count;
    if (number >= server->step_count || !script_read_request(server, fd, server->requests[number]))
        return false;
    const ScriptStep *step = &server->steps[number];
    server->request_count++;
    if (step->action == SCRIPT_HANG) {
        (void)script_await(server, fd);
        return false;
    }
    size_t length = strlen(step->text);
    return send(fd, step->text, length, MSG_NOSIGNAL) == (ssize_t)length && step->action == SCRIPT_REPLY;
}

static inline void *script_run(void *arg)
{
    ScriptedServer *server = arg;
    while (script_await(server, server->listen_fd)) {
        int fd = accept(server->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        while (script_serve_request(server, fd)) {
        }
        close(fd);
    }
    return NULL;
}

static inline void script_start(ScriptedServer *server, const ScriptStep *steps, size_t step_count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    ShError err;
    memset(server, 0, sizeof *server);
    server->steps = steps;
    server->step_count = step_count;
    assert_in_range(step_count, 1, SCRIPT_STEPS_MAX);
    server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listen_fd, 16), 0);
    assert_int_equal(getsockname(server->listen_fd, (struct sockaddr *)&address, &address_bytes), 0);
    snprintf(server->endpoint, sizeof server->endpoint, "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pipe(server->stop_fds), 0);
    assert_int_equal(sh_thread_start(&server->thread, "scripted", script_run, server, &err), SH_OK);
}

/* End the server; every step must have been played, and no more asked for. */
static inline void script_stop(ScriptedServer *server)
{
    close(server->stop_fds[1]);
    pthread_join(server->thread, NULL);
    close(server->stop_fds[0]);
    close(server->listen_fd);
    assert_int_equal(server->request_count, server->step_count);
}

#endif
