/* Reading far into a segment: whose turn it is meanwhile, and where it goes on. */
#include "tests/unit/agent/log/gated_store.h"

#define BATCHES     40
#define LARGE_BYTES 700000

/* One object of batches that are each more than half of what is read at a time. */
static int setup_large(void **state)
{
    static const char *const settings[] = {"READ_THREADS=1", "FLUSH_SIZE=64MB", "FLUSH_INTERVAL=1h"};
    (void)setup(state);
    Fixture *fixture = *state;
    for (int i = 0; i < 3; i++)
        snprintf(fixture->extra[i], sizeof fixture->extra[i], "STREAMHOUSE_%s", settings[i]);
    start(fixture);
    for (int i = 0; i < BATCHES; i++)
        assert_int_equal(append_patiently(fixture, "t", 1, LARGE_BYTES), i);
    start_again(fixture);
    assert_int_equal(fake.topics[0].partitions[0].segment_count, 1);
    return 0;
}

static void test_who_reads_far_lets_others_have_their_turn(void **state)
{
    Fixture *fixture = *state;
    Fetch far;
    Fetch near;
    fixture->engine->read_cache.bytes_max = 4 * LARGE_BYTES;
    allow(0);
    fetch_as(fixture, &far, "far", BATCHES - 1);
    wait_until(begun() == 1);
    fetch_as(fixture, &near, "near", 0);
    allow(BATCHES - 1);
    assert_int_equal(fetch_end(&near), SH_OK);
    assert_int_equal(near.part.slice_count, 1);
    assert_false(signal_wait(&far.signal, 0));
    allow(INT32_MAX);
    assert_int_equal(fetch_end(&far), SH_OK);
    assert_int_equal(far.part.next_offset, BATCHES);
    assert_in_range(begun(), BATCHES, BATCHES + 4); /* it went on where it was */
    sh_fetch_release(&far.call);
    sh_fetch_release(&near.call);
}

/* An answer to another part does not wait for it, and the search is not in vain. */
static void test_a_part_that_fails_does_not_wait_for_one_that_is_far(void **state)
{
    Fixture *fixture = *state;
    Fetch far;
    Fetch both;
    ShFetchPart parts[2] = {{.target = target_of("nope", 0)},
                            {.target = target_of("t", 0), .offset = BATCHES - 1, .bytes_max = 1}};
    fixture->engine->read_cache.bytes_max = LARGE_BYTES / 2; /* nothing is kept */
    fetch_parts_begin(fixture, &both, parts, 2);
    assert_true(signal_wait(&both.signal, DEADLINE_MS));
    assert_int_equal(parts[0].error.status, SH_NOT_FOUND);
    assert_int_equal(parts[1].error.status, SH_OK);
    assert_int_equal(parts[1].slice_count, 0);
    assert_int_equal(begun(), 32);
    sh_fetch_release(&both.call);
    fetch_as(fixture, &far, "far", BATCHES - 1);
    assert_int_equal(fetch_end(&far), SH_OK);
    assert_int_equal(far.part.slice_count, 1);
    assert_in_range(begun(), BATCHES, BATCHES + 4);
    sh_fetch_release(&far.call);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_large, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_reads_far_lets_others_have_their_turn),
        TEST(test_a_part_that_fails_does_not_wait_for_one_that_is_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
