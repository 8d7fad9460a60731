#include "agent/rpc/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/support/alloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fault.h"
#include "agent/base/listener.h"
#include "agent/base/log.h"
#include "agent/base/open_files.h"
#include "agent/rpc/receive.h"
#include "agent/rpc/server.h"
#include "agent/rpc/sweep.h"

/* Accepted in a row before the thread looks after those that it has. */
#define ACCEPTS_MAX       64
#define SWEEP_INTERVAL_MS 100
/* ... of many connections: their number by this many milliseconds, so that sweeps cost a bounded share. */
#define SWEEP_CONNECTIONS_A_MS 20
#define IDLE_INTERVAL_MS       1000
/* A peer that takes nothing off the wire for so long is gone, or might as well be. */
#define SEND_TIMEOUT_MS 300000
/* No descriptor: how long to wait for one. */
#define SHORTAGE_PAUSE_MS 50
/* Of what may be taken: the fewest connections, whatever the limits. */
#define CONNECTIONS_MIN 16
/* Connections that have ended and whose descriptors gRPC keeps: half as many as may stand, and at least this.
 */
#define OVER_MIN 64
/* Ended at once to make room, at most. */
#define ENDED_MAX 64

static bool wake(const ShAcceptor *acceptor);
static void *run(void *arg);
static void accept_some(ShAcceptor *acceptor, int listener);
static bool take(ShAcceptor *acceptor, int fd, const struct sockaddr_storage *peer);
static bool may_have_descriptor(ShAcceptor *acceptor, const ShHost *host);
static bool has_descriptor(const ShAcceptor *acceptor, const ShHost *host);
static bool is_own(const ShAcceptor *acceptor, int fd, const struct sockaddr_storage *peer);
static void prepare(int fd);
static void survive_shortage(ShAcceptor *acceptor, int listener);
static bool make_room(ShAcceptor *acceptor, const ShConnection *newcomer);

ShStatus sh_acceptor_bind(const ShConfig *config, ShAcceptor **out, const char **bound, ShError *err)
{
    ShAcceptor *acceptor = calloc(1, sizeof *acceptor);
    if (acceptor == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to listen");
    acceptor->config = config;
    acceptor->wake = acceptor->spare = -1;
    acceptor->crowded_at = INT64_MAX;
    pthread_mutex_init(&acceptor->lock, NULL);
    acceptor->by_fd_count = (size_t)sh_open_files_max();
    acceptor->hosts = sh_hosts_new();
    acceptor->by_fd = calloc(acceptor->by_fd_count, sizeof(ShConnection *));
    acceptor->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    acceptor->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int64_t by_memory = config->memory_budget_bytes / 4 / SH_RPC_CONNECTION_BYTES;
    int64_t by_files = sh_open_files_of_rpc() * 2 / 3; /* the rest is for those that have ended */
    acceptor->connections_max = by_memory < by_files ? by_memory : by_files;
    if (acceptor->connections_max < CONNECTIONS_MIN)
        acceptor->connections_max = CONNECTIONS_MIN;

    char address[SH_ADDRESS_TEXT_BYTES];
    ShStatus status = SH_OK;
    if (acceptor->hosts == NULL || acceptor->by_fd == NULL || acceptor->wake < 0)
        status = sh_fail(err, SH_NO_MEMORY, "no memory or no descriptor to listen");
    if (status == SH_OK)
        status = sh_listen_all("listen_address", config->listen_address, acceptor->listeners,
                               SH_LISTENERS_MAX, &acceptor->listener_count, address, err);
    if (status != SH_OK) {
        sh_acceptor_free(acceptor);
        return status;
    }
    for (size_t i = 0; i < acceptor->listener_count; i++)
        (void)fcntl(acceptor->listeners[i], F_SETFL, O_NONBLOCK);
    /* The host as it was given, which others can look up. */
    const char *colon = strrchr(config->listen_address, ':');
    snprintf(acceptor->bound, sizeof acceptor->bound, "%.*s%s", (int)(colon - config->listen_address),
             config->listen_address, strrchr(address, ':'));
    *out = acceptor;
    *bound = acceptor->bound;
    return SH_OK;
}

ShStatus sh_acceptor_start(ShAcceptor *acceptor, grpc_server *server, ShEngine *engine, ShError *err)
{
    acceptor->engine = engine;
    acceptor->connections = sh_metric_gauge("streamhouse_rpc_connections", NULL,
                                            "gRPC connections that are open.");
    acceptor->refused = sh_metric_counter(
        "streamhouse_rpc_connections_refused_total", NULL,
        "gRPC connections that were refused because there were too many, or their "
        "address has to wait.");
    acceptor->ended = sh_metric_counter("streamhouse_rpc_connections_ended_total", NULL,
                                        "gRPC connections that were ended: silent ones, and those that held "
                                        "too much, began or gave up too many calls, sent frames that are "
                                        "kept from gRPC, or had to make room.");
    ShStatus status = sh_adopters_start(&acceptor->adopters, server, err);
    if (status == SH_OK)
        status = sh_thread_start(&acceptor->thread, "rpc-accept", run, acceptor, err);
    acceptor->started = status == SH_OK;
    return status;
}

void sh_acceptor_stop(ShAcceptor *acceptor)
{
    if (acceptor == NULL)
        return;
    atomic_store(&acceptor->stopping, true);
    if (acceptor->started && wake(acceptor))
        pthread_join(acceptor->thread, NULL);
    acceptor->started = false;
    sh_adopters_stop(acceptor->adopters);
    acceptor->adopters = NULL;
    for (size_t i = 0; i < acceptor->listener_count; i++)
        close(acceptor->listeners[i]);
    acceptor->listener_count = 0;
}

void sh_acceptor_free(ShAcceptor *acceptor)
{
    if (acceptor == NULL)
        return;
    sh_acceptor_stop(acceptor);
    if (acceptor->engine != NULL)
        sh_engine_hold_memory(acceptor->engine, -acceptor->counted_bytes);
    for (size_t fd = 0; acceptor->by_fd != NULL && fd < acceptor->by_fd_count; fd++)
        sh_connection_unref(acceptor->by_fd[fd]);
    for (size_t i = 0; i < acceptor->refused_count; i++)
        sh_connection_unref(acceptor->refused_calls[i]);
    sh_offenders_forget(&acceptor->offenders, INT64_MAX);
    sh_hosts_free(acceptor->hosts);
    free(acceptor->by_fd);
    if (acceptor->wake >= 0)
        close(acceptor->wake);
    if (acceptor->spare >= 0)
        close(acceptor->spare);
    pthread_mutex_destroy(&acceptor->lock);
    free(acceptor);
}

/* gRPC calls a connection that it was given "fd:" and its number. */
ShConnection *sh_acceptor_connection_of(ShAcceptor *acceptor, grpc_call *call)
{
    char *peer = grpc_call_get_peer(call);
    ShConnection *found = NULL;
    size_t fd = acceptor->by_fd_count;
    if (peer != NULL && strncmp(peer, "fd:", 3) == 0)
        fd = strtoul(peer + 3, NULL, 10);
    gpr_free(peer);
    pthread_mutex_lock(&acceptor->lock);
    if (fd < acceptor->by_fd_count && acceptor->by_fd[fd] != NULL)
        found = sh_connection_ref(acceptor->by_fd[fd]);
    pthread_mutex_unlock(&acceptor->lock);
    return found;
}

void sh_acceptor_call_refused(ShAcceptor *acceptor, ShConnection *connection, int64_t of_host)
{
    bool is_own_doing = 2 * of_host >= atomic_load(&acceptor->calls_of_richest);
    uint64_t offence = is_own_doing ? SH_OFFENCE : SH_OFFENCE / 4;
    uint64_t before = atomic_fetch_add(&connection->host->offences, offence);
    atomic_fetch_add(&connection->offences, offence);
    if (before / SH_OFFENCES_MAX != (before + offence) / SH_OFFENCES_MAX)
        wake(acceptor);
    if (is_own_doing)
        return;
    pthread_mutex_lock(&acceptor->lock);
    bool is_known = acceptor->refused_count == SH_REFUSED_MAX;
    for (size_t i = 0; i < acceptor->refused_count && !is_known; i++)
        is_known = sh_crowd_same_host(acceptor->refused_calls[i], connection);
    if (!is_known)
        acceptor->refused_calls[acceptor->refused_count++] = sh_connection_ref(connection);
    pthread_mutex_unlock(&acceptor->lock);
}

int64_t sh_acceptor_connections_max(const ShAcceptor *acceptor)
{
    return acceptor->connections_max;
}

void sh_acceptor_expect_own(ShAcceptor *acceptor, int port)
{
    atomic_store(&acceptor->own_port, port);
}

void sh_acceptor_address(const ShAcceptor *acceptor, struct sockaddr_storage *address, socklen_t *length)
{
    *address = (struct sockaddr_storage){0};
    *length = sizeof *address;
    (void)getsockname(acceptor->listeners[0], (struct sockaddr *)address, length);
}

static bool wake(const ShAcceptor *acceptor)
{
    uint64_t one = 1;
    return write(acceptor->wake, &one, sizeof one) == sizeof one;
}

static void *run(void *arg)
{
    ShAcceptor *acceptor = arg;
    struct pollfd watched[SH_LISTENERS_MAX + 1];
    size_t count = acceptor->listener_count;
    for (size_t i = 0; i < count; i++)
        watched[i] = (struct pollfd){.fd = acceptor->listeners[i], .events = POLLIN};
    watched[count] = (struct pollfd){.fd = acceptor->wake, .events = POLLIN};
    int64_t swept_ms = sh_clock_now_ms();
    while (!atomic_load(&acceptor->stopping)) {
        int64_t interval_ms = acceptor->count / SWEEP_CONNECTIONS_A_MS;
        if (interval_ms < SWEEP_INTERVAL_MS)
            interval_ms = SWEEP_INTERVAL_MS;
        if (poll(watched, count + 1, (int)(acceptor->count > 0 ? interval_ms : IDLE_INTERVAL_MS)) > 0) {
            for (size_t i = 0; i < count; i++) {
                if (watched[i].revents != 0)
                    accept_some(acceptor, watched[i].fd);
            }
        }
        int64_t now_ms = sh_clock_now_ms();
        uint64_t wakes;
        bool hurries = watched[count].revents != 0 &&
                       read(acceptor->wake, &wakes, sizeof wakes) == sizeof wakes;
        if (hurries || now_ms - swept_ms >= interval_ms) {
            sh_sweep(acceptor);
            acceptor->crowded_at = INT64_MAX;
            acceptor->is_short = false;
            swept_ms = now_ms;
        }
    }
    return NULL;
}

static void accept_some(ShAcceptor *acceptor, int listener)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (sh_fault_hit("rpc.accept") || !take(acceptor, fd, &peer))
                close(fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            survive_shortage(acceptor, listener);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* False: the connection is not wanted. */
static bool take(ShAcceptor *acceptor, int fd, const struct sockaddr_storage *peer)
{
    if ((size_t)fd >= acceptor->by_fd_count)
        return false;
    if (acceptor->by_fd[fd] != NULL)
        sh_sweep_forget(acceptor, acceptor->by_fd[fd]); /* it has ended, and its number is used again */
    ShConnection *connection = sh_connection_new(fd, peer, acceptor->hosts);
    if (connection == NULL)
        return false;
    connection->is_own = is_own(acceptor, fd, peer);
    if (!connection->is_own && sh_sweep_is_barred(acceptor, connection->host, connection->accepted_ms)) {
        sh_metric_add(acceptor->refused, 1);
        sh_connection_unref(connection);
        return false;
    }
    bool is_full = acceptor->count >= acceptor->connections_max;
    if (!connection->is_own &&
        (!may_have_descriptor(acceptor, connection->host) || (is_full && !make_room(acceptor, connection)))) {
        sh_metric_add(acceptor->refused, 1);
        sh_log_warn("rpc_connection_refused", "connections=%lld ended=%lld", (long long)acceptor->count,
                    (long long)acceptor->over_count);
        sh_connection_unref(connection);
        return false;
    }
    prepare(fd);
    (void)sh_receive_watch(fd, connection->inode); /* else its memory is not known, and gRPC's quota holds */
    pthread_mutex_lock(&acceptor->lock);
    acceptor->by_fd[fd] = connection;
    pthread_mutex_unlock(&acceptor->lock);
    acceptor->count++;
    connection->host->connections++;
    if (fd >= acceptor->fd_end)
        acceptor->fd_end = fd + 1;
    sh_metric_set(acceptor->connections, acceptor->count);
    sh_adopters_take(acceptor->adopters, connection);
    return true;
}

/* Those that have ended keep theirs for a moment, and as long as a call of them goes on. Where there are many
 * of these, hosts that have few of them come in. */
static bool may_have_descriptor(ShAcceptor *acceptor, const ShHost *host)
{
    bool may_have = has_descriptor(acceptor, host);
    if (may_have || acceptor->is_short)
        return may_have;
    sh_sweep(acceptor); /* some may be gone */
    acceptor->is_short = !has_descriptor(acceptor, host);
    return !acceptor->is_short;
}

static bool has_descriptor(const ShAcceptor *acceptor, const ShHost *host)
{
    int64_t over_max = acceptor->connections_max / 2;
    if (over_max < OVER_MIN)
        over_max = OVER_MIN;
    if (acceptor->count + acceptor->over_count >= acceptor->connections_max + over_max)
        return false;
    return acceptor->over_count < over_max / 2 || sh_connection_has_little(host->over, 1, over_max);
}

/* Is it from the port of the agent's own look, and from the address that it came to? */
static bool is_own(const ShAcceptor *acceptor, int fd, const struct sockaddr_storage *peer)
{
    struct sockaddr_storage to = {0};
    socklen_t length = sizeof to;
    int port = atomic_load(&acceptor->own_port);
    if (port == 0 || getsockname(fd, (struct sockaddr *)&to, &length) != 0 || peer->ss_family != to.ss_family)
        return false;
    if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *from = (const struct sockaddr_in6 *)(const void *)peer;
        const struct sockaddr_in6 *here = (const struct sockaddr_in6 *)(const void *)&to;
        return ntohs(from->sin6_port) == port && IN6_ARE_ADDR_EQUAL(&from->sin6_addr, &here->sin6_addr);
    }
    const struct sockaddr_in *from = (const struct sockaddr_in *)(const void *)peer;
    const struct sockaddr_in *here = (const struct sockaddr_in *)(const void *)&to;
    return ntohs(from->sin_port) == port && from->sin_addr.s_addr == here->sin_addr.s_addr;
}

static void prepare(int fd)
{
    int on = 1;
    unsigned timeout_ms = SEND_TIMEOUT_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

/* No descriptor is left: have a connection make room, and drop the one that waits, so that it does not wait
 * in vain and the listener does not wake this thread again and again for it. */
static void survive_shortage(ShAcceptor *acceptor, int listener)
{
    int error = errno;
    sh_log_warn("rpc_accept_short", "error=\"%s\" connections=%lld", strerror(error),
                (long long)acceptor->count);
    if (acceptor->spare >= 0)
        close(acceptor->spare);
    (void)make_room(acceptor, NULL);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        sh_metric_add(acceptor->refused, 1);
    }
    acceptor->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)poll(NULL, 0, SHORTAGE_PAUSE_MS);
    errno = error;
}

/* End some connections for those that come; `newcomer` may be NULL. */
static bool make_room(ShAcceptor *acceptor, const ShConnection *newcomer)
{
    int64_t newcomer_has = newcomer != NULL ? newcomer->host->connections : INT64_MAX - 1;
    if (newcomer_has >= acceptor->crowded_at)
        return false; /* no room was found for one that has less */
    sh_sweep(acceptor);
    if (acceptor->count < acceptor->connections_max && newcomer != NULL)
        return true;
    /* Several at a time, for each look at all of them costs. */
    size_t wanted = (size_t)acceptor->connections_max / 64 + 1;
    ShConnection *chosen[ENDED_MAX];
    ShCrowd crowd = sh_sweep_crowd(acceptor);
    size_t count = 0;
    if (wanted > ENDED_MAX)
        wanted = ENDED_MAX;
    if (newcomer != NULL)
        count = sh_crowd_richest(&crowd, sh_crowd_one, newcomer, chosen, wanted);
    if (count == 0)
        count = sh_crowd_idle(&crowd, newcomer, chosen, wanted);
    int ended = 0;
    for (size_t i = 0; i < count; i++)
        ended += sh_sweep_end(acceptor, chosen[i], "makes room");
    if (ended == 0)
        acceptor->crowded_at = newcomer_has;
    return ended > 0;
}
