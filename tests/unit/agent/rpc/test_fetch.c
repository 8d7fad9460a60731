/* Fetch and FetchStream against the fake engine: what comes back, waits, cancellation, flow control. */
#include <poll.h>

#include "tests/unit/agent/rpc/rpc_fixture.h"

static const char fetch_path[] = "/streamhouse.v1.StreamHouse/Fetch";
static const char stream_path[] = "/streamhouse.v1.StreamHouse/FetchStream";

typedef struct FetchMessage {
    Streamhouse__V1__FetchRequest message;
    Streamhouse__V1__FetchPartition parts[3];
    Streamhouse__V1__FetchPartition *list[3];
} FetchMessage;

static void fetch_init(FetchMessage *fetch)
{
    streamhouse__v1__fetch_request__init(&fetch->message);
    fetch->message.partitions = fetch->list;
}

static Streamhouse__V1__FetchPartition *fetch_add(FetchMessage *fetch, int32_t partition, int64_t offset)
{
    size_t i = fetch->message.n_partitions++;
    streamhouse__v1__fetch_partition__init(&fetch->parts[i]);
    fetch->parts[i].topic = (char *)(uintptr_t) "orders";
    fetch->parts[i].partition = partition;
    fetch->parts[i].offset = offset;
    fetch->list[i] = &fetch->parts[i];
    return &fetch->parts[i];
}

static Streamhouse__V1__FetchResponse *call_fetch(Fixture *fixture, ClientCall *client,
                                                  const FetchMessage *fetch)
{
    return client_call(client, fixture->channel, fetch_path, &fetch->message.base,
                       &streamhouse__v1__fetch_response__descriptor);
}

static void batches_come_back_as_they_went(void **state)
{
    Fixture *fixture = *state;
    char *value = calloc(1, 100000);
    produce(fixture, 0, 2, "small", 5);
    produce(fixture, 0, 3, value, 100000);
    produce(fixture, 1, 1, "other", 5);
    FetchMessage fetch;
    ClientCall client;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch_add(&fetch, 1, 0);
    fetch_add(&fetch, 3, 0);
    Streamhouse__V1__FetchResponse *response = call_fetch(fixture, &client, &fetch);
    assert_non_null(response);
    assert_int_equal(response->n_results, 3);
    const Streamhouse__V1__FetchResult *result = response->results[0];
    assert_string_equal(result->topic, "orders");
    assert_int_equal(result->next_offset, 5);
    assert_int_equal(result->high_watermark, 5);
    assert_int_equal(result->epoch, 5);

    ShBatchLimits limits = {8 << 20, 8 << 20};
    ShScratch scratch = {0};
    ShBatchHeader header;
    ShError err;
    assert_int_equal(
        sh_batch_check(result->batches.data, result->batches.len, &limits, &scratch, &header, &err), SH_OK);
    assert_int_equal(header.base_offset, 0);
    assert_int_equal(header.record_count, 2);
    size_t first_bytes = header.total_bytes;
    assert_int_equal(sh_batch_check(result->batches.data + first_bytes, result->batches.len - first_bytes,
                                    &limits, &scratch, &header, &err),
                     SH_OK);
    assert_int_equal(header.base_offset, 2);
    assert_int_equal(first_bytes + header.total_bytes, result->batches.len);
    assert_int_equal(response->results[1]->next_offset, 1);
    assert_int_equal(response->results[2]->error->code, GRPC_STATUS_FAILED_PRECONDITION);
    assert_string_equal(response->results[2]->error->owner->address, "127.0.0.1:1234");
    sh_scratch_free(&scratch);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    client_free(&client);
    free(value);
}

/* With decode, records below the asked offset are skipped, and an answer ends at its bound inside a batch. */
static void records_come_decoded_from_the_offset(void **state)
{
    Fixture *fixture = *state;
    char value[1000] = "v";
    produce(fixture, 0, 10, value, sizeof value);
    FetchMessage fetch;
    fetch_init(&fetch);
    Streamhouse__V1__FetchPartition *part = fetch_add(&fetch, 0, 4);
    fetch.message.decode = true;
    fetch.message.max_bytes = 2500;
    int64_t next = 4;
    while (next < 10) {
        ClientCall client;
        part->offset = next;
        Streamhouse__V1__FetchResponse *response = call_fetch(fixture, &client, &fetch);
        assert_non_null(response);
        const Streamhouse__V1__FetchResult *result = response->results[0];
        assert_int_equal(result->batches.len, 0);
        assert_in_range(result->n_records, 1, 2);
        for (size_t i = 0; i < result->n_records; i++) {
            assert_int_equal(result->records[i]->offset, next++);
            assert_int_equal(result->records[i]->value.len, sizeof value);
            assert_int_equal(result->records[i]->key.len, 1);
            assert_int_equal(result->records[i]->timestamp_ms, 1000 + next - 1);
        }
        assert_int_equal(result->next_offset, next);
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
        client_free(&client);
    }
}

static void failures_fail_the_call(void **state)
{
    Fixture *fixture = *state;
    static const struct {
        int32_t partition;
        int64_t offset;
        grpc_status_code code;
    } cases[] = {{0, 99, GRPC_STATUS_OUT_OF_RANGE},
                 {3, 0, GRPC_STATUS_FAILED_PRECONDITION},
                 {9, 0, GRPC_STATUS_NOT_FOUND},
                 {-1, 0, GRPC_STATUS_INVALID_ARGUMENT},
                 {0, -1, GRPC_STATUS_INVALID_ARGUMENT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FetchMessage fetch;
        ClientCall client;
        fetch_init(&fetch);
        fetch_add(&fetch, cases[i].partition, cases[i].offset);
        assert_null(call_fetch(fixture, &client, &fetch));
        assert_int_equal(client.status, cases[i].code);
        client_free(&client);
    }
    FetchMessage none;
    ClientCall client;
    fetch_init(&none);
    assert_null(call_fetch(fixture, &client, &none));
    assert_int_equal(client.status, GRPC_STATUS_INVALID_ARGUMENT);
    client_free(&client);
}

/* A long poll is answered by the produce it waits for, far before its time is up. */
static void a_long_poll_wakes_at_once(void **state)
{
    Fixture *fixture = *state;
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch.message.max_wait_ms = 30000;
    ClientCall client;
    client_open(&client, fixture->channel, fetch_path, CLIENT_TIMEOUT_MS);
    client_send(&client, &fetch.message.base);
    client_close(&client);
    WAIT_UNTIL(fake_waiting_fetches(fixture->engine) == 1);
    produce(fixture, 0, 1, "v", 1);
    Streamhouse__V1__FetchResponse *response = client_receive(&client,
                                                              &streamhouse__v1__fetch_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->results[0]->next_offset, 1);
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    client_free(&client);
}

/* Cancel and deadline both end the engine's wait. */
static void a_client_that_leaves_ends_the_wait(void **state)
{
    Fixture *fixture = *state;
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch.message.max_wait_ms = 30000;
    for (int round = 0; round < 2; round++) {
        ClientCall client;
        client_open(&client, fixture->channel, fetch_path, round == 0 ? CLIENT_TIMEOUT_MS : 300);
        client_send(&client, &fetch.message.base);
        client_close(&client);
        WAIT_UNTIL(fake_read(fixture->engine, &fixture->engine->fetches_begun) == round + 1);
        if (round == 0)
            grpc_call_cancel(client.call, NULL);
        assert_int_equal(client_wait(&client),
                         round == 0 ? GRPC_STATUS_CANCELLED : GRPC_STATUS_DEADLINE_EXCEEDED);
        WAIT_UNTIL(fake_waiting_fetches(fixture->engine) == 0);
        assert_int_equal(fake_read(fixture->engine, &fixture->engine->cancels), round + 1);
        client_free(&client);
    }
}

static void a_stream_leads_over_a_hole(void **state)
{
    Fixture *fixture = *state;
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch_add(&fetch, 1, 0);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    client_send(&client, &fetch.message.base);
    client_close(&client);
    produce(fixture, 1, 1, "v", 1);
    const int64_t expected[] = {1, 1000, 1001};
    for (int i = 0; i < 3; i++) {
        Streamhouse__V1__FetchResponse *response = client_receive(
            &client, &streamhouse__v1__fetch_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->n_results, 1);
        assert_int_equal(response->results[0]->partition, 1);
        assert_int_equal(response->results[0]->next_offset, expected[i]);
        assert_int_equal(response->results[0]->batches.len > 0, i != 1);
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
        if (i == 0) {
            pthread_mutex_lock(&fixture->engine->mutex);
            fixture->engine->logs[1].end = 1000;
            pthread_cond_broadcast(&fixture->engine->changed);
            pthread_mutex_unlock(&fixture->engine->mutex);
        } else if (i == 1) {
            produce(fixture, 1, 1, "v", 1);
        }
    }
    grpc_call_cancel(client.call, NULL);
    assert_int_equal(client_wait(&client), GRPC_STATUS_CANCELLED);
    client_free(&client);
    WAIT_UNTIL(fake_waiting_fetches(fixture->engine) == 0);
}

static void a_stream_follows_the_log(void **state)
{
    Fixture *fixture = *state;
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch_add(&fetch, 1, 0);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    client_send(&client, &fetch.message.base);
    client_close(&client);
    for (int64_t i = 0; i < 50; i++) {
        produce(fixture, (int32_t)(i % 2), 1, "v", 1);
        Streamhouse__V1__FetchResponse *response = client_receive(
            &client, &streamhouse__v1__fetch_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->n_results, 1);
        assert_int_equal(response->results[0]->partition, i % 2);
        assert_int_equal(response->results[0]->next_offset, i / 2 + 1);
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    }
    grpc_call_cancel(client.call, NULL);
    assert_int_equal(client_wait(&client), GRPC_STATUS_CANCELLED);
    client_free(&client);
    WAIT_UNTIL(fake_waiting_fetches(fixture->engine) == 0);
}

static void a_stream_ends_when_its_partition_has_moved(void **state)
{
    Fixture *fixture = *state;
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 3, 0);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    client_send(&client, &fetch.message.base);
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_FAILED_PRECONDITION);
    ProtobufCBinaryData packed = client_trailing(&client, "streamhouse-error-bin");
    Streamhouse__V1__PartitionError *error = streamhouse__v1__partition_error__unpack(NULL, packed.len,
                                                                                      packed.data);
    assert_non_null(error);
    assert_int_equal(error->owner->epoch, 7);
    streamhouse__v1__partition_error__free_unpacked(error, NULL);
    client_free(&client);
}

/* A reader that takes nothing stops the fetches after the few answers that its window lets out. */
static void a_stalled_reader_stops_its_fetches(void **state)
{
    Fixture *fixture = *state;
    enum { BATCHES = 40, VALUE_BYTES = 500000 };
    char *value = calloc(1, VALUE_BYTES);
    for (int i = 0; i < BATCHES; i++)
        produce(fixture, 0, 1, value, VALUE_BYTES);
    FetchMessage fetch;
    fetch_init(&fetch);
    fetch_add(&fetch, 0, 0);
    fetch.message.max_bytes = VALUE_BYTES;
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, 2 * CLIENT_TIMEOUT_MS);
    client_send(&client, &fetch.message.base);
    client_close(&client);

    /* One answer wakes nobody: let others be served meanwhile, and look whether the stalled one moves. */
    WAIT_UNTIL(fake_read(fixture->engine, &fixture->engine->fetches_begun) >= 1);
    for (int i = 0; i < 50; i++)
        produce(fixture, 1, 1, "v", 1);
    assert_in_range(fake_read(fixture->engine, &fixture->engine->fetches_begun), 1, 4);

    int64_t next = 0;
    while (next < BATCHES) {
        Streamhouse__V1__FetchResponse *response = client_receive(
            &client, &streamhouse__v1__fetch_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->n_results, 1);
        next = response->results[0]->next_offset;
        streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    }
    grpc_call_cancel(client.call, NULL);
    assert_int_equal(client_wait(&client), GRPC_STATUS_CANCELLED);
    client_free(&client);
    free(value);
}

/* --- what one fetch unfolds */

static int wide_set_up(void **state)
{
    ShConfig config = fixture_config();
    config.batch_decompressed_bytes_max = 64 << 20;
    return fixture_start(state, config);
}

#define WIDE_TEST(name) cmocka_unit_test_setup_teardown(name, wide_set_up, fixture_tear_down)

/* In one batch that zstd makes very small: a record of so many equal bytes, and behind it one of one. */
static ShBuf *make_tailed_bomb(size_t bytes)
{
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_ZSTD);
    uint8_t *value = calloc(1, bytes);
    ShBuf *batch = NULL;
    for (int i = 0; i < 2; i++) {
        ShRecord record = {.timestamp_ms = 1000, .value = value, .value_length = i == 0 ? bytes : 1};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    assert_int_equal(sh_batch_builder_finish(builder, &batch, NULL), SH_OK);
    free(value);
    sh_batch_builder_free(builder);
    return batch;
}

typedef struct FetchPlace {
    int32_t partition;
    int64_t offset;
} FetchPlace;

/* The records that came of each place are written to `records`. */
static void fetch_places(Fixture *fixture, const FetchPlace *places, size_t count, int32_t max_bytes,
                         size_t *records)
{
    enum { PLACES_MAX = 100 };
    Streamhouse__V1__FetchPartition parts[PLACES_MAX];
    Streamhouse__V1__FetchPartition *list[PLACES_MAX];
    for (size_t i = 0; i < count; i++) {
        streamhouse__v1__fetch_partition__init(&parts[i]);
        parts[i].topic = (char *)(uintptr_t) "orders";
        parts[i].partition = places[i].partition;
        parts[i].offset = places[i].offset;
        list[i] = &parts[i];
    }
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = count;
    request.decode = true;
    request.max_bytes = max_bytes;
    ClientCall client;
    Streamhouse__V1__FetchResponse *response = client_call(
        &client, fixture->channel, fetch_path, &request.base, &streamhouse__v1__fetch_response__descriptor);
    assert_non_null(response);
    for (size_t i = 0; i < count; i++) {
        assert_null(response->results[i]->error);
        records[i] = response->results[i]->n_records;
        assert_int_equal(response->results[i]->next_offset, places[i].offset + (int64_t)records[i]);
    }
    streamhouse__v1__fetch_response__free_unpacked(response, NULL);
    client_free(&client);
}

static size_t fetch_tails(Fixture *fixture, int32_t partition)
{
    enum { TIMES = 100 };
    FetchPlace places[TIMES];
    size_t records[TIMES];
    size_t sum = 0;
    for (size_t i = 0; i < TIMES; i++)
        places[i] = (FetchPlace){.partition = partition, .offset = 1};
    fetch_places(fixture, places, TIMES, 1 << 20, records);
    for (size_t i = 0; i < TIMES; i++)
        sum += records[i];
    return sum;
}

/* Where a record does not fit the answer is over: nothing behind it is unfolded. */
static void an_answer_ends_with_what_does_not_fit(void **state)
{
    static const FetchPlace places[] = {{0, 0}, {1, 0}, {0, 0}};
    size_t records[3];
    produce(*state, 0, 1, "v", 1);
    produce_batch(*state, 1, make_tailed_bomb(3900000));
    fetch_places(*state, places, 3, 1 << 20, records);
    assert_int_equal(records[0], 1);
    assert_int_equal(records[1], 0);
    assert_int_equal(records[2], 0);
}

/* One batch that is asked for 100 times, and of which only its little end is taken: on a worker what was
 * unfolded is counted, as it is on the checker, where batches go that are too large for one. */
static void one_fetch_unfolds_so_much(void **state)
{
    produce_batch(*state, 0, make_tailed_bomb(3900000));
    produce_batch(*state, 1, make_tailed_bomb(60 << 20));
    assert_int_equal(fetch_tails(*state, 0), 2);
    assert_int_equal(fetch_tails(*state, 1), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batches_come_back_as_they_went),
        TEST(records_come_decoded_from_the_offset),
        TEST(failures_fail_the_call),
        TEST(a_long_poll_wakes_at_once),
        TEST(a_client_that_leaves_ends_the_wait),
        TEST(a_stream_leads_over_a_hole),
        TEST(a_stream_follows_the_log),
        TEST(a_stream_ends_when_its_partition_has_moved),
        TEST(a_stalled_reader_stops_its_fetches),
        WIDE_TEST(an_answer_ends_with_what_does_not_fit),
        WIDE_TEST(one_fetch_unfolds_so_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
