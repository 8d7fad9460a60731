/* Appends that wait for a look at the cluster while PostgreSQL answers nothing. */
#include "tests/unit/agent/log/log_fixture.h"

#include <time.h>

#define STRANGE (SH_PARKED_MAX + 1000)
#define HONEST  1000

static void many_done(ShAppend *call)
{
    signal_set(call->arg, SH_OK);
}

/* Nothing new is learnt of the cluster from now on. */
static void hold_looks(void)
{
    FAKE_CHANGE(fake.holds_grants = true);
    fake_topic("held", false);
    wait_until(FAKE_GET(fake.grants_held) > 0);
}

/* One part for each partition of a topic that is not there. */
static void append_strange(Fixture *fixture, ShAppend *call, Signal *signal)
{
    ShAppendPart *parts = calloc(STRANGE, sizeof *parts);
    for (int i = 0; i < STRANGE; i++)
        parts[i].target = target_of("nope", i);
    signal_init(signal);
    *call = (ShAppend){.parts = parts, .part_count = STRANGE, .done = many_done, .arg = signal};
    sh_engine_append(fixture->engine, call);
}

/* What handing over many parts for one partition costs the thread that does it. */
static int64_t append_cost_us(Fixture *fixture)
{
    static ShAppendPart parts[HONEST];
    static ShAppendBatch batches[HONEST];
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"x", .value_length = 1};
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int i = 0; i < HONEST; i++) {
        ShAppendPart *part = &parts[i];
        *part = (ShAppendPart){.target = target_of("t", 0), .batches = &batches[i], .batch_count = 1};
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
        assert_ok(sh_batch_builder_finish(builder, &part->owner, err));
        batches[i].data = part->owner->data;
        assert_ok(sh_batch_peek(batches[i].data, part->owner->length, &batches[i].header, err));
    }
    sh_batch_builder_free(builder);
    Signal signal;
    signal_init(&signal);
    ShAppend call = {.parts = parts, .part_count = HONEST, .done = many_done, .arg = &signal};
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    sh_engine_append(fixture->engine, &call);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    assert_true(signal_wait(&signal, DEADLINE_MS));
    for (int i = 0; i < HONEST; i++) {
        assert_int_equal(parts[i].error.status, SH_OK);
        sh_buf_unref(parts[i].owner);
    }
    return (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
}

static void test_what_waits_is_bounded_and_costs_nobody_else(void **state)
{
    Fixture *fixture = *state;
    ShAppend strange;
    Signal signal;
    start(fixture);
    int64_t alone_us = append_cost_us(fixture);
    hold_looks();
    append_strange(fixture, &strange, &signal);
    assert_int_equal(atomic_load(&fixture->engine->parked.count), SH_PARKED_MAX);
    int64_t beside_us = append_cost_us(fixture);
    if (beside_us > 10 * alone_us + 20000)
        fail_msg("%d parts took %lld us, and %lld us beside others that wait", HONEST, (long long)alone_us,
                 (long long)beside_us);
    /* At the bound nobody overtakes: who would wait behind another is refused. */
    assert_int_equal(append_to(fixture, "nope", 1, 10), -SH_EXHAUSTED);

    assert_false(signal.done);
    FAKE_CHANGE(fake.holds_grants = false);
    assert_true(signal_wait(&signal, DEADLINE_MS));
    for (int i = 0; i < STRANGE; i++) {
        const ShError *err = &strange.parts[i].error;
        assert_int_equal(err->status, i < SH_PARKED_MAX ? SH_NOT_FOUND : SH_EXHAUSTED);
        assert_true(i < SH_PARKED_MAX || err->retry_after_ms > 0);
    }
    free(strange.parts);
    assert_int_equal(atomic_load(&fixture->engine->parked.count), 0);
    assert_int_equal(append_to(fixture, "nope", 1, 10), -SH_NOT_FOUND);
}

/* A part that names its topic by id alone finds the one that gave both, and none of another partition. */
static void test_who_comes_for_the_same_partition_waits_behind(void **state)
{
    Fixture *fixture = *state;
    Append first;
    Append second;
    Append other;
    start(fixture);
    hold_looks();
    ShTarget target = target_of("held", 0);
    target.has_topic_id = true;
    target.topic_id = FAKE_GET(fake.topics[2].id);
    append_begin(fixture, &first, target, 1, 10, 1000);
    target.topic_length = 0;
    append_begin(fixture, &second, target, 1, 10, 1000);
    target.partition = 1;
    append_begin(fixture, &other, target, 1, 10, 1000);
    assert_int_equal(atomic_load(&fixture->engine->parked.count), 3);
    FAKE_CHANGE(fake.holds_grants = false);
    assert_int_equal(append_end(&first), SH_OK);
    assert_int_equal(append_end(&second), SH_OK);
    assert_int_equal(append_end(&other), SH_OK);
    assert_int_equal(first.part.base_offset, 0);
    assert_int_equal(second.part.base_offset, 1);
    assert_int_equal(other.part.base_offset, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_waits_is_bounded_and_costs_nobody_else),
        TEST(test_who_comes_for_the_same_partition_waits_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
