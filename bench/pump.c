#include "bench/pump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/json_line.h"
#include "bench/session.h"
#include "client/messages.h"
#include "client/transport.h"
#include "core/batch.h"

#define PROGRESS_EVERY_US 500000
#define RETRY_MS          20
#define RECORD_OVERHEAD   12 /* bytes of a record in a batch beside its value, at most */

typedef struct Pump Pump;

/* A request's place in the window; its number and its connection are its request id. */
typedef struct Slot {
    int64_t sent_us; /* 0: free. With a rate: when it should have been sent, from which its time counts */
} Slot;

typedef struct Connection {
    Pump *pump;
    ShClientCall *call;
    Slot *slots;
    int busy;
    int again; /* requests pushed back, to be sent again */
} Connection;

struct Pump {
    const ShBenchLoad *load;
    ShBuf *batch;
    ShTopicShape shape;
    ShScratch head;
    Connection *connections;
    int64_t begun_us;
    int64_t asked; /* requests sent for the first time */
    int64_t acked;
    int64_t pushed_back;
    int64_t held_until_us;
    int64_t *samples;
};

static void die(const char *what)
{
    fprintf(stderr, "bench: produce: %s\n", what);
    exit(1);
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        die("out of memory");
    return memory;
}

static void connect_all(Pump *pump, ShLoop *loop, const char *address);
static void run(Pump *pump, ShLoop *loop);
static void show_progress(const Pump *pump, int64_t *shown_us);
static int64_t due_us(const Pump *pump, int64_t request);
static void write_next(void *context);
static void take_answer(void *context, ShBuf *message);
static void take_end(void *context, const ShRefusal *why);

int sh_bench_batch_records(int record_bytes, int batch_bytes)
{
    int records = (batch_bytes - SH_BATCH_HEADER_BYTES) / (record_bytes + RECORD_OVERHEAD);
    return records > 0 ? records : 1;
}

ShBuf *sh_bench_batch(int record_bytes, int records)
{
    ShError err;
    ShBuf *batch = NULL;
    uint8_t *value = allocate(1, (size_t)record_bytes);
    memset(value, 'x', (size_t)record_bytes);
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    if (builder == NULL)
        die("out of memory");
    ShRecord record = {
        .value = value, .value_length = (size_t)record_bytes, .timestamp_ms = sh_bench_now_us() / 1000};
    for (int i = 0; i < records; i++)
        sh_bench_check(sh_batch_builder_add(builder, &record, NULL, 0, &err), &err, "build a batch");
    sh_bench_check(sh_batch_builder_finish(builder, &batch, &err), &err, "build a batch");
    sh_batch_builder_free(builder);
    free(value);
    return batch;
}

void sh_bench_pump(ShClient *client, const char *address, const ShBenchLoad *load, ShBenchPumped *out)
{
    ShError err;
    Pump pump = {.load = load, .batch = sh_bench_batch(load->record_bytes, load->batch_records)};
    ShStatus status = sh_client_topic_shape(client, load->topic, SH_BENCH_TIMEOUT_MS, &pump.shape, &err);
    sh_bench_check(status, &err, "topic");
    pump.samples = allocate((size_t)load->requests, sizeof *pump.samples);
    pump.connections = allocate((size_t)load->connections, sizeof *pump.connections);
    ShTransport *transport = sh_transport_new();
    ShLoop *loop = transport != NULL ? sh_loop_new(transport) : NULL;
    if (loop == NULL)
        die("out of memory");

    connect_all(&pump, loop, address);
    run(&pump, loop);
    *out = (ShBenchPumped){
        .seconds = (double)(sh_bench_now_us() - pump.begun_us) / 1e6,
        .records = pump.acked * load->batch_records,
        .bytes = pump.acked * (int64_t)pump.batch->length,
        .pushed_back = pump.pushed_back,
        .ack_p50_ms = (double)sh_bench_percentile(pump.samples, pump.acked, 50) / 1e3,
        .ack_p99_ms = (double)sh_bench_percentile(pump.samples, pump.acked, 99) / 1e3,
    };

    sh_loop_free(loop);
    sh_transport_free(transport);
    for (int i = 0; i < load->connections; i++)
        free(pump.connections[i].slots);
    free(pump.connections);
    free(pump.samples);
    sh_scratch_free(&pump.head);
    sh_buf_unref(pump.batch);
}

/* One channel per address: a query that the resolver ignores gives each connection an address of its own. */
static void connect_all(Pump *pump, ShLoop *loop, const char *address)
{
    char own[SH_CLIENT_ADDRESS_BYTES];
    for (int i = 0; i < pump->load->connections; i++) {
        Connection *connection = &pump->connections[i];
        connection->pump = pump;
        connection->slots = allocate((size_t)pump->load->in_flight, sizeof *connection->slots);
        snprintf(own, sizeof own, "ipv4:%s?connection=%d", address, i);
        ShClientCallEvents events = {write_next, take_answer, take_end, connection};
        connection->call = sh_client_call_start(loop, own, SH_METHOD_PRODUCE_STREAM, 0, &events);
        if (connection->call == NULL)
            die("no connection");
        sh_client_call_read(connection->call);
    }
}

static void run(Pump *pump, ShLoop *loop)
{
    int64_t shown_us = sh_bench_now_us();
    pump->begun_us = shown_us;
    while (pump->acked < pump->load->requests) {
        bool waits = pump->load->requests_per_second > 0 || pump->held_until_us > 0;
        sh_loop_run(loop, sh_client_now_ms() + (waits ? 1 : 1000));
        if (waits) {
            if (sh_bench_now_us() >= pump->held_until_us)
                pump->held_until_us = 0;
            for (int i = 0; i < pump->load->connections; i++)
                write_next(&pump->connections[i]);
        }
        show_progress(pump, &shown_us);
    }
}

static void show_progress(const Pump *pump, int64_t *shown_us)
{
    int64_t now_us = sh_bench_now_us();
    if (now_us - *shown_us < PROGRESS_EVERY_US || isatty(STDERR_FILENO) == 0)
        return;
    *shown_us = now_us;
    fprintf(stderr, "\r\033[K%s: %lld of %lld requests\r", pump->load->topic, (long long)pump->acked,
            (long long)pump->load->requests);
}

/* When a request is to be sent; of no rate: always. */
static int64_t due_us(const Pump *pump, int64_t request)
{
    double rate = pump->load->requests_per_second;
    return rate > 0 ? pump->begun_us + (int64_t)((double)request / rate * 1e6) : 0;
}

static void write_next(void *context)
{
    Connection *connection = context;
    Pump *pump = connection->pump;
    const ShBenchLoad *load = pump->load;
    int64_t now_us = sh_bench_now_us();
    bool fresh = connection->again == 0;
    if (!sh_client_call_writable(connection->call) || connection->busy == load->in_flight ||
        pump->held_until_us > now_us || (fresh && pump->asked == load->requests) ||
        due_us(pump, pump->asked) > now_us)
        return;

    int free_slot = 0;
    while (connection->slots[free_slot].sent_us != 0)
        free_slot++;
    Slot *slot = &connection->slots[free_slot];
    slot->sent_us = load->requests_per_second > 0 ? due_us(pump, pump->asked) : now_us;
    connection->busy++;
    if (fresh)
        pump->asked++;
    else
        connection->again--;

    int32_t partition = (int32_t)((pump->asked + connection->again) % load->partitions);
    ShError err;
    ShStatus status = sh_message_put_produce(&pump->head, (uint64_t)free_slot, load->topic,
                                             &pump->shape.topic_id, partition, 0, pump->batch->length, &err);
    sh_bench_check(status, &err, "produce");
    ShSlice pieces[] = {{pump->head.data, pump->head.length, NULL},
                        {pump->batch->data, pump->batch->length, pump->batch}};
    sh_client_call_write(connection->call, pieces, 2);
}

static void take_answer(void *context, ShBuf *message)
{
    Connection *connection = context;
    Pump *pump = connection->pump;
    ShProduceAnswer answer;
    ShError err;
    sh_bench_check(sh_message_get_produced(message->data, message->length, &answer, &err), &err, "answer");
    if (answer.request_id >= (uint64_t)pump->load->in_flight)
        die("an answer to no request");
    Slot *slot = &connection->slots[answer.request_id];
    int64_t now_us = sh_bench_now_us();
    if (answer.refused && !answer.refusal.error.retriable)
        die(answer.refusal.error.message);
    if (answer.refused) {
        int wait_ms = answer.refusal.error.retry_after_ms;
        pump->pushed_back++;
        connection->again++;
        pump->held_until_us = now_us + (wait_ms > 0 ? wait_ms : RETRY_MS) * 1000;
    } else {
        pump->samples[pump->acked++] = now_us - slot->sent_us;
    }
    slot->sent_us = 0;
    connection->busy--;
    sh_client_call_read(connection->call);
    write_next(connection);
}

static void take_end(void *context, const ShRefusal *why)
{
    Connection *connection = context;
    if (connection->pump->acked < connection->pump->load->requests)
        die(why->error.message);
}
