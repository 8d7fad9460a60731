/* Headers that keep a thread for as long as they come: those without an end, and those of no call. */
#include "tests/unit/agent/rpc/peer.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

#define SOON_MS 900 /* the bar is longer, and who says nothing has ten seconds */

/* gRPC gathers headers until they end, whatever they come to, and reads on and on. A field's value of 256 MB
 * begins, and goes on slowly. */
static void send_endless_headers(const Fixture *fixture, uint8_t host)
{
    static Peer peer;
    static uint8_t fields[16000];
    memset(fields, 'v', sizeof fields);
    peer_open(&peer, fixture, host);
    put_headers(&peer, 0, 1, "/grpc.health.v1.Health/Check");
    bool open = send_all(&peer);
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    put_frame(&peer, CONTINUATION, 0, 1, "\x00\x01x\x7f\x80\x80\x80\x80\x01", 9);
    for (size_t sent = 0; open && sh_clock_now_ms() < deadline_ms;) {
        if (sent < 8 << 20)
            put_frame(&peer, CONTINUATION, 0, 1, fields, sizeof fields);
        sent += sizeof fields;
        open = send_all(&peer) && !is_closed(&peer);
        (void)poll(NULL, 0, 1);
    }
    assert_false(open);
    close(peer.fd);
}

/* Several, for they keep a worker or who hands connections over, as it happens. */
static void headers_without_an_end_are_ended(void **state)
{
    Fixture *fixture = *state;
    for (uint8_t host = 2; host < 10; host++)
        send_endless_headers(fixture, host);
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
    /* Once more, and the host has to wait: till then it is let in, and it takes a second to be ended. */
    int64_t begun_ms = sh_clock_now_ms();
    send_endless_headers(fixture, 9);
    assert_true(sh_clock_now_ms() - begun_ms > 500);
    static Peer again;
    peer_open(&again, fixture, 9);
    int64_t deadline_ms = sh_clock_now_ms() + SOON_MS;
    while (!is_closed(&again) && sh_clock_now_ms() < deadline_ms)
        (void)poll(NULL, 0, 1);
    assert_true(is_closed(&again));
    close(again.fd);
}

/* Each field is one byte, of HPACK's static table. The call is over; who sends more headers of it is not
 * told. Another call beside them is as good as any. */
static void headers_of_no_call_are_ended(void **state)
{
    Fixture *fixture = *state;
    static Peer peer;
    static uint8_t fields[16000];
    memset(fields, 0x82, sizeof fields);
    peer_open(&peer, fixture, 2);
    put_headers(&peer, END_HEADERS, 1, "/grpc.health.v1.Health/Check");
    put_frame(&peer, DATA, END_STREAM, 1, "\0\0\0\0\0", 5);
    bool open = send_all(&peer);
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    for (uint32_t sends = 0; open && sh_clock_now_ms() < deadline_ms; sends++) {
        if (sends % 100 == 99) {
            put_headers(&peer, END_HEADERS, 3 + 2 * (sends / 100), "/grpc.health.v1.Health/Check");
            put_frame(&peer, DATA, END_STREAM, 3 + 2 * (sends / 100), "\0\0\0\0\0", 5);
        }
        put_frame(&peer, HEADERS, END_HEADERS, 1, fields, sizeof fields);
        open = send_all(&peer) && !is_closed(&peer);
    }
    assert_false(open);
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
    close(peer.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_without_an_end_are_ended, fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(headers_of_no_call_are_ended, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
