/* What a connection has sent that nobody has taken: what gRPC holds, and no more, however calls come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/rpc/server.h"
#include "agent/rpc/unread.h"

#define MIB               (1 << 20)
#define MESSAGE_BYTES_MAX (16 * MIB)
#define WINDOW            SH_RPC_WINDOW_BYTES

typedef struct Peer {
    ShConnection connection;
    ShReceived received;
} Peer;

static int64_t look(Peer *peer)
{
    return sh_unread_look(&peer->connection, &peer->received, MESSAGE_BYTES_MAX);
}

/* The client begins calls, and the agent takes them. */
static void begin(Peer *peer, int calls)
{
    peer->received.opened += calls;
    atomic_fetch_add(&peer->connection.taken_calls, (unsigned)calls);
    atomic_fetch_add(&peer->connection.calls, calls);
}

static void take(Peer *peer, int64_t bytes)
{
    atomic_fetch_add(&peer->connection.taken_bytes, bytes);
}

static void a_message_counts_until_it_is_taken(void **state)
{
    (void)state;
    Peer peer = {0};
    assert_int_equal(look(&peer), 0);
    begin(&peer, 1);
    atomic_store(&peer.connection.reading, 1);
    for (int i = 1; i <= 15; i++) {
        peer.received.data_bytes += MIB;
        assert_int_equal(look(&peer), i * MIB);
    }
    take(&peer, 15 * MIB);
    atomic_store(&peer.connection.reading, 0);
    assert_int_equal(look(&peer), 0);
    peer.received.data_bytes += 1000; /* of the next */
    assert_int_equal(look(&peer), 1000);
}

static void calls_that_wait_to_be_taken_count(void **state)
{
    (void)state;
    Peer peer = {0};
    peer.received.opened = 100;
    peer.received.data_bytes = 100 * WINDOW;
    assert_int_equal(look(&peer), 100 * WINDOW);
    peer.received.reset = 40;
    assert_int_equal(look(&peer), 60 * WINDOW);
    atomic_store(&peer.connection.taken_calls, 60);
    atomic_store(&peer.connection.calls, 60);
    take(&peer, 60 * WINDOW);
    assert_int_equal(look(&peer), 0);
}

/* Bytes of calls that read nothing more, as 64 KiB behind the one message of each long poll, are remembered
 * while these calls are open, however many others come and go; then they are forgotten. */
static void what_calls_leave_unread_is_remembered(void **state)
{
    enum { CALLS = 800, UNREAD_BYTES = CALLS * (64 << 10) };
    (void)state;
    Peer peer = {0};
    begin(&peer, CALLS);
    peer.received.data_bytes += UNREAD_BYTES;
    assert_int_equal(look(&peer), UNREAD_BYTES);
    for (int i = 0; i < 1000; i++) {
        begin(&peer, 10);
        peer.received.data_bytes += 10 * 35;
        take(&peer, 10 * 35);
        atomic_fetch_sub(&peer.connection.calls, 10);
        assert_int_equal(look(&peer), UNREAD_BYTES);
    }
    atomic_store(&peer.connection.calls, CALLS / 2);
    assert_int_equal(look(&peer), UNREAD_BYTES / 2);
    atomic_store(&peer.connection.calls, 0);
    assert_int_equal(look(&peer), 0);
    begin(&peer, 1);
    peer.received.data_bytes += 500;
    assert_int_equal(look(&peer), 500);
}

/* gRPC gathers a message that is longer than any may be before it says so: all of it counts. */
static void a_message_that_is_too_long_counts(void **state)
{
    (void)state;
    Peer peer = {0};
    begin(&peer, 1);
    atomic_store(&peer.connection.reading, 1);
    for (int i = 1; i <= 100; i++) {
        peer.received.data_bytes += MIB;
        assert_int_equal(look(&peer), i * MIB);
    }
    atomic_store(&peer.connection.calls, 0); /* it is refused, and what there was of it goes */
    atomic_store(&peer.connection.reading, 0);
    atomic_fetch_add(&peer.connection.lost_reads, 10);
    assert_int_equal(look(&peer), 0);
}

/* Calls that are refused are not read. Beside others that are, as beside none, they leave nothing behind. */
static void refused_calls_leave_nothing(void **state)
{
    (void)state;
    for (int reading = 0; reading <= 1; reading++) {
        Peer peer = {0};
        begin(&peer, reading);
        atomic_store(&peer.connection.reading, reading);
        for (int i = 0; i < 3000; i++) {
            begin(&peer, 1);
            peer.received.data_bytes += WINDOW;
            atomic_fetch_sub(&peer.connection.calls, 1);
            (void)look(&peer);
        }
        assert_in_range(look(&peer), 0, reading * (MESSAGE_BYTES_MAX + WINDOW));
    }
}

/* A call whose message does not come to its end, because its time is over. */
static void an_upload_that_is_given_up_is_forgotten(void **state)
{
    (void)state;
    Peer peer = {0};
    begin(&peer, 2);
    atomic_store(&peer.connection.reading, 1);
    peer.received.data_bytes = 10 * MIB;
    assert_int_equal(look(&peer), 10 * MIB);
    atomic_store(&peer.connection.calls, 1);
    atomic_store(&peer.connection.reading, 0);
    atomic_store(&peer.connection.lost_reads, 1);
    assert_in_range(look(&peer), 0, WINDOW);
    atomic_store(&peer.connection.calls, 0);
    assert_int_equal(look(&peer), 0);
}

/* Counts are of slightly different moments: what is seen to be taken before it is seen to come leaves nothing
 * behind. */
static void early_counts_leave_nothing(void **state)
{
    (void)state;
    Peer peer = {0};
    begin(&peer, 1);
    atomic_store(&peer.connection.reading, 1);
    for (int i = 0; i < 10000; i++) {
        int64_t early = i % 3 * 1000;
        take(&peer, MIB + early);
        peer.received.data_bytes += MIB;
        assert_in_range(look(&peer), 0, 0);
        peer.received.data_bytes += early;
        assert_in_range(look(&peer), 0, 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_counts_until_it_is_taken),
        cmocka_unit_test(calls_that_wait_to_be_taken_count),
        cmocka_unit_test(what_calls_leave_unread_is_remembered),
        cmocka_unit_test(a_message_that_is_too_long_counts),
        cmocka_unit_test(refused_calls_leave_nothing),
        cmocka_unit_test(an_upload_that_is_given_up_is_forgotten),
        cmocka_unit_test(early_counts_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
