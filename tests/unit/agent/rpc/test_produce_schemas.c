/* Records that do not fit their topic's schemas: which are stored, which are refused, what the answer says.
 */
#include <poll.h>

#include "tests/unit/agent/rpc/rpc_fixture.h"

#define GOOD  "\0\0\0\0\7good"
#define OTHER "\0\0\0\0\7other"
#define BAD   "\0\0\0\0\10bad"

/* Values must name schema 7. */
static int validate(void **state)
{
    static int32_t ids[] = {7};
    ShPgTopicSchema row = {
        .topic_id = fake_topic_id, .validation = SH_VALIDATION_ID, .ids = ids, .id_count = 1};
    ShPgTopicSchemas schemas = {.changed = true, .version = 1, .rows = &row, .row_count = 1};
    if (fixture_set_up(state) != 0)
        return -1;
    Fixture *fixture = *state;
    fixture->engine->schemas = sh_schema_table_new(&schemas);
    return fixture->engine->schemas != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    sh_schema_table_unref(fixture->engine->schemas);
    return fixture_tear_down(state);
}

static ShBuf *batch_of(ShCodec codec, int64_t producer_id, const char *const *values, size_t count)
{
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    ShBuf *batch = NULL;
    const ShHeader header = {.key = "h", .key_length = 1, .value = (const uint8_t *)"v", .value_length = 1};
    for (size_t i = 0; i < count; i++) {
        ShRecord record = {.timestamp_ms = 1000 + (int64_t)i,
                           .key = (const uint8_t *)"k",
                           .key_length = 1,
                           .value = (const uint8_t *)values[i],
                           .value_length = 5 + strlen(values[i] + 5)};
        assert_int_equal(sh_batch_builder_add(builder, &record, &header, 1, NULL), SH_OK);
    }
    if (producer_id >= 0)
        sh_batch_builder_set_producer(builder, producer_id, 0, 0, false);
    assert_int_equal(sh_batch_builder_finish(builder, &batch, NULL), SH_OK);
    sh_batch_builder_free(builder);
    return batch;
}

/* The stored batch: its values, timestamps and headers. */
static void assert_stored(Fixture *fixture, size_t which, const char *const *values,
                          const int64_t *timestamps, size_t count)
{
    const ShSlice stored = fake_stored(fixture->engine, 0, which);
    ShBatchReader reader;
    ShScratch scratch = {0};
    assert_int_equal(sh_batch_reader_init(&reader, stored.data, stored.length, 1 << 20, &scratch, NULL),
                     SH_OK);
    assert_int_equal(reader.header.record_count, count);
    assert_int_equal(
        sh_crc32c(stored.data + SH_BATCH_UNCOVERED_BYTES, stored.length - SH_BATCH_UNCOVERED_BYTES),
        reader.header.crc);
    for (size_t i = 0; i < count; i++) {
        ShRecord record;
        ShHeader header;
        bool more;
        size_t cursor = 0;
        assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
        assert_true(more);
        assert_memory_equal(record.value, values[i], record.value_length);
        assert_int_equal(record.timestamp_ms, timestamps[i]);
        assert_true(sh_record_next_header(&record, &cursor, &header));
        assert_memory_equal(header.value, "v", 1);
    }
    sh_scratch_free(&scratch);
}

static void batches_without_sequences_lose_their_misfits(void **state)
{
    Fixture *fixture = *state;
    static const char *const first[] = {GOOD, BAD, OTHER};
    static const char *const second[] = {BAD};
    static const char *const third[] = {BAD, GOOD};
    for (int codec = 0; codec <= SH_CODEC_ZSTD; codec++) {
        ShBuf *batches[] = {batch_of((ShCodec)codec, -1, first, 3), batch_of((ShCodec)codec, -1, second, 1),
                            batch_of((ShCodec)codec, -1, third, 2)};
        ShBuf *joined = sh_buf_new(batches[0]->length + batches[1]->length + batches[2]->length);
        for (size_t i = 0; i < 3; i++) {
            memcpy(joined->data + joined->length, batches[i]->data, batches[i]->length);
            joined->length += batches[i]->length;
            sh_buf_unref(batches[i]);
        }
        Request request;
        ClientCall client;
        request_init(&request, 1);
        request_add(&request, 0, joined);
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        assert_non_null(response);
        const Streamhouse__V1__ProduceResult *result = response->results[0];
        assert_null(result->error);
        assert_int_equal(result->base_offset, 3 * codec);
        assert_int_equal(result->record_count, 3);
        static const int32_t places[] = {1, 3, 4};
        assert_int_equal(result->n_record_errors, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(result->record_errors[i]->index, places[i]);
            assert_non_null(strstr(result->record_errors[i]->message, "names schema 8"));
        }
        static const char *const left[] = {GOOD, OTHER};
        static const int64_t times[] = {1000, 1002};
        static const int64_t last_time[] = {1001};
        assert_stored(fixture, 2 * (size_t)codec, left, times, 2);
        assert_stored(fixture, 2 * (size_t)codec + 1, left, last_time, 1);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
        client_free(&client);
        sh_buf_unref(joined);
    }
}

static void structured_records_are_refused_one_by_one(void **state)
{
    Fixture *fixture = *state;
    Streamhouse__V1__Record records[3];
    Streamhouse__V1__Record *list[3];
    static const char *const values[] = {BAD, GOOD, BAD};
    for (size_t i = 0; i < 3; i++) {
        streamhouse__v1__record__init(&records[i]);
        records[i].value_or_null_case = STREAMHOUSE__V1__RECORD__VALUE_OR_NULL_VALUE;
        records[i].value = (ProtobufCBinaryData){5 + strlen(values[i] + 5), (uint8_t *)(uintptr_t)values[i]};
        list[i] = &records[i];
    }
    for (size_t given = 1; given <= 3; given += 2) {
        Request request;
        ClientCall client;
        request_init(&request, 1);
        Streamhouse__V1__ProducePartition *part = request_add(&request, 0, NULL);
        part->records = list;
        part->n_records = given;
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        assert_non_null(response);
        const Streamhouse__V1__ProduceResult *result = response->results[0];
        assert_int_equal(result->error != NULL, given == 1); /* nothing is left of a single one */
        assert_int_equal(result->record_count, given == 1 ? 0 : 1);
        assert_int_equal(result->n_record_errors, given == 1 ? 1 : 2);
        assert_int_equal(result->record_errors[0]->index, 0);
        if (given == 1)
            assert_string_equal(result->error->reason, "INVALID");
        else
            assert_int_equal(result->record_errors[1]->index, 2);
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
        client_free(&client);
    }
}

static void batches_with_sequences_are_refused_as_a_whole(void **state)
{
    Fixture *fixture = *state;
    static const char *const values[] = {GOOD, BAD, GOOD};
    ShBuf *batch = batch_of(SH_CODEC_NONE, 12, values, 3);
    for (int stored = 0; stored <= 1; stored++) {
        pthread_mutex_lock(&fixture->engine->mutex);
        fixture->engine->knows_all = stored == 1;
        pthread_mutex_unlock(&fixture->engine->mutex);
        Request request;
        ClientCall client;
        request_init(&request, 1);
        request_add(&request, 0, batch);
        Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
        assert_non_null(response);
        const Streamhouse__V1__ProduceResult *result = response->results[0];
        if (stored == 0) {
            assert_string_equal(result->error->reason, "INVALID");
            assert_non_null(strstr(result->error->message, "record 1 of 3"));
            assert_int_equal(result->n_record_errors, 1);
            assert_int_equal(result->record_errors[0]->index, 1);
        } else {
            /* An earlier try was stored before the topic was validated. */
            assert_null(result->error);
            assert_int_equal(result->record_count, 3);
            assert_int_equal(result->n_record_errors, 0);
        }
        streamhouse__v1__produce_response__free_unpacked(response, NULL);
        client_free(&client);
    }
    sh_buf_unref(batch);
}

static void a_redirect_says_nothing_of_records(void **state)
{
    Fixture *fixture = *state;
    static const char *const values[] = {GOOD, BAD};
    ShBuf *batch = batch_of(SH_CODEC_NONE, -1, values, 2);
    Request request;
    ClientCall client;
    request_init(&request, 1);
    request_add(&request, 3, batch); /* another agent's */
    assert_null(call_produce(fixture, &client, &request));
    assert_int_equal(client.status, GRPC_STATUS_FAILED_PRECONDITION);
    client_free(&client);
    sh_buf_unref(batch);
}

#define CHECKED(name) cmocka_unit_test_setup_teardown(name, validate, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECKED(batches_without_sequences_lose_their_misfits),
        CHECKED(structured_records_are_refused_one_by_one),
        CHECKED(batches_with_sequences_are_refused_as_a_whole),
        CHECKED(a_redirect_says_nothing_of_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
