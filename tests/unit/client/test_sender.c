/* The sender's state machine. */
#include "tests/unit/client/sender_world.h"

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
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
