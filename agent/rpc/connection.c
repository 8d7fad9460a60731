#include "agent/rpc/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"

static bool is_same(int fd, ino_t inode);
static void copy_address(const struct sockaddr_storage *peer, uint8_t address[16]);

ShConnection *sh_connection_new(int fd, const struct sockaddr_storage *peer)
{
    struct stat about;
    ShConnection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || fstat(fd, &about) != 0) {
        free(connection);
        return NULL;
    }
    connection->fd = fd;
    connection->inode = about.st_ino;
    connection->accepted_ms = sh_clock_now_ms();
    copy_address(peer, connection->address);
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
    if (connection != NULL && atomic_fetch_sub_explicit(&connection->refs, 1, memory_order_acq_rel) == 1)
        free(connection);
}

bool sh_connection_is_open(const ShConnection *connection)
{
    return is_same(connection->fd, connection->inode);
}

bool sh_connection_received(const ShConnection *connection, int64_t *bytes, int64_t *idle_ms)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
        length < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    *bytes = (int64_t)info.tcpi_bytes_received;
    *idle_ms = info.tcpi_last_data_recv;
    return true;
}

/* The number may be another's by the time of the call, so what is shut is a copy that is looked at first. */
bool sh_connection_end(const ShConnection *connection)
{
    int copy = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    bool ended = is_same(copy, connection->inode) && shutdown(copy, SHUT_RDWR) == 0;
    close(copy);
    return ended;
}

static bool is_same(int fd, ino_t inode)
{
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode) && about.st_ino == inode;
}

static void copy_address(const struct sockaddr_storage *peer, uint8_t address[16])
{
    if (peer->ss_family == AF_INET6) {
        struct sockaddr_in6 place;
        memcpy(&place, peer, sizeof place);
        memcpy(address, &place.sin6_addr, sizeof place.sin6_addr);
    } else if (peer->ss_family == AF_INET) {
        struct sockaddr_in place;
        memcpy(&place, peer, sizeof place);
        address[10] = address[11] = 0xFF;
        memcpy(address + 12, &place.sin_addr, sizeof place.sin_addr);
    }
}
