/* What a peer can do below gRPC's calls, frame by frame: calls that are given up as they begin, and more
 * calls, connections or memory than are everybody's. */
#include "agent/rpc/server.h"
#include "tests/unit/agent/rpc/peer.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

#define HOLDERS 70

static void put_watches(Peer *peer, uint32_t calls)
{
    for (uint32_t i = 0; i < calls; i++) {
        put_headers(peer, END_HEADERS, 2 * i + 1, "/grpc.health.v1.Health/Watch");
        put_frame(peer, DATA, END_STREAM, 2 * i + 1, "\0\0\0\0\0", 5);
    }
}

/* "Rapid reset": the agent never has many of these calls open. */
static void calls_that_are_given_up_at_once_end_their_connection(void **state)
{
    Fixture *fixture = *state;
    static Peer peer;
    static const uint8_t cancel[4] = {0, 0, 0, 8};
    peer_open(&peer, fixture, 2);
    bool open = send_all(&peer);
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    for (uint32_t stream = 1; open && sh_clock_now_ms() < deadline_ms;) {
        for (int i = 0; i < 100; i++, stream += 2) {
            put_headers(&peer, END_HEADERS, stream, "/streamhouse.v1.StreamHouse/Metadata");
            put_frame(&peer, RST_STREAM, 0, stream, cancel, sizeof cancel);
        }
        open = send_all(&peer) && !is_closed(&peer);
    }
    assert_false(open);
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
    close(peer.fd);
}

/* Seventy connections, of one host or of as many, hold all calls that they may. */
static void hold_calls(const Fixture *fixture, Peer *peers, bool one_host, int64_t held)
{
    for (int i = 0; i < HOLDERS; i++) {
        peer_open(&peers[i], fixture, (uint8_t)(one_host ? 2 : 2 + i));
        put_watches(&peers[i], 8);
        assert_true(send_all(&peers[i]));
    }
    WAIT_UNTIL(fake_held_bytes(fixture->engine) >= held * (16 << 10));
}

static int let_calls_go(Peer *peers)
{
    int closed = 0;
    for (int i = 0; i < HOLDERS; i++) {
        closed += is_closed(&peers[i]);
        close(peers[i].fd);
    }
    return closed;
}

static void a_host_does_not_have_all_calls(void **state)
{
    static Peer peers[HOLDERS];
    hold_calls(*state, peers, true, 448);
    for (int i = 0; i < 20; i++)
        assert_int_equal(check_health(*state), GRPC_STATUS_OK);
    assert_int_equal(let_calls_go(peers), 0);
}

/* Whether the server takes a new connection from the host, or closes it at once. */
static bool is_let_in(const Fixture *fixture, uint8_t host)
{
    static Peer peer;
    uint8_t first;
    peer_open(&peer, fixture, host);
    (void)send_all(&peer);
    struct pollfd watched = {.fd = peer.fd, .events = POLLIN};
    assert_int_equal(poll(&watched, 1, WAIT_MS), 1);
    bool is_answered = recv(peer.fd, &first, 1, 0) == 1;
    close(peer.fd);
    return is_answered;
}

/* For longer than descriptors of connections that ended are missed. */
static bool is_barred(const Fixture *fixture, uint8_t host)
{
    for (int i = 0; i < 6; i++) {
        if (is_let_in(fixture, host))
            return false;
        (void)poll(NULL, 0, 50);
    }
    return true;
}

/* Each refusal costs the agent about as much as an answer. */
static void who_begins_calls_without_end_is_barred_for_a_while(void **state)
{
    enum { FLOODS = 32, CALLS = 250 };
    int floods = 0;
    static Peer quiet, peers[FLOODS];
    Fixture *fixture = *state;
    peer_open(&quiet, fixture, 2);
    put_watches(&quiet, 1);
    assert_true(send_all(&quiet));
    assert_true(is_let_in(fixture, 2));
    do {
        peer_open(&peers[floods], fixture, 2);
        put_watches(&peers[floods], CALLS);
        (void)send_all(&peers[floods]);
    } while (++floods < FLOODS && !is_barred(fixture, 2));
    WAIT_UNTIL(is_barred(fixture, 2));
    assert_int_equal(check_health(fixture), GRPC_STATUS_OK);
    assert_true(is_let_in(fixture, 3));
    assert_false(is_closed(&quiet));
    int closed = 0;
    for (int i = 0; i < floods; i++) {
        closed += is_closed(&peers[i]);
        close(peers[i].fd);
    }
    assert_in_range(closed, 2, floods);
    WAIT_UNTIL(is_let_in(fixture, 2));
    close(quiet.fd);
}

/* Answers that nobody takes: their calls stay, refused ones too. */
static void refusals_that_are_not_taken_are_bounded(void **state)
{
    enum { HOSTS = 8, CALLS = 1000 };
    static Peer peers[HOSTS];
    Fixture *fixture = *state;
    ShRpc *rpc = fixture->rpc;
    int64_t most = 0;
    for (int i = 0; i < HOSTS; i++) {
        int small = 1024;
        peer_open(&peers[i], fixture, (uint8_t)(2 + i));
        (void)setsockopt(peers[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        for (uint32_t call = 0; call < CALLS; call++) {
            put_headers(&peers[i], END_HEADERS, 2 * call + 1, "/grpc.health.v1.Health/Watch");
            put_frame(&peers[i], DATA, END_STREAM, 2 * call + 1, "\0\0\0\0\0", 5);
            if (call % 100 == 99)
                (void)send_all(&peers[i]);
            int64_t lingering = atomic_load(&rpc->calls_open) - atomic_load(&rpc->calls_admitted);
            most = lingering > most ? lingering : most;
        }
    }
    int64_t until_ms = sh_clock_now_ms() + 500;
    while (sh_clock_now_ms() < until_ms) {
        int64_t lingering = atomic_load(&rpc->calls_open) - atomic_load(&rpc->calls_admitted);
        most = lingering > most ? lingering : most;
    }
    assert_in_range(most, 1, rpc->calls_max / 4 + 16);
    assert_int_equal(check_health(fixture), GRPC_STATUS_OK);
    for (int i = 0; i < HOSTS; i++)
        close(peers[i].fd);
}

static void calls_make_room_for_other_hosts(void **state)
{
    static Peer peers[HOLDERS];
    hold_calls(*state, peers, false, 512);
    WAIT_UNTIL(check_health(*state) == GRPC_STATUS_OK);
    assert_in_range(let_calls_go(peers), 1, HOLDERS / 2);
}

/* Three hosts hold all connections, none of them without a call, none with more than half of all. */
static void connections_make_room_for_other_hosts(void **state)
{
    enum { CONNECTIONS = 18 };
    Fixture *fixture = *state;
    static Peer peers[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        peer_open(&peers[i], fixture, (uint8_t)(2 + i % 3));
        put_watches(&peers[i], 1);
        (void)send_all(&peers[i]);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(check_health(fixture), GRPC_STATUS_OK);
    for (int i = 0; i < CONNECTIONS; i++)
        close(peers[i].fd);
}

/* A ProduceStream's request of a batch and of parts that name nothing: half a megabyte in memory. */
static void put_fat_request(Peer *peer, uint32_t stream)
{
    enum { NAMELESS = 500 };
    uint8_t message[4 << 10] = {0};
    ShBuf *batch = make_batch(1, "v", 1);
    Request request;
    request_init(&request, stream);
    request_add(&request, 0, batch);
    size_t length = streamhouse__v1__produce_request__pack(&request.message, message + 5);
    for (size_t i = 0; i < NAMELESS; i++, length += 2)
        memcpy(message + 5 + length, "\x12\x00", 2);
    message[3] = (uint8_t)(length >> 8);
    message[4] = (uint8_t)length;
    put_headers(peer, END_HEADERS, stream, "/streamhouse.v1.StreamHouse/ProduceStream");
    put_frame(peer, DATA, 0, stream, message, 5 + length);
    sh_buf_unref(batch);
}

/* Streams of one host hold what they can; another host's call finds room beside them. */
static void streams_leave_room_for_other_hosts(void **state)
{
    enum { STREAMS = 20 };
    Fixture *fixture = *state;
    static Peer peer;
    fake_hold_appends(fixture->engine, true);
    peer_open(&peer, fixture, 2);
    for (uint32_t i = 0; i < STREAMS; i++)
        put_fat_request(&peer, 2 * i + 1);
    assert_true(send_all(&peer));
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) + atomic_load(&fixture->rpc->answers) >= STREAMS);
    size_t waiting = fake_waiting_appends(fixture->engine);
    assert_in_range(waiting, 4, 7);

    ShBuf *batch = make_batch(1, "v", 1);
    Request request;
    ClientCall client;
    request_init(&request, 1);
    request_add(&request, 1, batch);
    client_open(&client, fixture->channel, "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
    client_send(&client, &request.message.base);
    client_close(&client);
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == waiting + 1);
    fake_hold_appends(fixture->engine, false);
    size_t length;
    gpr_free(client_receive_raw(&client, &length));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    sh_buf_unref(batch);
    close(peer.fd);
}

/* Calls that have read what they read are sent more, which nobody takes, while others of the connection come
 * and go: it is remembered all the same. */
static void what_nobody_reads_ends_its_connection(void **state)
{
    enum { CALLS = 120, MORE_BYTES = 60000 };
    Fixture *fixture = *state;
    static ClientCall calls[CALLS];
    static const char more[MORE_BYTES];
    grpc_channel *channel = client_connect(fixture->address);
    int begun = 0;
    bool is_open = true;
    while (begun < CALLS && is_open) {
        ClientCall *call = &calls[begun++];
        size_t length;
        client_open(call, channel, "/grpc.health.v1.Health/Watch", CLIENT_TIMEOUT_MS);
        client_send_raw(call, "", 0);
        gpr_free(client_receive_raw(call, &length));
        is_open = client_send_raw(call, more, sizeof more) && check_health_of(channel) == GRPC_STATUS_OK;
    }
    size_t length;
    assert_null(client_receive_raw(&calls[0], &length));
    assert_int_equal(client_wait(&calls[0]), GRPC_STATUS_UNAVAILABLE);
    assert_int_equal(check_health(fixture), GRPC_STATUS_OK);
    for (int i = 0; i < begun; i++) {
        grpc_call_cancel(calls[i].call, NULL);
        client_free(&calls[i]);
    }
    grpc_channel_destroy(channel);
}

/* A host's calls of administration that wait are an eighth of what may: of others there is room for. Those
 * that are given up are not run. */
static void administration_leaves_room_for_other_hosts(void **state)
{
    enum { CALLS = 50, MOST = SH_ADMIN_JOBS_MAX / 8 };
    Fixture *fixture = *state;
    ShEngine *engine = fixture->engine;
    static Peer peer;
    fake_hold_describes(engine);
    peer_open(&peer, fixture, 2);
    send_calls(&peer, CALLS, "/streamhouse.v1.Admin/DescribeTopics", "\0\0\0\0\0", 5);
    WAIT_UNTIL(fake_held_describes(engine, false) + atomic_load(&fixture->rpc->answers) >= CALLS);
    assert_int_equal(fake_held_describes(engine, false), MOST);

    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.Admin/DescribeTopics", CLIENT_TIMEOUT_MS);
    client_send_raw(&client, "", 0);
    client_close(&client);
    WAIT_UNTIL(fake_held_describes(engine, false) == MOST + 1);
    assert_int_equal(fake_held_describes(engine, true), 0);
    close(peer.fd);
    WAIT_UNTIL(fake_held_describes(engine, true) == MOST);
    fake_release_describes(engine);
    size_t length;
    gpr_free(client_receive_raw(&client, &length));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
}

/* Hosts that each have as many as they may, together more than may wait: there is room for one that has none.
 */
static void administration_leaves_room_whoever_fills_it(void **state)
{
    enum { HOSTS = 12, CALLS = SH_ADMIN_JOBS_MAX / 8 + 1 };
    Fixture *fixture = *state;
    ShEngine *engine = fixture->engine;
    static Peer peers[HOSTS];
    fake_hold_describes(engine);
    for (int host = 0; host < HOSTS; host++) {
        peer_open(&peers[host], fixture, (uint8_t)(2 + host));
        send_calls(&peers[host], CALLS, "/streamhouse.v1.Admin/DescribeTopics", "\0\0\0\0\0", 5);
    }
    WAIT_UNTIL(fake_held_describes(engine, false) + atomic_load(&fixture->rpc->answers) >= HOSTS * CALLS);
    size_t held = fake_held_describes(engine, false);
    assert_in_range(held, SH_ADMIN_JOBS_MAX / 2, SH_ADMIN_JOBS_MAX - 8);
    assert_int_equal(atomic_load(&fixture->rpc->admin_calls), held);

    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.Admin/DescribeTopics", CLIENT_TIMEOUT_MS);
    client_send_raw(&client, "", 0);
    client_close(&client);
    WAIT_UNTIL(fake_held_describes(engine, false) == held + 1);
    fake_release_describes(engine);
    size_t length;
    gpr_free(client_receive_raw(&client, &length));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    for (int host = 0; host < HOSTS; host++)
        close(peers[host].fd);
}

/* ListOffsets of the first partition of `orders`, for the latest. */
static const char list_latest[] =
    "\0\0\0\0\x15\x0a\x13\x0a\x06orders\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";

/* Look-ups take turns by host, and those that were given up look up nothing. */
static void lookups_take_turns(void **state)
{
    enum { CALLS = 30 };
    Fixture *fixture = *state;
    ShEngine *engine = fixture->engine;
    static Peer peer;
    fake_hold_lists(engine);
    peer_open(&peer, fixture, 2);
    send_calls(&peer, CALLS, "/streamhouse.v1.StreamHouse/ListOffsets", list_latest, sizeof list_latest - 1);
    WAIT_UNTIL(atomic_load(&fixture->rpc->lists.calls) == CALLS);
    WAIT_UNTIL(fake_held_lists(engine, false) > 0);

    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.StreamHouse/ListOffsets", CLIENT_TIMEOUT_MS);
    client_send_raw(&client, list_latest + 5, sizeof list_latest - 6);
    client_close(&client);
    WAIT_UNTIL(atomic_load(&fixture->rpc->lists.calls) == CALLS + 1);
    size_t turns = fake_held_lists(engine, false);
    for (size_t i = 0; i < 2 * turns + 1; i++) {
        WAIT_UNTIL(fake_held_lists(engine, false) == turns);
        (void)fake_held_lists(engine, true);
    }
    size_t length;
    gpr_free(client_receive_raw(&client, &length));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);

    close(peer.fd);
    WAIT_UNTIL(fake_held_lists(engine, true) == 0 && atomic_load(&fixture->rpc->lists.calls) == 0);
    assert_in_range(fake_read(engine, &engine->lookups), 1, CALLS - 10);
}

static void put_produce(Peer *peer)
{
    uint8_t message[512] = {0};
    ShBuf *batch = make_batch(1, "v", 1);
    Request request;
    request_init(&request, 1);
    request_add(&request, 0, batch);
    size_t length = streamhouse__v1__produce_request__pack(&request.message, message + 5);
    message[3] = (uint8_t)(length >> 8);
    message[4] = (uint8_t)length;
    put_headers(peer, END_HEADERS, 1, "/streamhouse.v1.StreamHouse/Produce");
    put_frame(peer, DATA, END_STREAM, 1, message, 5 + length);
    sh_buf_unref(batch);
}

static bool is_shut(const Peer *peer)
{
    struct pollfd watched = {.fd = peer->fd, .events = POLLRDHUP};
    return poll(&watched, 1, 0) > 0;
}

/* Connect from one of `hosts`, have a call begin that does not end, and reset, again and again until the
 * server wants no more: how often it was taken. */
static int reset_often(Fixture *fixture, int hosts, int enough)
{
    struct linger at_once = {.l_onoff = 1};
    static Peer peer;
    int taken = 0;
    bool is_refused = false;
    while (!is_refused && taken < enough) {
        peer_open(&peer, fixture, (uint8_t)(2 + taken % hosts));
        put_produce(&peer);
        (void)send_all(&peer);
        WAIT_UNTIL(fake_appends(fixture->engine) > (size_t)taken || (is_refused = is_shut(&peer)));
        taken += !is_refused;
        (void)setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer.fd);
    }
    return taken;
}

enum { STANDING = 128, RESETS_MAX = STANDING / 2 };

/* Connections that were reset while a call of theirs goes on: each keeps its descriptor, so they are bounded,
 * and when the calls are done there is room again. Some more are taken before they are seen to be reset. */
static void resets_are_bounded(void **state)
{
    Fixture *fixture = *state;
    fake_hold_appends(fixture->engine, true);
    assert_in_range(reset_often(fixture, 250, 3 * STANDING), RESETS_MAX, RESETS_MAX + STANDING);
    fake_hold_appends(fixture->engine, false);
    WAIT_UNTIL(check_health(fixture) == GRPC_STATUS_OK);
}

static void resets_of_one_host_leave_room_for_others(void **state)
{
    Fixture *fixture = *state;
    static Peer peer;
    fake_hold_appends(fixture->engine, true);
    assert_in_range(reset_often(fixture, 1, 3 * STANDING), RESETS_MAX / 2, RESETS_MAX / 2 + STANDING + 1);
    assert_int_equal(check_health(fixture), GRPC_STATUS_OK);
    peer_open(&peer, fixture, 2);
    WAIT_UNTIL(is_shut(&peer));
    close(peer.fd);
}

static int set_up_middle(void **state)
{
    return fixture_start_small(state, 16 << 20);
}

#define SMALL_TEST(name)  cmocka_unit_test_setup_teardown(name, fixture_set_up_small, fixture_tear_down)
#define MIDDLE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_middle, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIDDLE_TEST(calls_that_are_given_up_at_once_end_their_connection),
        MIDDLE_TEST(a_host_does_not_have_all_calls),
        MIDDLE_TEST(who_begins_calls_without_end_is_barred_for_a_while),
        MIDDLE_TEST(refusals_that_are_not_taken_are_bounded),
        MIDDLE_TEST(calls_make_room_for_other_hosts),
        MIDDLE_TEST(what_nobody_reads_ends_its_connection),
        MIDDLE_TEST(administration_leaves_room_for_other_hosts),
        MIDDLE_TEST(administration_leaves_room_whoever_fills_it),
        MIDDLE_TEST(lookups_take_turns),
        MIDDLE_TEST(streams_leave_room_for_other_hosts),
        SMALL_TEST(connections_make_room_for_other_hosts),
        MIDDLE_TEST(resets_are_bounded),
        MIDDLE_TEST(resets_of_one_host_leave_room_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
