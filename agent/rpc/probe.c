#include "agent/rpc/probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

#define PROBE_INTERVAL_MS 2000
#define PROBE_TIMEOUT_MS  10000
#define FRAME_BYTES       9
#define FRAME_DATA        0
#define FRAME_HEADERS     1
#define FLAG_END_STREAM   1

struct ShProbe {
    ShAcceptor *acceptor;
    const atomic_ullong *answers;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* by lock */
    bool stopping;
    int fd;           /* of the look under way; -1: none */
    int64_t failures; /* in a row */
    char why[128];
};

/* HTTP/2's preface, empty SETTINGS, and a request: HEADERS (RFC 7541: indexed fields and literals without
 * indexing) and a message of no bytes, both on stream 1. */
static const uint8_t request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                 "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\x47\1\4\0\0\0\1"
                                 "\x83\x86"
                                 "\x04\x1c/grpc.health.v1.Health/Check"
                                 "\x01\x05probe"
                                 "\x0f\x10\x10"
                                 "application/grpc"
                                 "\x00\x02te\x08trailers"
                                 "\0\0\5\0\1\0\0\0\1"
                                 "\0\0\0\0\0";

static void *run(void *arg);
static const char *look(ShProbe *probe);
static int connect_own(ShProbe *probe, int64_t deadline_ms, const char **why);
static void close_own(ShProbe *probe, int fd);
static bool set_fd(ShProbe *probe, int fd);
static const char *converse(int fd, int64_t deadline_ms);
static bool receive(int fd, uint8_t *to, size_t bytes, int64_t deadline_ms);
static bool wait_for(int fd, short events, int64_t deadline_ms);

ShStatus sh_probe_start(ShAcceptor *acceptor, const atomic_ullong *answers, ShProbe **out, ShError *err)
{
    ShProbe *probe = calloc(1, sizeof *probe);
    if (probe == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the look at the own port");
    probe->acceptor = acceptor;
    probe->answers = answers;
    probe->fd = -1;
    pthread_mutex_init(&probe->lock, NULL);
    ShStatus status = sh_cond_init(&probe->changed, err);
    if (status == SH_OK)
        status = sh_thread_start(&probe->thread, "rpc-probe", run, probe, err);
    if (status != SH_OK)
        free(probe);
    else
        *out = probe;
    return status;
}

void sh_probe_stop(ShProbe *probe)
{
    if (probe == NULL)
        return;
    pthread_mutex_lock(&probe->lock);
    probe->stopping = true;
    if (probe->fd >= 0)
        (void)shutdown(probe->fd, SHUT_RDWR); /* a look that waits ends */
    pthread_cond_signal(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
    pthread_join(probe->thread, NULL);
    pthread_cond_destroy(&probe->changed);
    pthread_mutex_destroy(&probe->lock);
    free(probe);
}

bool sh_probe_result(ShProbe *probe, int64_t *failures, char *why, size_t why_bytes)
{
    pthread_mutex_lock(&probe->lock);
    bool reached = probe->failures == 0;
    if (failures != NULL)
        *failures = probe->failures;
    if (!reached)
        snprintf(why, why_bytes, "clients cannot reach the agent: %s", probe->why);
    pthread_mutex_unlock(&probe->lock);
    return reached;
}

static void *run(void *arg)
{
    ShProbe *probe = arg;
    pthread_mutex_lock(&probe->lock);
    while (!probe->stopping) {
        pthread_mutex_unlock(&probe->lock);
        const char *why = look(probe);
        pthread_mutex_lock(&probe->lock);
        if (probe->stopping)
            break;
        probe->failures = why == NULL ? 0 : probe->failures + 1;
        if (why != NULL) {
            snprintf(probe->why, sizeof probe->why, "%s", why);
            sh_log_warn("rpc_unreachable", "failures=%lld reason=\"%s\"", (long long)probe->failures, why);
        }
        sh_cond_wait_ms(&probe->changed, &probe->lock, PROBE_INTERVAL_MS);
    }
    pthread_mutex_unlock(&probe->lock);
    return NULL;
}

/* NULL, or what is wrong. */
static const char *look(ShProbe *probe)
{
    int64_t deadline_ms = sh_clock_now_ms() + PROBE_TIMEOUT_MS;
    unsigned long long answers = atomic_load(probe->answers);
    const char *why = NULL;
    int fd = connect_own(probe, deadline_ms, &why);
    if (fd < 0)
        return why;
    why = converse(fd, deadline_ms);
    close_own(probe, fd);
    bool is_busy = sh_clock_now_ms() >= deadline_ms && atomic_load(probe->answers) != answers;
    return is_busy ? NULL : why;
}

/* The port is taken before the connection is made, so that the acceptor knows whose it is. */
static int connect_own(ShProbe *probe, int64_t deadline_ms, const char **why)
{
    struct sockaddr_storage to;
    socklen_t length;
    sh_acceptor_address(probe->acceptor, &to, &length);
    struct sockaddr_storage from = {.ss_family = to.ss_family};
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *why = "no descriptor is left for a connection";
    if (fd < 0)
        return -1;
    socklen_t from_length = sizeof from;
    int error = 0;
    socklen_t error_length = sizeof error;
    *why = "no connection could be made";
    if (bind(fd, (struct sockaddr *)&from, length) != 0 ||
        getsockname(fd, (struct sockaddr *)&from, &from_length) != 0)
        goto failed;
    /* The port stands at the same place in both families' addresses. */
    sh_acceptor_expect_own(probe->acceptor, ntohs(((struct sockaddr_in *)(void *)&from)->sin_port));
    if (!set_fd(probe, fd))
        goto failed;
    if (connect(fd, (struct sockaddr *)&to, length) != 0 &&
        (errno != EINPROGRESS || !wait_for(fd, POLLOUT, deadline_ms) ||
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_length) != 0 || error != 0))
        goto failed;
    return fd;
failed:
    close_own(probe, fd);
    return -1;
}

static void close_own(ShProbe *probe, int fd)
{
    (void)set_fd(probe, -1);
    close(fd);
    sh_acceptor_expect_own(probe->acceptor, 0);
}

/* False: nobody wants the look any more. */
static bool set_fd(ShProbe *probe, int fd)
{
    pthread_mutex_lock(&probe->lock);
    probe->fd = fd;
    bool wanted = !probe->stopping;
    pthread_mutex_unlock(&probe->lock);
    return wanted;
}

/* Send the request, and read frames until one is a message of the answer. */
static const char *converse(int fd, int64_t deadline_ms)
{
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        return "the connection was closed at once";
    uint8_t frame[FRAME_BYTES];
    uint8_t payload[1024];
    while (receive(fd, frame, sizeof frame, deadline_ms)) {
        size_t left = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
        if (frame[3] == FRAME_DATA && left > 0)
            return NULL;
        if (frame[3] == FRAME_HEADERS && (frame[4] & FLAG_END_STREAM) != 0)
            return "the call was refused";
        while (left > 0) {
            size_t part = left < sizeof payload ? left : sizeof payload;
            if (!receive(fd, payload, part, deadline_ms))
                return "the connection was closed or silent";
            left -= part;
        }
    }
    return sh_clock_now_ms() < deadline_ms ? "the connection was closed without an answer"
                                           : "no answer came in time";
}

static bool receive(int fd, uint8_t *to, size_t bytes, int64_t deadline_ms)
{
    while (bytes > 0) {
        if (!wait_for(fd, POLLIN, deadline_ms))
            return false;
        ssize_t got = recv(fd, to, bytes, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (got > 0) {
            to += got;
            bytes -= (size_t)got;
        }
    }
    return true;
}

static bool wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd watched = {.fd = fd, .events = events};
    int64_t left_ms = deadline_ms - sh_clock_now_ms();
    return left_ms > 0 && poll(&watched, 1, (int)left_ms) > 0;
}
