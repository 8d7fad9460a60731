#include "bench/http2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_HEADER_BYTES 9
#define PREFIX_BYTES       5 /* of a gRPC message: a flag and its length */
#define STREAM             1
#define WINDOW_FIRST       65535
#define WINDOW_MAX         0x7FFFFFFFu
#define RECEIVE_BYTES      (64 * 1024)

enum { DATA, HEADERS, RST_STREAM = 3, SETTINGS, PING = 6, GOAWAY, WINDOW_UPDATE };
enum { FLAG_ACK = 1, FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4 };
enum { SETTING_INITIAL_WINDOW = 4 };

static void die(const char *what)
{
    fprintf(stderr, "bench: HTTP/2: %s\n", what);
    exit(1);
}

static void put_greeting(ShBenchHttp2 *connection, const char *address, const char *method);
static size_t put_literal(uint8_t *at, const char *index, size_t index_bytes, const char *value);
static void put_frame(ShBenchHttp2 *connection, int type, int flags, uint32_t stream, const void *payload,
                      size_t length);
static uint8_t *reserve(ShBenchHttp2 *connection, size_t bytes);
static size_t take_frame_header(ShBenchHttp2 *connection, const uint8_t *data, size_t length);
static size_t take_payload(ShBenchHttp2 *connection, const uint8_t *data, size_t length);
static void take_data(ShBenchHttp2 *connection, const uint8_t *data, size_t length);
static void take_frame(ShBenchHttp2 *connection);
static void take_settings(ShBenchHttp2 *connection);
static uint32_t get_32(const uint8_t *at);
static void set_32(uint8_t *at, uint32_t value);

void sh_bench_http2_start(ShBenchHttp2 *connection, const char *address, const char *method)
{
    char host[64];
    int port = 0;
    int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (sscanf(address, "%63[^:]:%d", host, &port) != 2 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        die("the address is no IPv4 address and port");
    to.sin_port = htons((uint16_t)port);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die(strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        die(strerror(errno));
    connection->stream_window = connection->connection_window = connection->initial_window = WINDOW_FIRST;
    put_greeting(connection, address, method);
}

void sh_bench_http2_close(ShBenchHttp2 *connection)
{
    close(connection->fd);
    free(connection->out);
}

bool sh_bench_http2_put(ShBenchHttp2 *connection, const uint8_t *message, size_t length)
{
    int64_t bytes = PREFIX_BYTES + (int64_t)length;
    if (bytes > connection->stream_window || bytes > connection->connection_window)
        return false;
    connection->stream_window -= bytes;
    connection->connection_window -= bytes;
    uint8_t *at = reserve(connection, FRAME_HEADER_BYTES + (size_t)bytes);
    set_32(at, (uint32_t)bytes << 8 | DATA);
    at[4] = 0;
    set_32(at + 5, STREAM);
    at[9] = 0; /* not compressed */
    set_32(at + 10, (uint32_t)length);
    memcpy(at + FRAME_HEADER_BYTES + PREFIX_BYTES, message, length);
    return true;
}

bool sh_bench_http2_flush(ShBenchHttp2 *connection)
{
    if (connection->out_bytes == 0)
        return true;
    ssize_t sent = send(connection->fd, connection->out, connection->out_bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        die(strerror(errno));
    if (sent > 0) {
        connection->out_bytes -= (size_t)sent;
        memmove(connection->out, connection->out + sent, connection->out_bytes);
    }
    return connection->out_bytes == 0;
}

void sh_bench_http2_receive(ShBenchHttp2 *connection)
{
    static uint8_t received[RECEIVE_BYTES];
    ssize_t got = recv(connection->fd, received, sizeof received, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        die(got == 0 ? "the server closed the connection" : strerror(errno));
    const uint8_t *at = received;
    size_t left = (size_t)got;
    while (left > 0) {
        size_t taken = connection->frame_bytes < FRAME_HEADER_BYTES ? take_frame_header(connection, at, left)
                                                                    : take_payload(connection, at, left);
        at += taken;
        left -= taken;
        if (connection->frame_bytes == FRAME_HEADER_BYTES && connection->payload_left == 0)
            take_frame(connection);
    }
}

/* The preface, settings and a window that no answer exhausts, and the call's headers. */
static void put_greeting(ShBenchHttp2 *connection, const char *address, const char *method)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    memcpy(reserve(connection, sizeof preface - 1), preface, sizeof preface - 1);

    uint8_t settings[6] = {0, SETTING_INITIAL_WINDOW};
    set_32(settings + 2, WINDOW_MAX);
    put_frame(connection, SETTINGS, 0, 0, settings, sizeof settings);
    uint8_t more[4];
    set_32(more, WINDOW_MAX - WINDOW_FIRST);
    put_frame(connection, WINDOW_UPDATE, 0, 0, more, sizeof more);

    /* HPACK: indexed ":method: POST" and ":scheme: http", the rest as literals that are not indexed. */
    uint8_t headers[512] = {0x83, 0x86};
    size_t length = 2;
    length += put_literal(headers + length, "\x04", 1, method);
    length += put_literal(headers + length, "\x01", 1, address);
    length += put_literal(headers + length, "\x0f\x10", 2, "application/grpc");
    length += put_literal(headers + length, "\0\x02te", 4, "trailers");
    put_frame(connection, HEADERS, FLAG_END_HEADERS, STREAM, headers, length);
}

static size_t put_literal(uint8_t *at, const char *index, size_t index_bytes, const char *value)
{
    size_t length = strlen(value);
    if (length > 126)
        die("a header is too long");
    memcpy(at, index, index_bytes);
    at[index_bytes] = (uint8_t)length;
    memcpy(at + index_bytes + 1, value, length);
    return index_bytes + 1 + length;
}

static void put_frame(ShBenchHttp2 *connection, int type, int flags, uint32_t stream, const void *payload,
                      size_t length)
{
    uint8_t *at = reserve(connection, FRAME_HEADER_BYTES + length);
    set_32(at, (uint32_t)length << 8 | (uint32_t)type);
    at[4] = (uint8_t)flags;
    set_32(at + 5, stream);
    memcpy(at + FRAME_HEADER_BYTES, payload, length);
}

static uint8_t *reserve(ShBenchHttp2 *connection, size_t bytes)
{
    if (connection->out_capacity - connection->out_bytes < bytes) {
        connection->out_capacity = 2 * connection->out_capacity + bytes;
        connection->out = realloc(connection->out, connection->out_capacity);
        if (connection->out == NULL)
            die("out of memory");
    }
    uint8_t *at = connection->out + connection->out_bytes;
    connection->out_bytes += bytes;
    return at;
}

static size_t take_frame_header(ShBenchHttp2 *connection, const uint8_t *data, size_t length)
{
    size_t missing = FRAME_HEADER_BYTES - connection->frame_bytes;
    size_t taken = length < missing ? length : missing;
    memcpy(connection->frame + connection->frame_bytes, data, taken);
    connection->frame_bytes += taken;
    connection->payload_left = get_32(connection->frame) >> 8;
    connection->control_bytes = 0;
    return taken;
}

static size_t take_payload(ShBenchHttp2 *connection, const uint8_t *data, size_t length)
{
    size_t taken = length < connection->payload_left ? length : connection->payload_left;
    connection->payload_left -= taken;
    if (connection->frame[3] == DATA) {
        take_data(connection, data, taken);
    } else {
        size_t room = sizeof connection->control - connection->control_bytes;
        size_t kept = taken < room ? taken : room;
        memcpy(connection->control + connection->control_bytes, data, kept);
        connection->control_bytes += kept;
    }
    return taken;
}

/* A DATA frame may hold several messages, or a piece of one. */
static void take_data(ShBenchHttp2 *connection, const uint8_t *data, size_t length)
{
    while (length > 0) {
        size_t whole = PREFIX_BYTES;
        if (connection->answer_bytes >= PREFIX_BYTES)
            whole += get_32(connection->answer + 1);
        if (whole > sizeof connection->answer)
            die("an answer is too long");
        size_t missing = whole - connection->answer_bytes;
        size_t taken = length < missing ? length : missing;
        memcpy(connection->answer + connection->answer_bytes, data, taken);
        connection->answer_bytes += taken;
        data += taken;
        length -= taken;
        if (connection->answer_bytes < PREFIX_BYTES ||
            connection->answer_bytes < PREFIX_BYTES + get_32(connection->answer + 1))
            continue;
        size_t bytes = connection->answer_bytes - PREFIX_BYTES;
        connection->answer_bytes = 0;
        connection->take_answer(connection->context, connection->answer + PREFIX_BYTES, bytes);
    }
}

static void take_frame(ShBenchHttp2 *connection)
{
    int type = connection->frame[3];
    int flags = connection->frame[4];
    uint32_t stream = get_32(connection->frame + 5);
    connection->frame_bytes = 0;
    switch (type) {
    case DATA:
    case HEADERS:
        if (flags & FLAG_END_STREAM)
            die("the server ended the stream");
        connection->stands = true;
        break;
    case SETTINGS:
        if (!(flags & FLAG_ACK))
            take_settings(connection);
        break;
    case PING:
        if (!(flags & FLAG_ACK))
            put_frame(connection, PING, FLAG_ACK, 0, connection->control, 8);
        break;
    case WINDOW_UPDATE:
        if (stream == 0)
            connection->connection_window += get_32(connection->control);
        else
            connection->stream_window += get_32(connection->control);
        break;
    case RST_STREAM:
    case GOAWAY:
        die("the server gave the stream up");
    default:
        break;
    }
}

static void take_settings(ShBenchHttp2 *connection)
{
    for (size_t at = 0; at + 6 <= connection->control_bytes; at += 6) {
        uint32_t value = get_32(connection->control + at + 2);
        if (connection->control[at + 1] != SETTING_INITIAL_WINDOW)
            continue;
        connection->stream_window += (int64_t)value - connection->initial_window;
        connection->initial_window = value;
    }
    put_frame(connection, SETTINGS, FLAG_ACK, 0, "", 0);
}

static uint32_t get_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void set_32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}
