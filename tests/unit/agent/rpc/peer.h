/*
 * peer.h - a client below gRPC's calls, frame by frame.
 */
#ifndef TESTS_AGENT_RPC_PEER_H
#define TESTS_AGENT_RPC_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/agent/rpc/rpc_fixture.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4 };

typedef struct Peer {
    int fd;
    uint8_t bytes[64 << 10]; /* to be sent */
    size_t length;
} Peer;

static inline void put(Peer *peer, const void *bytes, size_t length)
{
    assert_true(peer->length + length <= sizeof peer->bytes);
    memcpy(peer->bytes + peer->length, bytes, length);
    peer->length += length;
}

static inline void put_frame(Peer *peer, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                             size_t length)
{
    uint8_t head[9] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8),  (uint8_t)length,        type,           flags,
        (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    put(peer, head, sizeof head);
    put(peer, payload, length);
}

/* The headers of a call, each a literal that is not indexed (RFC 7541, 6.2.2). */
static inline void put_headers(Peer *peer, uint8_t flags, uint32_t stream, const char *path)
{
    uint8_t block[256] = "\x83\x86\x01\x01t\x0f\x10\x10"
                         "application/grpc"
                         "\x00\x02te\x08trailers\x04";
    size_t length = 3 + 2 + 3 + 16 + 1 + 3 + 9 + 1;
    block[length] = (uint8_t)strlen(path);
    memcpy(block + length + 1, path, strlen(path));
    put_frame(peer, HEADERS, flags, stream, block, length + 1 + strlen(path));
}

/* Send what was put. False: the server has closed the connection. */
static inline bool send_all(Peer *peer)
{
    size_t sent = 0;
    while (sent < peer->length) {
        ssize_t count = send(peer->fd, peer->bytes + sent, peer->length - sent, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return false;
        sent += count > 0 ? (size_t)count : 0;
    }
    peer->length = 0;
    return true;
}

/* Calls with a message each, which gRPC's prefix is part of, and sent. */
static inline void send_calls(Peer *peer, uint32_t count, const char *path, const void *message,
                              size_t length)
{
    for (uint32_t i = 0; i < count; i++) {
        put_headers(peer, END_HEADERS, 2 * i + 1, path);
        put_frame(peer, DATA, END_STREAM, 2 * i + 1, message, length);
    }
    assert_true(send_all(peer));
}

/* Connect from 127.0.0.`host`; only a server that lets nobody wait answers at once, so nothing is awaited. */
static inline void peer_open(Peer *peer, const Fixture *fixture, uint8_t host)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000000U + host)};
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = WAIT_MS / 1000};
    place.sin_port = htons((uint16_t)atoi(strrchr(fixture->address, ':') + 1));
    peer->length = 0;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(setsockopt(peer->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&place, sizeof place), 0);
    put(peer, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(peer, SETTINGS, 0, 0, "", 0);
}

static inline bool is_closed(const Peer *peer)
{
    struct pollfd watched = {.fd = peer->fd, .events = POLLRDHUP};
    return poll(&watched, 1, 0) > 0 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static inline grpc_status_code check_health_of(grpc_channel *channel)
{
    ClientCall call;
    size_t length;
    client_open(&call, channel, "/grpc.health.v1.Health/Check", CLIENT_TIMEOUT_MS);
    client_send_raw(&call, "", 0);
    client_close(&call);
    gpr_free(client_receive_raw(&call, &length));
    grpc_status_code status = client_wait(&call);
    client_free(&call);
    return status;
}

/* ... on a connection of its own. */
static inline grpc_status_code check_health(const Fixture *fixture)
{
    grpc_channel *channel = client_connect(fixture->address);
    grpc_status_code status = check_health_of(channel);
    grpc_channel_destroy(channel);
    return status;
}

#endif
