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

static ShPgSegment other(int number)
{
    ShPgSegment segment = {0};
    snprintf(segment.object_key, sizeof segment.object_key, "other-%d", number);
    return segment;
}

/* Searches of so many other segments go on. */
static void note_others(ShReadCache *cache, int count)
{
    for (int i = 0; i < count; i++) {
        ShPgSegment segment = other(i);
        sh_read_cache_note_place(cache, &segment, (ShRunPlace){0}, (ShRunPlace){500, 5});
    }
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

/* However many others search meanwhile, so that none of it is remembered beyond the fetch. */
static void test_a_fetch_knows_itself_how_far_it_came(void **state)
{
    Fixture *fixture = *state;
    Fetch far;
    ShReadCache *cache = &fixture->engine->read_cache;
    cache->bytes_max = LARGE_BYTES / 2; /* nothing is kept */
    note_others(cache, SH_SEARCHED_MAX);
    fetch_as(fixture, &far, "far", BATCHES - 1);
    assert_int_equal(fetch_end(&far), SH_OK);
    assert_int_equal(far.part.next_offset, BATCHES);
    assert_in_range(begun(), BATCHES, BATCHES + 4);
    sh_fetch_release(&far.call);
}

/* Where all places are taken, those that go on keep theirs; one that is not heard of any more gives way. */
static void test_searches_that_go_on_keep_their_places(void **state)
{
    Fixture *fixture = *state;
    ShReadCache *cache = &fixture->engine->read_cache;
    ShPartition alone = {0};
    const ShRunPlace start = {0};
    note_others(cache, SH_SEARCHED_MAX);
    ShPgSegment first = other(0);
    ShPgSegment late = other(SH_SEARCHED_MAX);
    sh_read_cache_note_place(cache, &late, start, (ShRunPlace){1000, 10});
    assert_int_equal(sh_read_cache_place(cache, &alone, &late, 10).position, 0);
    assert_int_equal(sh_read_cache_place(cache, &alone, &first, 4).position, 0);
    assert_int_equal(sh_read_cache_place(cache, &alone, &first, 5).position, 500);
    sh_read_cache_note_place(cache, &first, (ShRunPlace){500, 5}, (ShRunPlace){900, 9});
    assert_int_equal(sh_read_cache_place(cache, &alone, &first, 9).position, 900);
    cache->searched[7].noted_ms -= 60000;
    sh_read_cache_note_place(cache, &late, start, (ShRunPlace){1000, 10});
    assert_int_equal(sh_read_cache_place(cache, &alone, &late, 10).position, 1000);
    first = other(7);
    assert_int_equal(sh_read_cache_place(cache, &alone, &first, 9).position, 0);
}

/* Rows of the index are counted, bounded, and given up before anybody is pushed back. */
static void test_rows_of_the_index_count(void **state)
{
    Fixture *fixture = *state;
    ShEngine *engine = fixture->engine;
    ShPgSegment rows[8];
    ShPgSegment found;
    ShUuid id = {{1}};
    ShPartition *partitions[3];
    while (sh_read_cache_evict(engine))
        ;
    int64_t before = sh_memory_used(&engine->memory);
    engine->read_cache.bytes_max = 4 * (int64_t)(2 * sizeof rows + 200);
    for (int i = 0; i < 8; i++)
        rows[i] = (ShPgSegment){.first_offset = 10 * i, .last_offset = 10 * i + 9};
    for (int i = 0; i < 3; i++) {
        partitions[i] = sh_partition_new(&id, i, "t", false);
        sh_read_cache_set_segments(engine, partitions[i], rows, 8);
        if (i == 1) /* used last, it goes last */
            assert_true(sh_read_cache_segment(&engine->read_cache, partitions[0], 75, &found));
    }
    assert_false(sh_read_cache_segment(&engine->read_cache, partitions[1], 75, &found));
    assert_true(sh_read_cache_segment(&engine->read_cache, partitions[2], 75, &found));
    assert_true(sh_read_cache_segment(&engine->read_cache, partitions[0], 75, &found));
    assert_int_equal(found.first_offset, 70);
    assert_in_range(sh_memory_used(&engine->memory) - before, 2 * sizeof rows, 2 * sizeof rows + 200);
    assert_true(sh_read_cache_evict(engine));
    assert_false(sh_read_cache_segment(&engine->read_cache, partitions[2], 75, &found));
    sh_read_cache_set_segments(engine, partitions[2], rows, 1);
    assert_false(sh_read_cache_segment(&engine->read_cache, partitions[2], 75, &found));
    sh_read_cache_forget(engine, partitions[2]);
    sh_read_cache_forget(engine, partitions[0]);
    assert_false(sh_read_cache_segment(&engine->read_cache, partitions[2], 5, &found));
    assert_int_equal(sh_memory_used(&engine->memory), before);
    assert_false(sh_read_cache_evict(engine));
    for (int i = 0; i < 3; i++)
        sh_partition_unref(partitions[i]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_large, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_reads_far_lets_others_have_their_turn),
        TEST(test_a_part_that_fails_does_not_wait_for_one_that_is_far),
        TEST(test_a_fetch_knows_itself_how_far_it_came),
        TEST(test_searches_that_go_on_keep_their_places),
        TEST(test_rows_of_the_index_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
