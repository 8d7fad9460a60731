#include "agent/rpc/unread.h"

#include "agent/rpc/server.h"

static int64_t within(int64_t value, int64_t least, int64_t most);

int64_t sh_unread_look(ShConnection *connection, const ShReceived *received, int64_t message_bytes_max)
{
    int64_t taken = atomic_load(&connection->taken_bytes);
    int64_t taken_calls = (int64_t)atomic_load(&connection->taken_calls);
    int64_t calls = atomic_load(&connection->calls);
    int64_t reading = atomic_load(&connection->reading);
    int64_t idle = within(calls - reading, 0, calls);
    int64_t untaken = within(received->opened - received->reset - taken_calls, 0, SH_RPC_STREAMS_MAX);
    int64_t most = reading * (message_bytes_max + SH_RPC_WINDOW_BYTES) +
                   (idle + untaken) * SH_RPC_WINDOW_BYTES;
    int64_t unread = received->data_bytes - taken - connection->forgotten_bytes;
    /* Calls that ended have left the rest; or they were not known yet, and what they brought is taken now. */
    int64_t held = within(unread, 0, most);
    connection->forgotten_bytes = within(connection->forgotten_bytes + unread - held, 0, INT64_MAX);
    return held;
}

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}
