#include "agent/rpc/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"

#define THROWN_AWAY_BYTES (16U << 20) /* at a time */
#define STATE_CLOSE       7           /* TCP_CLOSE of <netinet/tcp.h>, which does not go with <linux/tcp.h> */

static bool is_same(int fd, ino_t inode);

ShConnection *sh_connection_new(int fd, const struct sockaddr_storage *peer, ShHosts *hosts)
{
    struct stat about;
    ShConnection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || fstat(fd, &about) != 0 ||
        (connection->host = sh_host_of(hosts, peer)) == NULL) {
        free(connection);
        return NULL;
    }
    connection->fd = fd;
    connection->inode = about.st_ino;
    connection->accepted_ms = sh_clock_now_ms();
    atomic_init(&connection->refs, 1);
    return connection;
}

ShConnection *sh_connection_ref(ShConnection *connection)
{
    atomic_fetch_add_explicit(&connection->refs, 1, memory_order_relaxed);
    return connection;
}

void sh_connection_unref(ShConnection *connection)
{
    if (connection == NULL || atomic_fetch_sub_explicit(&connection->refs, 1, memory_order_acq_rel) > 1)
        return;
    sh_host_release(connection->host);
    free(connection);
}

bool sh_connection_is_open(const ShConnection *connection)
{
    return is_same(connection->fd, connection->inode);
}

bool sh_connection_traffic(const ShConnection *connection, ShTraffic *traffic)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
        length < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    traffic->received_bytes = (int64_t)info.tcpi_bytes_received;
    traffic->idle_ms = info.tcpi_last_data_recv;
    traffic->is_over = info.tcpi_state == STATE_CLOSE;
    return true;
}

int64_t sh_connection_unread_bytes(const ShConnection *connection)
{
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

/* The number may be another's by the time of the call, so what is shut is a copy that is looked at first. */
bool sh_connection_end(const ShConnection *connection)
{
    int copy = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    bool ended = is_same(copy, connection->inode) && (shutdown(copy, SHUT_RDWR) == 0 || errno == ENOTCONN);
    while (ended && recv(copy, NULL, THROWN_AWAY_BYTES, MSG_DONTWAIT | MSG_TRUNC) > 0)
        continue;
    close(copy);
    return ended;
}

static bool is_same(int fd, ino_t inode)
{
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode) && about.st_ino == inode;
}
