/* What the tests of the sender and of its sequencer share: a scripted world, and time as a number. */
#ifndef SH_TESTS_SENDER_WORLD_H
#define SH_TESTS_SENDER_WORLD_H

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

#endif
