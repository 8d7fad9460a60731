/* Headers that would keep a thread for as long as they come: those without an end, and those of no new call.
 */
#include "tests/unit/agent/rpc/peer.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

/* The server has said something, its settings at least. */
static bool has_answer(const Peer *peer)
{
    struct pollfd watched = {.fd = peer->fd, .events = POLLIN};
    return poll(&watched, 1, 0) > 0 && (watched.revents & POLLIN) != 0;
}

/* Who is barred is closed at once; who says nothing has ten seconds. */
static bool is_barred(const Fixture *fixture, uint8_t host)
{
    static Peer peer;
    peer_open(&peer, fixture, host);
    for (int i = 0; i < 200 && !is_closed(&peer); i++)
        (void)poll(NULL, 0, 1);
    bool closed = is_closed(&peer);
    close(peer.fd);
    return closed;
}

/* gRPC gathers headers until they end, whatever they come to, and reads on and on. A field's value of 256 MB
 * begins. */
static void send_endless_headers(const Fixture *fixture, uint8_t host)
{
    static Peer peer;
    static uint8_t fields[16000];
    memset(fields, 'v', sizeof fields);
    peer_open(&peer, fixture, host);
    put_headers(&peer, 0, 1, "/grpc.health.v1.Health/Check");
    put_frame(&peer, CONTINUATION, 0, 1, "\x00\x01x\x7f\x80\x80\x80\x80\x01", 9);
    size_t sent = 0;
    for (bool open = true; open && sent < 64 << 20; sent += sizeof fields) {
        put_frame(&peer, CONTINUATION, 0, 1, fields, sizeof fields);
        open = send_all(&peer) && !is_closed(&peer);
    }
    assert_true(sent < 64 << 20);
    close(peer.fd);
}

static void headers_without_an_end_are_ended(void **state)
{
    Fixture *fixture = *state;
    static Peer peer;
    for (uint8_t host = 2; host < 10; host++)
        send_endless_headers(fixture, host);
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
    /* Once more, and the host has to wait; till then it is let in. */
    peer_open(&peer, fixture, 9);
    put_headers(&peer, END_HEADERS, 1, "/grpc.health.v1.Health/Watch");
    put_frame(&peer, DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    assert_true(send_all(&peer));
    WAIT_UNTIL(has_answer(&peer));
    send_endless_headers(fixture, 9);
    WAIT_UNTIL(is_barred(fixture, 9));
    assert_false(is_closed(&peer)); /* ... and its others stay */
    close(peer.fd);
}

/* The call is over; who sends more headers of it would not be told. Another call beside them is no excuse. */
static void headers_of_no_new_call_are_ended(void **state)
{
    Fixture *fixture = *state;
    static Peer peer;
    static uint8_t fields[16000];
    memset(fields, 0x82, sizeof fields); /* each a field, of HPACK's static table */
    peer_open(&peer, fixture, 2);
    put_headers(&peer, END_HEADERS, 1, "/grpc.health.v1.Health/Check");
    put_frame(&peer, DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    assert_true(send_all(&peer));
    WAIT_UNTIL(has_answer(&peer));
    put_headers(&peer, END_HEADERS, 3, "/grpc.health.v1.Health/Check");
    put_frame(&peer, HEADERS, END_HEADERS, 1, fields, sizeof fields);
    (void)send_all(&peer);
    WAIT_UNTIL(is_closed(&peer));
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
    close(peer.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_without_an_end_are_ended, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(headers_of_no_new_call_are_ended, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
