/* The hot messages: the hand-written wire code against the generated one, and against every
 * kind of damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/messages.h"
#include "proto/streamhouse.pb-c.h"

static char *text(const char *value)
{
    return (char *)(uintptr_t)value;
}

static void produce_request_is_what_the_generated_code_reads(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 3000000};
    ShUuid id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        ShScratch message = {0};
        assert_int_equal(sh_message_put_produce(&message, UINT64_MAX - i, "quakes", &id, 300,
                                                (int32_t)(i * 70), sizes[i], NULL),
                         SH_OK);
        assert_int_equal(sh_scratch_reserve(&message, message.length + sizes[i], NULL), SH_OK);
        memset(message.data + message.length, 'b', sizes[i]);
        Streamhouse__V1__ProduceRequest *request = streamhouse__v1__produce_request__unpack(
            NULL, message.length + sizes[i], message.data);
        assert_non_null(request);
        assert_int_equal(request->request_id, UINT64_MAX - i);
        assert_int_equal(request->n_partitions, 1);
        assert_string_equal(request->partitions[0]->topic, "quakes");
        assert_int_equal(request->partitions[0]->partition, 300);
        assert_int_equal(request->partitions[0]->topic_id.len, 16);
        assert_memory_equal(request->partitions[0]->topic_id.data, id.bytes, 16);
        assert_int_equal(request->partitions[0]->first_unacked_seq, i * 70);
        assert_int_equal(request->partitions[0]->batches.len, sizes[i]);
        streamhouse__v1__produce_request__free_unpacked(request, NULL);
        sh_scratch_free(&message);
    }
}

/* A refused answer as the generated code writes it; the caller frees it. */
static uint8_t *pack_refusal(size_t *length)
{
    Streamhouse__V1__Owner owner = STREAMHOUSE__V1__OWNER__INIT;
    owner.address = text("b:2");
    owner.epoch = 7;
    Streamhouse__V1__PartitionError error = STREAMHOUSE__V1__PARTITION_ERROR__INIT;
    error.code = 9;
    error.reason = text("NOT_OWNER");
    error.message = text("partition 1 is owned by b");
    error.retry_after_ms = 250;
    error.owner = &owner;
    Streamhouse__V1__ProduceResult result = STREAMHOUSE__V1__PRODUCE_RESULT__INIT;
    result.topic = text("quakes");
    result.partition = 1;
    result.error = &error;
    Streamhouse__V1__RecordError misfits[] = {STREAMHOUSE__V1__RECORD_ERROR__INIT,
                                              STREAMHOUSE__V1__RECORD_ERROR__INIT};
    misfits[0].message = text("the value does not fit");
    misfits[1].index = 300;
    Streamhouse__V1__RecordError *misfit_list[] = {&misfits[0], &misfits[1]};
    result.record_errors = misfit_list;
    result.n_record_errors = 2;
    Streamhouse__V1__ProduceResult *results[] = {&result};
    Streamhouse__V1__ProduceResponse response = STREAMHOUSE__V1__PRODUCE_RESPONSE__INIT;
    response.request_id = 99;
    response.results = results;
    response.n_results = 1;
    uint8_t *packed = malloc(streamhouse__v1__produce_response__get_packed_size(&response));
    *length = streamhouse__v1__produce_response__pack(&response, packed);
    return packed;
}

static void refusal_tells_reason_delay_and_owner(void **state)
{
    (void)state;
    size_t length = 0;
    uint8_t *packed = pack_refusal(&length);
    ShProduceAnswer answer;
    assert_int_equal(sh_message_get_produced(packed, length, &answer, NULL), SH_OK);
    assert_int_equal(answer.request_id, 99);
    assert_true(answer.refused);
    assert_int_equal(answer.refusal.error.status, SH_NOT_OWNER);
    assert_int_equal(answer.refusal.error.retry_after_ms, 250);
    assert_true(answer.refusal.error.retriable);
    assert_string_equal(answer.refusal.error.message, "partition 1 is owned by b");
    assert_true(answer.refusal.has_owner);
    assert_string_equal(answer.refusal.owner.address, "b:2");
    assert_int_equal(answer.refusal.owner.epoch, 7);
    assert_int_equal(answer.misfit_count, 2);
    assert_int_equal(answer.misfits[0].index, 0);
    assert_int_equal(answer.misfits[0].reason_length, strlen("the value does not fit"));
    assert_memory_equal(answer.misfits[0].reason, "the value does not fit", answer.misfits[0].reason_length);
    assert_int_equal(answer.misfits[1].index, 300);
    assert_int_equal(answer.misfits[1].reason_length, 0);
    sh_message_free_produced(&answer);
    free(packed);
}

static void damaged_answers_are_errors(void **state)
{
    (void)state;
    size_t length = 0;
    uint8_t *packed = pack_refusal(&length);
    ShProduceAnswer answer;
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that a step too far is seen by AddressSanitizer */
        memcpy(exact, packed, cut);
        assert_int_equal(sh_message_get_produced(exact, cut, &answer, NULL), SH_CORRUPT);
        sh_message_free_produced(&answer);
        free(exact);
    }
    for (size_t i = 0; i < length * 8; i++) {
        packed[i / 8] ^= (uint8_t)(1 << i % 8);
        (void)!sh_message_get_produced(packed, length, &answer, NULL); /* any verdict, no harm */
        sh_message_free_produced(&answer);
        packed[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    free(packed);
}

static void fetch_response_is_read_part_by_part(void **state)
{
    (void)state;
    uint8_t bytes[] = "batches";
    Streamhouse__V1__FetchResult first = STREAMHOUSE__V1__FETCH_RESULT__INIT;
    first.topic = text("quakes");
    first.partition = 2;
    first.log_start = 5;
    first.high_watermark = 1ll << 40;
    first.next_offset = 77;
    first.epoch = 3;
    first.batches = (ProtobufCBinaryData){7, bytes};
    Streamhouse__V1__PartitionError error = STREAMHOUSE__V1__PARTITION_ERROR__INIT;
    error.code = 11;
    Streamhouse__V1__FetchResult second = STREAMHOUSE__V1__FETCH_RESULT__INIT;
    second.error = &error;
    Streamhouse__V1__FetchResult *results[] = {&first, &second};
    Streamhouse__V1__FetchResponse response = STREAMHOUSE__V1__FETCH_RESPONSE__INIT;
    response.results = results;
    response.n_results = 2;
    uint8_t packed[256];
    size_t length = streamhouse__v1__fetch_response__pack(&response, packed);

    ShProtobufReader reader = sh_protobuf_reader(packed, length);
    ShFetchedPart part;
    bool more = false;
    assert_int_equal(sh_message_next_fetched(&reader, &part, &more, NULL), SH_OK);
    assert_true(more);
    assert_int_equal(part.topic_length, 6);
    assert_int_equal(part.partition, 2);
    assert_int_equal(part.log_start, 5);
    assert_int_equal(part.high_watermark, 1ll << 40);
    assert_int_equal(part.next_offset, 77);
    assert_int_equal(part.epoch, 3);
    assert_int_equal(part.batches_length, 7);
    assert_memory_equal(part.batches, bytes, 7);
    assert_false(part.refused);
    assert_int_equal(sh_message_next_fetched(&reader, &part, &more, NULL), SH_OK);
    assert_true(part.refused);
    assert_int_equal(part.refusal.error.status, SH_OUT_OF_RANGE);
    assert_int_equal(sh_message_next_fetched(&reader, &part, &more, NULL), SH_OK);
    assert_false(more);

    reader = sh_protobuf_reader(packed, length - 1);
    assert_int_equal(sh_message_next_fetched(&reader, &part, &more, NULL), SH_OK);
    assert_int_equal(sh_message_next_fetched(&reader, &part, &more, NULL), SH_CORRUPT);
    assert_false(more);
}

static void hostile_varints_and_lengths_end_the_reading(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } inputs[] = {
        {"\x00\x01", 2},                                          /* field number 0 */
        {"\x0b", 1},                                              /* a group */
        {"\x08", 1},                                              /* no value */
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* a varint of eleven bytes */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* a length of 2^64 - 1 */
        {"\x0a\x02x", 3},                                         /* one byte short */
        {"\x0d\x01\x02\x03", 4},                                  /* a fixed32 of three bytes */
        {"\x09\x01\x02\x03\x04\x05\x06\x07", 8},                  /* a fixed64 of seven bytes */
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        ShProtobufReader reader = sh_protobuf_reader((const uint8_t *)inputs[i].bytes, inputs[i].length);
        ShProtobufField field;
        assert_false(sh_protobuf_next(&reader, &field));
        assert_true(reader.damaged);
        assert_false(sh_protobuf_next(&reader, &field));
    }
    ShProtobufReader empty = sh_protobuf_reader(NULL, 0);
    ShProtobufField field;
    assert_false(sh_protobuf_next(&empty, &field));
    assert_false(empty.damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(produce_request_is_what_the_generated_code_reads),
        cmocka_unit_test(refusal_tells_reason_delay_and_owner),
        cmocka_unit_test(damaged_answers_are_errors),
        cmocka_unit_test(fetch_response_is_read_part_by_part),
        cmocka_unit_test(hostile_varints_and_lengths_end_the_reading),
    };
    return cmocka_run_group_tests_name("messages", tests, NULL, NULL);
}
