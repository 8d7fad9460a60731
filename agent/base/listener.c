#include "agent/base/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

static ShStatus resolve(const char *setting, const char *address, struct addrinfo **out, ShError *err);
static ShStatus bind_and_listen(const char *setting, const struct addrinfo *place, const char *address,
                                int *out, ShError *err);
static in_port_t port_of(int fd);
static ShStatus format_bound(const char *setting, int fd, char bound_address[SH_ADDRESS_TEXT_BYTES],
                             ShError *err);

ShStatus sh_listen(const char *setting, const char *address, int *out,
                   char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err)
{
    size_t count;
    return sh_listen_all(setting, address, out, 1, &count, bound_address, err);
}

ShStatus sh_listen_all(const char *setting, const char *address, int *out, size_t room, size_t *count,
                       char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err)
{
    struct addrinfo *places;
    ShStatus status = resolve(setting, address, &places, err);
    if (status != SH_OK)
        return status;
    int first = -1;
    status = bind_and_listen(setting, places, address, &first, err);
    if (status == SH_OK)
        status = format_bound(setting, first, bound_address, err);
    if (status != SH_OK) {
        if (first >= 0)
            close(first);
        freeaddrinfo(places);
        return status;
    }
    out[0] = first;
    *count = 1;
    in_port_t port = port_of(first);
    for (struct addrinfo *place = places->ai_next; place != NULL && *count < room; place = place->ai_next) {
        /* The port stands at the same place in both families' addresses. */
        ((struct sockaddr_in *)(void *)place->ai_addr)->sin_port = port;
        if (bind_and_listen(setting, place, address, &out[*count], NULL) == SH_OK)
            (*count)++;
    }
    freeaddrinfo(places);
    return SH_OK;
}

/* In network order. */
static in_port_t port_of(int fd)
{
    struct sockaddr_storage place = {0};
    socklen_t length = sizeof place;
    (void)getsockname(fd, (struct sockaddr *)&place, &length);
    return ((struct sockaddr_in *)(void *)&place)->sin_port;
}

static ShStatus resolve(const char *setting, const char *address, struct addrinfo **out, ShError *err)
{
    ShAddress parsed;
    ShStatus status = sh_address_parse(address, &parsed, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, status, "%s", setting);
    char port[8];
    snprintf(port, sizeof port, "%u", parsed.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int error = getaddrinfo(parsed.host, port, &hints, out);
    if (error != 0)
        return sh_fail(err, SH_UNAVAILABLE, "%s: cannot resolve %s: %s", setting, parsed.host,
                       gai_strerror(error));
    return SH_OK;
}

static ShStatus bind_and_listen(const char *setting, const struct addrinfo *place, const char *address,
                                int *out, ShError *err)
{
    int fd = socket(place->ai_family, place->ai_socktype | SOCK_CLOEXEC, place->ai_protocol);
    if (fd < 0)
        return sh_fail(err, SH_UNAVAILABLE, "%s: cannot make a socket for %s: %s", setting, address,
                       strerror(errno));
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, place->ai_addr, place->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        return sh_fail(err, SH_UNAVAILABLE, "%s: cannot listen on %s: %s%s", setting, address,
                       strerror(error), error == EADDRINUSE ? "; another program has the port" : "");
    }
    *out = fd;
    return SH_OK;
}

static ShStatus format_bound(const char *setting, int fd, char bound_address[SH_ADDRESS_TEXT_BYTES],
                             ShError *err)
{
    struct sockaddr_storage place;
    socklen_t length = sizeof place;
    ShAddress bound = {.port = 0};
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&place, &length) != 0 ||
        getnameinfo((struct sockaddr *)&place, length, bound.host, sizeof bound.host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return sh_fail(err, SH_IO, "%s: cannot tell the bound address: %s", setting, strerror(errno));
    bound.port = (uint16_t)strtoul(port, NULL, 10);
    sh_address_format(&bound, bound_address);
    return SH_OK;
}
