#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/pg/pg_internal.h"

#define SERVER_VERSION_MIN 150000

static ShStatus check_conninfo(const char *conninfo, ShError *err);
static void signal_fd(int fd);
static bool is_usable(ShPg *pg);
static ShStatus poll_connection(ShPg *pg, int64_t deadline_ms, ShError *err);
static ShStatus check_version(const ShPg *pg, ShError *err);
static ShStatus check_history(ShPg *pg, int64_t deadline_ms, ShError *err);
static void on_notice(void *arg, const PGresult *notice);
static ShStatus fail_late(const ShPg *pg, const char *what, ShError *err);

ShStatus sh_pg_new(const char *conninfo, const char *application_name, int64_t timeout_ms, ShPg **out,
                   ShError *err)
{
    ShStatus status = check_conninfo(conninfo, err);
    if (status != SH_OK)
        return status;

    ShPg *pg = calloc(1, sizeof *pg);
    if (pg == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for a PostgreSQL connection");
    pg->timeout_ms = timeout_ms;
    pg->conninfo = strdup(conninfo);
    pg->application_name = strdup(application_name);
    pg->cancel_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pg->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pg->cancel_fd < 0 || pg->wake_fd < 0)
        status = sh_fail(err, SH_EXHAUSTED, "cannot make an eventfd: %s", strerror(errno));
    else if (pg->conninfo == NULL || pg->application_name == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for a PostgreSQL connection");
    if (status != SH_OK) {
        sh_pg_free(pg);
        return status;
    }
    *out = pg;
    return SH_OK;
}

void sh_pg_free(ShPg *pg)
{
    if (pg == NULL)
        return;
    sh_pg_disconnect(pg);
    if (pg->cancel_fd >= 0)
        close(pg->cancel_fd);
    if (pg->wake_fd >= 0)
        close(pg->wake_fd);
    free(pg->conninfo);
    free(pg->application_name);
    free(pg);
}

bool sh_pg_is_connected(const ShPg *pg)
{
    return pg->conn != NULL;
}

void sh_pg_cancel(ShPg *pg)
{
    signal_fd(pg->cancel_fd);
}

void sh_pg_wake(ShPg *pg)
{
    signal_fd(pg->wake_fd);
}

ShStatus sh_pg_connect(ShPg *pg, ShError *err)
{
    if (pg->conn != NULL && is_usable(pg))
        return SH_OK;
    sh_pg_disconnect(pg);
    if (sh_fault_hit("pg.connect"))
        return sh_fail(err, SH_UNAVAILABLE, "cannot connect to PostgreSQL: fault pg.connect");

    /* Later keywords win over what the connection string, expanded from dbname, says. */
    const char *const keywords[] = {"dbname", "application_name", "client_encoding", NULL};
    const char *const values[] = {pg->conninfo, pg->application_name, "UTF8", NULL};
    int64_t deadline_ms = sh_clock_now_ms() + pg->timeout_ms;
    pg->conn = PQconnectStartParams(keywords, values, 1);
    if (pg->conn == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for a PostgreSQL connection");
    PQsetNoticeReceiver(pg->conn, on_notice, pg);
    PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE); /* that is, with the SQLSTATE */
    pg->locked_out = false;

    ShStatus status = poll_connection(pg, deadline_ms, err);
    if (status == SH_OK)
        status = check_version(pg, err);
    if (status == SH_OK)
        status = sh_pg_set_up_session(pg, deadline_ms, err);
    if (status == SH_OK && pg->incarnation != 0)
        status = check_history(pg, deadline_ms, err);
    if (status != SH_OK)
        sh_pg_disconnect(pg);
    return status;
}

void sh_pg_guard(ShPg *pg, int64_t incarnation, atomic_int_fast64_t *calls)
{
    pg->incarnation = incarnation;
    pg->calls = calls;
}

void sh_pg_disconnect(ShPg *pg)
{
    if (pg->conn != NULL)
        PQfinish(pg->conn);
    pg->conn = NULL;
    PQclear(pg->refused);
    pg->refused = NULL;
    pg->prepared = 0;
    pg->reported[0] = '\0';
    pg->listening = false;
    pg->doomed = false;
}

ShStatus sh_pg_wait(ShPg *pg, short events, int64_t deadline_ms, bool *ready, ShError *err)
{
    struct pollfd fds[] = {{.fd = PQsocket(pg->conn), .events = events},
                           {.fd = pg->cancel_fd, .events = POLLIN}};
    for (;;) {
        int64_t left_ms = deadline_ms - sh_clock_now_ms();
        int wait_ms = left_ms <= 0 ? 0 : left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
        int count = poll(fds, 2, wait_ms);
        if (count < 0 && errno != EINTR)
            return sh_fail(err, SH_IO, "cannot poll PostgreSQL's socket: %s", strerror(errno));
        if (count > 0 && fds[1].revents != 0) {
            eventfd_t times;
            if (eventfd_read(pg->cancel_fd, &times) == 0)
                return sh_fail(err, SH_UNAVAILABLE, "the call to PostgreSQL was broken off");
        }
        if (count > 0 && fds[0].revents != 0) {
            *ready = true;
            return SH_OK;
        }
        if (count == 0 && left_ms <= wait_ms) {
            *ready = false;
            return SH_OK;
        }
    }
}

ShStatus sh_pg_receive(ShPg *pg, int64_t deadline_ms, PGresult **out, ShError *err)
{
    PGresult *kept = NULL;
    PQclear(pg->refused);
    pg->refused = NULL;
    ShStatus status = sh_pg_flush(pg, deadline_ms, err);
    while (status == SH_OK) {
        status = sh_pg_wait_until_read(pg, deadline_ms, err);
        if (status != SH_OK)
            break;
        PGresult *result = PQgetResult(pg->conn);
        if (result == NULL)
            break;
        PQclear(kept);
        kept = result;
    }
    if (status == SH_OK && kept == NULL)
        status = sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
    bool answered = status == SH_OK;
    if (answered && PQresultStatus(kept) != PGRES_TUPLES_OK && PQresultStatus(kept) != PGRES_COMMAND_OK)
        status = sh_pg_fail_result(kept, err);

    if (!answered || PQstatus(pg->conn) != CONNECTION_OK)
        sh_pg_disconnect(pg);
    if (status != SH_OK) {
        pg->refused = kept;
        return status;
    }
    *out = kept;
    return SH_OK;
}

ShStatus sh_pg_query(ShPg *pg, const char *sql, int value_count, const char *const *values, PGresult **out,
                     ShError *err)
{
    ShStatus status = sh_pg_connect(pg, err);
    if (status != SH_OK)
        return status;
    int64_t deadline_ms = sh_clock_now_ms() + pg->timeout_ms;
    if (!PQsendQueryParams(pg->conn, sql, value_count, NULL, values, NULL, NULL, 0)) {
        status = sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
        sh_pg_disconnect(pg);
        return status;
    }
    return sh_pg_receive(pg, deadline_ms, out, err);
}

/* libpq's complaint quotes the string: it is passed on only when no password can be in it. */
static ShStatus check_conninfo(const char *conninfo, ShError *err)
{
    char *problem = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &problem);
    if (options != NULL) {
        PQconninfoFree(options);
        return SH_OK;
    }
    bool secret = strcasestr(conninfo, "password") != NULL || strchr(conninfo, '@') != NULL;
    ShStatus status = sh_fail(err, SH_INVALID, "postgres: not a connection string of libpq%s%.*s",
                              secret || problem == NULL ? "" : ": ",
                              secret || problem == NULL ? 0 : (int)strcspn(problem, "\n"),
                              problem == NULL ? "" : problem);
    PQfreemem(problem);
    return status;
}

static void signal_fd(int fd)
{
    /* Fails only when the counter is full: then the signal is given already. */
    if (eventfd_write(fd, 1) != 0)
        return;
}

/* A connection that the server closed while nobody looked is noticed here, before a call is risked on it. */
static bool is_usable(ShPg *pg)
{
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
    if (PQstatus(pg->conn) != CONNECTION_OK)
        return false;
    while (poll(&fd, 1, 0) > 0) {
        if (!PQconsumeInput(pg->conn))
            return false;
    }
    (void)PQisBusy(pg->conn); /* makes libpq look at what came, and report a farewell as a notice */
    return !pg->doomed && PQstatus(pg->conn) == CONNECTION_OK;
}

static ShStatus poll_connection(ShPg *pg, int64_t deadline_ms, ShError *err)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED || PQstatus(pg->conn) == CONNECTION_BAD)
            return sh_pg_fail_connect(pg->conn, &pg->locked_out, err);
        bool ready;
        ShStatus status = sh_pg_wait(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms,
                                     &ready, err);
        if (status != SH_OK)
            return status;
        if (!ready)
            return fail_late(pg, "PostgreSQL accepts no connection", err);
        state = PQconnectPoll(pg->conn);
    }
    PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
    return SH_OK;
}

static ShStatus check_version(const ShPg *pg, ShError *err)
{
    if (PQserverVersion(pg->conn) >= SERVER_VERSION_MIN)
        return SH_OK;
    const char *version = PQparameterStatus(pg->conn, "server_version");
    return sh_fail(err, SH_UNSUPPORTED, "PostgreSQL is version %s; StreamHouse needs version 15 or newer",
                   version != NULL ? version : "unknown");
}

/* Another server may answer than before, or the same one with an older memory. */
static ShStatus check_history(ShPg *pg, int64_t deadline_ms, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], pg->incarnation),
                                  sh_pg_number(&numbers[1], atomic_load(pg->calls))};
    if (!PQsendQueryParams(pg->conn, "SELECT streamhouse.agent_check($1, $2)", 2, NULL, values, NULL, NULL,
                           0))
        return sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
    PGresult *result;
    ShStatus status = sh_pg_receive(pg, deadline_ms, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

/* A FATAL error that answers no question is the server's farewell: the connection closes soon. */
static void on_notice(void *arg, const PGresult *notice)
{
    ShPg *pg = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    if (severity != NULL && strcmp(severity, "FATAL") == 0)
        pg->doomed = true;
    sh_log_debug("pg_notice", "message=\"%s\"", message);
}

ShStatus sh_pg_flush(ShPg *pg, int64_t deadline_ms, ShError *err)
{
    int left;
    while ((left = PQflush(pg->conn)) == 1) {
        bool ready;
        ShStatus status = sh_pg_wait(pg, POLLIN | POLLOUT, deadline_ms, &ready, err);
        if (status != SH_OK)
            return status;
        if (!ready)
            return fail_late(pg, "PostgreSQL takes no more of the question", err);
        /* The server may be waiting to get rid of its own output. */
        if (!PQconsumeInput(pg->conn))
            return sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
    }
    return left == 0 ? SH_OK : sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
}

ShStatus sh_pg_wait_until_read(ShPg *pg, int64_t deadline_ms, ShError *err)
{
    while (PQisBusy(pg->conn)) {
        bool ready;
        ShStatus status = sh_pg_wait(pg, POLLIN, deadline_ms, &ready, err);
        if (status != SH_OK)
            return status;
        if (!ready)
            return fail_late(pg, "PostgreSQL does not answer", err);
        if (!PQconsumeInput(pg->conn))
            return sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
    }
    return SH_OK;
}

static ShStatus fail_late(const ShPg *pg, const char *what, ShError *err)
{
    return sh_fail(err, SH_UNAVAILABLE, "%s within %lld ms", what, (long long)pg->timeout_ms);
}
