/* What a connection has sent that nobody has taken: what honest clients send stays within bounds, whatever
 * they do, and headers without an end do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/unread.h"

#define MIB               (1 << 20)
#define MESSAGE_BYTES_MAX (16 * MIB)
#define LOOK_MS           100
#define MINUTE_LOOKS      600

/* A connection whose calls were taken a moment ago. */
typedef struct Peer {
    ShConnection connection;
    ShTraffic traffic;
    int64_t now_ms;
    int64_t waiting_bytes;
} Peer;

static bool look(Peer *peer)
{
    peer->now_ms += LOOK_MS;
    return sh_unread_look(&peer->connection, &peer->traffic, MESSAGE_BYTES_MAX, peer->now_ms,
                          &peer->waiting_bytes);
}

static Peer peer_with(long calls, long reading)
{
    Peer peer = {.connection = {.fd = -1}, .now_ms = 1000};
    peer.traffic.received_bytes = 1000;
    atomic_store(&peer.connection.calls, calls);
    atomic_store(&peer.connection.reading, reading);
    atomic_store(&peer.connection.takes, 1);
    assert_true(look(&peer));
    return peer;
}

/* Every look of so many: are bytes that came between two beyond the bounds? The looks that passed. */
static int looks_until_stray(Peer *peer, int looks, int64_t received, int64_t segments)
{
    for (int i = 0; i < looks; i++) {
        peer->traffic.received_bytes += received;
        peer->traffic.segments_sent += segments;
        if (!look(peer))
            return i;
    }
    return looks;
}

static void what_honest_clients_say_is_no_stray(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        long calls, reading;
        int64_t received, segments; /* from look to look */
    } cases[] = {
        {"nothing", 0, 0, 0, 0},
        {"a ping each ten seconds", 1, 0, 1, 0},
        {"a FetchStream of 1,000 answers/s, a window update and a ping for each", 1, 0, 100 * 30, 100},
        {"a FetchStream of 100 MB/s, likewise for each frame", 1, 0, 610 * 30, 610},
        {"a message of 15 MiB over a minute", 1, 1, 15 * MIB / MINUTE_LOOKS, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Peer peer = peer_with(cases[i].calls, cases[i].reading);
        int looks = looks_until_stray(&peer, MINUTE_LOOKS, cases[i].received, cases[i].segments);
        if (looks < MINUTE_LOOKS)
            print_error("%s: after %d looks\n", cases[i].what, looks);
        assert_int_equal(looks, MINUTE_LOOKS);
        if (cases[i].reading == 0)
            assert_int_equal(peer.waiting_bytes, 0);
    }
}

static void headers_without_an_end_are_stray(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        long calls, reading;
        int64_t most; /* bytes that may pass */
    } cases[] = {
        {"without a call", 0, 0, 2 * MIB},
        {"beside an idle ProduceStream", 1, 1, 3 * MIB},
        {"beside ten FetchStreams", 10, 0, 2 * MIB},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Peer peer = peer_with(cases[i].calls, cases[i].reading);
        int looks = looks_until_stray(&peer, MINUTE_LOOKS, 100000, 0);
        if (looks == MINUTE_LOOKS)
            print_error("%s\n", cases[i].what);
        assert_in_range(looks, 9, cases[i].most / 100000); /* not within a second */
        assert_true(peer.waiting_bytes >= 100000 * looks);
    }
}

/* The first look may be late. */
static void headers_before_the_first_look_are_stray(void **state)
{
    (void)state;
    Peer peer = {.connection = {.fd = -1}, .now_ms = 1000, .traffic.received_bytes = 8 * MIB};
    assert_in_range(looks_until_stray(&peer, MINUTE_LOOKS, 0, 0), 9, 20);
}

/* Headers that are whole and belong to no call cost their reading, whatever calls come beside them. */
static void headers_of_no_call_are_stray(void **state)
{
    (void)state;
    Peer peer = peer_with(1, 1);
    int looks = 0;
    for (bool good = true; good && looks < MINUTE_LOOKS; looks++) {
        peer.traffic.received_bytes += 5 * MIB;
        peer.traffic.segments_sent += 2;
        atomic_fetch_add(&peer.connection.takes, 2);
        atomic_fetch_add(&peer.connection.beside_bytes, 1024);
        good = look(&peer);
    }
    assert_in_range(looks, 9, 40);
}

/* A call that brings no request at all, or is refused, forgives what may have come with it, and no more. */
static void empty_calls_forgive_little(void **state)
{
    (void)state;
    Peer peer = peer_with(1, 1);
    int looks = 0;
    for (bool good = true; good && looks < 2 * MINUTE_LOOKS; looks++) {
        peer.traffic.received_bytes += 5 * MIB;
        peer.traffic.segments_sent += 13;
        atomic_fetch_add(&peer.connection.takes, 1);
        atomic_fetch_add(&peer.connection.lost_reads, 1);
        atomic_fetch_add(&peer.connection.beside_bytes, 1024);
        good = look(&peer);
    }
    assert_in_range(looks, 9, 100);
}

/* Ten calls of 64 KiB each look are refused, which reads nothing of them. */
static void refused_calls_are_no_stray(void **state)
{
    (void)state;
    Peer peer = peer_with(1, 0);
    for (int i = 0; i < MINUTE_LOOKS; i++) {
        peer.traffic.received_bytes += 10 * ((64 << 10) + 300);
        peer.traffic.segments_sent += 10;
        atomic_fetch_add(&peer.connection.takes, 10);
        atomic_fetch_add(&peer.connection.lost_reads, 10);
        atomic_fetch_add(&peer.connection.beside_bytes, 10 * 1024);
        assert_true(look(&peer));
    }
}

/* Calls that wait for busy threads, after a second without any: they are taken in time. */
static void a_burst_that_waits_is_no_stray(void **state)
{
    enum { CALLS = 100, CALL_BYTES = 64 << 10 };
    (void)state;
    Peer peer = peer_with(0, 0);
    for (int round = 0; round < 10; round++) {
        assert_int_equal(looks_until_stray(&peer, 100, 0, 0), 100);
        for (int i = 0; i < 8; i++) {
            peer.traffic.received_bytes += i < 4 ? CALLS / 4 * (CALL_BYTES + 300) : 0;
            assert_true(look(&peer));
        }
        atomic_fetch_add(&peer.connection.taken_bytes, CALLS * CALL_BYTES);
        atomic_fetch_add(&peer.connection.beside_bytes, CALLS * (1024 + 64 + 64));
        atomic_fetch_add(&peer.connection.takes, 2 * CALLS);
        assert_true(look(&peer));
    }
    assert_in_range(peer.waiting_bytes, 0, MIB);
}

/* A call whose message does not come to its end, because its time is over. */
static void an_upload_that_is_given_up_is_no_stray(void **state)
{
    (void)state;
    Peer peer = peer_with(2, 1);
    assert_int_equal(looks_until_stray(&peer, 100, 100000, 1), 100);
    atomic_store(&peer.connection.calls, 1);
    atomic_store(&peer.connection.reading, 0);
    atomic_store(&peer.connection.lost_reads, 1);
    assert_int_equal(looks_until_stray(&peer, 100, 0, 0), 100);
    assert_int_equal(looks_until_stray(&peer, MINUTE_LOOKS, 100000, 0) < MINUTE_LOOKS, true);
}

static void what_is_taken_is_not_waiting(void **state)
{
    (void)state;
    Peer peer = peer_with(1, 1);
    peer.traffic.received_bytes += 10 * MIB;
    peer.traffic.segments_sent += 10;
    assert_true(look(&peer));
    assert_in_range(peer.waiting_bytes, 10 * MIB - 2000, 10 * MIB + 2000);
    atomic_fetch_add(&peer.connection.taken_bytes, 10 * MIB);
    atomic_fetch_add(&peer.connection.takes, 1);
    assert_true(look(&peer));
    assert_in_range(peer.waiting_bytes, 0, 2000);
}

/* Bytes of calls that read nothing more, as 64 KiB behind the one message of each long poll, are remembered
 * while these calls are open, however many others come and go. */
static void what_calls_leave_unread_is_remembered(void **state)
{
    enum { CALLS = 800, UNREAD_BYTES = CALLS * (64 << 10) };
    (void)state;
    Peer peer = peer_with(CALLS, 0);
    peer.traffic.received_bytes += UNREAD_BYTES;
    assert_true(look(&peer));
    for (int i = 0; i < MINUTE_LOOKS; i++) {
        /* ten calls of 30 bytes each, counted at far more */
        peer.traffic.received_bytes += 10 * (70 + 30);
        peer.traffic.segments_sent += 10;
        atomic_fetch_add(&peer.connection.takes, 20);
        atomic_fetch_add(&peer.connection.taken_bytes, 10 * 30);
        atomic_fetch_add(&peer.connection.beside_bytes, 10 * (1024 + 64));
        atomic_store(&peer.connection.reading, i % 2);
        assert_true(look(&peer));
        assert_in_range(peer.waiting_bytes, UNREAD_BYTES - 4 * MIB, UNREAD_BYTES + MIB);
    }
    atomic_store(&peer.connection.reading, 0);
    atomic_store(&peer.connection.calls, CALLS / 2);
    assert_true(look(&peer));
    assert_in_range(peer.waiting_bytes, UNREAD_BYTES / 2 - 4 * MIB, UNREAD_BYTES / 2);
    atomic_store(&peer.connection.calls, 0);
    assert_true(look(&peer));
    assert_int_equal(peer.waiting_bytes, 0);
}

/* For an hour, and with counts that are of slightly different moments: a thousand readers, whose window
 * updates come a look after what they are for, beside a writer of 100 MB/s. */
static void honest_work_leaves_nothing(void **state)
{
    enum { READERS = 1000, MESSAGE = 10 * MIB };
    (void)state;
    Peer peer = peer_with(READERS + 1, 1);
    for (int i = 0; i < 60 * MINUTE_LOOKS; i++) {
        int64_t segments = i % 10 < 5 ? 10000 : 10;
        peer.traffic.segments_sent += segments;
        peer.traffic.received_bytes += (i % 10 < 5 && i % 10 > 0) || i % 10 == 5 ? 10000 * 43 : 10 * 43;
        /* a message in frames of 16 KiB; each other one is seen to be taken before it is seen to come */
        peer.traffic.received_bytes += MESSAGE + MESSAGE / (16 << 10) * 9;
        int64_t early = i % 2 == 0 ? 100000 : -100000;
        peer.traffic.received_bytes -= early;
        atomic_fetch_add(&peer.connection.taken_bytes, MESSAGE);
        atomic_fetch_add(&peer.connection.beside_bytes, 64 + MESSAGE / 1024);
        atomic_fetch_add(&peer.connection.takes, 1);
        assert_true(look(&peer));
        assert_in_range(peer.waiting_bytes, 0, 2 * MIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_honest_clients_say_is_no_stray),
        cmocka_unit_test(headers_without_an_end_are_stray),
        cmocka_unit_test(headers_before_the_first_look_are_stray),
        cmocka_unit_test(headers_of_no_call_are_stray),
        cmocka_unit_test(empty_calls_forgive_little),
        cmocka_unit_test(refused_calls_are_no_stray),
        cmocka_unit_test(a_burst_that_waits_is_no_stray),
        cmocka_unit_test(an_upload_that_is_given_up_is_no_stray),
        cmocka_unit_test(what_is_taken_is_not_waiting),
        cmocka_unit_test(what_calls_leave_unread_is_remembered),
        cmocka_unit_test(honest_work_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
