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
/* So much beyond is no client's that waits for busy threads. */
#define FAR_BYTES (1 << 20)
#define FAR_MS    150
/* Of the peer's preface and settings. */
#define FIRST_BYTES 1024
/* The two counts are of different moments, and what is said comes later than what it is said of. */
#define SLACK_BYTES (1 << 20)

static int64_t of_calls(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                        int64_t now_ms);
static int64_t smaller(int64_t left, int64_t right);
static int64_t since_taken(ShConnection *connection, const ShTraffic *traffic, int64_t now_ms);
static int64_t most_since_taken(const ShConnection *connection, const ShTraffic *traffic,
                                int64_t message_bytes_max);

bool sh_unread_look(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                    int64_t now_ms, int64_t *waiting_bytes)
{
    int64_t guessed = of_calls(connection, traffic, message_bytes_max, now_ms);
    int64_t silent = since_taken(connection, traffic, now_ms);
    *waiting_bytes = silent > guessed ? silent : guessed;
    int64_t beyond = silent - most_since_taken(connection, traffic, message_bytes_max);
    if (beyond <= 0 || atomic_load(&connection->takes) != connection->taken.takes)
        return true; /* so is what was taken only now, and is of no open read any more */
    return now_ms - connection->taken.ms <= (beyond > FAR_BYTES ? FAR_MS : STRAY_MS);
}

/* What has come and no call has taken. What a peer may have said beside messages is taken from it, as far as
 * that much has come since the last look: so calls that come and go cannot make forgotten what others hold
 * unread. What is left is of messages for which calls wait, or stands in the windows of calls that read
 * nothing more, and goes with these calls. */
static int64_t of_calls(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                        int64_t now_ms)
{
    int64_t taken = atomic_load(&connection->taken_bytes);
    int64_t beside = atomic_load(&connection->beside_bytes);
    int64_t calls = atomic_load(&connection->calls);
    int64_t reading = atomic_load(&connection->reading);
    int64_t received = traffic->received_bytes - connection->unread.received_bytes;
    int64_t bytes = connection->unread.bytes + received - (taken - connection->unread.taken_bytes);
    int64_t spare = connection->unread.spare + beside - connection->unread.beside_bytes +
                    (traffic->segments_sent - connection->unread.segments_sent) * SEGMENT_TALK;
    spare += connection->unread.ms > 0 ? (now_ms - connection->unread.ms) * PING_BYTES_A_MS : FIRST_BYTES;
    int64_t said = smaller(spare, smaller(received, bytes > 0 ? bytes : 0));
    int64_t idle = calls > reading ? calls - reading : 0;
    int64_t most = reading * (message_bytes_max + SH_RPC_WINDOW_BYTES) + idle * SH_RPC_WINDOW_BYTES;
    bytes = smaller(bytes - said, most);
    connection->unread.bytes = bytes > -SLACK_BYTES ? bytes : -SLACK_BYTES;
    connection->unread.spare = smaller(spare - said, SLACK_BYTES);
    connection->unread.received_bytes = traffic->received_bytes;
    connection->unread.segments_sent = traffic->segments_sent;
    connection->unread.taken_bytes = taken;
    connection->unread.beside_bytes = beside;
    connection->unread.ms = now_ms;
    return bytes > 0 ? bytes : 0;
}

static int64_t smaller(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

/* What has come since a call or a message was last taken, or since the beginning where none was, less what
 * the peer may have had to say of what it was sent and of being alive, and less what gRPC has not read. */
static int64_t since_taken(ShConnection *connection, const ShTraffic *traffic, int64_t now_ms)
{
    uint64_t takes = atomic_load(&connection->takes);
    if (takes != connection->taken.takes || connection->taken.ms == 0) {
        connection->taken.takes = takes;
        connection->taken.lost_reads = atomic_load(&connection->lost_reads);
        connection->taken.traffic = takes > 0 ? *traffic : (ShTraffic){0};
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
