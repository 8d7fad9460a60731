#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/accumulator.h"
#include "client/client.h"
#include "client/init_producer.h"
#include "client/produce_link.h"
#include "client/refresh.h"
#include "client/sender.h"

#define CONFIRM_MS 100 /* so long a producer that ends waits for its last confirmations */

struct ShProducer {
    ShClient *client;
    ShProducerOptions options;
    pthread_t thread;
    bool thread_started;

    /* The thread's own. */
    ShLoop *loop;
    ShSender *sender;
    ShProduceLinks *links;
    ShRefresh refresh;
    ShInitProducer init_producer;

    pthread_mutex_t lock;  /* guards what follows */
    pthread_cond_t change; /* room was made, or records were delivered */
    ShAccumulator accumulator;
    ShProducerTopic *topics;
    size_t pending;         /* records accepted and not yet reported */
    int hurried;            /* flushes and blocked produces: nothing lingers */
    int64_t sleep_until_ms; /* when the thread wakes by itself; 0 while it is awake or about to be */
    bool stopping;
};

static ShStatus check_options(const ShProducerOptions *options, ShError *err);
static ShStatus start(ShProducer *producer, ShError *err);
static ShStatus find_topic(ShProducer *producer, const char *name, ShProducerTopic **out, ShError *err);
static ShProducerTopic *known_topic(ShProducer *producer, const char *name);
static ShStatus make_topic(const char *name, const ShTopicShape *shape, ShProducerTopic **out, ShError *err);
static ShStatus append_or_wait(ShProducer *producer, ShProducerTopic *topic, int32_t partition,
                               const ShRecord *record, const ShHeader *headers, size_t header_count,
                               void *opaque, ShError *err);
static int64_t tick_ms(clockid_t clock);
static void hurry(ShProducer *producer);
static bool wait_change(ShProducer *producer, int64_t deadline_ms);
static void *run(void *arg);
static void build_batches(ShProducer *producer, ShPendingBatch *list);
static bool port_find_owner(void *context, const ShLane *lane, ShPartitionOwner *out);
static bool port_learn_owner(void *context, const ShLane *lane, const ShPartitionOwner *owner);
static void port_want_metadata(void *context);
static void port_send(void *context, ShParcel *parcel);
static void port_drop_link(void *context, const char *address);
static void port_done(void *context, ShPendingBatch *batch, int64_t base_offset, const ShError *error);
static void tell_deliveries(ShProducer *producer, const ShPendingBatch *batch, int32_t given,
                            int64_t base_offset, const ShError *error);
static void port_want_producer(void *context);
static void producer_known(void *context, int64_t producer_id, int16_t producer_epoch);
static void producer_unsupported(void *context);
static void link_answered(void *context, const ShProduceAnswer *answer);
static void link_lost(void *context, const char *address, const ShRefusal *why);

void sh_producer_options_init(ShProducerOptions *options)
{
    *options = (ShProducerOptions){
        .batch_bytes = 128 * 1024,
        .request_bytes = 1024 * 1024,
        .linger_ms = 5,
        .codec = SH_CODEC_NONE,
        .buffer_bytes = 64 * 1024 * 1024,
        .block_ms = 60 * 1000,
        .in_flight_max = 0,
        .idempotence = true,
        .delivery_timeout_ms = 120 * 1000,
        .request_timeout_ms = 30 * 1000,
        .retry_backoff_ms = 100,
        .retry_backoff_max_ms = 1000,
        .retry = SH_RETRY_ALWAYS,
    };
}

ShStatus sh_producer_new(ShClient *client, const ShProducerOptions *options, ShProducer **out, ShError *err)
{
    ShStatus status = check_options(options, err);
    if (status != SH_OK)
        return status;
    ShProducer *producer = calloc(1, sizeof *producer);
    if (producer == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a producer");

    producer->client = client;
    producer->options = *options;
    producer->accumulator = (ShAccumulator){.batch_bytes = options->batch_bytes,
                                            .linger_ms = options->linger_ms,
                                            .buffer_bytes = options->buffer_bytes,
                                            .codec = options->codec};
    pthread_mutex_init(&producer->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&producer->change, &attributes);
    pthread_condattr_destroy(&attributes);
    status = start(producer, err);
    if (status != SH_OK) {
        sh_producer_close(producer);
        return status;
    }
    *out = producer;
    return SH_OK;
}

ShStatus sh_producer_produce(ShProducer *producer, const char *topic, int32_t partition,
                             const ShRecord *record, const ShHeader *headers, size_t header_count,
                             void *opaque, ShError *err)
{
    if (sh_accumulator_record_bytes(record, headers, header_count) > producer->options.request_bytes)
        return sh_fail(err, SH_TOO_LARGE,
                       "a record with its key and headers is above %zu bytes; raise request_bytes",
                       producer->options.request_bytes);
    ShRecord stamped = *record;
    if (stamped.timestamp_ms == 0)
        stamped.timestamp_ms = tick_ms(CLOCK_REALTIME_COARSE);

    pthread_mutex_lock(&producer->lock);
    ShProducerTopic *found = NULL;
    ShStatus status = find_topic(producer, topic, &found, err);
    if (status == SH_OK && partition != SH_PARTITION_ANY && (partition < 0 || partition >= found->lane_count))
        status = sh_fail(err, SH_NOT_FOUND, "topic \"%s\" has no partition %d; they go from 0 to %d",
                         found->name, partition, found->lane_count - 1);
    if (status == SH_OK)
        status = append_or_wait(producer, found, partition, &stamped, headers, header_count, opaque, err);
    pthread_mutex_unlock(&producer->lock);
    return status;
}

ShStatus sh_producer_flush(ShProducer *producer, int timeout_ms, ShError *err)
{
    int64_t deadline_ms = sh_client_now_ms() + timeout_ms;
    pthread_mutex_lock(&producer->lock);
    producer->hurried++;
    hurry(producer);
    while (producer->pending > 0 && wait_change(producer, deadline_ms))
        ;
    producer->hurried--;
    size_t left = producer->pending;
    pthread_mutex_unlock(&producer->lock);
    if (left > 0)
        return sh_fail(err, SH_TIMEOUT, "%zu records are not yet acknowledged after %d ms", left, timeout_ms);
    return SH_OK;
}

size_t sh_producer_pending(ShProducer *producer)
{
    pthread_mutex_lock(&producer->lock);
    size_t pending = producer->pending;
    pthread_mutex_unlock(&producer->lock);
    return pending;
}

void sh_producer_close(ShProducer *producer)
{
    if (producer == NULL)
        return;
    if (producer->thread_started) {
        pthread_mutex_lock(&producer->lock);
        producer->stopping = true;
        hurry(producer);
        pthread_mutex_unlock(&producer->lock);
        pthread_join(producer->thread, NULL);
    }
    sh_loop_free(producer->loop);
    if (producer->sender != NULL) {
        pthread_mutex_lock(&producer->lock);
        ShPendingBatch *rest = sh_accumulator_take(&producer->accumulator, 0, true);
        pthread_mutex_unlock(&producer->lock);
        build_batches(producer, rest);
        sh_sender_cancel(producer->sender);
    }
    sh_produce_links_free(producer->links);
    sh_sender_free(producer->sender);
    while (producer->topics != NULL) {
        ShProducerTopic *topic = producer->topics;
        producer->topics = topic->next;
        free(topic->lanes);
        free(topic);
    }
    sh_accumulator_free(&producer->accumulator);
    pthread_cond_destroy(&producer->change);
    pthread_mutex_destroy(&producer->lock);
    free(producer);
}

static ShStatus check_options(const ShProducerOptions *o, ShError *err)
{
    if (o->batch_bytes < 1024 || o->batch_bytes > 16 * 1024 * 1024)
        return sh_fail(err, SH_INVALID, "batch_bytes must be from 1 KiB to 16 MiB");
    if (o->request_bytes < o->batch_bytes || o->request_bytes > 64 * 1024 * 1024)
        return sh_fail(err, SH_INVALID, "request_bytes must be from batch_bytes to 64 MiB");
    if (o->buffer_bytes < o->request_bytes)
        return sh_fail(err, SH_INVALID, "buffer_bytes must be at least request_bytes");
    if (o->linger_ms < 0 || o->linger_ms > 60 * 1000)
        return sh_fail(err, SH_INVALID, "linger_ms must be from 0 to 60000");
    if (o->in_flight_max < 0 || o->in_flight_max > 1000)
        return sh_fail(err, SH_INVALID, "in_flight_max must be from 0 to 1000");
    if (o->block_ms < 0 || o->delivery_timeout_ms < 1 || o->request_timeout_ms < 1)
        return sh_fail(err, SH_INVALID, "block_ms must not be negative, the time-outs must be positive");
    if (o->retry_backoff_ms < 1 || o->retry_backoff_max_ms < o->retry_backoff_ms)
        return sh_fail(err, SH_INVALID, "retry_backoff_ms must be positive and at most retry_backoff_max_ms");
    if (sh_codec_name((int)o->codec) == NULL)
        return sh_fail(err, SH_INVALID, "codec must be one of those in core/codec.h");
    return SH_OK;
}

static ShStatus start(ShProducer *producer, ShError *err)
{
    ShSenderPort port = {producer,  port_find_owner, port_learn_owner, port_want_metadata,
                         port_send, port_drop_link,  port_done,        port_want_producer};
    ShProduceLinkEvents events = {link_answered, link_lost, producer};
    uint64_t seed = (uint64_t)sh_client_now_ms() ^ (uint64_t)(uintptr_t)producer;
    producer->loop = sh_loop_new(sh_client_transport(producer->client));
    producer->sender = sh_sender_new(&producer->options, &port, seed);
    producer->links = producer->loop != NULL ? sh_produce_links_new(producer->loop, &events) : NULL;
    if (producer->loop == NULL || producer->sender == NULL || producer->links == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a producer");
    producer->refresh = (ShRefresh){.client = producer->client, .loop = producer->loop};
    producer->init_producer = (ShInitProducer){.client = producer->client,
                                               .loop = producer->loop,
                                               .known = producer_known,
                                               .unsupported = producer_unsupported,
                                               .context = producer};
    if (pthread_create(&producer->thread, NULL, run, producer) != 0)
        return sh_fail(err, SH_EXHAUSTED, "no thread for a producer");
    producer->thread_started = true;
    pthread_setname_np(producer->thread, "sh-producer");
    return SH_OK;
}

/* The lock is held, and given up while the server is asked. */
static ShStatus find_topic(ShProducer *producer, const char *name, ShProducerTopic **out, ShError *err)
{
    *out = known_topic(producer, name);
    if (*out != NULL)
        return SH_OK;

    pthread_mutex_unlock(&producer->lock);
    ShTopicShape shape;
    ShProducerTopic *made = NULL;
    ShStatus status = sh_client_topic_shape(producer->client, name, producer->options.block_ms, &shape, err);
    if (status == SH_OK)
        status = make_topic(name, &shape, &made, err);
    pthread_mutex_lock(&producer->lock);
    if (status != SH_OK)
        return status;

    *out = known_topic(producer, name);
    if (*out != NULL) {
        free(made->lanes);
        free(made);
        return SH_OK;
    }
    made->next = producer->topics;
    producer->topics = *out = made;
    return SH_OK;
}

static ShProducerTopic *known_topic(ShProducer *producer, const char *name)
{
    ShProducerTopic *topic = producer->topics;
    while (topic != NULL && strcmp(topic->name, name) != 0)
        topic = topic->next;
    return topic;
}

static ShStatus make_topic(const char *name, const ShTopicShape *shape, ShProducerTopic **out, ShError *err)
{
    ShProducerTopic *topic = calloc(1, sizeof *topic);
    ShLane *lanes = calloc((size_t)shape->partition_count, sizeof *lanes);
    if (topic == NULL || lanes == NULL) {
        free(topic);
        free(lanes);
        return sh_fail(err, SH_NO_MEMORY, "no memory for topic \"%s\"", name);
    }
    strcpy(topic->name, name);
    topic->topic_id = shape->topic_id;
    topic->lanes = lanes;
    topic->lane_count = shape->partition_count;
    sh_partitioner_init(&topic->partitioner, shape->partition_count, (uint64_t)sh_client_now_ms());
    for (int32_t i = 0; i < topic->lane_count; i++)
        lanes[i] = (ShLane){.topic = topic, .partition = i};
    *out = topic;
    return SH_OK;
}

/* The lock is held, and given up while it waits for room. */
static ShStatus append_or_wait(ShProducer *producer, ShProducerTopic *topic, int32_t partition,
                               const ShRecord *record, const ShHeader *headers, size_t header_count,
                               void *opaque, ShError *err)
{
    bool may_wait = producer->options.block_ms > 0 && !pthread_equal(pthread_self(), producer->thread);
    int64_t deadline_ms = 0;
    for (;;) {
        int64_t now_ms = tick_ms(CLOCK_MONOTONIC_COARSE);
        if (deadline_ms == 0)
            deadline_ms = now_ms + producer->options.block_ms;
        int32_t number = partition != SH_PARTITION_ANY
                             ? partition
                             : sh_partitioner_pick(&topic->partitioner, record->key, record->key_length);
        bool sealed = false;
        ShStatus status = sh_accumulator_append(&producer->accumulator, &topic->lanes[number], record,
                                                headers, header_count, opaque, now_ms, &sealed, err);
        if (sealed && number == topic->partitioner.sticky)
            sh_partitioner_turn(&topic->partitioner);
        if (status == SH_OK) {
            producer->pending++;
            if (sh_accumulator_due_ms(&producer->accumulator) < producer->sleep_until_ms)
                hurry(producer);
        }
        if (status != SH_EXHAUSTED || !may_wait)
            return status;
        producer->hurried++;
        hurry(producer);
        bool in_time = wait_change(producer, deadline_ms);
        producer->hurried--;
        if (!in_time)
            return status;
    }
}

/* The time at the kernel's last tick. A precise clock for every record would cost more than encoding it. */
static int64_t tick_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wake the thread unless it is awake already. The lock is held. */
static void hurry(ShProducer *producer)
{
    if (producer->sleep_until_ms == 0)
        return;
    producer->sleep_until_ms = 0;
    sh_loop_wake(producer->loop);
}

/* The lock is held. False when the time is up. */
static bool wait_change(ShProducer *producer, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&producer->change, &producer->lock, &until) == 0;
}

static void *run(void *arg)
{
    ShProducer *producer = arg;
    pthread_mutex_lock(&producer->lock);
    while (!producer->stopping) {
        ShPendingBatch *list = sh_accumulator_take(&producer->accumulator, sh_client_now_ms(),
                                                   producer->hurried > 0);
        pthread_mutex_unlock(&producer->lock);

        build_batches(producer, list);
        int64_t now_ms = sh_client_now_ms();
        int64_t due_ms = sh_sender_run(producer->sender, now_ms);
        int64_t refresh_ms = sh_refresh_run(&producer->refresh, now_ms);
        due_ms = refresh_ms < due_ms ? refresh_ms : due_ms;
        int64_t init_ms = sh_init_producer_run(&producer->init_producer, now_ms);
        due_ms = init_ms < due_ms ? init_ms : due_ms;

        /* Records that came meanwhile saw a thread that is awake and left the waking to this second look. */
        pthread_mutex_lock(&producer->lock);
        int64_t lingered_ms = sh_accumulator_due_ms(&producer->accumulator);
        if (producer->hurried > 0 && lingered_ms != INT64_MAX)
            lingered_ms = 0;
        due_ms = lingered_ms < due_ms ? lingered_ms : due_ms;
        if (producer->stopping)
            due_ms = 0;
        producer->sleep_until_ms = due_ms;
        pthread_mutex_unlock(&producer->lock);
        sh_loop_run(producer->loop, due_ms);
        pthread_mutex_lock(&producer->lock);
        producer->sleep_until_ms = 0;
    }
    pthread_mutex_unlock(&producer->lock);
    int64_t until_ms = sh_client_now_ms() + CONFIRM_MS;
    while (!sh_sender_confirm_all(producer->sender) && sh_client_now_ms() < until_ms)
        sh_loop_run(producer->loop, until_ms);
    return NULL;
}

/* Finish the batches of a list and hand them to the sender. */
static void build_batches(ShProducer *producer, ShPendingBatch *list)
{
    ShError error;
    for (ShPendingBatch *batch = list, *next = NULL; batch != NULL; batch = next) {
        next = batch->next;
        ShStatus status = sh_batch_builder_finish(batch->builder, &batch->bytes, &error);
        pthread_mutex_lock(&producer->lock);
        sh_accumulator_return_builder(&producer->accumulator, batch->builder);
        pthread_mutex_unlock(&producer->lock);
        batch->builder = NULL;
        if (status == SH_OK)
            sh_sender_add(producer->sender, batch);
        else
            port_done(producer, batch, -1, &error);
    }
}

static bool port_find_owner(void *context, const ShLane *lane, ShPartitionOwner *out)
{
    ShProducer *producer = context;
    return sh_client_owner(producer->client, lane->topic->name, lane->partition, out);
}

static bool port_learn_owner(void *context, const ShLane *lane, const ShPartitionOwner *owner)
{
    ShProducer *producer = context;
    return sh_client_learn_owner(producer->client, lane->topic->name, lane->partition, owner);
}

static void port_want_metadata(void *context)
{
    ShProducer *producer = context;
    producer->refresh.wanted = true;
}

static void port_send(void *context, ShParcel *parcel)
{
    ShProducer *producer = context;
    sh_produce_links_send(producer->links, parcel);
}

static void port_drop_link(void *context, const char *address)
{
    ShProducer *producer = context;
    sh_produce_links_drop(producer->links, address);
}

static void port_done(void *context, ShPendingBatch *batch, int64_t base_offset, const ShError *error)
{
    ShProducer *producer = context;
    int32_t given = batch->misfits != NULL ? batch->given : batch->count;
    if (producer->options.on_delivery != NULL)
        tell_deliveries(producer, batch, given, base_offset, error);
    pthread_mutex_lock(&producer->lock);
    producer->pending -= (size_t)given;
    sh_accumulator_release(&producer->accumulator, batch);
    pthread_cond_broadcast(&producer->change);
    pthread_mutex_unlock(&producer->lock);
}

/* Those that were refused one by one are told so, whatever became of the others. */
static void tell_deliveries(ShProducer *producer, const ShPendingBatch *batch, int32_t given,
                            int64_t base_offset, const ShError *error)
{
    ShDelivery delivery = {.topic = batch->lane->topic->name, .partition = batch->lane->partition};
    int64_t offset = error == NULL ? base_offset : -1;
    for (int32_t i = 0; i < given; i++) {
        ShError misfit;
        const char *reason = batch->misfits != NULL ? batch->misfits[i] : NULL;
        if (reason != NULL)
            (void)sh_fail(&misfit, SH_INVALID, "%s",
                          reason[0] != '\0' ? reason : "the record does not fit its topic's schemas");
        delivery.error = reason != NULL ? &misfit : error;
        delivery.offset = reason != NULL ? -1 : offset;
        delivery.opaque = batch->opaques[i];
        producer->options.on_delivery(&delivery, producer->options.on_delivery_context);
        if (reason == NULL && offset >= 0)
            offset++;
    }
}

static void port_want_producer(void *context)
{
    ShProducer *producer = context;
    producer->init_producer.wanted = true;
}

static void producer_known(void *context, int64_t producer_id, int16_t producer_epoch)
{
    ShProducer *producer = context;
    sh_sender_set_producer(producer->sender, producer_id, producer_epoch);
}

static void producer_unsupported(void *context)
{
    ShProducer *producer = context;
    sh_sender_no_producer(producer->sender);
}

static void link_answered(void *context, const ShProduceAnswer *answer)
{
    ShProducer *producer = context;
    sh_sender_answered(producer->sender, answer, sh_client_now_ms());
}

static void link_lost(void *context, const char *address, const ShRefusal *why)
{
    ShProducer *producer = context;
    sh_sender_link_lost(producer->sender, address, why, sh_client_now_ms());
}
