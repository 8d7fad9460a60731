/* The producer against a server that stores, refuses, redirects, hangs up and restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "client/streamhouse.h"
#include "tests/unit/client/fake_server.h"

#define FLUSH_MS 20000

/* What the delivery callback was told. */
typedef struct Deliveries {
    pthread_mutex_t lock;
    int acknowledged;
    int failed;
    ShError last_error;
    int64_t next_offset[FAKE_PARTITIONS]; /* of each partition, as records must come */
    bool disordered;
} Deliveries;

static void on_delivery(const ShDelivery *delivery, void *context)
{
    Deliveries *deliveries = context;
    pthread_mutex_lock(&deliveries->lock);
    if (delivery->error != NULL) {
        deliveries->failed++;
        deliveries->last_error = *delivery->error;
    } else {
        deliveries->acknowledged++;
        deliveries->disordered = deliveries->disordered ||
                                 delivery->offset < deliveries->next_offset[delivery->partition];
        deliveries->next_offset[delivery->partition] = delivery->offset + 1;
    }
    pthread_mutex_unlock(&deliveries->lock);
}

typedef struct Setup {
    FakeServer server;
    ShClient *client;
    ShProducer *producer;
    Deliveries deliveries;
} Setup;

static void open_setup(Setup *setup, ShProducerOptions *options)
{
    fake_start(&setup->server, 0);
    setup->deliveries = (Deliveries){.lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(sh_client_new(setup->server.address, &setup->client, NULL), SH_OK);
    options->on_delivery = on_delivery;
    options->on_delivery_context = &setup->deliveries;
    assert_int_equal(sh_producer_new(setup->client, options, &setup->producer, NULL), SH_OK);
}

static void close_setup(Setup *setup)
{
    sh_producer_close(setup->producer);
    sh_client_free(setup->client);
    fake_stop(&setup->server);
}

static void produce(Setup *setup, int32_t partition, int count)
{
    for (int i = 0; i < count; i++) {
        char value[32];
        int length = snprintf(value, sizeof value, "value %d", i);
        ShRecord record = {.value = (const uint8_t *)value, .value_length = (size_t)length};
        assert_int_equal(
            sh_producer_produce(setup->producer, FAKE_TOPIC, partition, &record, NULL, 0, NULL, NULL), SH_OK);
    }
}

static void delivers_every_record_once_and_in_order(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.batch_bytes = 2048;
    open_setup(&setup, &options);
    produce(&setup, 0, 1000);
    produce(&setup, 2, 500);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 1500);
    assert_int_equal(setup.deliveries.failed, 0);
    assert_false(setup.deliveries.disordered);
    assert_int_equal(fake_stored(&setup.server, 0), 1000);
    assert_int_equal(fake_stored(&setup.server, 1), 0);
    assert_int_equal(fake_stored(&setup.server, 2), 500);
    assert_int_equal(sh_producer_pending(setup.producer), 0);
    close_setup(&setup);
}

static FakeVerdict refuse_twice(FakeServer *server, int request_number, int32_t partition)
{
    (void)server;
    (void)partition;
    return request_number <= 2 ? FAKE_REFUSE : FAKE_STORE;
}

static void sends_again_when_the_server_is_exhausted(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.retry_backoff_ms = 1;
    open_setup(&setup, &options);
    fake_script(&setup.server, refuse_twice,
                (FakeRefusal){.code = 8, .reason = "EXHAUSTED", .retry_after_ms = 5});
    produce(&setup, 1, 10);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 10);
    assert_int_equal(fake_stored(&setup.server, 1), 10);
    close_setup(&setup);
}

static FakeVerdict refuse_all(FakeServer *server, int request_number, int32_t partition)
{
    (void)server;
    (void)request_number;
    (void)partition;
    return FAKE_REFUSE;
}

static void reports_what_the_server_will_never_take(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    open_setup(&setup, &options);
    fake_script(&setup.server, refuse_all, (FakeRefusal){.code = 3, .reason = "TOO_LARGE"});
    produce(&setup, 1, 3);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.failed, 3);
    assert_int_equal(setup.deliveries.last_error.status, SH_TOO_LARGE);
    assert_string_equal(setup.deliveries.last_error.message, "as the test says");
    close_setup(&setup);
}

static void follows_the_owner_that_a_refusal_names(void **state)
{
    (void)state;
    Setup setup;
    FakeServer owner;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.retry_backoff_ms = 60000; /* a redirect does not wait for it */
    options.retry_backoff_max_ms = 60000;
    fake_start(&owner, 0);
    open_setup(&setup, &options);
    fake_script(&setup.server, refuse_all,
                (FakeRefusal){.code = 9, .reason = "NOT_OWNER", .owner = owner.address, .epoch = 2});
    produce(&setup, 0, 10);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 10);
    assert_int_equal(fake_stored(&owner, 0), 10);
    close_setup(&setup);
    fake_stop(&owner);
}

static FakeVerdict store_first_and_hang_up(FakeServer *server, int request_number, int32_t partition)
{
    (void)server;
    (void)partition;
    return request_number == 1 ? FAKE_STORE_AND_HANG_UP : FAKE_STORE;
}

static void sends_again_after_a_lost_answer(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.retry_backoff_ms = 1;
    open_setup(&setup, &options);
    fake_script(&setup.server, store_first_and_hang_up, (FakeRefusal){0});
    produce(&setup, 0, 10);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 10);
    assert_int_equal(fake_stored(&setup.server, 0), 20); /* at least once */
    close_setup(&setup);
}

static void safe_retries_store_nothing_twice(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.retry = SH_RETRY_SAFE;
    options.retry_backoff_ms = 1;
    open_setup(&setup, &options);
    fake_script(&setup.server, store_first_and_hang_up, (FakeRefusal){0});
    produce(&setup, 0, 10);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.failed, 10);
    assert_non_null(strstr(setup.deliveries.last_error.message, "outcome unknown"));
    assert_int_equal(fake_stored(&setup.server, 0), 10);

    produce(&setup, 0, 5);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 5);
    close_setup(&setup);
}

static void safe_retries_wait_for_a_server_that_restarts(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.retry = SH_RETRY_SAFE;
    options.retry_backoff_ms = 1;
    open_setup(&setup, &options);
    produce(&setup, 0, 1);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);

    int port = atoi(strchr(setup.server.address, ':') + 1);
    fake_stop(&setup.server);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    produce(&setup, 0, 5);
    assert_int_equal(sh_producer_flush(setup.producer, 50, NULL), SH_TIMEOUT);
    fake_start(&setup.server, port);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.failed, 0);
    assert_int_equal(setup.deliveries.acknowledged, 6);
    close_setup(&setup);
}

static void refuses_beyond_its_buffer(void **state)
{
    (void)state;
    Setup setup;
    ShError error;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.batch_bytes = options.request_bytes = options.buffer_bytes = 4096;
    options.block_ms = 0;
    options.linger_ms = 60000;
    open_setup(&setup, &options);
    uint8_t value[1500] = {0};
    ShRecord record = {.value = value, .value_length = sizeof value};
    /* Without waiting the topic's metadata cannot be asked for in produce. */
    int32_t partitions = 0;
    assert_int_equal(sh_client_partition_count(setup.client, FAKE_TOPIC, FLUSH_MS, &partitions, NULL), SH_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sh_producer_produce(setup.producer, FAKE_TOPIC, 0, &record, NULL, 0, NULL, NULL),
                         SH_OK);
    assert_int_equal(sh_producer_produce(setup.producer, FAKE_TOPIC, 0, &record, NULL, 0, NULL, &error),
                     SH_EXHAUSTED);
    assert_true(error.retriable);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(sh_producer_produce(setup.producer, FAKE_TOPIC, 0, &record, NULL, 0, NULL, NULL), SH_OK);
    close_setup(&setup);
    assert_int_equal(setup.deliveries.acknowledged, 2);
    assert_int_equal(setup.deliveries.failed, 1); /* the one that was closed on */
    assert_int_equal(setup.deliveries.last_error.status, SH_CANCELLED);
}

static void waits_for_room_in_its_buffer(void **state)
{
    (void)state;
    Setup setup;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.batch_bytes = options.request_bytes = options.buffer_bytes = 4096;
    options.linger_ms = 60000;
    open_setup(&setup, &options);
    produce(&setup, 0, 2000);
    assert_int_equal(sh_producer_flush(setup.producer, FLUSH_MS, NULL), SH_OK);
    assert_int_equal(setup.deliveries.acknowledged, 2000);
    assert_false(setup.deliveries.disordered);
    close_setup(&setup);
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    Setup setup;
    ShError error;
    ShProducer *producer = NULL;
    ShProducerOptions options;
    sh_producer_options_init(&options);
    open_setup(&setup, &options);
    ShRecord record = {.value = (const uint8_t *)"x", .value_length = 1};
    assert_int_equal(sh_producer_produce(setup.producer, FAKE_TOPIC, 3, &record, NULL, 0, NULL, &error),
                     SH_NOT_FOUND);
    assert_string_equal(error.message, "topic \"quakes\" has no partition 3; they go from 0 to 2");
    assert_int_equal(sh_producer_produce(setup.producer, "other", 0, &record, NULL, 0, NULL, &error),
                     SH_NOT_FOUND);
    options.linger_ms = -1;
    assert_int_equal(sh_producer_new(setup.client, &options, &producer, &error), SH_INVALID);
    assert_string_equal(error.message, "linger_ms must be from 0 to 60000");
    close_setup(&setup);

    ShClient *client = NULL;
    assert_int_equal(sh_client_new("localhost", &client, &error), SH_INVALID);
    assert_int_equal(sh_client_new("a:1,,b:2", &client, &error), SH_INVALID);
    assert_int_equal(sh_client_new("a:70000", &client, &error), SH_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_every_record_once_and_in_order),
        cmocka_unit_test(sends_again_when_the_server_is_exhausted),
        cmocka_unit_test(reports_what_the_server_will_never_take),
        cmocka_unit_test(follows_the_owner_that_a_refusal_names),
        cmocka_unit_test(sends_again_after_a_lost_answer),
        cmocka_unit_test(safe_retries_store_nothing_twice),
        cmocka_unit_test(safe_retries_wait_for_a_server_that_restarts),
        cmocka_unit_test(refuses_beyond_its_buffer),
        cmocka_unit_test(waits_for_room_in_its_buffer),
        cmocka_unit_test(names_what_is_wrong),
    };
    return cmocka_run_group_tests_name("producer", tests, NULL, NULL);
}
