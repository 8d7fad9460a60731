/* Reading ahead, over a store whose reads are counted, held up and failed. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/segment_read.h"
#include "tests/unit/agent/log/gated_store.h"

#define BATCH_BYTES  100000
#define BATCHES      40
#define ANSWER_BYTES (2 * BATCH_BYTES + 10000)

/* ... so many within a moment. */
static bool has_begun(int count)
{
    int64_t until_ms = sh_clock_now_ms() + 200;
    while (begun() < count && sh_clock_now_ms() < until_ms)
        sched_yield();
    return begun() >= count;
}

static int64_t under_way_bytes(const Fixture *fixture)
{
    ShEngine *engine = fixture->engine;
    pthread_mutex_lock(&engine->read_ahead.lock);
    int64_t bytes = engine->read_ahead.bytes;
    pthread_mutex_unlock(&engine->read_ahead.lock);
    return bytes;
}

static int64_t unread_bytes(const Fixture *fixture)
{
    ShEngine *engine = fixture->engine;
    pthread_mutex_lock(&engine->read_cache.lock);
    int64_t bytes = engine->read_cache.unread_bytes;
    pthread_mutex_unlock(&engine->read_cache.lock);
    return bytes;
}

static int64_t ahead_bytes(const Fixture *fixture)
{
    return under_way_bytes(fixture) + unread_bytes(fixture);
}

static int64_t cached_bytes(const Fixture *fixture)
{
    ShEngine *engine = fixture->engine;
    pthread_mutex_lock(&engine->read_cache.lock);
    int64_t bytes = engine->read_cache.bytes;
    pthread_mutex_unlock(&engine->read_cache.lock);
    return bytes;
}

static const ShPgSegment *segment(size_t index)
{
    assert_true(index < fake.topics[0].partitions[0].segment_count);
    return &fake.topics[0].partitions[0].segments[index];
}

static uint64_t stored_bytes(void)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < fake.topics[0].partitions[0].segment_count; i++)
        bytes += segment(i)->length;
    return bytes;
}

/* Batches of one record in several objects. */
static void start_with_objects(Fixture *fixture)
{
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_SIZE=500kB");
    start(fixture);
    for (int i = 0; i < BATCHES; i++)
        assert_int_equal(append_patiently(fixture, "t", 1, BATCH_BYTES), i);
    start_again(fixture);
    assert_true(fake.topics[0].partitions[0].segment_count >= 3);
}

/* Each record in an object of its own. */
static void start_with_small_objects(Fixture *fixture)
{
    start(fixture);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(append_patiently(fixture, "t", 1, 100), i);
        sh_flush_now(fixture->engine);
        wait_until(fake_published(0) == i + 1);
    }
    start_again(fixture);
    assert_int_equal(fake.topics[0].partitions[0].segment_count, BATCHES);
}

/* One part for each record. Of each a byte is wanted, so that only the first gets any. */
static void fetch_each_record(Fixture *fixture, Fetch *fetch, ShFetchPart parts[BATCHES])
{
    for (int i = 0; i < BATCHES; i++)
        parts[i] = (ShFetchPart){.target = target_of("t", 0), .offset = i, .bytes_max = 1};
    fetch_parts_begin(fixture, fetch, parts, BATCHES);
}

typedef struct Reader {
    Fixture *fixture;
    Fetch fetch;
    pthread_t thread;
} Reader;

/* The next answer of a reader who goes on; `offset` begins one. */
static void ask(Fixture *fixture, Fetch *reader, int64_t offset)
{
    fetch_begin(fixture, reader, "t", offset, 2000, 1);
}

static void ask_on(Fixture *fixture, Fetch *reader)
{
    sh_fetch_release(&reader->call);
    signal_init(&reader->signal);
    reader->part.offset = reader->part.next_offset;
    reader->call.bytes_max = ANSWER_BYTES;
    sh_engine_fetch(fixture->engine, &reader->call);
}

static void first_answer(Fixture *fixture, Fetch *reader, int64_t offset)
{
    memset(reader, 0, sizeof *reader);
    reader->part.target = target_of("t", 0);
    reader->part.next_offset = offset;
    reader->call = (ShFetch){
        .parts = &reader->part, .part_count = 1, .wait_max_ms = 2000, .bytes_min = 1, .done = fetch_done};
    ask_on(fixture, reader);
    assert_int_equal(fetch_end(reader), SH_OK);
    assert_true(reader->part.slice_count > 0);
}

static void next_answer(Fixture *fixture, Fetch *reader)
{
    int64_t from = reader->part.next_offset;
    ask_on(fixture, reader);
    assert_int_equal(fetch_end(reader), SH_OK);
    assert_true(reader->part.next_offset > from);
}

static void test_who_goes_on_is_read_for_and_nothing_is_read_twice(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    first_answer(fixture, &reader, 0);
    assert_int_equal(begun(), 1);
    assert_int_equal(ahead_bytes(fixture), 0); /* who came once may leave again */
    next_answer(fixture, &reader);
    wait_until(begun() > 1 && ahead_bytes(fixture) > 0);
    assert_true(reader.part.next_offset <= segment(0)->last_offset);
    while (reader.part.next_offset < BATCHES)
        next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
    assert_int_equal(gate.bytes, stored_bytes());
    wait_until(ahead_bytes(fixture) == 0); /* a range is there a moment before its read counts as done */
}

static void *ask_on_beside(void *arg)
{
    Reader *reader = arg;
    ask_on(reader->fixture, &reader->fetch);
    return NULL;
}

/* Two find at once that the same is to be read. */
static void test_readers_that_go_on_together_read_it_once(void **state)
{
    Fixture *fixture = *state;
    static Reader readers[2];
    snprintf(fixture->extra[1], sizeof fixture->extra[1],
             "STREAMHOUSE_READ_THREADS=3"); /* one is for others */
    start_with_objects(fixture);
    for (int i = 0; i < 2; i++) {
        readers[i].fixture = fixture;
        first_answer(fixture, &readers[i].fetch, 0);
    }
    int before = begun();
    allow(before);
    assert_ok(sh_fault_arm("read.ahead=stall:200", err));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i].thread, NULL, ask_on_beside, &readers[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(fetch_end(&readers[i].fetch), SH_OK);
    }
    assert_ok(sh_fault_arm(NULL, err));
    assert_false(has_begun(before + 2)); /* another thread would have had time */
    allow(INT32_MAX);
    while (readers[0].fetch.part.next_offset < BATCHES)
        next_answer(fixture, &readers[0].fetch);
    assert_int_equal(gate.bytes, stored_bytes());
    wait_until(under_way_bytes(fixture) == 0);
    for (int i = 0; i < 2; i++)
        sh_fetch_release(&readers[i].fetch.call);
}

static void test_readers_of_scattered_places_are_not_read_for(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    for (size_t i = 0; i < 3; i++) {
        first_answer(fixture, &reader, segment(2 - i)->first_offset);
        sh_fetch_release(&reader.call);
        assert_int_equal(ahead_bytes(fixture), 0);
    }
    assert_int_equal(begun(), 3);
}

static void test_a_read_ahead_delays_only_who_gets_there(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    allow(1);
    first_answer(fixture, &reader, 0);
    next_answer(fixture, &reader);
    wait_until(begun() == 2); /* and held up */
    while (reader.part.next_offset <= segment(0)->last_offset)
        next_answer(fixture, &reader);
    ask_on(fixture, &reader);
    assert_false(signal_wait(&reader.signal, 50));
    allow(INT32_MAX);
    assert_int_equal(fetch_end(&reader), SH_OK);
    while (reader.part.next_offset < BATCHES)
        next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
    assert_int_equal(gate.bytes, stored_bytes());
}

static void test_one_that_has_not_begun_is_taken_over(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    Fetch other;
    start_with_objects(fixture);
    allow(1);
    first_answer(fixture, &reader, 0);
    reader.part.store_run_bytes = SH_AHEAD_BYTES_MAX; /* as if it had come a long way */
    do {
        next_answer(fixture, &reader);
    } while (reader.part.next_offset <= segment(0)->last_offset);
    wait_until(begun() == 2); /* of two threads one reads ahead; what follows is queued */
    assert_true(ahead_bytes(fixture) >= (int64_t)(segment(1)->length + segment(2)->length));
    memset(&other, 0, sizeof other);
    ask(fixture, &other, segment(2)->first_offset);
    wait_until(begun() == 3);
    allow(INT32_MAX);
    assert_int_equal(fetch_end(&other), SH_OK);
    sh_fetch_release(&other.call);
    while (reader.part.next_offset < BATCHES)
        next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
    assert_int_equal(gate.bytes, stored_bytes());
}

static void test_its_error_is_nobodys_until_somebody_gets_there(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    gate.fail_first = 1;
    gate.fail_end = INT32_MAX;
    first_answer(fixture, &reader, 0);
    while (reader.part.next_offset <= segment(0)->last_offset)
        next_answer(fixture, &reader);
    wait_until(begun() > 1 && ahead_bytes(fixture) == 0);
    ask_on(fixture, &reader);
    assert_int_equal(fetch_end(&reader), SH_UNAVAILABLE);

    pthread_mutex_lock(&gate.lock);
    gate.fail_end = 0;
    pthread_mutex_unlock(&gate.lock);
    reader.part.next_offset = segment(1)->first_offset;
    while (reader.part.next_offset < BATCHES)
        next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
}

static void test_what_is_ahead_is_bounded_over_all_readers(void **state)
{
    Fixture *fixture = *state;
    Fetch readers[8];
    snprintf(fixture->extra[1], sizeof fixture->extra[1], "STREAMHOUSE_MEMORY_BUDGET=16MB");
    start_with_objects(fixture);
    int64_t bound = fixture->engine->read_cache.bytes_max / 2;
    bool any = false;
    for (int i = 0; i < 8; i++)
        first_answer(fixture, &readers[i], 4 * i);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            next_answer(fixture, &readers[i]);
            any |= ahead_bytes(fixture) > 0;
            assert_true(under_way_bytes(fixture) <= bound);
            assert_true(unread_bytes(fixture) <= bound + BATCH_BYTES);
            assert_true(cached_bytes(fixture) <= fixture->engine->read_cache.bytes_max);
        }
    }
    assert_true(any);
    for (int i = 0; i < 8; i++)
        sh_fetch_release(&readers[i].call);
}

/* Who has come a long way is read for far ahead, but for half of the cache at most. */
static void test_one_reader_has_half_of_the_cache_ahead(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    ShReadCache *cache = &fixture->engine->read_cache;
    pthread_mutex_lock(&cache->lock);
    int64_t bound = (int64_t)(segment(0)->length + segment(1)->length + segment(2)->length);
    cache->bytes_max = 2 * bound;
    pthread_mutex_unlock(&cache->lock);
    assert_true((int64_t)stored_bytes() > 2 * bound);
    allow(1);
    first_answer(fixture, &reader, 0);
    reader.part.store_run_bytes = SH_AHEAD_BYTES_MAX;
    do {
        next_answer(fixture, &reader);
    } while (reader.part.next_offset <= segment(0)->last_offset);
    wait_until(begun() == 2);
    assert_in_range(ahead_bytes(fixture), segment(1)->length + segment(2)->length, bound);
    allow(INT32_MAX);
    while (reader.part.next_offset < BATCHES)
        next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
}

static void test_what_nobody_came_for_makes_room(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    first_answer(fixture, &reader, 0);
    next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
    wait_until(ahead_bytes(fixture) > 0 && under_way_bytes(fixture) == 0);
    assert_false(sh_read_cache_evict_unread(fixture->engine, sh_clock_now_ms() - 60000));
    while (sh_read_cache_evict_unread(fixture->engine, sh_clock_now_ms() + 1)) {
    }
    assert_int_equal(ahead_bytes(fixture), 0);
    assert_int_equal(read_to(fixture, "t", 0, BATCHES), BATCHES);
}

static void test_the_engine_stops_with_reads_under_way(void **state)
{
    Fixture *fixture = *state;
    Fetch reader;
    start_with_objects(fixture);
    allow(1);
    first_answer(fixture, &reader, 0);
    next_answer(fixture, &reader);
    sh_fetch_release(&reader.call);
    wait_until(begun() == 2);
    allow(INT32_MAX);
}

static void test_partitions_take_turns_in_filling_an_answer(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    for (int32_t p = 0; p < 2; p++) {
        Append append;
        append_begin(fixture, &append, target_of("t", p), 1, 1000, 1000);
        assert_int_equal(append_end(&append), SH_OK);
        /* Alone first: only where its bounds are known does a partition have anything to give. */
        Fetch alone = {.part = {.target = target_of("t", p)}};
        signal_init(&alone.signal);
        alone.call = (ShFetch){
            .parts = &alone.part, .part_count = 1, .wait_max_ms = 2000, .bytes_min = 1, .done = fetch_done};
        sh_engine_fetch(fixture->engine, &alone.call);
        assert_int_equal(fetch_end(&alone), SH_OK);
        assert_int_equal(alone.part.slice_count, 1);
        sh_fetch_release(&alone.call);
    }
    for (size_t first = 0; first < 2; first++) {
        Fetch fetch = {0};
        ShFetchPart parts[2] = {{.target = target_of("t", 0)}, {.target = target_of("t", 1)}};
        signal_init(&fetch.signal);
        fetch.call = (ShFetch){.parts = parts,
                               .part_count = 2,
                               .first_part = first,
                               .wait_max_ms = 2000,
                               .bytes_min = 1,
                               .bytes_max = 1100,
                               .done = fetch_done};
        sh_engine_fetch(fixture->engine, &fetch.call);
        assert_int_equal(fetch_end(&fetch), SH_OK);
        assert_int_equal(parts[first].slice_count, 1);
        assert_int_equal(parts[1 - first].slice_count, 0);
        sh_fetch_release(&fetch.call);
    }
}

static void test_one_answer_makes_few_reads_of_the_store(void **state)
{
    Fixture *fixture = *state;
    Fetch fetch;
    ShFetchPart parts[BATCHES];
    start_with_small_objects(fixture);
    fetch_each_record(fixture, &fetch, parts);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_in_range(begun(), 1, 32);
    assert_int_equal(parts[0].slice_count, 1);
    for (int i = 1; i < BATCHES; i++) {
        assert_int_equal(parts[i].error.status, SH_OK);
        assert_int_equal(parts[i].slice_count, 0);
        assert_int_equal(parts[i].next_offset, i);
    }
    sh_fetch_release(&fetch.call);

    Fetch whole; /* what one part has in many objects comes with several answers */
    first_answer(fixture, &whole, 0);
    while (whole.part.next_offset < BATCHES)
        next_answer(fixture, &whole);
    sh_fetch_release(&whole.call);
}

static void test_who_has_given_up_is_not_read_for(void **state)
{
    Fixture *fixture = *state;
    Fetch fetch;
    ShFetchPart parts[BATCHES];
    start_with_small_objects(fixture);
    allow(1);
    fetch_each_record(fixture, &fetch, parts);
    wait_until(begun() == 2); /* and held up */
    sh_engine_fetch_cancel(fixture->engine, &fetch.call);
    allow(INT32_MAX);
    assert_true(signal_wait(&fetch.signal, DEADLINE_MS));
    assert_int_equal(begun(), 2);
    sh_fetch_release(&fetch.call);
}

static void test_who_asks_little_does_not_wait_for_who_asks_much(void **state)
{
    Fixture *fixture = *state;
    Fetch many[10];
    Fetch other;
    start_with_small_objects(fixture);
    allow(0);
    for (int i = 0; i < 10; i++)
        fetch_as(fixture, &many[i], "much", 2 * i);
    wait_until(begun() == 2); /* both threads are held up */
    fetch_as(fixture, &other, "little", 30);
    allow(10); /* of 20 and more: two objects at least are read for each */
    assert_int_equal(fetch_end(&other), SH_OK);
    assert_false(signal_wait(&many[9].signal, 0));
    allow(INT32_MAX);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(fetch_end(&many[i]), SH_OK);
        sh_fetch_release(&many[i].call);
    }
    sh_fetch_release(&other.call);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_goes_on_is_read_for_and_nothing_is_read_twice),
        TEST(test_readers_that_go_on_together_read_it_once),
        TEST(test_readers_of_scattered_places_are_not_read_for),
        TEST(test_a_read_ahead_delays_only_who_gets_there),
        TEST(test_one_that_has_not_begun_is_taken_over),
        TEST(test_its_error_is_nobodys_until_somebody_gets_there),
        TEST(test_what_is_ahead_is_bounded_over_all_readers),
        TEST(test_one_reader_has_half_of_the_cache_ahead),
        TEST(test_what_nobody_came_for_makes_room),
        TEST(test_the_engine_stops_with_reads_under_way),
        TEST(test_partitions_take_turns_in_filling_an_answer),
        TEST(test_one_answer_makes_few_reads_of_the_store),
        TEST(test_who_has_given_up_is_not_read_for),
        TEST(test_who_asks_little_does_not_wait_for_who_asks_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
