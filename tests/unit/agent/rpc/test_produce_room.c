/* What requests to produce hold together: their parts count, who finds no room is refused, and one host
 * leaves some to the others. */
#include <poll.h>

#include "agent/rpc/server.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

static const char unary_path[] = "/streamhouse.v1.StreamHouse/Produce";
static const char stream_path[] = "/streamhouse.v1.StreamHouse/ProduceStream";

/* All requests may hold 4 MB. */
static int set_up(void **state)
{
    return fixture_start_small(state, 16 << 20);
}

#define ROOM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

static long long request_bytes(Fixture *fixture)
{
    return atomic_load(&fixture->rpc->request_bytes);
}

/* A batch of so many bytes, and parts behind it that name nothing: two bytes each, and far more in memory. */
static void send_request(ClientCall *client, uint64_t id, size_t value_bytes, size_t nameless)
{
    char *value = calloc(1, value_bytes + 1);
    ShBuf *batch = make_batch(1, value, value_bytes);
    Request request;
    request_init(&request, id);
    request_add(&request, 0, batch);
    size_t length = streamhouse__v1__produce_request__get_packed_size(&request.message);
    uint8_t *packed = malloc(length + 2 * nameless);
    streamhouse__v1__produce_request__pack(&request.message, packed);
    for (size_t i = 0; i < nameless; i++)
        memcpy(packed + length + 2 * i, "\x12\x00", 2);
    client_send_raw(client, packed, length + 2 * nameless);
    free(packed);
    sh_buf_unref(batch);
    free(value);
}

static void open_and_send(Fixture *fixture, ClientCall *client, const char *path, size_t value_bytes,
                          size_t nameless)
{
    client_open(client, fixture->channel, path, CLIENT_TIMEOUT_MS);
    send_request(client, 1, value_bytes, nameless);
    client_close(client);
}

/* Two megabytes in memory of each request of four kilobytes. */
static void parts_are_counted(void **state)
{
    enum { CALLS = 5, NAMELESS = 2000 };
    Fixture *fixture = *state;
    ClientCall clients[CALLS];
    fake_hold_appends(fixture->engine, true);
    for (int i = 0; i < CALLS; i++) {
        open_and_send(fixture, &clients[i], unary_path, 1, NAMELESS);
        if (i == 0)
            WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 1);
        else
            assert_int_equal(client_wait(&clients[i]), GRPC_STATUS_RESOURCE_EXHAUSTED);
    }
    ProtobufCBinaryData delay = client_trailing(&clients[1], "grpc-retry-pushback-ms");
    assert_int_equal(delay.len, 3);
    assert_in_range(request_bytes(fixture), NAMELESS * sizeof(ShAppendPart), 4 << 20);
    assert_int_equal(fake_waiting_appends(fixture->engine), 1);
    fake_hold_appends(fixture->engine, false);
    for (int i = 0; i < CALLS; i++) {
        grpc_call_cancel(clients[i].call, NULL);
        client_free(&clients[i]);
    }
    WAIT_UNTIL(request_bytes(fixture) == 0);
}

static void expect_answer(ClientCall *client, uint64_t id, const char *reason)
{
    Streamhouse__V1__ProduceResponse *response = client_receive(
        client, &streamhouse__v1__produce_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->request_id, id);
    assert_int_equal(response->n_results, 1);
    if (reason == NULL) {
        assert_null(response->results[0]->error);
    } else {
        assert_string_equal(response->results[0]->error->reason, reason);
        assert_true(response->results[0]->error->retry_after_ms > 0);
        assert_string_equal(response->results[0]->topic, "orders");
    }
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
}

/* A stream's request that finds no room is refused by its answer, and the stream goes on; where that would be
 * large, the stream ends. */
static void a_stream_is_refused_what_has_no_room(void **state)
{
    Fixture *fixture = *state;
    ClientCall first, second, fat;
    fake_hold_appends(fixture->engine, true);
    open_and_send(fixture, &first, stream_path, 2 << 20, 0);
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 1);
    client_open(&second, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    send_request(&second, 7, 3 << 20, 0);
    expect_answer(&second, 7, "EXHAUSTED");
    open_and_send(fixture, &fat, stream_path, 1, 2000);
    assert_int_equal(client_wait(&fat), GRPC_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(fake_waiting_appends(fixture->engine), 1);

    fake_hold_appends(fixture->engine, false);
    expect_answer(&first, 1, NULL);
    send_request(&second, 8, 3 << 20, 0);
    expect_answer(&second, 8, NULL);
    client_close(&second);
    assert_int_equal(client_wait(&first), GRPC_STATUS_OK);
    assert_int_equal(client_wait(&second), GRPC_STATUS_OK);
    client_free(&first);
    client_free(&second);
    client_free(&fat);
    assert_int_equal(request_bytes(fixture), 0);
}

/* Records become a batch at the checker, which the request holds from then on: the count comes out even. */
static void what_is_added_by_a_check_is_taken_away(void **state)
{
    enum { VALUE_BYTES = 300 << 10 };
    Fixture *fixture = *state;
    uint8_t *value = calloc(1, VALUE_BYTES);
    Streamhouse__V1__Record record = STREAMHOUSE__V1__RECORD__INIT;
    Streamhouse__V1__Record *records[] = {&record};
    record.value_or_null_case = STREAMHOUSE__V1__RECORD__VALUE_OR_NULL_VALUE;
    record.value = (ProtobufCBinaryData){VALUE_BYTES, value};
    Request request;
    request_init(&request, 1);
    Streamhouse__V1__ProducePartition *part = request_add(&request, 0, NULL);
    part->records = records;
    part->n_records = 1;
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    client_send(&client, &request.message.base);
    expect_answer(&client, 1, NULL);
    WAIT_UNTIL(request_bytes(fixture) == 0);
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(parts_are_counted),
        ROOM_TEST(a_stream_is_refused_what_has_no_room),
        ROOM_TEST(what_is_added_by_a_check_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
