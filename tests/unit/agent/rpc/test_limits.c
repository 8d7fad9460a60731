/* What one client can make the server hold or do: names with a NUL, repeated names, answers, calls,
 * connections. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/rpc/checker.h"
#include "agent/rpc/server.h"
#include "tests/unit/agent/rpc/rpc_fixture.h"

static void expect_invalid(Fixture *fixture, const char *path, const char *request, size_t length,
                           const char *text)
{
    ClientCall client;
    client_open(&client, fixture->channel, path, CLIENT_TIMEOUT_MS);
    client_send_raw(&client, request, length);
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(client.text, text));
    client_free(&client);
}

/* "orders", a NUL and "x" name nothing; as a string of C they would name `orders`. */
static void names_with_a_nul_are_refused(void **state)
{
    static const char in_field_1[] = "\x0a\x08orders\0x";
    static const char in_partition[] = "\x0a\x0a\x0a\x08orders\0x";
    static const struct {
        const char *path;
        bool is_partition;
    } methods[] = {
        {"/streamhouse.v1.Admin/CreateTopic", false},
        {"/streamhouse.v1.Admin/DeleteTopic", false},
        {"/streamhouse.v1.Admin/DescribeTopics", false},
        {"/streamhouse.v1.StreamHouse/InitProducer", false},
        {"/streamhouse.v1.StreamHouse/Metadata", false},
        {"/streamhouse.v1.StreamHouse/Fetch", true},
        {"/streamhouse.v1.StreamHouse/FetchStream", true},
        {"/streamhouse.v1.StreamHouse/ListOffsets", true},
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (methods[i].is_partition)
            expect_invalid(*state, methods[i].path, in_partition, sizeof in_partition - 1, "NUL");
        else
            expect_invalid(*state, methods[i].path, in_field_1, sizeof in_field_1 - 1, "NUL");
    }
    expect_invalid(*state, "/streamhouse.v1.Admin/DeleteTopic", "\x0a\x02\xC3\x28", 4, "UTF-8");
    /* ProduceRequest's partitions are its field 2, and it reads names by their length. */
    expect_invalid(*state, "/streamhouse.v1.StreamHouse/Produce", "\x12\x0d\x0a\x08orders\0x\x22\x01z", 15,
                   "topic's name");
}

static void a_request_of_too_many_partitions_is_refused(void **state)
{
    static char request[2 * 10001];
    for (size_t i = 0; i < sizeof request; i += 2)
        memcpy(request + i, "\x12\x00", 2);
    expect_invalid(*state, "/streamhouse.v1.StreamHouse/Produce", request, sizeof request,
                   "more than 10000 partitions");
    expect_invalid(*state, "/streamhouse.v1.StreamHouse/Produce", request, sizeof request - 2,
                   "neither topic nor topic_id");
}

static void a_topic_that_is_named_often_is_answered_once(void **state)
{
    Fixture *fixture = *state;
    char *names[5000];
    for (size_t i = 0; i < 5000; i++)
        names[i] = (char *)(uintptr_t)(i % 2 == 0 ? "orders" : "absent");
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    request.topics = names;
    request.n_topics = 5000;
    ClientCall client;
    Streamhouse__V1__MetadataResponse *response = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/Metadata", &request.base,
        &streamhouse__v1__metadata_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->n_topics, 2);
    assert_string_equal(response->topics[0]->name, "orders");
    assert_string_equal(response->topics[1]->name, "absent");
    streamhouse__v1__metadata_response__free_unpacked(response, NULL);
    client_free(&client);
}

/* Twenty records of 10,000 equal bytes, which zstd makes very small. */
static void produce_foldable(Fixture *fixture, int32_t partition, int records)
{
    static char value[10000];
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_ZSTD);
    ShBuf *batch = NULL;
    for (int i = 0; i < records; i++) {
        ShRecord record = {
            .timestamp_ms = 1000, .value = (const uint8_t *)value, .value_length = sizeof value};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    assert_int_equal(sh_batch_builder_finish(builder, &batch, NULL), SH_OK);
    sh_batch_builder_free(builder);
    produce_batch(fixture, partition, batch);
}

static Streamhouse__V1__FetchResponse *fetch_decoded(Fixture *fixture, int32_t max_bytes)
{
    Streamhouse__V1__FetchPartition parts[2];
    Streamhouse__V1__FetchPartition *list[2] = {&parts[0], &parts[1]};
    for (int i = 0; i < 2; i++) {
        streamhouse__v1__fetch_partition__init(&parts[i]);
        parts[i].topic = (char *)(uintptr_t) "orders";
        parts[i].partition = i;
    }
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = 2;
    request.decode = true;
    request.max_bytes = max_bytes;
    ClientCall client;
    Streamhouse__V1__FetchResponse *response = client_call(&client, fixture->channel,
                                                           "/streamhouse.v1.StreamHouse/Fetch", &request.base,
                                                           &streamhouse__v1__fetch_response__descriptor);
    assert_non_null(response);
    client_free(&client);
    return response;
}

static void decoded_answers_keep_their_bound(void **state)
{
    Fixture *fixture = *state;
    produce_foldable(fixture, 0, 20);
    produce_foldable(fixture, 1, 20);
    Streamhouse__V1__FetchResponse *response = fetch_decoded(fixture, 50000);
    size_t records = response->results[0]->n_records + response->results[1]->n_records;
    assert_in_range(records, 1, 4);
    for (int i = 0; i < 2; i++)
        assert_int_equal(response->results[i]->next_offset, response->results[i]->n_records);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);

    /* However small the bound: one record, of one partition. */
    response = fetch_decoded(fixture, 1);
    assert_int_equal(response->results[0]->n_records + response->results[1]->n_records, 1);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
}

static void unary_fetches_take_turns(void **state)
{
    Fixture *fixture = *state;
    produce_foldable(fixture, 0, 1);
    produce_foldable(fixture, 1, 1);
    bool seen[2] = {false, false};
    for (int i = 0; i < 20 && !(seen[0] && seen[1]); i++) {
        Streamhouse__V1__FetchResponse *response = fetch_decoded(fixture, 1);
        for (int p = 0; p < 2; p++)
            seen[p] |= response->results[p]->n_records > 0;
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    }
    assert_true(seen[0] && seen[1]);
}

/* What is asked 1,500 times is looked up once, some look-ups a turn; the answers stand where they were asked
 * for. */
static void offsets_that_are_asked_often_are_looked_up_once(void **state)
{
    enum { ASKED = 1500 };
    Fixture *fixture = *state;
    static Streamhouse__V1__ListOffsetsPartition parts[ASKED];
    static Streamhouse__V1__ListOffsetsPartition *list[ASKED];
    produce(fixture, 0, 3, "v", 1);
    Streamhouse__V1__ListOffsetsRequest request = STREAMHOUSE__V1__LIST_OFFSETS_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = ASKED;
    for (int i = 0; i < ASKED; i++) {
        streamhouse__v1__list_offsets_partition__init(&parts[i]);
        parts[i].topic = (char *)(uintptr_t) "orders";
        parts[i].partition = i % 2;
        parts[i].timestamp_ms = i % 3 == 0 ? -1 : -2;
        list[i] = &parts[i];
    }
    ClientCall client;
    Streamhouse__V1__ListOffsetsResponse *response = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/ListOffsets", &request.base,
        &streamhouse__v1__list_offsets_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->n_results, ASKED);
    for (int i = 0; i < ASKED; i++) {
        assert_int_equal(response->results[i]->partition, i % 2);
        assert_int_equal(response->results[i]->offset, i % 2 == 0 && i % 3 == 0 ? 3 : 0);
    }
    assert_int_equal(fake_read(fixture->engine, &fixture->engine->lookups), 4);
    streamhouse__v1__list_offsets_response__free_unpacked(response, NULL);
    client_free(&client);

    for (int i = 0; i < ASKED; i++)
        parts[i].timestamp_ms = i;
    assert_null(client_call(&client, fixture->channel, "/streamhouse.v1.StreamHouse/ListOffsets",
                            &request.base, &streamhouse__v1__list_offsets_response__descriptor));
    assert_int_equal(client.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_free(&client);
}

/* --- checks that take long */

static int wide_set_up(void **state)
{
    ShConfig config = fixture_config();
    config.batch_decompressed_bytes_max = 64 << 20;
    config.message_bytes_max = 16 << 20;
    return fixture_start(state, config);
}

#define WIDE_TEST(name) cmocka_unit_test_setup_teardown(name, wide_set_up, fixture_tear_down)

static ShBuf *repeat(ShBuf *batch, size_t times)
{
    ShBuf *all = sh_buf_new(batch->length * times);
    for (size_t i = 0; i < times; i++) {
        memcpy(all->data + all->length, batch->data, batch->length);
        all->length += batch->length;
    }
    sh_buf_unref(batch);
    return all;
}

/* What unfolds to more than a worker allows is checked elsewhere, and stored all the same; what comes behind
 * it on its stream stays behind it. */
static void requests_that_are_postponed_keep_their_order(void **state)
{
    Fixture *fixture = *state;
    ShBuf *heavy = make_bomb(20 << 20);
    ShBuf *light = make_batch(1, "v", 1);
    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.StreamHouse/ProduceStream", CLIENT_TIMEOUT_MS);
    for (uint64_t id = 1; id <= 20; id++) {
        Request request;
        request_init(&request, id);
        request_add(&request, 0, id % 5 == 1 ? heavy : light);
        client_send(&client, &request.message.base);
    }
    client_close(&client);
    for (uint64_t id = 1; id <= 20; id++) {
        Streamhouse__V1__ProduceResponse *response = client_receive(
            &client, &streamhouse__v1__produce_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->request_id, id);
        assert_null(response->results[0]->error);
        assert_int_equal(response->results[0]->base_offset, id - 1);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
    }
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    sh_buf_unref(heavy);
    sh_buf_unref(light);
}

/* A setting that is lowered is for what comes in. */
static void what_was_accepted_is_read(void **state)
{
    Fixture *fixture = *state;
    ShError err;
    produce_foldable(fixture, 0, 500);
    grpc_channel_destroy(fixture->channel);
    sh_rpc_stop(fixture->rpc, 100);
    fixture->config.batch_decompressed_bytes_max = 1 << 20;
    fixture->config.batch_bytes_max = 1 << 10;
    assert_int_equal(sh_rpc_bind(&fixture->config, &fixture->rpc, &fixture->address, &err), SH_OK);
    assert_int_equal(sh_rpc_serve(fixture->rpc, fixture->engine, &err), SH_OK);
    fixture->channel = client_connect(fixture->address);
    Streamhouse__V1__FetchResponse *response = fetch_decoded(fixture, 1 << 20);
    assert_null(response->results[0]->error);
    assert_in_range(response->results[0]->n_records, 50, 200);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
}

/* A thousand batches of 2 KB that unfold to 60 MB each, from eight clients: each is refused after some, and
 * another client's request does not wait for them. */
static void one_request_unfolds_to_so_much(void **state)
{
    enum { ATTACKERS = 8, BATCHES = 1000 };
    Fixture *fixture = *state;
    ShBuf *bombs = repeat(make_bomb(60 << 20), BATCHES);
    ClientCall calls[ATTACKERS];
    grpc_channel *channels[ATTACKERS];
    Request request;
    request_init(&request, 1);
    request_add(&request, 0, bombs);
    for (int i = 0; i < ATTACKERS; i++) {
        channels[i] = client_connect(fixture->address);
        client_open(&calls[i], channels[i], "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
        client_send(&calls[i], &request.message.base);
        client_close(&calls[i]);
    }
    int64_t slowest_ms = 0;
    for (int i = 0; i < 20; i++) {
        int64_t begun_ms = sh_clock_now_ms();
        produce(fixture, 1, 1, "v", 1);
        int64_t took_ms = sh_clock_now_ms() - begun_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
    }
    assert_in_range(slowest_ms, 0, 1000);
    for (int i = 0; i < ATTACKERS; i++) {
        assert_int_equal(client_wait(&calls[i]), GRPC_STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(calls[i].text, "unfold"));
        client_free(&calls[i]);
        grpc_channel_destroy(channels[i]);
    }
    sh_buf_unref(bombs);
}

/* What waits for its check when its client has gone is not checked: nobody would be told. */
static void nothing_is_checked_for_who_has_gone(void **state)
{
    enum { CALLS = 30 };
    Fixture *fixture = *state;
    ShBuf *heavy = repeat(make_bomb(20 << 20), 3);
    grpc_channel *channel = client_connect(fixture->address);
    ClientCall calls[CALLS];
    Request request;
    request_init(&request, 1);
    request_add(&request, 0, heavy);
    for (int i = 0; i < CALLS; i++) {
        client_open(&calls[i], channel, "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
        client_send(&calls[i], &request.message.base);
        client_close(&calls[i]);
    }
    Streamhouse__V1__ProduceResponse *response = client_receive(
        &calls[0], &streamhouse__v1__produce_response__descriptor);
    assert_non_null(response);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    for (int i = 0; i < CALLS; i++) {
        grpc_call_cancel(calls[i].call, NULL);
        client_free(&calls[i]);
    }
    grpc_channel_destroy(channel);
    while (atomic_load(&fixture->rpc->calls_open) > 0)
        (void)poll(NULL, 0, 10);
    assert_in_range(fake_read(fixture->engine, &fixture->engine->logs[0].end), 3, 3 * CALLS / 2);
    sh_buf_unref(heavy);
}

/* --- whose turn it is at the checker */

enum { CHECKS = 6 };

typedef struct Checks {
    ShCheckJob first; /* keeps the thread until all the others wait */
    ShCheckJob jobs[CHECKS];
    atomic_bool is_blocked;
    atomic_int done;
    int order[CHECKS];
} Checks;

static Checks checks;

static void wait_for_the_others(ShCheckJob *job, ShCheckTools *tools)
{
    (void)job;
    (void)tools;
    while (atomic_load(&checks.is_blocked))
        poll(NULL, 0, 1);
}

static void note_turn(ShCheckJob *job, ShCheckTools *tools)
{
    (void)tools;
    int turn = atomic_load(&checks.done);
    checks.order[turn] = (int)(job - checks.jobs);
    atomic_store(&checks.done, turn + 1);
}

/* Hosts take turns however many connections they have, and so do the connections of each. */
static void checks_take_turns_by_host(void **state)
{
    (void)state;
    ShHost hosts[2] = {0};
    ShConnection connections[3] = {{.host = &hosts[0]}, {.host = &hosts[0]}, {.host = &hosts[1]}};
    static const int of[CHECKS] = {0, 0, 1, 0, 2, 2};
    static const int expected[CHECKS] = {0, 4, 2, 5, 1, 3};
    ShChecker *checker = NULL;
    assert_int_equal(sh_checker_start(1, &checker, NULL), SH_OK);
    checks.first.run = wait_for_the_others;
    atomic_store(&checks.is_blocked, true);
    sh_checker_submit(checker, &checks.first, NULL);
    for (int i = 0; i < CHECKS; i++) {
        checks.jobs[i].run = note_turn;
        sh_checker_submit(checker, &checks.jobs[i], &connections[of[i]]);
    }
    atomic_store(&checks.is_blocked, false);
    WAIT_UNTIL(atomic_load(&checks.done) == CHECKS);
    sh_checker_stop(checker);
    for (int i = 0; i < CHECKS; i++)
        assert_int_equal(checks.order[i], expected[i]);
}

/* --- with the smallest memory budget */

#define SMALL_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_small, fixture_tear_down)

/* Calls whose request does not come are held as they are counted, and refused when there are too many of
 * them; another connection's call is served beside them. */
static void calls_that_send_nothing_are_bounded(void **state)
{
    enum { CALLS = 200 };
    Fixture *fixture = *state;
    ClientCall calls[CALLS];
    for (int i = 0; i < CALLS; i++)
        client_open(&calls[i], fixture->channel, "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
    assert_int_equal(client_wait(&calls[CALLS - 1]), GRPC_STATUS_RESOURCE_EXHAUSTED);
    WAIT_UNTIL(fake_held_bytes(fixture->engine) < 1 << 20);
    assert_true(fake_held_bytes(fixture->engine) >= 32 * (16 << 10));

    grpc_channel *other = client_connect(fixture->address);
    ClientCall call;
    client_open(&call, other, "/grpc.health.v1.Health/Check", CLIENT_TIMEOUT_MS);
    client_send_raw(&call, "", 0);
    client_close(&call);
    size_t length;
    gpr_free(client_receive_raw(&call, &length));
    assert_int_equal(client_wait(&call), GRPC_STATUS_OK);
    client_free(&call);
    grpc_channel_destroy(other);
    for (int i = 0; i < CALLS; i++) {
        grpc_call_cancel(calls[i].call, NULL);
        client_free(&calls[i]);
    }
}

static int open_silent(const char *address)
{
    struct sockaddr_in place = {.sin_family = AF_INET};
    place.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    inet_pton(AF_INET, "127.0.0.1", &place.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof place), 0);
    return fd;
}

/* The budget allows 16 connections: more that say nothing make room for each other, and for one who speaks.
 */
static void silent_connections_make_room(void **state)
{
    enum { CONNECTIONS = 100 };
    Fixture *fixture = *state;
    int silent[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        silent[i] = open_silent(fixture->address);
    produce(fixture, 0, 1, "v", 1);
    int closed = 0;
    int64_t deadline_ms = sh_clock_now_ms() + WAIT_MS;
    while (closed < CONNECTIONS - 16 && sh_clock_now_ms() < deadline_ms) {
        closed = 0;
        for (int i = 0; i < CONNECTIONS; i++) {
            struct pollfd watched = {.fd = silent[i], .events = POLLRDHUP};
            closed += poll(&watched, 1, 0) > 0;
        }
    }
    assert_in_range(closed, CONNECTIONS - 16, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++)
        close(silent[i]);
}

static void the_server_reaches_itself(void **state)
{
    Fixture *fixture = *state;
    char why[256];
    int64_t failures;
    WAIT_UNTIL(sh_rpc_reachable(fixture->rpc, &failures, why, sizeof why));
    assert_int_equal(failures, 0);
}

/* Names that nobody has are not sent back. */
static void a_long_question_about_descriptors_is_refused(void **state)
{
    static char question[5003] = "\x1a\x88\x27";
    memset(question + 3, 'x', 5000);
    expect_invalid(*state, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", question,
                   sizeof question, "longer than any name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_with_a_nul_are_refused),
        TEST(a_request_of_too_many_partitions_is_refused),
        TEST(a_topic_that_is_named_often_is_answered_once),
        TEST(decoded_answers_keep_their_bound),
        TEST(unary_fetches_take_turns),
        TEST(offsets_that_are_asked_often_are_looked_up_once),
        WIDE_TEST(requests_that_are_postponed_keep_their_order),
        WIDE_TEST(nothing_is_checked_for_who_has_gone),
        WIDE_TEST(what_was_accepted_is_read),
        WIDE_TEST(one_request_unfolds_to_so_much),
        cmocka_unit_test(checks_take_turns_by_host),
        SMALL_TEST(calls_that_send_nothing_are_bounded),
        SMALL_TEST(silent_connections_make_room),
        TEST(the_server_reaches_itself),
        TEST(a_long_question_about_descriptors_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
