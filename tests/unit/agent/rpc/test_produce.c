/* Produce and ProduceStream against the fake engine: acceptance, refusals, bounds, malformed input. */
#include <poll.h>

#include "tests/unit/agent/rpc/rpc_fixture.h"

static const char stream_path[] = "/streamhouse.v1.StreamHouse/ProduceStream";

static void unary_gives_offsets_of_each_partition(void **state)
{
    Fixture *fixture = *state;
    ShBuf *batch = make_batch(3, "v", 1);
    Request request;
    ClientCall client;
    request_init(&request, 42);
    request_add(&request, 0, batch);
    request_add(&request, 1, batch);
    request_add(&request, 0, batch);
    Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
    assert_non_null(response);
    assert_int_equal(client.status, GRPC_STATUS_OK);
    assert_int_equal(response->request_id, 42);
    assert_int_equal(response->n_results, 3);
    static const int64_t offsets[] = {0, 0, 3};
    for (size_t i = 0; i < 3; i++) {
        const Streamhouse__V1__ProduceResult *result = response->results[i];
        assert_null(result->error);
        assert_string_equal(result->topic, "orders");
        assert_int_equal(result->topic_id.len, 16);
        assert_int_equal(result->partition, i == 1 ? 1 : 0);
        assert_int_equal(result->base_offset, offsets[i]);
        assert_int_equal(result->record_count, 3);
        assert_int_equal(result->epoch, 5);
    }
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    client_free(&client);
    sh_buf_unref(batch);
}

static void structured_records_become_a_batch(void **state)
{
    Fixture *fixture = *state;
    Streamhouse__V1__Header header;
    streamhouse__v1__header__init(&header);
    header.key = (char *)(uintptr_t) "h";
    header.value_or_null_case = STREAMHOUSE__V1__HEADER__VALUE_OR_NULL_VALUE;
    header.value = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "hv"};
    Streamhouse__V1__Header *headers[] = {&header};
    Streamhouse__V1__Record record;
    streamhouse__v1__record__init(&record);
    record.key_or_null_case = STREAMHOUSE__V1__RECORD__KEY_OR_NULL_KEY;
    record.key = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "key"};
    record.headers = headers;
    record.n_headers = 1;
    Streamhouse__V1__Record *records[] = {&record, &record};

    for (int codec = 0; codec <= 4; codec++) {
        Request request;
        ClientCall client;
        request_init(&request, 1);
        Streamhouse__V1__ProducePartition *part = request_add(&request, 0, NULL);
        part->records = records;
        part->n_records = 2;
        part->compression = (Streamhouse__V1__Compression)codec;
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        assert_non_null(response);
        assert_null(response->results[0]->error);
        assert_int_equal(response->results[0]->base_offset, 2 * codec);
        assert_int_equal(response->results[0]->record_count, 2);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
        client_free(&client);
    }

    const ShSlice stored = fake_stored(fixture->engine, 0, 4);
    ShBatchReader reader;
    ShScratch scratch = {0};
    ShRecord read;
    bool more;
    ShError err;
    assert_int_equal(sh_batch_reader_init(&reader, stored.data, stored.length, 1 << 20, &scratch, &err),
                     SH_OK);
    assert_int_equal(sh_batch_reader_next(&reader, &read, &more, &err), SH_OK);
    assert_true(more);
    assert_memory_equal(read.key, "key", 3);
    assert_null(read.value);
    assert_int_equal(read.header_count, 1);
    assert_true(llabs(read.timestamp_ms - sh_clock_wall_ms()) < 60000);
    sh_scratch_free(&scratch);
}

/* One partition's failure is its own; the others are acknowledged. */
static void failures_are_per_partition(void **state)
{
    Fixture *fixture = *state;
    ShBuf *batch = make_batch(1, "v", 1);
    ShBuf *damaged = sh_buf_copy(batch->data, batch->length);
    damaged->length = batch->length;
    damaged->data[batch->length - 1] ^= 1;
    Request request;
    ClientCall client;
    request_init(&request, 7);
    request_add(&request, 3, batch);
    request_add(&request, 0, damaged);
    request_add(&request, 0, batch);
    request_add(&request, 2, batch);
    request_add(&request, 0, NULL);
    request_add(&request, 0, batch)->topic = (char *)(uintptr_t) "absent";
    request_add(&request, 0, batch)->topic_id = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "short"};
    Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
    assert_non_null(response);
    assert_int_equal(response->n_results, 7);
    static const int codes[] = {
        GRPC_STATUS_FAILED_PRECONDITION, GRPC_STATUS_INVALID_ARGUMENT, GRPC_STATUS_OK,
        GRPC_STATUS_RESOURCE_EXHAUSTED,  GRPC_STATUS_INVALID_ARGUMENT, GRPC_STATUS_NOT_FOUND,
        GRPC_STATUS_INVALID_ARGUMENT};
    for (size_t i = 0; i < 7; i++) {
        const Streamhouse__V1__PartitionError *error = response->results[i]->error;
        assert_int_equal(error != NULL ? error->code : 0, codes[i]);
    }
    const Streamhouse__V1__PartitionError *redirect = response->results[0]->error;
    assert_string_equal(redirect->reason, "NOT_OWNER");
    assert_string_equal(redirect->owner->address, "127.0.0.1:1234");
    assert_string_equal(redirect->owner->agent_id, "other");
    assert_int_equal(redirect->owner->epoch, 7);
    assert_non_null(strstr(redirect->message, "127.0.0.1:1234"));
    assert_non_null(strstr(redirect->message, "epoch 7"));
    assert_int_equal(response->results[3]->error->retry_after_ms, 250);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    client_free(&client);
    sh_buf_unref(damaged);
    sh_buf_unref(batch);
}

/* All partitions failed alike: the call fails, with the delay and the first error in its trailing metadata.
 */
static void a_call_fails_when_all_partitions_fail_alike(void **state)
{
    Fixture *fixture = *state;
    ShBuf *batch = make_batch(1, "v", 1);
    Request request;
    ClientCall client;
    request_init(&request, 7);
    request_add(&request, 2, batch);
    request_add(&request, 2, batch);
    assert_null(call_produce(fixture, &client, &request));
    assert_int_equal(client.status, GRPC_STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(client.text, "the WAL is full");
    ProtobufCBinaryData delay = client_trailing(&client, "grpc-retry-pushback-ms");
    assert_int_equal(delay.len, 3);
    assert_memory_equal(delay.data, "250", 3);
    client_free(&client);

    request_init(&request, 8);
    request.message.n_partitions = 0;
    request_add(&request, 3, batch);
    assert_null(call_produce(fixture, &client, &request));
    assert_int_equal(client.status, GRPC_STATUS_FAILED_PRECONDITION);
    assert_null(client_trailing(&client, "grpc-retry-pushback-ms").data);
    ProtobufCBinaryData packed = client_trailing(&client, "streamhouse-error-bin");
    Streamhouse__V1__PartitionError *error = streamhouse__v1__partition_error__unpack(NULL, packed.len,
                                                                                      packed.data);
    assert_non_null(error);
    assert_string_equal(error->owner->address, "127.0.0.1:1234");
    streamhouse__v1__partition_error__free_unpacked(error, NULL);
    client_free(&client);
    sh_buf_unref(batch);
}

static void unary_raw(Fixture *fixture, const void *data, size_t length, grpc_status_code expected)
{
    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
    client_send_raw(&client, data, length);
    client_close(&client);
    assert_int_equal(client_wait(&client), expected);
    client_free(&client);
}

static void malformed_requests_are_refused(void **state)
{
    Fixture *fixture = *state;
    unary_raw(fixture, "", 0, GRPC_STATUS_INVALID_ARGUMENT);
    unary_raw(fixture, "\xff\xff\xff", 3, GRPC_STATUS_INVALID_ARGUMENT);
    unary_raw(fixture, "\x12\x7f", 2, GRPC_STATUS_INVALID_ARGUMENT);
    unary_raw(fixture, "\x12\x02\x22\x05", 4, GRPC_STATUS_INVALID_ARGUMENT);
    /* More partitions than a request may name: 10,001 empty ones. */
    size_t length = 2 * 10001;
    uint8_t *many = calloc(1, length);
    for (size_t i = 0; i < length; i += 2)
        many[i] = 0x12;
    unary_raw(fixture, many, length, GRPC_STATUS_INVALID_ARGUMENT);
    free(many);
    /* No message at all. */
    ClientCall client;
    client_open(&client, fixture->channel, "/streamhouse.v1.StreamHouse/Produce", CLIENT_TIMEOUT_MS);
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_INVALID_ARGUMENT);
    client_free(&client);
    produce(fixture, 0, 1, "still served", 12);
}

/* Over the message limit only that call ends, on the same connection. */
static void a_message_too_large_ends_its_call_only(void **state)
{
    Fixture *fixture = *state;
    uint8_t *large = calloc(1, MESSAGE_BYTES_MAX + 1);
    ClientCall other;
    client_open(&other, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);

    unary_raw(fixture, large, MESSAGE_BYTES_MAX + 1, GRPC_STATUS_RESOURCE_EXHAUSTED);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    client_send_raw(&client, large, MESSAGE_BYTES_MAX + 1);
    assert_int_equal(client_wait(&client), GRPC_STATUS_RESOURCE_EXHAUSTED);
    client_free(&client);

    ShBuf *batch = make_batch(1, "v", 1);
    Request request;
    request_init(&request, 3);
    request_add(&request, 0, batch);
    assert_true(client_send(&other, &request.message.base));
    Streamhouse__V1__ProduceResponse *response = client_receive(
        &other, &streamhouse__v1__produce_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->request_id, 3);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    client_close(&other);
    assert_int_equal(client_wait(&other), GRPC_STATUS_OK);
    client_free(&other);
    sh_buf_unref(batch);
    free(large);
}

/* A compressed message is refused before it is unfolded. */
static void compressed_messages_are_refused(void **state)
{
    Fixture *fixture = *state;
    grpc_arg gzip = {.type = GRPC_ARG_INTEGER,
                     .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
                     .value.integer = GRPC_COMPRESS_GZIP};
    grpc_channel_args list = {.num_args = 1, .args = &gzip};
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    grpc_channel *connected = fixture->channel;
    fixture->channel = grpc_channel_create(fixture->address, plain, &list);
    grpc_channel_credentials_release(plain);
    uint8_t *zeros = calloc(1, MESSAGE_BYTES_MAX);
    unary_raw(fixture, zeros, MESSAGE_BYTES_MAX, GRPC_STATUS_UNIMPLEMENTED);
    free(zeros);
    grpc_channel_destroy(fixture->channel);
    fixture->channel = connected;
    produce(fixture, 0, 1, "still served", 12);
}

static void attributes_that_are_not_a_producers_are_refused(void **state)
{
    Fixture *fixture = *state;
    static const int attributes[] = {SH_BATCH_ATTR_CONTROL, SH_BATCH_ATTR_TRANSACTIONAL,
                                     SH_BATCH_ATTR_DELETE_HORIZON};
    static const grpc_status_code codes[] = {GRPC_STATUS_INVALID_ARGUMENT, GRPC_STATUS_UNIMPLEMENTED,
                                             GRPC_STATUS_INVALID_ARGUMENT};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        ShBuf *batch = make_batch(1, "v", 1);
        sh_put_u16(batch->data + 21, (uint16_t)attributes[i]);
        memset(batch->data + 43, 0, 14); /* producer id, epoch and sequence 0: a transaction has a producer */
        sh_put_u32(batch->data + 17, sh_crc32c(batch->data + 21, batch->length - 21));
        Request request;
        ClientCall client;
        request_init(&request, 1);
        request_add(&request, 0, batch);
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        assert_null(response);
        assert_int_equal(client.status, codes[i]);
        client_free(&client);
        sh_buf_unref(batch);
    }
}

/* Many requests under way at once, each answered once, those of a partition in order. */
/* Its newest time is that of its records, whatever its header says; the type of its times is the topic's. */
static void times_of_a_batch_are_made_true(void **state)
{
    Fixture *fixture = *state;
    static const int64_t claims[] = {-1, 0, INT64_MAX};
    ShBuf *good = make_batch(3, "v", 1);
    ShBatchHeader header;
    ShError err;
    for (int i = 0; i < 4; i++) {
        ShBuf *batch = sh_buf_copy(good->data, good->length);
        assert_int_equal(sh_batch_peek(batch->data, batch->length, &header, &err), SH_OK);
        sh_batch_set_max_timestamp(batch->data, &header, i < 3 ? claims[i] : header.max_timestamp_ms, i == 3);
        Request request;
        ClientCall client;
        request_init(&request, 1);
        request_add(&request, 0, batch);
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        sh_buf_unref(batch);
        if (i == 3) {
            assert_null(response);
            assert_int_equal(client.status, GRPC_STATUS_INVALID_ARGUMENT);
        } else {
            assert_non_null(response);
            assert_null(response->results[0]->error);
            streamhouse__v1__produce_response__free_unpacked(response, NULL);
            const ShSlice stored = fake_stored(fixture->engine, 0, (size_t)i);
            assert_int_equal(stored.length, good->length);
            assert_memory_equal(stored.data + 8, good->data + 8, 4);
            assert_memory_equal(stored.data + 16, good->data + 16, good->length - 16);
        }
        client_free(&client);
    }
    sh_buf_unref(good);
}

static void a_stream_pipelines(void **state)
{
    Fixture *fixture = *state;
    enum { REQUESTS = 3000 };
    ShBuf *batch = make_batch(2, "value", 5);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, 2 * CLIENT_TIMEOUT_MS);
    uint64_t sent = 0;
    uint64_t received = 0;
    int64_t next_offset[2] = {0, 0};
    while (received < REQUESTS) {
        while (sent < REQUESTS && sent < received + 500) {
            Request request;
            request_init(&request, ++sent);
            request_add(&request, (int32_t)(sent % 2), batch);
            assert_true(client_send(&client, &request.message.base));
        }
        Streamhouse__V1__ProduceResponse *response = client_receive(
            &client, &streamhouse__v1__produce_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->request_id, ++received);
        const Streamhouse__V1__ProduceResult *result = response->results[0];
        assert_null(result->error);
        assert_int_equal(result->base_offset, next_offset[received % 2]);
        next_offset[received % 2] += 2;
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
    }
    client_close(&client);
    assert_null(client_receive(&client, &streamhouse__v1__produce_response__descriptor));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    sh_buf_unref(batch);
}

static void send_one(ClientCall *client, uint64_t id, const ShBuf *batch)
{
    Request request;
    request_init(&request, id);
    request_add(&request, 0, batch);
    assert_true(client_send(client, &request.message.base));
}

static void receive_one(ClientCall *client, uint64_t id)
{
    Streamhouse__V1__ProduceResponse *response = client_receive(
        client, &streamhouse__v1__produce_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->request_id, id);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
}

/* Requests that arrive in one go, refused at once or taken in, are all answered, though a worker turns to
 * others in between. */
static void a_burst_is_answered_whole(void **state)
{
    Fixture *fixture = *state;
    enum { REQUESTS = 200 };
    ShBuf *batch = make_batch(1, "v", 1);
    ClientCall client;
    bool answered[REQUESTS] = {false};
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    for (uint64_t id = 0; id < REQUESTS; id++) {
        Request request;
        request_init(&request, id);
        request_add(&request, id % 3 == 0 ? 0 : 2, batch);
        assert_true(client_send(&client, &request.message.base));
    }
    client_close(&client);
    for (size_t count = 0; count < REQUESTS; count++) {
        Streamhouse__V1__ProduceResponse *response = client_receive(
            &client, &streamhouse__v1__produce_response__descriptor);
        assert_non_null(response);
        assert_true(response->request_id < REQUESTS);
        assert_false(answered[response->request_id]);
        answered[response->request_id] = true;
        assert_int_equal(response->results[0]->error == NULL, response->request_id % 3 == 0);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
    }
    assert_null(client_receive(&client, &streamhouse__v1__produce_response__descriptor));
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    sh_buf_unref(batch);
}

/* A client that waits for each answer is read with the answer; it may begin to pipeline at any time, and
 * hears at once when the agent stops. */
static void a_client_that_waits_is_read_with_its_answer(void **state)
{
    Fixture *fixture = *state;
    enum { WAITED = 40, PIPELINED = 100 };
    ShBuf *batch = make_batch(1, "v", 1);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, 2 * CLIENT_TIMEOUT_MS);
    uint64_t id = 0;
    while (id < WAITED) {
        send_one(&client, ++id, batch);
        receive_one(&client, id);
    }
    fake_hold_appends(fixture->engine, true);
    for (uint64_t sent = id; sent < WAITED + PIPELINED;)
        send_one(&client, ++sent, batch);
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 1);
    fake_hold_appends(fixture->engine, false);
    while (id < WAITED + PIPELINED)
        receive_one(&client, ++id);
    sh_buf_unref(batch);

    sh_rpc_stop(fixture->rpc, WAIT_MS);
    fixture->rpc = NULL;
    assert_int_equal(client_wait(&client), GRPC_STATUS_UNAVAILABLE);
    client_free(&client);
}

/* Send requests of one value each on a stream whose requests are not completed, until no more is taken: so
 * many, within the bounds, were read. Then all go on. */
static void read_until_full(Fixture *fixture, size_t value_bytes, size_t least, size_t most)
{
    char *value = calloc(1, value_bytes);
    ShBuf *batch = make_batch(1, value, value_bytes);
    fake_hold_appends(fixture->engine, true);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, 2 * CLIENT_TIMEOUT_MS);

    /* The sender blocks once the window is closed, so it gets a thread's worth of patience: one send at a
     * time. */
    size_t sent = 0;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    bool blocked = false;
    grpc_byte_buffer *message = NULL;
    while (!blocked) {
        Request request;
        request_init(&request, ++sent);
        request_add(&request, 0, batch);
        size_t length = streamhouse__v1__produce_request__get_packed_size(&request.message);
        grpc_slice slice = grpc_slice_malloc(length);
        streamhouse__v1__produce_request__pack(&request.message, GRPC_SLICE_START_PTR(slice));
        message = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        op.data.send_message.send_message = message;
        assert_int_equal(grpc_call_start_batch(client.call, &op, 1, &op, NULL), GRPC_CALL_OK);
        grpc_event event = grpc_completion_queue_pluck(client.queue, &op, client_deadline(1000), NULL);
        blocked = event.type == GRPC_QUEUE_TIMEOUT;
        if (!blocked)
            grpc_byte_buffer_destroy(message);
        assert_true(fake_waiting_appends(fixture->engine) <= most);
    }
    assert_in_range(fake_waiting_appends(fixture->engine), least, most);

    fake_hold_appends(fixture->engine, false);
    grpc_event event = grpc_completion_queue_pluck(client.queue, &op, client_deadline(CLIENT_TIMEOUT_MS),
                                                   NULL);
    assert_int_equal(event.type, GRPC_OP_COMPLETE);
    grpc_byte_buffer_destroy(message);
    for (size_t i = 1; i <= sent; i++) {
        Streamhouse__V1__ProduceResponse *response = client_receive(
            &client, &streamhouse__v1__produce_response__descriptor);
        assert_non_null(response);
        assert_int_equal(response->request_id, i);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
    }
    client_close(&client);
    assert_int_equal(client_wait(&client), GRPC_STATUS_OK);
    client_free(&client);
    sh_buf_unref(batch);
    free(value);
}

/* 16 MiB of a stream are under way at most, or 1,024 requests. */
static void a_stream_is_read_within_its_bounds(void **state)
{
    read_until_full(*state, (1 << 20) - 200, 16, 17);
    read_until_full(*state, 1, 1024, 1024);
}

static int small_set_up(void **state)
{
    ShConfig config = fixture_config();
    config.memory_budget_bytes = 32 << 20;
    return fixture_start(state, config);
}

/* All streams together hold no more than three quarters of a quarter of the memory budget, and a request that
 * came before it
 * was full. */
static void streams_leave_room_in_the_memory_budget(void **state)
{
    read_until_full(*state, (1 << 20) - 200, 6, 7);
}

static void a_malformed_request_ends_its_stream_after_the_answers(void **state)
{
    Fixture *fixture = *state;
    ShBuf *batch = make_batch(1, "v", 1);
    fake_hold_appends(fixture->engine, true);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    Request request;
    request_init(&request, 11);
    request_add(&request, 0, batch);
    assert_true(client_send(&client, &request.message.base));
    assert_true(client_send_raw(&client, "\xff", 1));
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 1);
    fake_hold_appends(fixture->engine, false);
    Streamhouse__V1__ProduceResponse *response = client_receive(
        &client, &streamhouse__v1__produce_response__descriptor);
    assert_non_null(response);
    assert_int_equal(response->request_id, 11);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    assert_int_equal(client_wait(&client), GRPC_STATUS_INVALID_ARGUMENT);
    client_free(&client);
    sh_buf_unref(batch);
}

/* A client that goes away leaves nothing behind: its requests are completed and dropped. */
static void a_cancelled_stream_is_forgotten(void **state)
{
    Fixture *fixture = *state;
    ShBuf *batch = make_batch(1, "v", 1);
    fake_hold_appends(fixture->engine, true);
    ClientCall client;
    client_open(&client, fixture->channel, stream_path, CLIENT_TIMEOUT_MS);
    for (uint64_t id = 1; id <= 10; id++) {
        Request request;
        request_init(&request, id);
        request_add(&request, 0, batch);
        assert_true(client_send(&client, &request.message.base));
    }
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 10);
    grpc_call_cancel(client.call, NULL);
    assert_int_equal(client_wait(&client), GRPC_STATUS_CANCELLED);
    client_free(&client);
    fake_hold_appends(fixture->engine, false);
    WAIT_UNTIL(fake_waiting_appends(fixture->engine) == 0);
    produce(fixture, 0, 1, "v", 1);
    sh_buf_unref(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unary_gives_offsets_of_each_partition),
        TEST(times_of_a_batch_are_made_true),
        TEST(structured_records_become_a_batch),
        TEST(failures_are_per_partition),
        TEST(a_call_fails_when_all_partitions_fail_alike),
        TEST(malformed_requests_are_refused),
        TEST(a_message_too_large_ends_its_call_only),
        TEST(compressed_messages_are_refused),
        TEST(attributes_that_are_not_a_producers_are_refused),
        TEST(a_stream_pipelines),
        TEST(a_burst_is_answered_whole),
        TEST(a_client_that_waits_is_read_with_its_answer),
        TEST(a_stream_is_read_within_its_bounds),
        cmocka_unit_test_setup_teardown(streams_leave_room_in_the_memory_budget, small_set_up,
                                        fixture_tear_down),
        TEST(a_malformed_request_ends_its_stream_after_the_answers),
        TEST(a_cancelled_stream_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
