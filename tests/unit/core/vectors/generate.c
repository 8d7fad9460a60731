/*
 * generate.c - exchange record batches with librdkafka, through the broker that it can mock.
 *
 * librdkafka's producer writes the sent records with each codec, idempotent and transactional; the batches
 * are fetched from the mock broker as they came over the wire, and printed as C arrays
 * (librdkafka_batches.h). In the other direction the project's own builder's batches are given to the mock
 * broker, and librdkafka's consumer must read every record as it was. The hash of some keys by librdkafka's
 * murmur2 partitioner ends the output. See README.md for how to build and run it.
 */
#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/batch.h"
#include "tests/unit/core/vectors/sent_records.h"

#define TIMEOUT_MS 20000
#define FRAME_BYTES_MAX 65536

/* A Kafka request or response: a length in 4 bytes, then that much. */
typedef struct Frame {
    uint8_t bytes[FRAME_BYTES_MAX];
    size_t length;
} Frame;

typedef struct Setting {
    const char *name;
    const char *value;
} Setting;

static void produce_and_print(const char *array, const char *codec, const char *flavour);
static rd_kafka_t *new_producer(const char *codec, const char *flavour);
static void produce_record(rd_kafka_t *producer, const char *topic, int index);
static void print_array(const char *name, const uint8_t *bytes, size_t length);
static void check_reverse(ShCodec codec);
static ShBuf *build_batch(ShCodec codec);
static void consume_and_compare(const char *bootstraps, const char *topic, const char *codec);
static void compare_message(const rd_kafka_message_t *message, int index);
static void print_partitions(void);
static rd_kafka_t *new_client(rd_kafka_type_t type, const Setting *settings);
static int connect_to(const char *bootstraps);
static void fetch(int connection, const char *topic, Frame *response, size_t *batch_position,
                  size_t *batch_bytes);
static void send_produce(int connection, const char *topic, const ShBuf *batch);
static void start_request(Frame *frame, uint16_t api, uint16_t version);
static void round_trip(int connection, Frame *request, Frame *response);
static void put_u16(Frame *frame, uint16_t value);
static void put_u32(Frame *frame, uint32_t value);
static void put_u64(Frame *frame, uint64_t value);
static void put_string(Frame *frame, const char *text);
static void require(int condition, const char *what);

int main(void)
{
    printf("/* Written by tests/unit/core/vectors/generate.c with librdkafka %s. */\n",
           rd_kafka_version_str());
    printf("#ifndef TESTS_UNIT_CORE_VECTORS_LIBRDKAFKA_BATCHES_H\n");
    printf("#define TESTS_UNIT_CORE_VECTORS_LIBRDKAFKA_BATCHES_H\n\n#include <stdint.h>\n\n");
    produce_and_print("librdkafka_none", "none", "");
    produce_and_print("librdkafka_gzip", "gzip", "");
    produce_and_print("librdkafka_snappy", "snappy", "");
    produce_and_print("librdkafka_lz4", "lz4", "");
    produce_and_print("librdkafka_zstd", "zstd", "");
    produce_and_print("librdkafka_idempotent", "none", "idempotent");
    produce_and_print("librdkafka_transactional", "none", "transactional");
    print_partitions();
    printf("#endif\n");
    for (int codec = SH_CODEC_NONE; codec <= SH_CODEC_ZSTD; codec++)
        check_reverse((ShCodec)codec);
    return 0;
}

static void produce_and_print(const char *array, const char *codec, const char *flavour)
{
    rd_kafka_t *producer = new_producer(codec, flavour);
    rd_kafka_mock_cluster_t *mock = rd_kafka_handle_mock_cluster(producer);
    require(mock != NULL, "a mock cluster");
    rd_kafka_mock_topic_create(mock, "vectors", 1, 1);
    if (strcmp(flavour, "transactional") == 0) {
        require(rd_kafka_init_transactions(producer, TIMEOUT_MS) == NULL, "init_transactions");
        require(rd_kafka_begin_transaction(producer) == NULL, "begin_transaction");
    }
    for (int i = 0; i < SENT_RECORD_COUNT; i++)
        produce_record(producer, "vectors", i);
    require(rd_kafka_flush(producer, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR, "flush");

    static Frame response;
    size_t position;
    size_t length;
    int connection = connect_to(rd_kafka_mock_cluster_bootstraps(mock));
    fetch(connection, "vectors", &response, &position, &length);
    close(connection);
    print_array(array, response.bytes + position, length);
    rd_kafka_destroy(producer);
}

static rd_kafka_t *new_producer(const char *codec, const char *flavour)
{
    Setting settings[] = {
        {"test.mock.num.brokers", "1"},
        {"compression.type", codec},
        {"linger.ms", "500"},
        {"enable.idempotence", flavour[0] != '\0' ? "true" : "false"},
        {strcmp(flavour, "transactional") == 0 ? "transactional.id" : NULL, "vectors"},
        {NULL, NULL},
    };
    return new_client(RD_KAFKA_PRODUCER, settings);
}

static void produce_record(rd_kafka_t *producer, const char *topic, int index)
{
    SentRecord record;
    sent_record(index, &record);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(SENT_HEADER_COUNT);
    if (record.header_count > 0) {
        rd_kafka_header_add(headers, "trace", -1, record.trace, -1);
        rd_kafka_header_add(headers, "none", -1, NULL, 0);
    }
    rd_kafka_resp_err_t error = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_TIMESTAMP(record.timestamp_ms),
        RD_KAFKA_V_KEY(record.key, record.key_length),
        RD_KAFKA_V_VALUE((void *)record.value, record.value_length), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    require(error == RD_KAFKA_RESP_ERR_NO_ERROR, "producev");
}

static void print_array(const char *name, const uint8_t *bytes, size_t length)
{
    printf("static const uint8_t %s[] = {", name);
    for (size_t i = 0; i < length; i++)
        printf("%s0x%02x,", i % 16 == 0 ? "\n    " : " ", bytes[i]);
    printf("\n};\n\n");
}

static void check_reverse(ShCodec codec)
{
    const Setting settings[] = {{"test.mock.num.brokers", "1"}, {NULL, NULL}};
    rd_kafka_t *host = new_client(RD_KAFKA_PRODUCER, settings);
    rd_kafka_mock_cluster_t *mock = rd_kafka_handle_mock_cluster(host);
    rd_kafka_mock_topic_create(mock, "reverse", 1, 1);

    int connection = connect_to(rd_kafka_mock_cluster_bootstraps(mock));
    ShBuf *batch = build_batch(codec);
    send_produce(connection, "reverse", batch);
    sh_buf_unref(batch);
    close(connection);
    consume_and_compare(rd_kafka_mock_cluster_bootstraps(mock), "reverse", sh_codec_name(codec));
    rd_kafka_destroy(host);
}

static ShBuf *build_batch(ShCodec codec)
{
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    for (int i = 0; i < SENT_RECORD_COUNT; i++) {
        SentRecord sent;
        sent_record(i, &sent);
        ShHeader headers[SENT_HEADER_COUNT] = {
            {.key = "trace",
             .key_length = 5,
             .value = (uint8_t *)sent.trace,
             .value_length = strlen(sent.trace)},
            {.key = "none", .key_length = 4},
        };
        ShRecord record = {
            .timestamp_ms = sent.timestamp_ms,
            .key = (const uint8_t *)sent.key,
            .key_length = sent.key_length,
            .value = (const uint8_t *)sent.value,
            .value_length = sent.value_length,
        };
        require(sh_batch_builder_add(builder, &record, headers, (size_t)sent.header_count, NULL) == SH_OK,
                "add");
    }
    ShBuf *batch;
    require(sh_batch_builder_finish(builder, &batch, NULL) == SH_OK, "finish");
    sh_batch_builder_free(builder);
    return batch;
}

static void consume_and_compare(const char *bootstraps, const char *topic, const char *codec)
{
    const Setting settings[] = {
        {"bootstrap.servers", bootstraps}, {"group.id", "reverse"}, {"check.crcs", "true"}, {NULL, NULL}};
    rd_kafka_t *consumer = new_client(RD_KAFKA_CONSUMER, settings);
    rd_kafka_topic_partition_list_t *assignment = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(assignment, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    require(rd_kafka_assign(consumer, assignment) == RD_KAFKA_RESP_ERR_NO_ERROR, "assign");
    for (int i = 0; i < SENT_RECORD_COUNT; i++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, TIMEOUT_MS);
        require(message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR,
                "a record for librdkafka's consumer");
        compare_message(message, i);
        rd_kafka_message_destroy(message);
    }
    fprintf(stderr, "%s: librdkafka's consumer read all %d records of our batch\n", codec, SENT_RECORD_COUNT);
    rd_kafka_topic_partition_list_destroy(assignment);
    rd_kafka_destroy(consumer);
}

static void compare_message(const rd_kafka_message_t *message, int index)
{
    SentRecord sent;
    sent_record(index, &sent);
    require(message->offset == index, "the offset");
    require(rd_kafka_message_timestamp(message, NULL) == sent.timestamp_ms, "the timestamp");
    require((message->key == NULL) == (sent.key == NULL) && message->key_len == sent.key_length
                && (sent.key == NULL || memcmp(message->key, sent.key, sent.key_length) == 0),
            "the key");
    require((message->payload == NULL) == (sent.value == NULL) && message->len == sent.value_length
                && (sent.value == NULL || memcmp(message->payload, sent.value, sent.value_length) == 0),
            "the value");

    rd_kafka_headers_t *headers = NULL;
    rd_kafka_message_headers(message, &headers);
    require((headers == NULL ? 0 : (int)rd_kafka_header_cnt(headers)) == sent.header_count,
            "the header count");
    if (sent.header_count == 0)
        return;
    const void *value;
    size_t length;
    require(rd_kafka_header_get_last(headers, "trace", &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR
                && length == strlen(sent.trace) && memcmp(value, sent.trace, length) == 0,
            "the header trace");
    require(rd_kafka_header_get_last(headers, "none", &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR
                && value == NULL,
            "the header none");
}

/* A count that is prime and large tells the hashes of keys apart. */
static void print_partitions(void)
{
    static const char *const keys[] = {"a",     "ab",         "abc",        "abcd",
                                       "key-1", "earthquake", "us7000abcd", "\x80\xff\x7f"};
    const int32_t partitions = 1000003;
    printf("typedef struct LibrdkafkaPartition {\n    const char *key;\n    int32_t partition; /* of %d */\n"
           "} LibrdkafkaPartition;\n\n",
           partitions);
    printf(
        "#define LIBRDKAFKA_PARTITIONS %d\n\nstatic const LibrdkafkaPartition librdkafka_partitions[] = {\n",
        partitions);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        printf("    {\"");
        for (const char *c = keys[i]; *c != '\0'; c++)
            printf(*c >= ' ' && *c <= '~' ? "%c" : "\\%03o", (unsigned char)*c);
        printf("\", %d},\n",
               rd_kafka_msg_partitioner_murmur2(NULL, keys[i], strlen(keys[i]), partitions, NULL, NULL));
    }
    printf("};\n\n");
}

static rd_kafka_t *new_client(rd_kafka_type_t type, const Setting *settings)
{
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; settings->name != NULL; settings++)
        require(rd_kafka_conf_set(conf, settings->name, settings->value, error, sizeof error)
                    == RD_KAFKA_CONF_OK,
                settings->name);
    rd_kafka_t *client = rd_kafka_new(type, conf, error, sizeof error);
    require(client != NULL, "a client");
    return client;
}

static int connect_to(const char *bootstraps)
{
    char host[64];
    int port;
    require(sscanf(bootstraps, "%63[^:]:%d", host, &port) == 2, "an address");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    require(inet_pton(AF_INET, host, &address.sin_addr) == 1, "an IPv4 address");
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(connection, (struct sockaddr *)&address, sizeof address) == 0, "a connection");
    return connection;
}

/* Fetch, version 4, of partition 0 from offset 0. */
static void fetch(int connection, const char *topic, Frame *response, size_t *batch_position,
                  size_t *batch_bytes)
{
    static Frame request;
    start_request(&request, 1, 4);
    put_u32(&request, UINT32_MAX); /* replica id: -1, a consumer */
    put_u32(&request, 1000);       /* max wait */
    put_u32(&request, 1);          /* min bytes */
    put_u32(&request, FRAME_BYTES_MAX / 2);
    request.bytes[request.length++] = 0; /* read uncommitted */
    put_u32(&request, 1);
    put_string(&request, topic);
    put_u32(&request, 1);
    put_u32(&request, 0); /* partition */
    put_u64(&request, 0); /* offset */
    put_u32(&request, FRAME_BYTES_MAX / 2);
    round_trip(connection, &request, response);

    /* correlation id, throttle time, topic count, topic, partition count, partition */
    size_t position = 12 + 2 + strlen(topic) + 8;
    require(sh_get_u16(response->bytes + position) == 0, "a fetch without error");
    position += 2 + 16; /* error, high watermark, last stable offset */
    uint32_t aborted = sh_get_u32(response->bytes + position);
    position += 4 + (aborted == UINT32_MAX ? 0 : 16 * (size_t)aborted);
    *batch_bytes = sh_get_u32(response->bytes + position);
    *batch_position = position + 4;
    ShBatchHeader header;
    require(sh_batch_peek(response->bytes + *batch_position, *batch_bytes, &header, NULL) == SH_OK
                && header.total_bytes == *batch_bytes,
            "exactly one batch");
}

/* Produce, version 3, to partition 0. */
static void send_produce(int connection, const char *topic, const ShBuf *batch)
{
    static Frame request;
    static Frame response;
    start_request(&request, 0, 3);
    put_u16(&request, UINT16_MAX); /* no transactional id */
    put_u16(&request, UINT16_MAX); /* all acknowledge */
    put_u32(&request, TIMEOUT_MS);
    put_u32(&request, 1);
    put_string(&request, topic);
    put_u32(&request, 1);
    put_u32(&request, 0);
    put_u32(&request, (uint32_t)batch->length);
    require(batch->length < FRAME_BYTES_MAX - request.length, "a small batch");
    memcpy(request.bytes + request.length, batch->data, batch->length);
    request.length += batch->length;
    round_trip(connection, &request, &response);
    /* correlation id, topic count, topic, partition count, partition */
    require(sh_get_u16(response.bytes + 8 + 2 + strlen(topic) + 8) == 0, "a produce without error");
}

static void start_request(Frame *frame, uint16_t api, uint16_t version)
{
    frame->length = 4; /* the length is filled in last */
    put_u16(frame, api);
    put_u16(frame, version);
    put_u32(frame, 1); /* correlation id */
    put_string(frame, "vectors");
}

static void round_trip(int connection, Frame *request, Frame *response)
{
    sh_put_u32(request->bytes, (uint32_t)(request->length - 4));
    require(send(connection, request->bytes, request->length, 0) == (ssize_t)request->length,
            "a request sent");
    uint8_t length[4];
    require(recv(connection, length, sizeof length, MSG_WAITALL) == sizeof length, "a response");
    response->length = sh_get_u32(length);
    require(response->length <= FRAME_BYTES_MAX, "a small response");
    require(recv(connection, response->bytes, response->length, MSG_WAITALL) == (ssize_t)response->length,
            "a whole response");
}

static void put_u16(Frame *frame, uint16_t value)
{
    sh_put_u16(frame->bytes + frame->length, value);
    frame->length += sizeof value;
}

static void put_u32(Frame *frame, uint32_t value)
{
    sh_put_u32(frame->bytes + frame->length, value);
    frame->length += sizeof value;
}

static void put_u64(Frame *frame, uint64_t value)
{
    sh_put_u64(frame->bytes + frame->length, value);
    frame->length += sizeof value;
}

static void put_string(Frame *frame, const char *text)
{
    size_t length = strlen(text);
    put_u16(frame, (uint16_t)length);
    memcpy(frame->bytes + frame->length, text, length);
    frame->length += length;
}

static void require(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "generate: wrong or missing: %s\n", what);
    exit(1);
}
