/* Readers at holes of the offsets, at the start, in the middle and at the end of the log: each is told at
 * once where it goes on, and one that waits is told of a hole that comes. */
#include "tests/unit/agent/log/log_fixture.h"

static FakePartition *t0(void)
{
    return &fake.topics[0].partitions[0];
}

/* The next epoch begins behind the whole range of the one before, of which the rest is a hole. */
static void restart_behind_a_hole(Fixture *fixture)
{
    stop(fixture);
    FAKE_CHANGE(t0()->owned = t0()->open = false; t0()->next_offset = (t0()->epoch + 1) * fake.range);
    start(fixture);
}

/* A reader who would wait long is answered at once, without records. */
static void expect_led_on(Fixture *fixture, const char *topic, int64_t offset, int64_t next)
{
    Fetch fetch;
    fetch_begin(fixture, &fetch, topic, offset, DEADLINE_MS, 1);
    assert_true(signal_wait(&fetch.signal, DEADLINE_MS / 4));
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 0);
    assert_int_equal(fetch.part.next_offset, next);
}

/* Read from the start on; returns how many batches lie below `end`. */
static size_t count_batches(Fixture *fixture, int64_t end)
{
    size_t count = 0;
    for (int64_t offset = 0; offset < end;) {
        Fetch fetch;
        fetch_begin(fixture, &fetch, "t", offset, DEADLINE_MS, 1);
        assert_int_equal(fetch_end(&fetch), SH_OK);
        assert_true(fetch.part.next_offset > offset && fetch.part.next_offset <= end);
        count += fetch.part.slice_count;
        offset = fetch.part.next_offset;
        sh_fetch_release(&fetch.call);
    }
    return count;
}

static void test_a_hole_at_the_end(void **state)
{
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_patiently(fixture, "t", 2, 10), 0);
    wait_until(fake_published(0) == 2);
    restart_behind_a_hole(fixture);
    int64_t begin = 2 * fake.range;
    wait_until(FAKE_GET(t0()->start) == begin);
    expect_led_on(fixture, "t", 2, begin);
    expect_led_on(fixture, "t", 1000, begin);

    /* Led on, it waits for the next record as ever. */
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", begin, 30, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.next_offset, begin);
    fetch_begin(fixture, &fetch, "t", begin, DEADLINE_MS, 1);
    assert_int_equal(append_patiently(fixture, "t", 1, 10), begin);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.next_offset, begin + 1);
    sh_fetch_release(&fetch.call);
}

static void test_holes_at_the_start_and_in_the_middle(void **state)
{
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=10ms");
    FAKE_CHANGE(t0()->next_offset = 500);
    start(fixture);
    wait_until(FAKE_GET(t0()->start) == 500);
    expect_led_on(fixture, "t", 0, 500);
    assert_int_equal(append_patiently(fixture, "t", 2, 10), 500);
    wait_until(fake_published(0) == 502);
    restart_behind_a_hole(fixture);
    int64_t begin = 2 * fake.range;
    assert_int_equal(append_patiently(fixture, "t", 2, 10), begin);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(count_batches(fixture, begin + 2), 2);
        wait_until(fake_published(0) == begin + 2);
        if (round == 0) { /* the same, from the store alone */
            stop(fixture);
            start(fixture);
        }
    }
}

/* Offsets that were given up (void) move the published end, and nothing is stored of them. */
static void test_a_hole_that_comes_while_a_reader_waits(void **state)
{
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_OBJECT_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_to(fixture, "o", 3, 10), 0);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "o", 3, DEADLINE_MS, 1);
    assert_false(signal_wait(&fetch.signal, 50));
    FAKE_CHANGE(fake.topics[1].partitions[0].end = 10);
    assert_true(signal_wait(&fetch.signal, DEADLINE_MS / 4));
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.slice_count, 0);
    assert_int_equal(fetch.part.next_offset, 10);
}

static int64_t high_watermark_of(Fixture *fixture, const char *topic)
{
    Fetch fetch;
    fetch_begin(fixture, &fetch, topic, 0, DEADLINE_MS, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_true(fetch.part.slice_count > 0);
    sh_fetch_release(&fetch.call);
    return fetch.part.high_watermark;
}

/* A reader that goes up to the end it is told, and no further, asks nobody by itself. */
static void test_an_end_that_others_move(void **state)
{
    Fixture *fixture = *state;
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_OBJECT_FLUSH_INTERVAL=10ms");
    start(fixture);
    assert_int_equal(append_to(fixture, "o", 3, 10), 0);
    assert_int_equal(high_watermark_of(fixture, "o"), 3);
    FAKE_CHANGE(fake.topics[1].partitions[0].end = 10);
    wait_until(high_watermark_of(fixture, "o") == 10);
}

/* One part of a fetch is led on, though the other has nothing and would wait. */
static void test_a_hole_in_one_of_two_parts(void **state)
{
    Fixture *fixture = *state;
    FAKE_CHANGE(t0()->next_offset = 500);
    start(fixture);
    wait_until(FAKE_GET(t0()->start) == 500);
    Fetch fetch;
    memset(&fetch, 0, sizeof fetch);
    signal_init(&fetch.signal);
    ShFetchPart parts[2] = {{.target = target_of("t", 1)}, {.target = target_of("t", 0)}};
    fetch.call = (ShFetch){
        .parts = parts, .part_count = 2, .wait_max_ms = DEADLINE_MS, .bytes_min = 1000, .done = fetch_done};
    sh_engine_fetch(fixture->engine, &fetch.call);
    assert_true(signal_wait(&fetch.signal, DEADLINE_MS / 4));
    assert_int_equal(parts[0].next_offset, 0);
    assert_int_equal(parts[1].next_offset, 500);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_hole_at_the_end),
        TEST(test_holes_at_the_start_and_in_the_middle),
        TEST(test_a_hole_that_comes_while_a_reader_waits),
        TEST(test_an_end_that_others_move),
        TEST(test_a_hole_in_one_of_two_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
