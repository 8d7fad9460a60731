/* Fetches that wait for more than there is: what they hold, and what waking them costs. */
#include "tests/unit/agent/log/log_fixture.h"

#include <time.h>

#define BATCHES     20000
#define BATCH_BYTES 200 /* more than one has */
#define WAITING     100
#define WAKES       30

/* One call of many small batches. */
static void append_many(Fixture *fixture, int count)
{
    Append append = {0};
    ShBuf *one = NULL;
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"x", .value_length = 1};
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
    assert_ok(sh_batch_builder_finish(builder, &one, err));
    sh_batch_builder_free(builder);

    signal_init(&append.signal);
    append.part.target = target_of("t", 0);
    append.part.batch_count = (size_t)count;
    append.part.batches = calloc((size_t)count, sizeof *append.part.batches);
    append.part.owner = sh_buf_new((size_t)count * one->length);
    for (int i = 0; i < count; i++) {
        ShAppendBatch *batch = &append.part.batches[i];
        batch->data = append.part.owner->data + append.part.owner->length;
        memcpy(batch->data, one->data, one->length);
        append.part.owner->length += one->length;
        assert_ok(sh_batch_peek(batch->data, one->length, &batch->header, err));
    }
    sh_buf_unref(one);
    append.call = (ShAppend){.parts = &append.part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append.call);
    assert_int_equal(append_end(&append), SH_OK);
    free(append.part.batches);
}

static size_t waiting(Fixture *fixture)
{
    ShFetcher *fetcher = &fixture->engine->fetcher;
    pthread_mutex_lock(&fetcher->lock);
    size_t count = fetcher->heap_count;
    pthread_mutex_unlock(&fetcher->lock);
    return count;
}

/* What the only fetch holds, once it waits and has nothing to look at. */
static size_t held_slices(Fixture *fixture, const Fetch *fetch)
{
    ShFetcher *fetcher = &fixture->engine->fetcher;
    size_t count = 0;
    bool waits = false;
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (!waits && sh_clock_now_ms() < until_ms) {
        pthread_mutex_lock(&fetcher->lock);
        waits = fetcher->heap_count == 1 && STAILQ_EMPTY(&fetcher->patient);
        if (waits)
            count = fetch->part.slice_count;
        pthread_mutex_unlock(&fetcher->lock);
    }
    assert_true(waits);
    return count;
}

/* The bounds of a partition are known once somebody has read of it. */
static void read_all(Fixture *fixture, int64_t end)
{
    assert_int_equal(read_to(fixture, "t", 0, end), end);
}

static void test_who_waits_holds_no_batches(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    append_many(fixture, 10);
    read_all(fixture, 10);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 0, DEADLINE_MS, 1 << 20);
    assert_int_equal(held_slices(fixture, &fetch), 0);
    append_many(fixture, 5); /* it looks again, in vain */
    assert_int_equal(held_slices(fixture, &fetch), 0);
    assert_int_equal(append_to(fixture, "t", 1, 900000), 15);
    append_many(fixture, 2);
    assert_false(signal_wait(&fetch.signal, 20));
    assert_int_equal(append_to(fixture, "t", 1, 200000), 18);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 19);
    assert_int_equal(fetch.part.next_offset, 19);
    sh_fetch_release(&fetch.call);
}

static void test_what_is_there_comes_when_the_wait_is_over(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    append_many(fixture, 10);
    read_all(fixture, 10);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 3, 1000, 1 << 20);
    append_many(fixture, 5);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 12);
    assert_int_equal(fetch.part.next_offset, 15);
    sh_fetch_release(&fetch.call);

    fetch_begin(fixture, &fetch, "t", 3, DEADLINE_MS, 1 << 20);
    sh_engine_fetch_cancel(fixture->engine, &fetch.call);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 12);
    sh_fetch_release(&fetch.call);
}

/* No more fits, so that no wait brings any. */
static void test_a_full_answer_is_not_waited_with(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(append_to(fixture, "t", 1, 1000), 0);
    assert_int_equal(append_to(fixture, "t", 1, 1000), 1);
    read_all(fixture, 2);
    Fetch fetch = {.part = {.target = target_of("t", 0)}};
    signal_init(&fetch.signal);
    fetch.call = (ShFetch){.parts = &fetch.part,
                           .part_count = 1,
                           .wait_max_ms = 10 * DEADLINE_MS,
                           .bytes_min = 1500,
                           .bytes_max = 1500,
                           .done = fetch_done};
    sh_engine_fetch(fixture->engine, &fetch.call);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 1);
    sh_fetch_release(&fetch.call);
}

static int64_t fetcher_cpu_ms(Fixture *fixture)
{
    clockid_t clock;
    struct timespec used;
    assert_int_equal(pthread_getcpuclockid(fixture->engine->fetcher.thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static void test_a_wake_costs_what_has_come_and_not_what_was_there(void **state)
{
    Fixture *fixture = *state;
    static Fetch fetches[WAITING];
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FETCH_WAIT_MAX=10min");
    start(fixture);
    append_many(fixture, BATCHES);
    Fetch reader;
    fetch_begin(fixture, &reader, "t", BATCHES - 1, 2000, 1);
    assert_int_equal(fetch_end(&reader), SH_OK);
    sh_fetch_release(&reader.call);
    for (int i = 0; i < WAITING; i++)
        fetch_begin(fixture, &fetches[i], "t", 0, 10 * DEADLINE_MS, BATCHES * BATCH_BYTES);
    assert_int_equal(waiting(fixture), WAITING);

    int64_t before_ms = fetcher_cpu_ms(fixture);
    for (int i = 0; i < WAKES; i++) {
        fetch_begin(fixture, &reader, "t", BATCHES + i, DEADLINE_MS, 1);
        append_many(fixture, 1);
        assert_int_equal(fetch_end(&reader), SH_OK);
        sh_fetch_release(&reader.call);
    }
    wait_until(waiting(fixture) == WAITING);
    int64_t cost_ms = fetcher_cpu_ms(fixture) - before_ms;
    if (cost_ms >= 300)
        fail_msg("%d wakes of %d fetches took %lld ms", WAKES, WAITING, (long long)cost_ms);
    for (int i = 0; i < WAITING; i++) {
        sh_engine_fetch_cancel(fixture->engine, &fetches[i].call);
        assert_int_equal(fetch_end(&fetches[i]), SH_OK);
        assert_int_equal(fetches[i].part.slice_count, BATCHES + WAKES);
        sh_fetch_release(&fetches[i].call);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_waits_holds_no_batches),
        TEST(test_what_is_there_comes_when_the_wait_is_over),
        TEST(test_a_full_answer_is_not_waited_with),
        TEST(test_a_wake_costs_what_has_come_and_not_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
