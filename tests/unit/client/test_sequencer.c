/* What the sender does as an idempotent producer. */
#include "tests/unit/client/sender_world.h"

static ShProducerOptions idempotent_options(void)
{
    ShProducerOptions options = default_options();
    options.idempotence = true;
    options.request_bytes = 100;
    options.retry_backoff_ms = options.retry_backoff_max_ms = 10;
    return options;
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
    return cmocka_run_group_tests_name("sequencer", tests, NULL, NULL);
}
