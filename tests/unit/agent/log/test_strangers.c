/* Which producers PostgreSQL is asked about, how often, and how long its answer holds. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/strangers.h"

#define WAITING_MAX 1024

static const ShUuid topic_a = {{1}};
static const ShUuid topic_b = {{2}};
static int64_t now_ms;

static int64_t get_now_ms(void)
{
    return now_ms;
}

static int setup_engine(void **state)
{
    ShEngine *engine = calloc(1, sizeof *engine);
    now_ms = 1000;
    sh_clock_set_for_test(get_now_ms);
    engine->producer_budget.count_max = 1000;
    *state = engine;
    return sh_strangers_init(&engine->strangers, NULL) == SH_OK ? 0 : -1;
}

static int teardown_engine(void **state)
{
    ShEngine *engine = *state;
    sh_strangers_destroy(&engine->strangers);
    sh_clock_set_for_test(NULL);
    free(engine);
    return 0;
}

static ShPartition *new_partition(const ShUuid *topic, int32_t number, int64_t epoch)
{
    ShPartition *partition = sh_partition_new(topic, number, "t", false);
    sh_partition_open(partition, epoch, 0, 1000, 0);
    return partition;
}

static ShStatus check(ShEngine *engine, ShPartition *partition, int64_t producer_id, ShError *err)
{
    sh_error_clear(err);
    pthread_mutex_lock(&partition->mutex);
    ShStatus status = sh_strangers_check(engine, partition, producer_id, err);
    pthread_mutex_unlock(&partition->mutex);
    return status;
}

/* Once for each producer, partition and epoch, however often its batches come meanwhile. */
static void test_each_is_asked_about_once(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partitions[] = {new_partition(&topic_a, 0, 1), new_partition(&topic_a, 1, 1),
                                 new_partition(&topic_a, 0, 2), new_partition(&topic_b, 0, 1)};
    ShError error = {0};
    for (int round = 0; round < 3; round++) {
        size_t wanted = 0;
        for (size_t p = 0; p < 4; p++) {
            for (int64_t id = 70; id < 72; id++) {
                assert_int_equal(check(engine, partitions[p], id, &error), SH_UNAVAILABLE);
                assert_in_range(error.retry_after_ms, 1, 100);
                wanted++;
                assert_int_equal(engine->strangers.count, round == 0 ? wanted : 8);
            }
        }
    }
    for (size_t p = 0; p < 4; p++)
        sh_partition_unref(partitions[p]);
}

static void test_so_many_wait_at_most(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partition = new_partition(&topic_a, 0, 1);
    ShError error = {0};
    for (int64_t id = 0; id < WAITING_MAX; id++)
        assert_int_equal(check(engine, partition, id, &error), SH_UNAVAILABLE);
    assert_int_equal(check(engine, partition, WAITING_MAX, &error), SH_EXHAUSTED);
    assert_in_range(error.retry_after_ms, 1, 100);
    assert_int_equal(check(engine, partition, 5, &error), SH_UNAVAILABLE); /* it waits already */
    assert_int_equal(engine->strangers.count, WAITING_MAX);
    sh_partition_unref(partition);
}

/* An id that was given is known for an hour, one that was not is refused for ten seconds. */
static void test_answers_hold_for_a_while(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partition = new_partition(&topic_a, 0, 1);
    ShError error = {0};
    sh_strangers_note(engine, 7, SH_PG_ID_KNOWN);
    sh_strangers_note(engine, 8, SH_PG_ID_UNKNOWN);
    now_ms += 9999;
    assert_int_equal(check(engine, partition, 7, &error), SH_OK);
    assert_int_equal(check(engine, partition, 8, &error), SH_UNKNOWN_PRODUCER_ID);
    now_ms += 1;
    assert_int_equal(check(engine, partition, 8, &error), SH_UNAVAILABLE);
    now_ms = 1000 + 3600000 - 1;
    assert_int_equal(check(engine, partition, 7, &error), SH_OK);
    now_ms += 1;
    assert_int_equal(check(engine, partition, 7, &error), SH_UNAVAILABLE);
    assert_int_equal(engine->strangers.count, 2);
    sh_partition_unref(partition);
}

/* Whether an id was given may not be known yet: later, for a second, and never that it was not. */
static void test_an_undecided_id_is_told_to_come_later(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partition = new_partition(&topic_a, 0, 1);
    ShError error = {0};
    sh_strangers_note(engine, 7, SH_PG_ID_UNDECIDED);
    now_ms += 999;
    assert_int_equal(check(engine, partition, 7, &error), SH_EXHAUSTED);
    assert_in_range(error.retry_after_ms, 100, 5000);
    now_ms += 1;
    assert_int_equal(check(engine, partition, 7, &error), SH_UNAVAILABLE);
    assert_int_equal(engine->strangers.count, 1);
    sh_partition_unref(partition);
}

/* A second question, asked before the first one's answer came, would bring an old state when it is answered.
 */
static void test_who_is_known_meanwhile_is_not_asked_about(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partition = new_partition(&topic_a, 0, 1);
    ShError error = {0};
    for (int64_t id = 70; id < 73; id++)
        assert_int_equal(check(engine, partition, id, &error), SH_UNAVAILABLE);
    assert_ok(sh_producers_reserve(&partition->producers, &engine->producer_budget, 71, 0, now_ms, err));
    fake.lookups = 0;
    assert_ok(sh_strangers_ask(engine, NULL, err));
    assert_int_equal(fake.lookups, 2);
    assert_int_equal(engine->strangers.count, 0);
    assert_int_equal(partition->producers.count, 3);
    sh_partition_unref(partition);
}

/* As PostgreSQL may have forgotten the id of who has not written for long, though there is room for him here.
 */
static void test_who_was_silent_for_long_is_asked_about_again(void **state)
{
    ShEngine *engine = *state;
    ShPartition *partition = new_partition(&topic_a, 0, 1);
    ShBatchHeader batches[] = {{.producer_id = 70, .base_offset = 0}, {.producer_id = 71, .base_offset = 1}};
    for (size_t i = 0; i < 2; i++) {
        int64_t id = batches[i].producer_id;
        assert_ok(sh_producers_reserve(&partition->producers, &engine->producer_budget, id, 0, now_ms, err));
        sh_producers_note(&partition->producers, &batches[i]);
    }
    partition->published_end = 1;
    ShError error = {0};
    now_ms += 3600000 - 1;
    assert_int_equal(check(engine, partition, 70, &error), SH_OK);
    sh_strangers_note(engine, 70,
                      SH_PG_ID_KNOWN); /* for another partition: what he wrote here it does not tell */
    now_ms += 1;
    assert_int_equal(check(engine, partition, 70, &error), SH_UNAVAILABLE);
    assert_int_equal(check(engine, partition, 71, &error),
                     SH_OK); /* not published: nobody else can tell it */
    assert_int_equal(partition->producers.count, 1);
    assert_int_equal(atomic_load(&engine->producer_budget.count), 1);
    sh_partition_unref(partition);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_engine, teardown_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_is_asked_about_once),
        TEST(test_so_many_wait_at_most),
        TEST(test_answers_hold_for_a_while),
        TEST(test_an_undecided_id_is_told_to_come_later),
        TEST(test_who_is_known_meanwhile_is_not_asked_about),
        TEST(test_who_was_silent_for_long_is_asked_about_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
