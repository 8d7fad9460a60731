/* The consumer against a server whose partitions grow, move, are damaged and are cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "client/streamhouse.h"
#include "client/transport.h"
#include "tests/unit/client/fake_server.h"

#define WAIT_MS 20000
#define POLL_MS 20

typedef struct Setup {
    FakeServer server;
    ShClient *client;
    ShConsumer *consumer;
} Setup;

static void open_setup(Setup *setup, const ShConsumerOptions *options)
{
    ShConsumerOptions defaults;
    sh_consumer_options_init(&defaults);
    fake_start(&setup->server, 0);
    assert_int_equal(sh_client_new(setup->server.address, &setup->client, NULL), SH_OK);
    assert_int_equal(
        sh_consumer_new(setup->client, options != NULL ? options : &defaults, &setup->consumer, NULL), SH_OK);
}

static void close_setup(Setup *setup)
{
    sh_consumer_close(setup->consumer);
    sh_client_free(setup->client);
    fake_stop(&setup->server);
}

/* Append a batch of records whose values are their numbers from `first` on. */
static void append(FakeServer *server, int32_t partition, int first, int count, ShCodec codec)
{
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    for (int i = first; i < first + count; i++) {
        char value[16];
        ShRecord record = {.value = (const uint8_t *)value,
                           .value_length = (size_t)snprintf(value, 16, "%d", i)};
        assert_int_equal(sh_batch_builder_add(builder, &record, NULL, 0, NULL), SH_OK);
    }
    ShBuf *batch = NULL;
    assert_int_equal(sh_batch_builder_finish(builder, &batch, NULL), SH_OK);
    pthread_mutex_lock(&server->lock);
    fake_store(&server->partitions[partition], batch->data, batch->length);
    pthread_mutex_unlock(&server->lock);
    sh_buf_unref(batch);
    sh_batch_builder_free(builder);
}

static void set_log_start(FakeServer *server, int32_t partition, int64_t offset)
{
    pthread_mutex_lock(&server->lock);
    server->partitions[partition].log_start = offset;
    pthread_mutex_unlock(&server->lock);
}

/* Read until `next` is the position of the partition, checking that value and offset agree and nothing is
 * left out. */
static void expect_up_to(Setup *setup, int32_t partition, int64_t *next, int64_t end)
{
    int64_t deadline_ms = sh_client_now_ms() + WAIT_MS;
    while (*next < end) {
        const ShMessage *messages = NULL;
        size_t count = 0;
        assert_int_equal(sh_consumer_poll(setup->consumer, POLL_MS, &messages, &count, NULL), SH_OK);
        for (size_t i = 0; i < count; i++) {
            char expected[16];
            int length = snprintf(expected, sizeof expected, "%lld", (long long)*next);
            assert_int_equal(messages[i].partition, partition);
            assert_string_equal(messages[i].topic, FAKE_TOPIC);
            assert_int_equal(messages[i].record.offset, *next);
            assert_int_equal(messages[i].record.value_length, length);
            assert_memory_equal(messages[i].record.value, expected, (size_t)length);
            ++*next;
        }
        assert_true(sh_client_now_ms() < deadline_ms);
    }
    int64_t position = 0;
    assert_int_equal(sh_consumer_position(setup->consumer, FAKE_TOPIC, partition, &position, NULL), SH_OK);
    assert_int_equal(position, *next);
}

/* Poll until it fails. */
static ShStatus await_failure(Setup *setup, ShError *error)
{
    int64_t deadline_ms = sh_client_now_ms() + WAIT_MS;
    for (;;) {
        const ShMessage *messages = NULL;
        size_t count = 0;
        ShStatus status = sh_consumer_poll(setup->consumer, POLL_MS, &messages, &count, error);
        if (status != SH_OK)
            return status;
        assert_true(sh_client_now_ms() < deadline_ms);
    }
}

static void reads_what_is_there_and_what_comes(void **state)
{
    (void)state;
    Setup setup;
    int64_t next = 0;
    open_setup(&setup, NULL);
    append(&setup.server, 1, 0, 100, SH_CODEC_NONE);
    append(&setup.server, 1, 100, 50, SH_CODEC_LZ4);
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 1, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    expect_up_to(&setup, 1, &next, 150);
    append(&setup.server, 1, 150, 10, SH_CODEC_ZSTD);
    expect_up_to(&setup, 1, &next, 160);
    int64_t end = 0;
    assert_int_equal(sh_consumer_end_offset(setup.consumer, FAKE_TOPIC, 1, &end, NULL), SH_OK);
    assert_int_equal(end, 160);
    close_setup(&setup);
}

static void gets_to_the_end_behind_a_hole_and_goes_on(void **state)
{
    (void)state;
    Setup setup;
    int64_t next = 0;
    open_setup(&setup, NULL);
    append(&setup.server, 1, 0, 3, SH_CODEC_NONE);
    pthread_mutex_lock(&setup.server.lock);
    setup.server.partitions[1].next_offset = 1000;
    pthread_mutex_unlock(&setup.server.lock);
    assert_int_equal(
        sh_consumer_assign(setup.consumer, FAKE_TOPIC, 1, (ShStart){SH_START_EARLIEST, 0}, NULL), SH_OK);
    int64_t deadline_ms = sh_client_now_ms() + WAIT_MS;
    int64_t position = 0;
    size_t read = 0;
    while (position < 1000) {
        const ShMessage *messages = NULL;
        size_t count = 0;
        assert_int_equal(sh_consumer_poll(setup.consumer, POLL_MS, &messages, &count, NULL), SH_OK);
        read += count;
        assert_int_equal(sh_consumer_position(setup.consumer, FAKE_TOPIC, 1, &position, NULL), SH_OK);
        assert_true(sh_client_now_ms() < deadline_ms);
    }
    assert_int_equal(read, 3);
    append(&setup.server, 1, 1000, 2, SH_CODEC_NONE);
    next = 1000;
    expect_up_to(&setup, 1, &next, 1002);
    close_setup(&setup);
}

static void starts_inside_a_batch_and_moves_on_request(void **state)
{
    (void)state;
    Setup setup;
    open_setup(&setup, NULL);
    append(&setup.server, 0, 0, 100, SH_CODEC_NONE);
    int64_t next = 42;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_OFFSET, 42}, NULL),
                     SH_OK);
    expect_up_to(&setup, 0, &next, 100);
    next = 7;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_OFFSET, 7}, NULL),
                     SH_OK);
    expect_up_to(&setup, 0, &next, 100);
    next = 100;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_LATEST, 0}, NULL),
                     SH_OK);
    append(&setup.server, 0, 100, 5, SH_CODEC_NONE);
    expect_up_to(&setup, 0, &next, 105);
    close_setup(&setup);
}

static void small_queue_holds_the_stream_back_without_loss(void **state)
{
    (void)state;
    Setup setup;
    ShConsumerOptions options;
    sh_consumer_options_init(&options);
    options.queue_bytes = 1024;
    open_setup(&setup, &options);
    for (int i = 0; i < 200; i++)
        append(&setup.server, 2, i * 50, 50, SH_CODEC_NONE);
    int64_t next = 0;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 2, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    expect_up_to(&setup, 2, &next, 10000);
    close_setup(&setup);
}

static void follows_a_partition_to_its_new_owner(void **state)
{
    (void)state;
    Setup setup;
    FakeServer other;
    fake_start(&other, 0);
    open_setup(&setup, NULL);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    append(&other, 0, 0, 20, SH_CODEC_NONE);
    int64_t next = 0;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    expect_up_to(&setup, 0, &next, 10);

    pthread_mutex_lock(&setup.server.lock);
    setup.server.epoch = 2;
    memcpy(setup.server.owner[0], other.address, sizeof other.address);
    setup.server.refuse_fetches = true;
    pthread_mutex_unlock(&setup.server.lock);
    expect_up_to(&setup, 0, &next, 20);
    close_setup(&setup);
    fake_stop(&other);
}

static void goes_on_after_a_restart(void **state)
{
    (void)state;
    Setup setup;
    open_setup(&setup, NULL);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    int64_t next = 0;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    expect_up_to(&setup, 0, &next, 10);
    int port = atoi(strchr(setup.server.address, ':') + 1);
    fake_stop(&setup.server);
    fake_start(&setup.server, port);
    append(&setup.server, 0, 0, 30, SH_CODEC_NONE);
    expect_up_to(&setup, 0, &next, 30);
    close_setup(&setup);
}

static void damaged_batch_stops_its_partition_only(void **state)
{
    (void)state;
    Setup setup;
    ShError error;
    open_setup(&setup, NULL);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    append(&setup.server, 1, 0, 10, SH_CODEC_NONE);
    pthread_mutex_lock(&setup.server.lock);
    setup.server.partitions[0].batches[0]->data[70] ^= 1;
    pthread_mutex_unlock(&setup.server.lock);
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    assert_int_equal(await_failure(&setup, &error), SH_CORRUPT);
    assert_non_null(strstr(error.message, "partition 0 of \"quakes\""));
    int64_t next = 0;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 1, (ShStart){SH_START_EARLIEST, 0}, NULL),
                     SH_OK);
    expect_up_to(&setup, 1, &next, 10);
    close_setup(&setup);
}

static void out_of_range_is_an_error_or_a_jump(void **state)
{
    (void)state;
    Setup setup;
    ShError error;
    open_setup(&setup, NULL);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    set_log_start(&setup.server, 0, 5);
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_OFFSET, 2}, NULL),
                     SH_OK);
    assert_int_equal(await_failure(&setup, &error), SH_OUT_OF_RANGE);
    close_setup(&setup);

    ShConsumerOptions options;
    sh_consumer_options_init(&options);
    options.out_of_range = SH_OUT_OF_RANGE_EARLIEST;
    open_setup(&setup, &options);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    set_log_start(&setup.server, 0, 5);
    int64_t next = 5;
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, (ShStart){SH_START_OFFSET, 2}, NULL),
                     SH_OK);
    expect_up_to(&setup, 0, &next, 10);
    close_setup(&setup);
}

static void failure_of_a_whole_stream_finds_its_partition(void **state)
{
    (void)state;
    Setup setup;
    ShError error;
    open_setup(&setup, NULL);
    pthread_mutex_lock(&setup.server.lock);
    setup.server.fail_streams = true;
    pthread_mutex_unlock(&setup.server.lock);
    append(&setup.server, 0, 0, 10, SH_CODEC_NONE);
    append(&setup.server, 1, 0, 10, SH_CODEC_NONE);
    ShStart at_ten = {SH_START_OFFSET, 10};
    ShStart beyond = {SH_START_OFFSET, 11};
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 0, at_ten, NULL), SH_OK);
    assert_int_equal(sh_consumer_assign(setup.consumer, FAKE_TOPIC, 1, beyond, NULL), SH_OK);
    assert_int_equal(await_failure(&setup, &error), SH_OUT_OF_RANGE);
    assert_non_null(strstr(error.message, "partition 1 of \"quakes\""));
    int64_t next = 10;
    append(&setup.server, 0, 10, 10, SH_CODEC_NONE);
    expect_up_to(&setup, 0, &next, 20);
    close_setup(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there_and_what_comes),
        cmocka_unit_test(gets_to_the_end_behind_a_hole_and_goes_on),
        cmocka_unit_test(starts_inside_a_batch_and_moves_on_request),
        cmocka_unit_test(small_queue_holds_the_stream_back_without_loss),
        cmocka_unit_test(follows_a_partition_to_its_new_owner),
        cmocka_unit_test(goes_on_after_a_restart),
        cmocka_unit_test(damaged_batch_stops_its_partition_only),
        cmocka_unit_test(out_of_range_is_an_error_or_a_jump),
        cmocka_unit_test(failure_of_a_whole_stream_finds_its_partition),
    };
    return cmocka_run_group_tests_name("consumer", tests, NULL, NULL);
}
