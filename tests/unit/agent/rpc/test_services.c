/* Metadata, ListOffsets, Admin, health, reflection, unknown methods; and the server's own life. */
#include <poll.h>

#include "tests/unit/agent/rpc/rpc_fixture.h"

static const char watch_path[] = "/grpc.health.v1.Health/Watch";
static const char reflection_path[] = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
static const char reflection_alpha_path[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

static void metadata_names_topics_partitions_and_owners(void **state)
{
    Fixture *fixture = *state;
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    ClientCall client;
    Streamhouse__V1__MetadataResponse *response = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/Metadata", &request.base,
        &streamhouse__v1__metadata_response__descriptor);
    assert_non_null(response);
    assert_int_equal(strlen(response->cluster_id), 36);
    assert_int_equal(response->n_agents, 1);
    assert_string_equal(response->agents[0]->address, "127.0.0.1:1");
    assert_int_equal(response->n_topics, 1);
    assert_int_equal(response->topics[0]->n_partitions, 4);
    assert_string_equal(response->topics[0]->durability, "wal");
    assert_null(response->topics[0]->partitions[0]->owner);
    assert_string_equal(response->topics[0]->partitions[3]->owner->agent_id, "other");
    assert_int_equal(fake_read(fixture->engine, &fixture->engine->refreshes), 0);
    streamhouse__v1__metadata_response__free_unpacked(response, NULL);
    client_free(&client);
}

/* A name that the snapshot lacks is looked for once in PostgreSQL before it is said to be missing. */
static void metadata_refreshes_before_not_found(void **state)
{
    Fixture *fixture = *state;
    char *names[] = {(char *)(uintptr_t) "orders", (char *)(uintptr_t) "later", (char *)(uintptr_t) "absent"};
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    request.topics = names;
    request.n_topics = 3;
    ClientCall client;
    Streamhouse__V1__MetadataResponse *response = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/Metadata", &request.base,
        &streamhouse__v1__metadata_response__descriptor);
    assert_non_null(response);
    assert_int_equal(fake_read(fixture->engine, &fixture->engine->refreshes), 1);
    assert_int_equal(response->n_topics, 3);
    assert_null(response->topics[0]->error);
    assert_null(response->topics[1]->error);
    assert_string_equal(response->topics[1]->durability, "object");
    assert_int_equal(response->topics[2]->error->code, GRPC_STATUS_NOT_FOUND);
    assert_string_equal(response->topics[2]->error->reason, "NOT_FOUND");
    assert_int_equal(response->topics[2]->topic_id.len, 0);
    streamhouse__v1__metadata_response__free_unpacked(response, NULL);
    client_free(&client);
}

static void offsets_are_listed(void **state)
{
    Fixture *fixture = *state;
    produce(fixture, 0, 5, "v", 1);
    Streamhouse__V1__ListOffsetsPartition parts[2];
    Streamhouse__V1__ListOffsetsPartition *list[] = {&parts[0], &parts[1]};
    for (int i = 0; i < 2; i++) {
        streamhouse__v1__list_offsets_partition__init(&parts[i]);
        parts[i].topic = (char *)(uintptr_t) "orders";
        parts[i].timestamp_ms = SH_TIMESTAMP_LATEST;
    }
    parts[1].partition = 3;
    Streamhouse__V1__ListOffsetsRequest request = STREAMHOUSE__V1__LIST_OFFSETS_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = 2;
    ClientCall client;
    Streamhouse__V1__ListOffsetsResponse *response = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/ListOffsets", &request.base,
        &streamhouse__v1__list_offsets_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->results[0]->offset, 5);
    assert_int_equal(response->results[0]->timestamp_ms, -1);
    assert_int_equal(response->results[1]->error->owner->epoch, 7);
    streamhouse__v1__list_offsets_response__free_unpacked(response, NULL);
    client_free(&client);

    list[0] = &parts[1];
    request.n_partitions = 1;
    assert_null(client_call(&client, fixture->channel, "/streamhouse.v1.StreamHouse/ListOffsets",
                            &request.base, &streamhouse__v1__list_offsets_response__descriptor));
    assert_int_equal(client.status, GRPC_STATUS_FAILED_PRECONDITION);
    assert_non_null(client_trailing(&client, "streamhouse-error-bin").data);
    client_free(&client);
}

static void topics_are_administered(void **state)
{
    Fixture *fixture = *state;
    ClientCall client;
    Streamhouse__V1__CreateTopicRequest create = STREAMHOUSE__V1__CREATE_TOPIC_REQUEST__INIT;
    create.name = (char *)(uintptr_t) "fresh";
    create.partitions = 3;
    Streamhouse__V1__CreateTopicResponse *created = client_call(
        &client, fixture->channel, "/streamhouse.v1.Admin/CreateTopic", &create.base,
        &streamhouse__v1__create_topic_response__descriptor);
    assert_non_null(created);
    assert_int_equal(created->topic_id.len, 16);
    assert_string_equal(fixture->engine->created, "fresh");
    streamhouse__v1__create_topic_response__free_unpacked(created, NULL);
    client_free(&client);

    create.name = (char *)(uintptr_t) "orders";
    assert_null(client_call(&client, fixture->channel, "/streamhouse.v1.Admin/CreateTopic", &create.base,
                            &streamhouse__v1__create_topic_response__descriptor));
    assert_int_equal(client.status, GRPC_STATUS_ALREADY_EXISTS);
    client_free(&client);

    Streamhouse__V1__DeleteTopicRequest delete = STREAMHOUSE__V1__DELETE_TOPIC_REQUEST__INIT;
    delete.name = (char *)(uintptr_t) "absent";
    assert_null(client_call(&client, fixture->channel, "/streamhouse.v1.Admin/DeleteTopic", &delete.base,
                            &streamhouse__v1__delete_topic_response__descriptor));
    assert_int_equal(client.status, GRPC_STATUS_NOT_FOUND);
    client_free(&client);

    Streamhouse__V1__InitProducerRequest init = STREAMHOUSE__V1__INIT_PRODUCER_REQUEST__INIT;
    Streamhouse__V1__InitProducerResponse *producer = client_call(
        &client, fixture->channel, "/streamhouse.v1.StreamHouse/InitProducer", &init.base,
        &streamhouse__v1__init_producer_response__descriptor);
    assert_non_null(producer);
    assert_int_equal(producer->producer_id, 1099511627777);
    streamhouse__v1__init_producer_response__free_unpacked(producer, NULL);
    client_free(&client);
    init.transactional_id = (char *)(uintptr_t) "t1";
    assert_null(client_call(&client, fixture->channel, "/streamhouse.v1.StreamHouse/InitProducer", &init.base,
                            &streamhouse__v1__init_producer_response__descriptor));
    assert_int_equal(client.status, GRPC_STATUS_UNIMPLEMENTED);
    client_free(&client);

    Streamhouse__V1__DescribeTopicsRequest describe = STREAMHOUSE__V1__DESCRIBE_TOPICS_REQUEST__INIT;
    Streamhouse__V1__DescribeTopicsResponse *described = client_call(
        &client, fixture->channel, "/streamhouse.v1.Admin/DescribeTopics", &describe.base,
        &streamhouse__v1__describe_topics_response__descriptor);
    assert_non_null(described);
    assert_int_equal(described->n_topics, 2);
    assert_int_equal(described->topics[0]->records, 5);
    assert_int_equal(described->topics[1]->n_partitions, 2);
    assert_int_equal(described->topics[1]->records, 3);
    assert_int_equal(described->topics[1]->bytes, 30);
    streamhouse__v1__describe_topics_response__free_unpacked(described, NULL);
    client_free(&client);
}

/* Send one raw message, and compare the answer, or the status where `answer` is NULL. */
static void expect_raw(Fixture *fixture, const char *path, const char *request, size_t length,
                       const char *answer, size_t answer_length, grpc_status_code code)
{
    ClientCall client;
    client_open(&client, fixture->channel, path, CLIENT_TIMEOUT_MS);
    client_send_raw(&client, request, length);
    client_close(&client);
    size_t got_length;
    uint8_t *got = client_receive_raw(&client, &got_length);
    if (answer != NULL) {
        assert_non_null(got);
        assert_int_equal(got_length, answer_length);
        assert_memory_equal(got, answer, answer_length);
    }
    gpr_free(got);
    assert_int_equal(client_wait(&client), code);
    client_free(&client);
}

static void health_is_checked_and_watched(void **state)
{
    Fixture *fixture = *state;
    static const char check_path[] = "/grpc.health.v1.Health/Check";
    expect_raw(fixture, check_path, "", 0, "\x08\x01", 2, GRPC_STATUS_OK);
    expect_raw(fixture, check_path, "\x0a\x14streamhouse.v1.Admin", 22, "\x08\x01", 2, GRPC_STATUS_OK);
    expect_raw(fixture, check_path, "\x0a\x03xyz", 5, NULL, 0, GRPC_STATUS_NOT_FOUND);
    expect_raw(fixture, check_path, "\x0a\x7f", 2, NULL, 0, GRPC_STATUS_INVALID_ARGUMENT);

    ClientCall watches[5];
    for (size_t i = 0; i < 5; i++) {
        client_open(&watches[i], fixture->channel, watch_path, CLIENT_TIMEOUT_MS);
        client_send_raw(&watches[i], i == 4 ? "\x0a\x03xyz" : "", i == 4 ? 5 : 0);
        client_close(&watches[i]);
        size_t length;
        uint8_t *first = client_receive_raw(&watches[i], &length);
        assert_non_null(first);
        assert_memory_equal(first, i == 4 ? "\x08\x03" : "\x08\x01", 2);
        gpr_free(first);
    }
    sh_rpc_drain(fixture->rpc);
    for (size_t i = 0; i < 4; i++) {
        size_t length;
        uint8_t *second = client_receive_raw(&watches[i], &length);
        assert_non_null(second);
        assert_memory_equal(second, "\x08\x02", 2);
        gpr_free(second);
    }
    expect_raw(fixture, check_path, "", 0, "\x08\x02", 2, GRPC_STATUS_OK);
    produce(fixture, 0, 1, "other calls are served on", 25);
    for (size_t i = 0; i < 5; i++) {
        grpc_call_cancel(watches[i].call, NULL);
        client_wait(&watches[i]);
        client_free(&watches[i]);
    }
}

/* Ask reflection one thing; the answer must hold `expected`, a piece of its bytes. */
static void expect_reflected(Fixture *fixture, const char *path, const char *request, size_t length,
                             const char *expected)
{
    ClientCall client;
    client_open(&client, fixture->channel, path, CLIENT_TIMEOUT_MS);
    assert_true(client_send_raw(&client, request, length));
    size_t got_length;
    uint8_t *got = client_receive_raw(&client, &got_length);
    assert_non_null(got);
    assert_non_null(memmem(got, got_length, expected, strlen(expected)));
    gpr_free(got);
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
}

static void reflection_serves_the_contract(void **state)
{
    Fixture *fixture = *state;
    expect_reflected(fixture, reflection_path, "\x3a\x01*", 3, "streamhouse.v1.StreamHouse");
    expect_reflected(fixture, reflection_alpha_path, "\x3a\x01*", 3, "grpc.health.v1.Health");
    expect_reflected(fixture, reflection_path, "\x1a\x11streamhouse.proto", 19, "ProduceRequest");
    expect_reflected(fixture, reflection_path, "\x22\x1astreamhouse.v1.StreamHouse", 28, "FetchResponse");
    expect_reflected(fixture, reflection_path, "\x22\x20streamhouse.v1.StreamHouse.Fetch", 34,
                     "FetchResponse");
    expect_reflected(fixture, reflection_path, "\x22\x20grpc.health.v1.HealthCheckRequest", 34,
                     "no served file");
    expect_reflected(fixture, reflection_path, "\x22\x21grpc.health.v1.HealthCheckRequest", 35,
                     "ServingStatus");
    expect_reflected(fixture, reflection_path, "\x22\x30grpc.health.v1.HealthCheckResponse.ServingStatus", 50,
                     "NOT_SERVING"); /* an enum in a message */
    expect_reflected(fixture, reflection_path, "\x22\x0estreamhouse.v1", 16, "no served file");
    expect_reflected(fixture, reflection_path, "\x22\x00", 2, "no served file");
    expect_reflected(fixture, reflection_path, "\x32\x01x", 3, "no extensions");
    expect_reflected(fixture, reflection_path, "", 0, "asks for nothing");
}

static void unknown_methods_are_unimplemented(void **state)
{
    Fixture *fixture = *state;
    for (int i = 0; i < 20; i++)
        expect_raw(fixture, "/streamhouse.v1.StreamHouse/Absent", "", 0, NULL, 0, GRPC_STATUS_UNIMPLEMENTED);
}

static void a_port_in_use_is_refused(void **state)
{
    Fixture *fixture = *state;
    ShConfig config = fixture->config;
    config.listen_address = (char *)(uintptr_t)fixture->address;
    ShRpc *second = NULL;
    const char *address;
    ShError err;
    assert_int_equal(sh_rpc_bind(&config, &second, &address, &err), SH_UNAVAILABLE);
    assert_non_null(strstr(err.message, fixture->address));
    assert_null(second);
}

static void a_server_that_never_served_stops(void **state)
{
    Fixture *fixture = *state;
    ShRpc *idle = NULL;
    const char *address;
    ShError err;
    assert_int_equal(sh_rpc_bind(&fixture->config, &idle, &address, &err), SH_OK);
    assert_null(strstr(address, ":0"));
    sh_rpc_stop(idle, 0);
    sh_rpc_stop(NULL, 0);
}

/* Stop ends streams by itself, long before the grace is over. */
static void stop_ends_open_streams(void **state)
{
    Fixture *fixture = *state;
    static const char *const paths[] = {"/streamhouse.v1.StreamHouse/FetchStream",
                                        "/streamhouse.v1.StreamHouse/ProduceStream", watch_path,
                                        "/streamhouse.v1.StreamHouse/Fetch"};
    /* FetchRequest { partitions { topic: "orders" } max_wait_ms: 30000 } */
    static const char fetch[] = "\x0a\x08\x0a\x06orders\x10\xb0\xea\x01";
    ClientCall calls[4];
    for (size_t i = 0; i < 4; i++) {
        client_open(&calls[i], fixture->channel, paths[i], CLIENT_TIMEOUT_MS);
        if (i != 1)
            assert_true(client_send_raw(&calls[i], fetch, i == 2 ? 0 : sizeof fetch - 1));
        if (i != 1)
            client_close(&calls[i]);
    }
    WAIT_UNTIL(fake_waiting_fetches(fixture->engine) == 2);
    int64_t begun_ms = sh_clock_now_ms();
    sh_rpc_stop(fixture->rpc, WAIT_MS);
    fixture->rpc = NULL;
    assert_true(sh_clock_now_ms() - begun_ms < WAIT_MS / 2);
    assert_int_equal(fake_waiting_fetches(fixture->engine), 0);
    for (size_t i = 0; i < 4; i++) {
        size_t length;
        uint8_t *message;
        while ((message = client_receive_raw(&calls[i], &length)) != NULL)
            gpr_free(message);
        grpc_status_code status = client_wait(&calls[i]);
        assert_int_equal(status, i == 3 ? GRPC_STATUS_OK : GRPC_STATUS_UNAVAILABLE);
        client_free(&calls[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(metadata_names_topics_partitions_and_owners),
        TEST(metadata_refreshes_before_not_found),
        TEST(offsets_are_listed),
        TEST(topics_are_administered),
        TEST(health_is_checked_and_watched),
        TEST(reflection_serves_the_contract),
        TEST(unknown_methods_are_unimplemented),
        TEST(a_port_in_use_is_refused),
        TEST(a_server_that_never_served_stops),
        TEST(stop_ends_open_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
