/* Records that the server refuses one by one: what becomes of them, of the others, and of the sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/misfits.h"
#include "client/sender.h"

#define RECORDS_MAX 16

typedef struct World {
    ShSender *sender;
    ShProducerTopic topic;
    ShLane lane;
    ShParcel *sent; /* the last one */
    int sent_count;
    /* The fate of each batch in turn: its records as they were given, and what was told of them. */
    char told[256];
} World;

static bool find_owner(void *context, const ShLane *lane, ShPartitionOwner *out)
{
    (void)context;
    (void)lane;
    *out = (ShPartitionOwner){"a:1", 5};
    return true;
}

static bool learn_owner(void *context, const ShLane *lane, const ShPartitionOwner *owner)
{
    (void)context;
    (void)lane;
    (void)owner;
    return true;
}

static void nothing(void *context)
{
    (void)context;
}

static void send_parcel(void *context, ShParcel *parcel)
{
    World *world = context;
    parcel->written = true;
    world->sent = parcel;
    world->sent_count++;
    if (parcel->confirms)
        free(parcel);
}

static void drop_link(void *context, const char *address)
{
    (void)context;
    (void)address;
}

/* "12 -reason 13;" : the offsets of those that are stored, the reasons of those that are not. */
static void done(void *context, ShPendingBatch *batch, int64_t base_offset, const ShError *error)
{
    World *world = context;
    int32_t given = batch->misfits != NULL ? batch->given : batch->count;
    size_t length = strlen(world->told);
    for (int32_t i = 0; i < given; i++) {
        const char *reason = batch->misfits != NULL ? batch->misfits[i] : NULL;
        char *at = world->told + length;
        size_t room = sizeof world->told - length;
        length += (size_t)(reason != NULL  ? snprintf(at, room, "-%s ", reason)
                           : error != NULL ? snprintf(at, room, "!%s ", sh_status_name(error->status))
                                           : snprintf(at, room, "%d ", (int)base_offset++));
    }
    snprintf(world->told + length, sizeof world->told - length, ";");
    sh_misfits_free(batch);
    sh_buf_unref(batch->bytes);
    free(batch);
}

static void open_world(World *world, bool idempotence)
{
    ShProducerOptions options;
    sh_producer_options_init(&options);
    options.idempotence = idempotence;
    ShSenderPort port = {world, find_owner, learn_owner, nothing, send_parcel, drop_link, done, nothing};
    memset(world, 0, sizeof *world);
    world->lane.topic = &world->topic;
    world->sender = sh_sender_new(&options, &port, 42);
    assert_non_null(world->sender);
    if (idempotence)
        sh_sender_set_producer(world->sender, 77, 0);
}

static void close_world(World *world)
{
    sh_sender_cancel(world->sender);
    sh_sender_free(world->sender);
}

/* A batch with a record for each letter. */
static void add(World *world, const char *letters, ShCodec codec)
{
    ShPendingBatch *batch = calloc(1, sizeof *batch);
    ShBatchBuilder *builder = sh_batch_builder_new(codec);
    const ShHeader header = {.key = "h", .key_length = 1, .value = (const uint8_t *)"v", .value_length = 1};
    for (const char *letter = letters; *letter != '\0'; letter++) {
        ShRecord record = {.timestamp_ms = *letter, .value = (const uint8_t *)letter, .value_length = 1};
        assert_int_equal(sh_batch_builder_add(builder, &record, &header, 1, NULL), SH_OK);
        batch->count++;
    }
    assert_int_equal(sh_batch_builder_finish(builder, &batch->bytes, NULL), SH_OK);
    sh_batch_builder_free(builder);
    batch->lane = &world->lane;
    sh_sender_add(world->sender, batch);
}

/* The letters of the parcel that was sent last, by batch, and their sequences. */
static void assert_sent(const World *world, const char *expected, int16_t epoch)
{
    char letters[64] = "";
    int32_t sequence = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < world->sent->batch_count; i++) {
        const ShBuf *batch = world->sent->batches[i]->bytes;
        const ShBatchLimits limits = {.batch_bytes_max = SIZE_MAX, .decompressed_bytes_max = 1 << 20};
        ShScratch scratch = {0};
        ShBatchHeader header;
        ShBatchReader reader;
        assert_int_equal(sh_batch_check(batch->data, batch->length, &limits, &scratch, &header, NULL), SH_OK);
        assert_int_equal(header.base_sequence, epoch < 0 ? -1 : sequence);
        assert_int_equal(header.producer_epoch, epoch);
        sequence += header.record_count;
        bytes += batch->length;
        assert_int_equal(sh_batch_reader_init(&reader, batch->data, batch->length, 1 << 20, &scratch, NULL),
                         SH_OK);
        for (bool more = true; more;) {
            ShRecord record;
            assert_int_equal(sh_batch_reader_next(&reader, &record, &more, NULL), SH_OK);
            if (!more)
                break;
            assert_int_equal(record.timestamp_ms, record.value[0]);
            assert_int_equal(record.header_count, 1);
            strncat(letters, (const char *)record.value, 1);
        }
        strcat(letters, "|");
        sh_scratch_free(&scratch);
    }
    assert_string_equal(letters, expected);
    assert_int_equal(world->sent->bytes, bytes);
}

static void answer(World *world, bool refused, int64_t base_offset, const size_t *places, size_t count)
{
    ShMisfit misfits[RECORDS_MAX];
    for (size_t i = 0; i < count; i++)
        misfits[i] = (ShMisfit){.index = places[i], .reason = (const uint8_t *)"badly", .reason_length = 3};
    ShProduceAnswer given = {.request_id = world->sent->id,
                             .base_offset = base_offset,
                             .refused = refused,
                             .misfits = misfits,
                             .misfit_count = count};
    if (refused)
        (void)sh_fail(&given.refusal.error, SH_INVALID, "records do not fit");
    sh_sender_answered(world->sender, &given, 0);
    sh_sender_run(world->sender, 1);
}

static void the_rest_of_an_idempotent_parcel_is_sent_again(void **state)
{
    (void)state;
    for (ShCodec codec = SH_CODEC_NONE; codec <= SH_CODEC_ZSTD; codec++) {
        World world;
        open_world(&world, true);
        add(&world, "abc", codec);
        add(&world, "de", codec);
        add(&world, "f", codec);
        sh_sender_run(world.sender, 0);
        assert_sent(&world, "abc|de|f|", 0);
        static const size_t places[] = {1, 3, 4};
        answer(&world, true, 0, places, 3);
        assert_string_equal(world.told, "-bad -bad ;"); /* nothing is left of the second batch */
        assert_int_equal(world.sent_count, 2);
        assert_sent(&world, "ac|f|", 1);
        /* Another one is refused, which was the third of its batch as it was given. */
        static const size_t again[] = {1};
        answer(&world, true, 0, again, 1);
        assert_sent(&world, "a|f|", 2);
        answer(&world, false, 100, NULL, 0);
        assert_string_equal(world.told, "-bad -bad ;100 -bad -bad ;101 ;");
        close_world(&world);
    }
}

static void nothing_is_left_to_send(void **state)
{
    (void)state;
    World world;
    open_world(&world, true);
    add(&world, "ab", SH_CODEC_NONE);
    sh_sender_run(world.sender, 0);
    static const size_t places[] = {0, 1};
    answer(&world, true, 0, places, 2);
    assert_string_equal(world.told, "-bad -bad ;");
    assert_int_equal(world.sent_count, 1);
    add(&world, "c", SH_CODEC_NONE);
    sh_sender_run(world.sender, 2);
    assert_sent(&world, "c|", 1);
    answer(&world, false, 5, NULL, 0);
    assert_string_equal(world.told, "-bad -bad ;5 ;");
    close_world(&world);
}

static void without_sequences_the_others_are_stored(void **state)
{
    (void)state;
    World world;
    open_world(&world, false);
    add(&world, "abc", SH_CODEC_NONE);
    add(&world, "de", SH_CODEC_NONE);
    sh_sender_run(world.sender, 0);
    assert_sent(&world, "abc|de|", -1);
    static const size_t places[] = {0, 4};
    answer(&world, false, 30, places, 2);
    assert_string_equal(world.told, "-bad 30 31 ;32 -bad ;");
    add(&world, "xy", SH_CODEC_NONE);
    sh_sender_run(world.sender, 2);
    static const size_t all[] = {0, 1};
    world.told[0] = '\0';
    answer(&world, true, 0, all, 2);
    assert_string_equal(world.told, "-bad -bad ;");
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rest_of_an_idempotent_parcel_is_sent_again),
        cmocka_unit_test(nothing_is_left_to_send),
        cmocka_unit_test(without_sequences_the_others_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
