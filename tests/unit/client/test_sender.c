/* The sender's state machine, with a scripted world and time as a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sender.h"

#define SENT_MAX 64
#define DONE_MAX 64

/* What the sender sees of the world, and what it did to it. */
typedef struct World {
    ShSender *sender;
    ShProducerTopic topic;
    ShLane lane;
    ShPartitionOwner owner; /* address "": nobody is known */
    ShParcel *sent[SENT_MAX];
    size_t sent_count;
    int metadata_wanted;
    char dropped[SH_CLIENT_ADDRESS_BYTES];
    int64_t done_offset[DONE_MAX];
    ShStatus done_status[DONE_MAX];
    int64_t done_created_ms[DONE_MAX];
    char last_message[SH_ERROR_MESSAGE_BYTES];
    size_t done_count;
    int producers_wanted;
} World;

static bool find_owner(void *context, const ShLane *lane, ShPartitionOwner *out)
{
    World *world = context;
    (void)lane;
    *out = world->owner;
    return out->address[0] != '\0';
}

static bool learn_owner(void *context, const ShLane *lane, const ShPartitionOwner *owner)
{
    World *world = context;
    (void)lane;
    if (owner->epoch < world->owner.epoch)
        return false;
    world->owner = *owner;
    return true;
}

static void want_metadata(void *context)
{
    ((World *)context)->metadata_wanted++;
}

static void send_parcel(void *context, ShParcel *parcel)
{
    World *world = context;
    parcel->written = true;
    world->sent[world->sent_count++] = parcel;
}

static void drop_link(void *context, const char *address)
{
    snprintf(((World *)context)->dropped, SH_CLIENT_ADDRESS_BYTES, "%s", address);
}

static void done(void *context, ShPendingBatch *batch, int64_t base_offset, const ShError *error)
{
    World *world = context;
    world->done_offset[world->done_count] = base_offset;
    world->done_status[world->done_count] = error != NULL ? error->status : SH_OK;
    world->done_created_ms[world->done_count++] = batch->created_ms;
    if (error != NULL)
        snprintf(world->last_message, sizeof world->last_message, "%s", error->message);
    sh_buf_unref(batch->bytes);
    free(batch);
}

static void want_producer(void *context)
{
    ((World *)context)->producers_wanted++;
}

static void open_world(World *world, const ShProducerOptions *options)
{
    ShSenderPort port = {world,       find_owner, learn_owner, want_metadata,
                         send_parcel, drop_link,  done,        want_producer};
    memset(world, 0, sizeof *world);
    world->lane.topic = &world->topic;
    world->owner = (ShPartitionOwner){"a:1", 5};
    world->sender = sh_sender_new(options, &port, 42);
    assert_non_null(world->sender);
}

static void close_world(World *world)
{
    sh_sender_cancel(world->sender);
    sh_sender_free(world->sender);
}

static ShProducerOptions default_options(void)
{
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.idempotence = false;
    return options;
}

static ShProducerOptions idempotent_options(void)
{
    ShProducerOptions options = default_options();
    options.idempotence = true;
    options.request_bytes = 100;
    options.retry_backoff_ms = options.retry_backoff_max_ms = 10;
    return options;
}

/* A batch of `count` records and `bytes` bytes; its birth is its name. */
static void add(World *world, int32_t count, size_t bytes, int64_t created_ms)
{
    ShPendingBatch *batch = calloc(1, sizeof *batch);
    batch->lane = &world->lane;
    batch->bytes = sh_buf_new(bytes);
    batch->bytes->length = bytes;
    memset(batch->bytes->data, 0, bytes);
    batch->count = count;
    batch->created_ms = created_ms;
    sh_sender_add(world->sender, batch);
}

static void answer_stored(World *world, uint64_t id, int64_t offset)
{
    ShProduceAnswer answer = {.request_id = id, .base_offset = offset};
    sh_sender_answered(world->sender, &answer, 0);
}

static void answer_refused(World *world, uint64_t id, ShStatus status, int retry_after_ms, int64_t now_ms)
{
    ShProduceAnswer answer = {.request_id = id, .refused = true};
    (void)sh_fail(&answer.refusal.error, status, "refused");
    if (retry_after_ms > 0)
        (void)sh_fail_retry_after(&answer.refusal.error, status, retry_after_ms);
    sh_sender_answered(world->sender, &answer, now_ms);
}

static void waiting_batches_travel_together(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    options.request_bytes = 250;
    open_world(&world, &options);
    add(&world, 10, 100, 1);
    sh_sender_run(world.sender, 1);
    assert_int_equal(world.sent_count, 1);

    for (int64_t born = 2; born <= 4; born++)
        add(&world, 10, 100, born);
    sh_sender_run(world.sender, 4);
    assert_int_equal(world.sent_count, 1); /* one request in flight */
    answer_stored(&world, world.sent[0]->id, 1000);
    sh_sender_run(world.sender, 5);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.sent[1]->batch_count, 2); /* 250 bytes have room for two */
    answer_stored(&world, world.sent[1]->id, 2000);
    assert_int_equal(world.done_offset[1], 2000);
    assert_int_equal(world.done_offset[2], 2010);
    close_world(&world);
    assert_int_equal(world.done_status[3], SH_CANCELLED);
}

static void refused_parcel_is_sent_again_unchanged_after_the_delay(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    open_world(&world, &options);
    add(&world, 1, 100, 0);
    sh_sender_run(world.sender, 0);
    ShParcel *parcel = world.sent[0];
    uint64_t first_id = parcel->id;
    add(&world, 1, 100, 1);
    answer_refused(&world, first_id, SH_EXHAUSTED, 700, 10);
    assert_int_equal(sh_sender_run(world.sender, 10), 710);
    sh_sender_run(world.sender, 709);
    assert_int_equal(world.sent_count, 1);
    sh_sender_run(world.sender, 710);
    assert_int_equal(world.sent_count, 2);
    assert_ptr_equal(world.sent[1], parcel);
    assert_int_equal(parcel->batch_count, 1);
    assert_int_not_equal(parcel->id, first_id);
    /* An agent whose store is away says when it is tried again. */
    answer_refused(&world, parcel->id, SH_UNAVAILABLE, 5000, 720);
    assert_int_equal(sh_sender_run(world.sender, 720), 5720);
    sh_sender_run(world.sender, 5719);
    assert_int_equal(world.sent_count, 2);
    sh_sender_run(world.sender, 5720);
    assert_int_equal(world.sent_count, 3);
    answer_stored(&world, first_id, 5); /* an old answer means nothing */
    assert_int_equal(world.done_count, 0);
    close_world(&world);
}

static void later_parcels_wait_for_the_failed_one(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    options.in_flight_max = 3;
    options.request_bytes = 100;
    options.retry_backoff_ms = options.retry_backoff_max_ms = 10;
    open_world(&world, &options);
    for (int64_t born = 1; born <= 5; born++)
        add(&world, 1, 100, born);
    sh_sender_run(world.sender, 5);
    assert_int_equal(world.sent_count, 3);
    ShParcel *first = world.sent[0];
    ShParcel *second = world.sent[1];
    uint64_t third_id = world.sent[2]->id;
    answer_refused(&world, second->id, SH_UNAVAILABLE, 0, 6);
    answer_refused(&world, first->id, SH_UNAVAILABLE, 0, 6);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 3); /* the third is still under way */
    answer_stored(&world, third_id, 7);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 4); /* one at a time, in their order */
    assert_ptr_equal(world.sent[3], first);
    answer_stored(&world, first->id, 8);
    sh_sender_run(world.sender, 100);
    assert_ptr_equal(world.sent[4], second);
    assert_int_equal(world.sent_count, 5);
    answer_stored(&world, second->id, 9);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 7); /* and then on at full width */
    close_world(&world);
}

static void redirect_is_followed_at_once_but_never_to_a_lower_epoch(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    open_world(&world, &options);
    add(&world, 1, 100, 0);
    sh_sender_run(world.sender, 0);
    ShProduceAnswer answer = {.request_id = world.sent[0]->id, .refused = true};
    answer.refusal = (ShRefusal){.error = {.status = SH_NOT_OWNER}, .has_owner = true, .owner = {"b:2", 6}};
    sh_sender_answered(world.sender, &answer, 1);
    sh_sender_run(world.sender, 1);
    assert_int_equal(world.sent_count, 2);
    assert_string_equal(world.sent[1]->address, "b:2");
    assert_int_equal(world.metadata_wanted, 0);

    answer.request_id = world.sent[1]->id;
    answer.refusal.owner = (ShPartitionOwner){"a:1", 5};
    sh_sender_answered(world.sender, &answer, 2);
    sh_sender_run(world.sender, 2);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.metadata_wanted, 1);
    sh_sender_run(world.sender, 10000);
    assert_string_equal(world.sent[2]->address, "b:2");
    close_world(&world);
}

static void waits_for_an_owner(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    open_world(&world, &options);
    world.owner.address[0] = '\0';
    add(&world, 1, 100, 0);
    int64_t due_ms = sh_sender_run(world.sender, 0);
    assert_int_equal(due_ms, options.retry_backoff_ms);
    assert_int_equal(world.sent_count, 0);
    assert_int_equal(world.metadata_wanted, 1);
    strcpy(world.owner.address, "c:3");
    sh_sender_run(world.sender, due_ms);
    assert_int_equal(world.sent_count, 1);
    close_world(&world);
}

static void gives_up_after_the_delivery_time_out(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    options.delivery_timeout_ms = 1000;
    open_world(&world, &options);
    add(&world, 1, 100, 0);
    sh_sender_run(world.sender, 0);
    add(&world, 1, 100, 500);
    answer_refused(&world, world.sent[0]->id, SH_UNAVAILABLE, 0, 990);
    assert_int_equal(world.done_status[0], SH_TIMEOUT);
    assert_string_equal(world.last_message, "not delivered within 1000 ms; at last: refused");
    sh_sender_run(world.sender, 1500);
    assert_int_equal(world.done_count, 2);
    assert_int_equal(world.done_status[1], SH_TIMEOUT);
    assert_int_equal(world.sent_count, 1);
    close_world(&world);
}

static void overdue_answer_breaks_the_connection(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    options.request_timeout_ms = 300;
    open_world(&world, &options);
    add(&world, 1, 100, 0);
    assert_int_equal(sh_sender_run(world.sender, 0), 300);
    sh_sender_run(world.sender, 299);
    assert_string_equal(world.dropped, "");
    sh_sender_run(world.sender, 300);
    assert_string_equal(world.dropped, "a:1");
    ShRefusal why = {0};
    (void)sh_fail(&why.error, SH_CANCELLED, "dropped");
    sh_sender_link_lost(world.sender, "a:1", &why, 300);
    sh_sender_run(world.sender, 5000);
    assert_int_equal(world.sent_count, 2);
    close_world(&world);
}

static void lost_connection_concerns_its_own_requests_only(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = default_options();
    options.retry = SH_RETRY_SAFE;
    open_world(&world, &options);
    add(&world, 1, 100, 0);
    sh_sender_run(world.sender, 0);
    ShRefusal why = {0};
    (void)sh_fail(&why.error, SH_UNAVAILABLE, "reset");
    sh_sender_link_lost(world.sender, "b:2", &why, 1);
    assert_int_equal(world.done_count, 0);

    world.sent[0]->written = false; /* it never left: nothing is unknown */
    sh_sender_link_lost(world.sender, "a:1", &why, 1);
    assert_int_equal(world.done_count, 0);
    sh_sender_run(world.sender, 5000);
    assert_int_equal(world.sent_count, 2);
    sh_sender_link_lost(world.sender, "a:1", &why, 5001);
    assert_int_equal(world.done_status[0], SH_UNAVAILABLE);
    assert_string_equal(world.last_message, "outcome unknown, not sent again: reset");
    close_world(&world);
}

/* The producer fields of a parcel's first batch. */
static void assert_stamp(const ShParcel *parcel, int64_t id, int16_t epoch, int32_t sequence, int32_t unacked)
{
    ShBatchHeader header;
    uint8_t bytes[100];
    memcpy(bytes, parcel->batches[0]->bytes->data, sizeof bytes);
    bytes[16] = SH_BATCH_MAGIC;
    bytes[11] = sizeof bytes - 12;
    assert_int_equal(sh_batch_peek(bytes, sizeof bytes, &header, NULL), SH_OK);
    assert_int_equal(header.producer_id, id);
    assert_int_equal(header.producer_epoch, epoch);
    assert_int_equal(header.base_sequence, sequence);
    assert_int_equal(parcel->first_unacked, unacked);
}

/* Five parcels of two records under way, as producer 7. */
static void open_idempotent(World *world, const ShProducerOptions *options, int batches)
{
    open_world(world, options);
    for (int64_t born = 1; born <= batches; born++)
        add(world, 2, 100, born);
    sh_sender_run(world->sender, 5);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(world->producers_wanted, 1);
    sh_sender_set_producer(world->sender, 7, 0);
    sh_sender_run(world->sender, 5);
}

static void parcels_carry_sequences(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_idempotent(&world, &options, 6);
    assert_int_equal(world.sent_count, 5); /* as many as the server remembers */
    for (int i = 0; i < 5; i++)
        assert_stamp(world.sent[i], 7, 0, 2 * i, 0);
    answer_stored(&world, world.sent[0]->id, 0);
    sh_sender_run(world.sender, 6);
    assert_stamp(world.sent[5], 7, 0, 10, 2);
    close_world(&world);
}

static void a_lost_answer_is_asked_for_again(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    options.retry = SH_RETRY_SAFE;
    open_idempotent(&world, &options, 3);
    ShRefusal why = {0};
    (void)sh_fail(&why.error, SH_UNAVAILABLE, "reset");
    sh_sender_link_lost(world.sender, "a:1", &why, 6);
    assert_int_equal(world.done_count, 0);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 4);
    assert_stamp(world.sent[3], 7, 0, 0, 0);
    answer_stored(&world, world.sent[3]->id, 40);
    sh_sender_run(world.sender, 100);
    assert_stamp(world.sent[4], 7, 0, 2, 2);
    answer_refused(&world, world.sent[4]->id, SH_DUPLICATE_SEQUENCE, 0, 100); /* stored, nobody knows where */
    assert_int_equal(world.done_offset[0], 40);
    assert_int_equal(world.done_offset[1], -1);
    assert_int_equal(world.done_status[1], SH_OK);
    close_world(&world);
}

/* An owner may refuse to answer for what it has stored, and answer what follows: that is an acknowledgement
 * of both, and an heir must not be told to make them void. */
static void what_is_acknowledged_acknowledges_what_is_before_it(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_idempotent(&world, &options, 3);
    answer_refused(&world, world.sent[0]->id, SH_CANCELLED, 50, 6);
    answer_stored(&world, world.sent[1]->id, 2);
    answer_stored(&world, world.sent[2]->id, 4);
    sh_sender_run(world.sender, 60);
    assert_int_equal(world.sent_count, 4);
    assert_stamp(world.sent[3], 7, 0, 0, 6);
    answer_stored(&world, world.sent[3]->id, 0);
    assert_int_equal(world.done_count, 3);
    assert_int_equal(world.done_offset[2], 0);
    close_world(&world);

    /* And whatever it is answered then, it is stored, and the next one follows. */
    static const ShStatus refusals[] = {SH_OUT_OF_ORDER_SEQUENCE, SH_UNKNOWN_PRODUCER_ID, SH_TOO_LARGE};
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        open_idempotent(&world, &options, 2);
        answer_refused(&world, world.sent[0]->id, SH_CANCELLED, 50, 6);
        answer_stored(&world, world.sent[1]->id, 2);
        sh_sender_run(world.sender, 60);
        answer_refused(&world, world.sent[2]->id, refusals[i], 0, 61);
        assert_int_equal(world.done_count, 2);
        assert_int_equal(world.done_status[1], SH_OK);
        assert_int_equal(world.done_offset[1], -1);
        add(&world, 2, 100, 62);
        sh_sender_run(world.sender, 62);
        assert_stamp(world.sent[3], 7, 0, 4, 4);
        close_world(&world);
    }
}

static void what_came_too_early_follows_its_predecessor(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_idempotent(&world, &options, 3);
    answer_refused(&world, world.sent[0]->id, SH_UNAVAILABLE, 50, 6);
    answer_refused(&world, world.sent[1]->id, SH_OUT_OF_ORDER_SEQUENCE, 0, 6);
    answer_refused(&world, world.sent[2]->id, SH_OUT_OF_ORDER_SEQUENCE, 0, 6);
    sh_sender_run(world.sender, 55);
    assert_int_equal(world.sent_count, 3);
    for (int i = 0; i < 3; i++) {
        sh_sender_run(world.sender, 60);
        assert_int_equal(world.sent_count, 4 + i);
        assert_stamp(world.sent[3 + i], 7, 0, 2 * i, 2 * i);
        answer_stored(&world, world.sent[3 + i]->id, 2 * i);
    }
    assert_int_equal(world.done_count, 3);
    close_world(&world);
}

/* The first parcel is never stored: the later ones get an epoch of their own, once none of them is in doubt.
 */
static void a_parcel_given_up_begins_a_new_epoch(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_idempotent(&world, &options, 3);
    ShRefusal why = {0};
    answer_refused(&world, world.sent[0]->id, SH_TOO_LARGE, 0, 6);
    answer_refused(&world, world.sent[1]->id, SH_OUT_OF_ORDER_SEQUENCE, 0, 6);
    assert_int_equal(world.done_status[0], SH_TOO_LARGE);
    sh_sender_run(world.sender, 50);
    assert_int_equal(world.sent_count, 3); /* the third is under way */
    (void)sh_fail(&why.error, SH_UNAVAILABLE, "reset");
    sh_sender_link_lost(world.sender, "a:1", &why, 50);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 4);
    assert_stamp(world.sent[3], 7, 0, 4, 2); /* as it was: is it stored? */
    answer_refused(&world, world.sent[3]->id, SH_OUT_OF_ORDER_SEQUENCE, 0, 100);
    sh_sender_run(world.sender, 100);
    assert_stamp(world.sent[4], 7, 1, 0, 0);
    answer_stored(&world, world.sent[4]->id, 10);
    sh_sender_run(world.sender, 100);
    assert_stamp(world.sent[5], 7, 1, 2, 2);
    close_world(&world);
}

static void a_producer_that_is_forgotten_takes_a_new_id(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    options.retry = SH_RETRY_SAFE;
    open_idempotent(&world, &options, 1);
    answer_refused(&world, world.sent[0]->id, SH_UNKNOWN_PRODUCER_ID, 0, 6);
    sh_sender_run(world.sender, 6);
    assert_int_equal(world.producers_wanted, 2);
    sh_sender_set_producer(world.sender, 8, 0);
    sh_sender_run(world.sender, 100);
    assert_stamp(world.sent[1], 8, 0, 0, 0);
    ShRefusal why = {0};
    (void)sh_fail(&why.error, SH_UNAVAILABLE, "reset");
    sh_sender_link_lost(world.sender, "a:1", &why, 7);
    sh_sender_run(world.sender, 200);
    answer_refused(&world, world.sent[2]->id, SH_UNKNOWN_PRODUCER_ID, 0, 200);
    assert_string_equal(world.last_message, "outcome unknown, not sent again: refused");
    close_world(&world);
}

static void a_fenced_producer_takes_a_new_id(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_idempotent(&world, &options, 1);
    answer_refused(&world, world.sent[0]->id, SH_INVALID_PRODUCER_EPOCH, 0, 6);
    sh_sender_run(world.sender, 6);
    assert_int_equal(world.producers_wanted, 2);
    sh_sender_set_producer(world.sender, 8, 0);
    sh_sender_run(world.sender, 100);
    assert_stamp(world.sent[1], 8, 0, 0, 0);
    close_world(&world);
}

static void a_server_without_producers_gets_plain_batches(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_world(&world, &options);
    for (int64_t born = 1; born <= 3; born++)
        add(&world, 2, 100, born);
    sh_sender_run(world.sender, 5);
    sh_sender_no_producer(world.sender);
    sh_sender_run(world.sender, 5);
    assert_int_equal(world.sent_count, 1);
    assert_false(world.sent[0]->stamped);
    close_world(&world);
}

static void what_is_acknowledged_is_confirmed_when_nothing_follows(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_world(&world, &options);
    sh_sender_set_producer(world.sender, 7, 2);
    add(&world, 3, 100, 0);
    sh_sender_run(world.sender, 10);
    answer_stored(&world, world.sent[0]->id, 0);
    assert_int_equal(sh_sender_run(world.sender, 10), 11); /* the next batch may come and say it */
    add(&world, 2, 100, 10);
    sh_sender_run(world.sender, 10);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(world.sent[1]->first_unacked, 3);
    answer_stored(&world, world.sent[1]->id, 3);
    sh_sender_run(world.sender, 11);
    assert_int_equal(world.sent_count, 2);
    assert_int_equal(sh_sender_run(world.sender, 12), INT64_MAX);
    assert_int_equal(world.sent_count, 3);
    ShParcel *confirmation = world.sent[2];
    assert_true(confirmation->confirms);
    assert_int_equal(confirmation->batch_count, 0);
    assert_int_equal(confirmation->producer_id, 7);
    assert_int_equal(confirmation->producer_epoch, 2);
    assert_int_equal(confirmation->first_unacked, 5);
    assert_false(sh_sender_confirm_all(world.sender)); /* not answered */
    answer_stored(&world, confirmation->id, 0);
    assert_true(sh_sender_confirm_all(world.sender));
    assert_int_equal(world.done_count, 2);
    sh_sender_run(world.sender, 100);
    assert_int_equal(world.sent_count, 3); /* once */
    free(confirmation);
    close_world(&world);
}

static void the_end_confirms_at_once(void **state)
{
    (void)state;
    World world;
    ShProducerOptions options = idempotent_options();
    open_world(&world, &options);
    sh_sender_set_producer(world.sender, 7, 2);
    add(&world, 3, 100, 0);
    sh_sender_run(world.sender, 10);
    answer_stored(&world, world.sent[0]->id, 0);
    assert_false(sh_sender_confirm_all(world.sender));
    assert_true(world.sent[1]->confirms);
    free(world.sent[1]);
    ShRefusal why = {0};
    sh_sender_link_lost(world.sender, "a:1", &why, 10); /* nobody waits for it any more */
    assert_true(sh_sender_confirm_all(world.sender));
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_batches_travel_together),
        cmocka_unit_test(refused_parcel_is_sent_again_unchanged_after_the_delay),
        cmocka_unit_test(later_parcels_wait_for_the_failed_one),
        cmocka_unit_test(redirect_is_followed_at_once_but_never_to_a_lower_epoch),
        cmocka_unit_test(waits_for_an_owner),
        cmocka_unit_test(gives_up_after_the_delivery_time_out),
        cmocka_unit_test(overdue_answer_breaks_the_connection),
        cmocka_unit_test(lost_connection_concerns_its_own_requests_only),
        cmocka_unit_test(parcels_carry_sequences),
        cmocka_unit_test(a_lost_answer_is_asked_for_again),
        cmocka_unit_test(what_is_acknowledged_acknowledges_what_is_before_it),
        cmocka_unit_test(what_came_too_early_follows_its_predecessor),
        cmocka_unit_test(a_parcel_given_up_begins_a_new_epoch),
        cmocka_unit_test(a_producer_that_is_forgotten_takes_a_new_id),
        cmocka_unit_test(a_fenced_producer_takes_a_new_id),
        cmocka_unit_test(a_server_without_producers_gets_plain_batches),
        cmocka_unit_test(what_is_acknowledged_is_confirmed_when_nothing_follows),
        cmocka_unit_test(the_end_confirms_at_once),
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
