#include "agent/rpc/sweep.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/process_metrics.h"
#include "agent/rpc/server.h"
#include "agent/rpc/unread.h"

#define FIRST_WORD_MS 10000
/* Calls that all clients together may give up in a second while memory is wanted, and while the process has
 * more than its budget. */
#define TORN_MAX       1000
#define TORN_MAX_SHORT 100
#define ENDED_AT_ONCE  64
/* Of a host that is barred, those connections go whose calls were refused within so long. */
#define OFFENDED_MS 1000
/* ... and those that have as much open, or as much on the way. */
#define SUSPECT_CALLS        32
#define SUSPECT_UNREAD_BYTES (16 << 10)
#define TOO_FAST             "begins calls much faster than they may be taken"

static void look_at(ShAcceptor *acceptor, ShConnection *connection, int64_t now_ms);
static void set_over(ShAcceptor *acceptor, ShConnection *connection);
static void count_torn(ShAcceptor *acceptor, ShConnection *connection, int64_t now_ms);
static void end_hoarders(ShAcceptor *acceptor);
static void end_tearers(ShAcceptor *acceptor, int64_t now_ms);
static int64_t torn_by(const ShAcceptor *acceptor, const ShHost *host);
static void make_room_for_calls(ShAcceptor *acceptor);
static void bar_offenders(ShAcceptor *acceptor, int64_t now_ms);
static void bar(ShAcceptor *acceptor, ShHost *host, int64_t now_ms, const char *reason);
static void settle_fault(ShAcceptor *acceptor, ShConnection *connection, const char *fault);
static void tell_ended(ShAcceptor *acceptor, ShConnection *connection, const char *reason);
static void blame(ShAcceptor *acceptor, ShHost *host, const char *fault);
static bool bar_newcomers(ShAcceptor *acceptor, ShHost *host, int64_t now_ms, const char *reason);
static bool is_part_of_it(const ShConnection *connection, int64_t now_ms, bool goes_on);

void sh_sweep(ShAcceptor *acceptor)
{
    int64_t now_ms = sh_clock_now_ms();
    int64_t most = 0;
    int fd_end = 0;
    for (int fd = 0; fd < acceptor->fd_end; fd++) {
        if (acceptor->by_fd[fd] != NULL)
            look_at(acceptor, acceptor->by_fd[fd], now_ms);
        if (acceptor->by_fd[fd] == NULL)
            continue;
        int64_t calls = atomic_load(&acceptor->by_fd[fd]->host->calls);
        most = calls > most ? calls : most;
        fd_end = fd + 1;
    }
    acceptor->fd_end = fd_end;
    atomic_store(&acceptor->calls_of_richest, most);
    end_hoarders(acceptor);
    end_tearers(acceptor, now_ms);
    make_room_for_calls(acceptor);
    bar_offenders(acceptor, now_ms);
    if (acceptor->waiting_bytes != acceptor->counted_bytes)
        sh_engine_hold_memory(acceptor->engine, acceptor->waiting_bytes - acceptor->counted_bytes);
    acceptor->counted_bytes = acceptor->waiting_bytes;
    sh_metric_set(acceptor->connections, acceptor->count);
}

static void look_at(ShAcceptor *acceptor, ShConnection *connection, int64_t now_ms)
{
    ShTraffic traffic;
    ShReceived received = sh_receive_look(connection->fd, connection->inode);
    settle_fault(acceptor, connection, received.fault);
    if (!sh_connection_is_open(connection)) {
        sh_sweep_forget(acceptor, connection);
        return;
    }
    if (atomic_load(&connection->is_over) || !sh_connection_traffic(connection, &traffic))
        return;
    if (traffic.is_over) {
        set_over(acceptor, connection);
        return;
    }
    if (traffic.received_bytes < SH_FIRST_WORD_BYTES && now_ms - connection->accepted_ms > FIRST_WORD_MS) {
        sh_sweep_end(acceptor, connection, "said nothing");
        return;
    }
    int64_t waiting = sh_unread_look(connection, &received, acceptor->config->message_bytes_max);
    acceptor->waiting_bytes += waiting - connection->waiting_bytes;
    connection->waiting_bytes = waiting;
    count_torn(acceptor, connection, now_ms);
    uint64_t offences = atomic_load(&connection->offences);
    if (offences != connection->offences_before)
        connection->offended_ms = now_ms;
    connection->offences_before = offences;
    connection->looked_ms = now_ms;
}

/* The count of the last second or so: what was there before loses its share of each second that passes. */
static void count_torn(ShAcceptor *acceptor, ShConnection *connection, int64_t now_ms)
{
    uint64_t torn = atomic_load(&connection->torn);
    int64_t passed_ms = now_ms - connection->looked_ms;
    int64_t kept = passed_ms < 1000 ? connection->torn_lately * (1000 - passed_ms) / 1000 : 0;
    int64_t lately = kept + (int64_t)(torn - connection->torn_before);
    connection->torn_before = torn;
    acceptor->torn_lately += lately - connection->torn_lately;
    connection->torn_lately = lately;
}

/* Where the process has so much at all: what waits is reckoned, and may be too much. */
static void end_hoarders(ShAcceptor *acceptor)
{
    int64_t bytes_max = acceptor->config->memory_budget_bytes / 4;
    if (acceptor->waiting_bytes <= bytes_max || sh_process_resident_bytes() < bytes_max)
        return;
    ShCrowd crowd = sh_sweep_crowd(acceptor);
    while (acceptor->waiting_bytes > bytes_max) {
        ShConnection *most = sh_crowd_most(&crowd, sh_crowd_waiting);
        if (most == NULL || !sh_sweep_end(acceptor, most, "sends more than there is memory for"))
            return;
    }
}

/* Calls that are begun and torn cost their client some bytes and gRPC, until the agent has taken them, some
 * kilobytes that nothing tells of but the size of the process. */
static void end_tearers(ShAcceptor *acceptor, int64_t now_ms)
{
    const char *reason = "gives its calls up faster than they can be taken";
    int64_t budget = acceptor->config->memory_budget_bytes;
    if (acceptor->torn_lately <= TORN_MAX_SHORT)
        return;
    int64_t resident = sh_process_resident_bytes();
    int64_t most = resident > budget ? TORN_MAX_SHORT : TORN_MAX;
    if (resident < budget / 4)
        return;
    ShCrowd crowd = sh_sweep_crowd(acceptor);
    ShConnection *tearers[ENDED_AT_ONCE];
    size_t count;
    while (acceptor->torn_lately > most &&
           (count = sh_crowd_richest(&crowd, sh_crowd_torn, NULL, tearers, ENDED_AT_ONCE)) > 0) {
        if (torn_by(acceptor, tearers[0]->host) > TORN_MAX)
            bar(acceptor, tearers[0]->host, now_ms, reason);
        for (size_t i = 0; i < count && acceptor->torn_lately > most; i++)
            if (!atomic_load(&tearers[i]->is_over) && !sh_sweep_end(acceptor, tearers[i], reason))
                return;
    }
}

static int64_t torn_by(const ShAcceptor *acceptor, const ShHost *host)
{
    int64_t torn = 0;
    for (int fd = 0; fd < acceptor->fd_end; fd++) {
        const ShConnection *connection = acceptor->by_fd[fd];
        if (connection != NULL && connection->host == host)
            torn += connection->torn_lately;
    }
    return torn;
}

/* Where calls were refused because others hold all that may be open: a host that has far more than one of
 * those that were refused loses a connection. */
static void make_room_for_calls(ShAcceptor *acceptor)
{
    ShConnection *refused[SH_REFUSED_MAX];
    pthread_mutex_lock(&acceptor->lock);
    size_t count = acceptor->refused_count;
    memcpy(refused, acceptor->refused_calls, sizeof refused);
    acceptor->refused_count = 0;
    pthread_mutex_unlock(&acceptor->lock);
    if (count == 0)
        return;
    ShCrowd crowd = sh_sweep_crowd(acceptor);
    ShConnection *richest; /* room is made for one that has gone, too: it may come again */
    const ShConnection *poorest = sh_crowd_poorest(&crowd, sh_crowd_calls, refused, count);
    if (sh_crowd_richest(&crowd, sh_crowd_calls, poorest, &richest, 1) == 1)
        sh_sweep_end(acceptor, richest, "makes room for calls of other hosts");
    for (size_t i = 0; i < count; i++)
        sh_connection_unref(refused[i]);
}

/* Its calls may keep a host in mind when none of its connections stands any more. */
bool sh_sweep_is_barred(ShAcceptor *acceptor, ShHost *host, int64_t now_ms)
{
    if (sh_offenders_look(host, now_ms))
        bar(acceptor, host, now_ms, TOO_FAST);
    return sh_offenders_is_barred(&acceptor->offenders, host, now_ms);
}

static void bar_offenders(ShAcceptor *acceptor, int64_t now_ms)
{
    sh_offenders_forget(&acceptor->offenders, now_ms);
    for (int fd = 0; fd < acceptor->fd_end; fd++) {
        ShConnection *connection = acceptor->by_fd[fd];
        if (connection == NULL || atomic_load(&connection->is_over))
            continue;
        if (sh_offenders_look(connection->host, now_ms))
            bar(acceptor, connection->host, now_ms, TOO_FAST);
        else if (connection->offended_ms == now_ms && /* its calls were on their way */
                 sh_offenders_is_barred(&acceptor->offenders, connection->host, now_ms))
            sh_sweep_end(acceptor, connection, TOO_FAST);
    }
}

static void bar(ShAcceptor *acceptor, ShHost *host, int64_t now_ms, const char *reason)
{
    bool goes_on = sh_offenders_is_barred(&acceptor->offenders, host, now_ms);
    if (!bar_newcomers(acceptor, host, now_ms, reason))
        return;
    for (int fd = 0; fd < acceptor->fd_end; fd++) {
        ShConnection *connection = acceptor->by_fd[fd];
        if (connection != NULL && !connection->is_own && !atomic_load(&connection->is_over) &&
            connection->host == host && is_part_of_it(connection, now_ms, goes_on))
            sh_sweep_end(acceptor, connection, reason);
    }
}

/* What has sent what it should not: gRPC has closed it, or does so soon. `fault` may be NULL. */
static void settle_fault(ShAcceptor *acceptor, ShConnection *connection, const char *fault)
{
    if (fault == NULL || atomic_load(&connection->is_over))
        return;
    (void)sh_connection_end(connection);
    tell_ended(acceptor, connection, fault);
    blame(acceptor, connection->host, fault);
}

/* Whose connections do so again has to wait, and so have those that gRPC has not got yet; the others that it
 * has stay. */
static void blame(ShAcceptor *acceptor, ShHost *host, const char *fault)
{
    int64_t now_ms = sh_clock_now_ms();
    if (!sh_offenders_knew(&acceptor->offenders, host, now_ms) ||
        !bar_newcomers(acceptor, host, now_ms, fault))
        return;
    for (int fd = 0; fd < acceptor->fd_end; fd++) {
        ShConnection *connection = acceptor->by_fd[fd];
        if (connection != NULL && connection->host == host && !connection->is_own &&
            !atomic_load(&connection->is_over) && !atomic_load(&connection->is_adopted))
            sh_sweep_end(acceptor, connection, fault);
    }
}

/* False: it was in this sweep. */
static bool bar_newcomers(ShAcceptor *acceptor, ShHost *host, int64_t now_ms, const char *reason)
{
    if (host->barred_at_ms == now_ms)
        return false;
    host->barred_at_ms = now_ms;
    int64_t barred_ms = sh_offenders_bar(&acceptor->offenders, host, now_ms);
    sh_log_warn("rpc_host_barred", "reason=\"%s\" connections=%ld seconds=%lld", reason, host->connections,
                (long long)(barred_ms / 1000));
    return true;
}

/* Its calls were refused of late, or more is to come. Where the flood goes on, it may go on over one that has
 * no call. */
static bool is_part_of_it(const ShConnection *connection, int64_t now_ms, bool goes_on)
{
    long calls = atomic_load(&connection->calls);
    return now_ms - connection->offended_ms < OFFENDED_MS || connection->torn_lately > TORN_MAX_SHORT ||
           calls > SUSPECT_CALLS || sh_connection_unread_bytes(connection) > SUSPECT_UNREAD_BYTES ||
           (goes_on && calls == 0);
}

bool sh_sweep_end(ShAcceptor *acceptor, ShConnection *connection, const char *reason)
{
    bool ended = sh_connection_end(connection);
    if (ended)
        tell_ended(acceptor, connection, reason);
    return ended;
}

static void tell_ended(ShAcceptor *acceptor, ShConnection *connection, const char *reason)
{
    sh_metric_add(acceptor->ended, 1);
    sh_log_warn("rpc_connection_ended", "reason=\"%s\" calls=%ld waiting_bytes=%lld connections=%lld", reason,
                atomic_load(&connection->calls), (long long)connection->waiting_bytes,
                (long long)acceptor->count);
    set_over(acceptor, connection);
}

/* It has no part in anything any more, but for its descriptor. */
static void set_over(ShAcceptor *acceptor, ShConnection *connection)
{
    if (atomic_exchange(&connection->is_over, true))
        return;
    /* What it has torn is its host's, which may come again. */
    int64_t torn = connection->torn_lately +
                   (int64_t)(atomic_load(&connection->torn) - connection->torn_before);
    atomic_fetch_add(&connection->host->offences, (uint64_t)torn * SH_OFFENCE);
    acceptor->waiting_bytes -= connection->waiting_bytes;
    acceptor->torn_lately -= connection->torn_lately;
    connection->waiting_bytes = connection->torn_lately = 0;
    acceptor->count--;
    connection->host->connections--;
    bool is_waiting = !atomic_load(&connection->is_adopted) &&
                      (acceptor->adopters == NULL || !sh_adopters_withdraw(acceptor->adopters, connection));
    connection->is_held = atomic_load(&connection->calls) > 0 || is_waiting;
    acceptor->over_count += connection->is_held;
    connection->host->over += connection->is_held;
}

void sh_sweep_forget(ShAcceptor *acceptor, ShConnection *connection)
{
    settle_fault(acceptor, connection, sh_receive_look(connection->fd, connection->inode).fault);
    set_over(acceptor, connection);
    pthread_mutex_lock(&acceptor->lock);
    acceptor->by_fd[connection->fd] = NULL;
    pthread_mutex_unlock(&acceptor->lock);
    acceptor->over_count -= connection->is_held;
    connection->host->over -= connection->is_held;
    sh_connection_unref(connection);
}

ShCrowd sh_sweep_crowd(const ShAcceptor *acceptor)
{
    return (ShCrowd){acceptor->by_fd, acceptor->fd_end};
}
