#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "agent/base/clock.h"
#include "agent/pg/pg_internal.h"

static ShStatus start_listening(ShPg *pg, ShError *err);
static bool take_notifications(ShPg *pg);
static ShStatus wait_for_input(ShPg *pg, int64_t left_ms, bool *woken, ShError *err);

ShStatus sh_pg_wait_news(ShPg *pg, int64_t timeout_ms, bool *news, ShError *err)
{
    int64_t deadline_ms = sh_clock_now_ms() + timeout_ms;
    *news = false;
    ShStatus status = sh_pg_connect(pg, err);
    if (status != SH_OK)
        return status;
    if (!pg->listening) {
        /* Nobody knows what was missed before. */
        *news = true;
        return start_listening(pg, err);
    }

    bool woken = false;
    while (!woken && !(*news = take_notifications(pg))) {
        int64_t left_ms = deadline_ms - sh_clock_now_ms();
        if (left_ms <= 0)
            return SH_OK;
        status = wait_for_input(pg, left_ms, &woken, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static ShStatus start_listening(ShPg *pg, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_query(pg, "LISTEN streamhouse", 0, NULL, &result, err);
    if (status != SH_OK)
        return status;
    PQclear(result);
    pg->listening = true;
    return SH_OK;
}

static bool take_notifications(ShPg *pg)
{
    bool any = false;
    PGnotify *notification;
    while ((notification = PQnotifies(pg->conn)) != NULL) {
        PQfreemem(notification);
        any = true;
    }
    return any;
}

static ShStatus wait_for_input(ShPg *pg, int64_t left_ms, bool *woken, ShError *err)
{
    struct pollfd fds[] = {{.fd = PQsocket(pg->conn), .events = POLLIN},
                           {.fd = pg->wake_fd, .events = POLLIN},
                           {.fd = pg->cancel_fd, .events = POLLIN}};
    int count = poll(fds, 3, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
    if (count < 0 && errno != EINTR)
        return sh_fail(err, SH_IO, "cannot poll PostgreSQL's socket: %s", strerror(errno));
    if (count <= 0)
        return SH_OK;

    eventfd_t times;
    if (fds[2].revents != 0 && eventfd_read(pg->cancel_fd, &times) == 0)
        return sh_fail(err, SH_UNAVAILABLE, "the wait for news was broken off");
    if (fds[1].revents != 0 && eventfd_read(pg->wake_fd, &times) == 0)
        *woken = true;
    if (fds[0].revents != 0 && !PQconsumeInput(pg->conn)) {
        ShStatus status = sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
        sh_pg_disconnect(pg);
        return status;
    }
    return SH_OK;
}
