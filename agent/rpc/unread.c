#include "agent/rpc/unread.h"

#include "agent/rpc/server.h"

/* What a peer may say of each segment that it is sent (window updates, pings), and in each millisecond of
 * being alive. */
#define SEGMENT_TALK    64
#define PING_BYTES_A_MS 1
/* gRPC lets in this much of a message, at most, with a segment of its own. */
#define WINDOW_OPENED_BYTES (5 << 18)
/* Headers of calls, by windows, and how long they may come before one is taken. */
#define HEADER_WINDOWS 4
#define STRAY_MS       1000

static int64_t of_messages(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max);
static int64_t since_taken(ShConnection *connection, const ShTraffic *traffic, int64_t now_ms);
static int64_t most_since_taken(const ShConnection *connection, const ShTraffic *traffic,
                                int64_t message_bytes_max);

bool sh_unread_look(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                    int64_t now_ms, int64_t *waiting_bytes)
{
    int64_t guessed = of_messages(connection, traffic, message_bytes_max);
    int64_t silent = since_taken(connection, traffic, now_ms);
    *waiting_bytes = silent > guessed ? silent : guessed;
    return silent <= most_since_taken(connection, traffic, message_bytes_max) ||
           now_ms - connection->taken.ms <= STRAY_MS;
}

/* Of the messages for which calls wait, what has come: frames and headers are taken from it by rule of thumb,
 * and what the guess may have missed is forgotten when nothing is awaited. */
static int64_t of_messages(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max)
{
    int64_t reading = atomic_load(&connection->reading);
    int64_t waiting = traffic->received_bytes - atomic_load(&connection->taken_bytes);
    if (reading == 0 || waiting < 0) {
        atomic_fetch_add(&connection->taken_bytes, waiting);
        return 0;
    }
    int64_t most = reading * (message_bytes_max + SH_RPC_WINDOW_BYTES);
    return waiting < most ? waiting : most;
}

/* What has come since a call or a message was last taken, less what the peer may have had to say of what it
 * was sent and of being alive, and less what gRPC has not read. */
static int64_t since_taken(ShConnection *connection, const ShTraffic *traffic, int64_t now_ms)
{
    uint64_t takes = atomic_load(&connection->takes);
    if (takes != connection->taken.takes || connection->taken.ms == 0) {
        connection->taken.takes = takes;
        connection->taken.lost_reads = atomic_load(&connection->lost_reads);
        connection->taken.traffic = *traffic;
        connection->taken.ms = now_ms;
    }
    const ShTraffic *then = &connection->taken.traffic;
    int64_t bytes = traffic->received_bytes - then->received_bytes;
    bytes -= (traffic->segments_sent - then->segments_sent) * SEGMENT_TALK;
    bytes -= (now_ms - connection->taken.ms) * PING_BYTES_A_MS;
    if (bytes > SH_RPC_WINDOW_BYTES)
        bytes -= sh_connection_unread_bytes(connection);
    return bytes > 0 ? bytes : 0;
}

/* What may have come since then, in place: what the windows of open calls let in, messages that are under way
 * or were until their calls ended, and some headers. For a message gRPC opens its window bit by bit, which is
 * seen; for headers it opens none. */
static int64_t most_since_taken(const ShConnection *connection, const ShTraffic *traffic,
                                int64_t message_bytes_max)
{
    int64_t messages = atomic_load(&connection->reading) +
                       (int64_t)(atomic_load(&connection->lost_reads) - connection->taken.lost_reads);
    int64_t segments = traffic->segments_sent - connection->taken.traffic.segments_sent + 1;
    int64_t let_in = segments * WINDOW_OPENED_BYTES;
    int64_t most = messages * message_bytes_max;
    return (let_in < most ? let_in : most) +
           (atomic_load(&connection->calls) + HEADER_WINDOWS) * SH_RPC_WINDOW_BYTES;
}
