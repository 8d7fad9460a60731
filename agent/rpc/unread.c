#include "agent/rpc/unread.h"

#include "agent/rpc/server.h"

/* Of calls that have ended, at once. */
#define SPARE_BYTES_MAX (128 << 20)

static int64_t earn_spare(ShConnection *connection, int64_t ended, int64_t message_bytes_max);
static int64_t within(int64_t value, int64_t least, int64_t most);

int64_t sh_unread_look(ShConnection *connection, const ShReceived *received, int64_t message_bytes_max)
{
    int64_t taken = atomic_load(&connection->taken_bytes);
    int64_t taken_calls = (int64_t)atomic_load(&connection->taken_calls);
    int64_t calls = atomic_load(&connection->calls);
    int64_t reading = atomic_load(&connection->reading);
    int64_t reset = within(received->reset, 0, received->opened);
    int64_t spare = earn_spare(connection, taken_calls - calls + reset, message_bytes_max);
    int64_t idle = within(calls - reading, 0, calls);
    int64_t untaken = within(received->opened - reset - taken_calls, 0, SH_RPC_STREAMS_MAX);
    int64_t most = reading * (message_bytes_max + SH_RPC_WINDOW_BYTES) +
                   (idle + untaken) * SH_RPC_WINDOW_BYTES;
    int64_t unread = received->data_bytes - taken - connection->unread.forgotten;
    if (unread < 0) { /* of calls that were not known yet, and taken now */
        connection->unread.forgotten = within(connection->unread.forgotten + unread, 0, INT64_MAX);
        return 0;
    }
    /* What is more than is let in is of calls that have ended; or of a message that is longer than any may
     * be, which gRPC gathers before it says so. */
    int64_t forgotten = within(unread - most, 0, spare);
    connection->unread.forgotten += forgotten;
    connection->unread.spare -= forgotten;
    return unread - forgotten;
}

/* Each call that has ended, or was given up, may have left what its window lets in, or of a message what
 * there was of it. */
static int64_t earn_spare(ShConnection *connection, int64_t ended, int64_t message_bytes_max)
{
    int64_t lost = (int64_t)atomic_load(&connection->lost_reads);
    int64_t spare = connection->unread.spare + (ended - connection->unread.ended) * SH_RPC_WINDOW_BYTES +
                    (lost - connection->unread.lost) * message_bytes_max;
    connection->unread.ended = ended;
    connection->unread.lost = lost;
    connection->unread.spare = within(spare, 0, SPARE_BYTES_MAX);
    return connection->unread.spare;
}

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}
