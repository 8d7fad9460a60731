#include "agent/rpc/unread.h"

#include "agent/rpc/server.h"

/* What a peer may say of each segment that it is sent (window updates, pings), and in each millisecond of
 * being alive. */
#define SEGMENT_TALK    64
#define PING_BYTES_A_MS 1
/* gRPC lets in this much of a message, at most, with a segment of its own. */
#define WINDOW_OPENED_BYTES (5 << 18)
/* Headers of calls, by windows, before one is taken. */
#define HEADER_WINDOWS 4
/* For how long too much has to be seen, and how often: threads may be busy, or all of this may have stood. */
#define STRAY_MS    1000
#define STRAY_LOOKS 5
/* What is of no call: what may be there, what is forgotten each millisecond, and what may come with each call
 * and message beside what is counted for them. */
#define BEYOND_MAX       (2 << 20)
#define FORGOTTEN_A_MS   1024
#define BEYOND_OF_A_TAKE 4096
/* ... and for calls that ended unread: so much each millisecond, and so much at once. */
#define LOST_A_MS      (8 << 10)
#define LOST_SPARE_MAX (128 << 20)
/* Of the peer's preface and settings. */
#define FIRST_BYTES 1024
/* The two counts are of different moments, and what is said comes later than what it is said of. */
#define SLACK_BYTES (1 << 20)
#define EARLY_BYTES (16 << 20) /* what was taken after the kernel had counted what came */

static int64_t of_calls(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                        int64_t now_ms);
static void count_beyond(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                         int64_t now_ms, int64_t bytes);
static int64_t smaller(int64_t left, int64_t right);
static bool is_stray(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                     int64_t silent);
static int64_t since_taken(ShConnection *connection, const ShTraffic *traffic, int64_t now_ms);
static int64_t most_since_taken(const ShConnection *connection, const ShTraffic *traffic,
                                int64_t message_bytes_max);

bool sh_unread_look(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                    int64_t now_ms, int64_t *waiting_bytes)
{
    int64_t guessed = of_calls(connection, traffic, message_bytes_max, now_ms);
    int64_t silent = since_taken(connection, traffic, now_ms);
    *waiting_bytes = silent > guessed ? silent : guessed;
    if (!is_stray(connection, traffic, message_bytes_max, silent)) {
        connection->stray.looks = 0;
        return true;
    }
    if (connection->stray.looks++ == 0)
        connection->stray.since_ms = now_ms;
    return connection->stray.looks < STRAY_LOOKS || now_ms - connection->stray.since_ms <= STRAY_MS;
}

static bool is_stray(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                     int64_t silent)
{
    if (connection->unread.beyond > BEYOND_MAX &&
        connection->unread.beyond - sh_connection_unread_bytes(connection) > BEYOND_MAX)
        return true;
    return silent > most_since_taken(connection, traffic, message_bytes_max) &&
           atomic_load(&connection->takes) ==
               connection->taken.takes; /* else a read may be counted no more */
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
    int64_t bytes = connection->unread.bytes + connection->unread.beyond + received -
                    (taken - connection->unread.taken_bytes);
    int64_t spare = connection->unread.spare + beside - connection->unread.beside_bytes +
                    (traffic->segments_sent - connection->unread.segments_sent) * SEGMENT_TALK;
    spare += connection->unread.ms > 0 ? (now_ms - connection->unread.ms) * PING_BYTES_A_MS : FIRST_BYTES;
    int64_t said = smaller(spare, smaller(received, bytes > 0 ? bytes : 0));
    int64_t idle = calls > reading ? calls - reading : 0;
    int64_t most = reading * (message_bytes_max + SH_RPC_WINDOW_BYTES) + idle * SH_RPC_WINDOW_BYTES;
    count_beyond(connection, traffic, message_bytes_max, now_ms,
                 smaller(bytes - said - most, connection->unread.beyond + received - said));
    bytes = smaller(bytes - said, most);
    connection->unread.bytes = bytes > -EARLY_BYTES ? bytes : -EARLY_BYTES;
    connection->unread.spare = smaller(spare - said, SLACK_BYTES);
    connection->unread.received_bytes = traffic->received_bytes;
    connection->unread.segments_sent = traffic->segments_sent;
    connection->unread.taken_bytes = taken;
    connection->unread.beside_bytes = beside;
    connection->unread.ms = now_ms;
    return bytes > 0 ? bytes : 0;
}

/* What came and is of no call that is open, as far as it came since the last look: what ended calls left is
 * forgotten. `bytes` of it less what may be so. */
static void count_beyond(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                         int64_t now_ms, int64_t bytes)
{
    uint64_t takes = atomic_load(&connection->takes);
    uint64_t lost_reads = atomic_load(&connection->lost_reads);
    int64_t of_lost = (int64_t)(lost_reads - connection->unread.lost_reads) * message_bytes_max;
    int64_t let_in = (traffic->segments_sent - connection->unread.segments_sent) * WINDOW_OPENED_BYTES;
    int64_t passed_ms = now_ms - connection->unread.ms;
    int64_t spare = smaller(connection->unread.lost_spare + passed_ms * LOST_A_MS, LOST_SPARE_MAX);
    int64_t forgiven = bytes > 0 ? smaller(smaller(of_lost, let_in), smaller(spare, bytes)) : 0;
    connection->unread.lost_spare = spare - forgiven;
    bytes -= forgiven;
    bytes -= (int64_t)(takes - connection->unread.takes) * BEYOND_OF_A_TAKE;
    bytes -= passed_ms * FORGOTTEN_A_MS;
    connection->unread.beyond = bytes > 0 ? bytes : 0;
    connection->unread.takes = takes;
    connection->unread.lost_reads = lost_reads;
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
