/* The protobuf reader: against protobuf-c's writer, and against bytes that no writer makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/rpc/wire.h"
#include "proto/streamhouse.pb-c.h"

static void reads_what_protobuf_c_writes(void **state)
{
    (void)state;
    Streamhouse__V1__Header header;
    streamhouse__v1__header__init(&header);
    header.key = (char *)(uintptr_t) "name";
    Streamhouse__V1__Header *headers[] = {&header, &header};
    Streamhouse__V1__Record record;
    streamhouse__v1__record__init(&record);
    record.key_or_null_case =
        STREAMHOUSE__V1__RECORD__KEY_OR_NULL_KEY; /* present and empty, which is not null */
    record.timestamp_ms = -5;
    record.headers = headers;
    record.n_headers = 2;
    Streamhouse__V1__Record *records[] = {&record};
    Streamhouse__V1__ProducePartition part;
    streamhouse__v1__produce_partition__init(&part);
    part.topic = (char *)(uintptr_t) "orders";
    part.topic_id = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "abc"};
    part.partition = -7;
    part.batches = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "1234"};
    part.records = records;
    part.n_records = 1;
    part.compression = STREAMHOUSE__V1__COMPRESSION__ZSTD;
    part.first_unacked_seq = 2147483647;
    Streamhouse__V1__ProducePartition *parts[] = {&part, &part};
    Streamhouse__V1__ProduceRequest request = STREAMHOUSE__V1__PRODUCE_REQUEST__INIT;
    request.request_id = UINT64_MAX;
    request.partitions = parts;
    request.n_partitions = 2;
    uint8_t bytes[1024];
    size_t length = streamhouse__v1__produce_request__pack(&request, bytes);

    uint64_t request_id = 0;
    ShWireReader reader = sh_wire_reader(bytes, length);
    ShWirePartition partition;
    bool more;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sh_wire_next_partition(&reader, &partition, &request_id, &more, NULL), SH_OK);
        assert_true(more);
        assert_true(request_id == UINT64_MAX);
    }
    request_id = 7;
    assert_int_equal(sh_wire_next_partition(&reader, &partition, &request_id, &more, NULL), SH_OK);
    assert_false(more);
    assert_int_equal(request_id, 7); /* not passed again */
    assert_int_equal(partition.topic.length, 6);
    assert_memory_equal(partition.topic_id.data, "abc", 3);
    assert_int_equal(partition.partition, -7);
    assert_memory_equal(partition.batches.data, "1234", 4);
    assert_int_equal(partition.record_count, 1);
    assert_int_equal(partition.compression, 4);
    assert_int_equal(partition.first_unacked_seq, 2147483647);

    ShWireRecord read;
    ShWireReader record_reader = sh_wire_reader(partition.body.data, partition.body.length);
    assert_int_equal(sh_wire_next_record(&record_reader, &read, &more, NULL), SH_OK);
    assert_non_null(read.key.data);
    assert_int_equal(read.key.length, 0);
    assert_null(read.value.data);
    assert_int_equal(read.timestamp_ms, -5);
    assert_int_equal(read.header_count, 2);
    ShWireHeader read_header;
    ShWireReader header_reader = sh_wire_reader(read.body.data, read.body.length);
    assert_int_equal(sh_wire_next_header(&header_reader, &read_header, &more, NULL), SH_OK);
    assert_memory_equal(read_header.key.data, "name", 4);
    assert_null(read_header.value.data);

    /* Every shorter message is refused, or ends where a field ends. */
    for (size_t cut = 0; cut < length; cut++) {
        ShWireReader cut_reader = sh_wire_reader(bytes, cut);
        while (sh_wire_next_partition(&cut_reader, &partition, NULL, &more, NULL) == SH_OK && more)
            assert_true(partition.body.data + partition.body.length <= bytes + cut);
    }
}

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"\x00", 1},                                              /* field number 0 */
        {"\x0b", 1},                                              /* a group */
        {"\x08", 1},                                              /* no value */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},     /* a varint above 64 bits */
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* a varint of 11 bytes */
        {"\x12\x05"
         "1234",
         6},                                                  /* a length beyond the message */
        {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, /* a length beyond all memory */
        {"\x0d\x01\x02\x03", 4},                              /* a fixed32 cut off */
        {"\x0a\x00", 2},                                      /* request_id as bytes */
        {"\x10\x01", 2},                                      /* partitions as a number */
        {"\xff\xff\xff\xff\xff\xff\x01\x01", 8},              /* a tag above 32 bits */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShWireReader reader = sh_wire_reader((const uint8_t *)cases[i].bytes, cases[i].length);
        ShWirePartition partition;
        bool more;
        ShError err;
        assert_int_equal(sh_wire_next_partition(&reader, &partition, NULL, &more, &err), SH_INVALID);
        assert_true(err.message[0] != '\0');
    }
}

static void refuses_a_malformed_header(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"\x1a\x03\x0a\x05n", 5},         /* a key longer than the header */
        {"\x1a\x05\x0a\x01n\x12\x04", 7}, /* a value longer than the header */
        {"\x1a\x03\x0a\x01\xff", 5},      /* a key that is no text */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShWireReader reader = sh_wire_reader((const uint8_t *)cases[i].bytes, cases[i].length);
        ShWireHeader header;
        bool more;
        assert_int_equal(sh_wire_next_header(&reader, &header, &more, NULL), SH_INVALID);
    }
}

static void steps_over_unknown_fields(void **state)
{
    (void)state;
    static const char bytes[] = "\x50\x01\x59"
                                "12345678"
                                "\x5d"
                                "1234"
                                "\x62\x02"
                                "xy"
                                "\x08\x2a";
    uint64_t request_id = 0;
    ShWireReader reader = sh_wire_reader((const uint8_t *)bytes, sizeof bytes - 1);
    ShWirePartition partition;
    bool more;
    assert_int_equal(sh_wire_next_partition(&reader, &partition, &request_id, &more, NULL), SH_OK);
    assert_false(more);
    assert_int_equal(request_id, 42);
}

static void knows_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80", "\xc3",   "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
        "\xff", "ok\xc3("};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(sh_wire_is_utf8((const uint8_t *)good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sh_wire_is_utf8((const uint8_t *)bad[i], strlen(bad[i])));
    assert_int_equal(sh_wire_utf8_prefix((const uint8_t *)bad[8], 4), 2);
}

static void varint_sizes_are_exact(void **state)
{
    (void)state;
    uint8_t to[SH_WIRE_VARINT_BYTES_MAX];
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int below = 0; below < 2; below++) {
            uint64_t value = (UINT64_C(1) << bit) - (uint64_t)below;
            assert_int_equal(sh_wire_put_varint(to, value) - to, sh_wire_varint_size(value));
        }
    }
    assert_int_equal(sh_wire_varint_size(UINT64_MAX), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_protobuf_c_writes),
        cmocka_unit_test(refuses_what_is_malformed),
        cmocka_unit_test(refuses_a_malformed_header),
        cmocka_unit_test(steps_over_unknown_fields),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(varint_sizes_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
