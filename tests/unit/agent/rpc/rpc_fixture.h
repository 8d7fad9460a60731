/*
 * rpc_fixture.h - a gRPC server over the fake engine and a channel to it, for each test of a program.
 */
#ifndef SH_TESTS_RPC_FIXTURE_H
#define SH_TESTS_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/rpc/rpc.h"
#include "core/crc32c.h"
#include "proto/streamhouse.pb-c.h"
#include "tests/unit/agent/rpc/fake_engine.h"
#include "tests/unit/agent/rpc/grpc_client.h"

#define MESSAGE_BYTES_MAX (4 << 20)
#define WAIT_MS           20000

typedef struct Fixture {
    ShConfig config;
    ShEngine *engine;
    ShRpc *rpc;
    const char *address;
    grpc_channel *channel;
} Fixture;

static inline ShConfig fixture_config(void)
{
    static char listen_address[] = "127.0.0.1:0";
    return (ShConfig){
        .listen_address = listen_address,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .batch_bytes_max = 1 << 20,
        .batch_decompressed_bytes_max = 4 << 20,
        .fetch_bytes_max = 8 << 20,
        .fetch_wait_max_ms = 30000,
        .memory_budget_bytes = 512 << 20,
        .rpc_threads = 2,
    };
}

static inline int fixture_start(void **state, ShConfig config)
{
    Fixture *fixture = calloc(1, sizeof *fixture);
    ShError err;
    grpc_init();
    fixture->config = config;
    fixture->engine = fake_engine_new();
    if (sh_rpc_bind(&fixture->config, &fixture->rpc, &fixture->address, &err) != SH_OK ||
        sh_rpc_serve(fixture->rpc, fixture->engine, &err) != SH_OK) {
        print_error("%s\n", err.message);
        return -1;
    }
    fixture->channel = client_connect(fixture->address);
    *state = fixture;
    return 0;
}

static inline int fixture_set_up(void **state)
{
    return fixture_start(state, fixture_config());
}

/* A server with a small memory budget: of 2 MB there are 16 connections and 64 calls, of 16 MB 128 and 512.
 */
static inline int fixture_start_small(void **state, int64_t memory_budget_bytes)
{
    ShConfig config = fixture_config();
    config.memory_budget_bytes = memory_budget_bytes;
    return fixture_start(state, config);
}

static inline int fixture_set_up_small(void **state)
{
    return fixture_start_small(state, 2 << 20);
}

static inline int fixture_tear_down(void **state)
{
    Fixture *fixture = *state;
    grpc_channel_destroy(fixture->channel);
    fake_hold_appends(fixture->engine, false);
    fake_release_describes(fixture->engine);
    sh_rpc_stop(fixture->rpc, 100);
    assert_int_equal(fake_held_bytes(fixture->engine), 0);
    fake_engine_free(fixture->engine);
    free(fixture);
    grpc_shutdown();
    return 0;
}

/* Poll until `condition` holds; the test fails after WAIT_MS. */
#define WAIT_UNTIL(condition)                                                                                \
    do {                                                                                                     \
        int64_t wait_deadline_ms = sh_clock_now_ms() + WAIT_MS;                                              \
        while (!(condition)) {                                                                               \
            assert_true(sh_clock_now_ms() < wait_deadline_ms);                                               \
            poll(NULL, 0, 1);                                                                                \
        }                                                                                                    \
    } while (0)

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

/* A batch of `count` records with this value, uncompressed; release it. */
static inline ShBuf *make_batch(int count, const char *value, size_t value_length)
{
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    ShBuf *batch = NULL;
    ShError err;
    for (int i = 0; i < count; i++) {
        ShRecord record = {.timestamp_ms = 1000 + i,
                           .key = (const uint8_t *)"k",
                           .key_length = 1,
                           .value = (const uint8_t *)value,
                           .value_length = value_length};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, &err), SH_OK);
    }
    assert_int_equal(sh_batch_builder_finish(builder, &batch, &err), SH_OK);
    sh_batch_builder_free(builder);
    return batch;
}

/* One record of so many equal bytes, in a batch that zstd makes very small. */
static inline ShBuf *make_bomb(size_t bytes)
{
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_ZSTD);
    uint8_t *value = calloc(1, bytes);
    ShRecord record = {.timestamp_ms = 1000, .value = value, .value_length = bytes};
    ShBuf *batch = NULL;
    assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    assert_int_equal(sh_batch_builder_finish(builder, &batch, NULL), SH_OK);
    free(value);
    sh_batch_builder_free(builder);
    return batch;
}

/* A ProduceRequest for up to eight partitions of `orders`, each with the same batches. */
typedef struct Request {
    Streamhouse__V1__ProduceRequest message;
    Streamhouse__V1__ProducePartition parts[8];
    Streamhouse__V1__ProducePartition *list[8];
} Request;

static inline void request_init(Request *request, uint64_t id)
{
    streamhouse__v1__produce_request__init(&request->message);
    request->message.request_id = id;
    request->message.partitions = request->list;
}

static inline Streamhouse__V1__ProducePartition *request_add(Request *request, int32_t partition,
                                                             const ShBuf *batch)
{
    size_t i = request->message.n_partitions++;
    Streamhouse__V1__ProducePartition *part = &request->parts[i];
    streamhouse__v1__produce_partition__init(part);
    part->topic = (char *)(uintptr_t) "orders";
    part->partition = partition;
    if (batch != NULL) {
        part->batches.data = batch->data;
        part->batches.len = batch->length;
    }
    request->list[i] = part;
    return part;
}

static inline Streamhouse__V1__ProduceResponse *call_produce(Fixture *fixture, ClientCall *client,
                                                             const Request *request)
{
    return client_call(client, fixture->channel, "/streamhouse.v1.StreamHouse/Produce",
                       &request->message.base, &streamhouse__v1__produce_response__descriptor);
}

/* Produce a batch to a partition, which must be accepted. Takes the reference. */
static inline void produce_batch(Fixture *fixture, int32_t partition, ShBuf *batch)
{
    Request request;
    ClientCall client;
    request_init(&request, 1);
    request_add(&request, partition, batch);
    Streamhouse__V1__ProduceResponse *response = call_produce(fixture, &client, &request);
    assert_non_null(response);
    assert_null(response->results[0]->error);
    streamhouse__v1__produce_response__free_unpacked(response, NULL);
    client_free(&client);
    sh_buf_unref(batch);
}

/* ... of `count` records. */
static inline void produce(Fixture *fixture, int32_t partition, int count, const char *value,
                           size_t value_length)
{
    produce_batch(fixture, partition, make_batch(count, value, value_length));
}

#endif
