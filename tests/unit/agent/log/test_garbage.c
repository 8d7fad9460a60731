/* Data on its way out: log starts, deleted objects, the look through the store, compaction. */
#include "tests/unit/agent/log/log_fixture.h"

#include <ftw.h>

static void set(Fixture *fixture, size_t i, const char *setting)
{
    snprintf(fixture->extra[i], sizeof fixture->extra[i], "STREAMHOUSE_%s", setting);
}

static int setup_fast(void **state)
{
    int status = setup(state);
    set(*state, 0, "FLUSH_INTERVAL=10ms");
    set(*state, 1, "GARBAGE_INTERVAL=50ms");
    set(*state, 2, "COMPACTION_INTERVAL=50ms");
    set(*state, 3, "COMPACTION_RATE=1GB");
    return status;
}

#define FAKE_DO(statement)                                                                                   \
    do {                                                                                                     \
        pthread_mutex_lock(&fake.lock);                                                                      \
        statement;                                                                                           \
        pthread_mutex_unlock(&fake.lock);                                                                    \
    } while (0)

static size_t segment_count(void)
{
    return FAKE_GET(fake.topics[0].partitions[0].segment_count);
}

/* Append one batch of `records` records after the other, each published as an object of its own. */
static void publish_objects(Fixture *fixture, int objects, int records)
{
    for (int i = 0; i < objects; i++) {
        int64_t end = append_patiently(fixture, "t", records, 10) + records;
        assert_true(end >= records);
        wait_until(fake_published(0) == end);
    }
}

static void compact(Fixture *fixture)
{
    (void)fixture;
    int swaps = FAKE_GET(fake_out.swaps);
    FAKE_DO(fake_out.compaction_wanted = true);
    wait_until(FAKE_GET(fake_out.swaps) > swaps);
}

static int files_found;

static int count_file(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
    (void)path, (void)st, (void)walk;
    files_found += flag == FTW_F && strstr(path, ".seg") != NULL;
    return 0;
}

static int stored_objects(const Fixture *fixture)
{
    char path[96];
    snprintf(path, sizeof path, "%s/store", fixture->dir);
    files_found = 0;
    assert_int_equal(nftw(path, count_file, 8, FTW_PHYS), 0);
    return files_found;
}

static void test_a_log_start_that_moved_is_learned(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 2, 10);
    assert_int_equal(read_to(fixture, "t", 0, 20), 20);
    FAKE_DO((
        fake_out.log_starts[0] = (ShPgLogStart){.topic_id = fake.topics[0].id, .log_start = 10, .version = 5},
        fake_out.log_start_count = 1));
    ShStatus status = SH_OK;
    Fetch fetch;
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    do {
        fetch_begin(fixture, &fetch, "t", 3, 0, 1);
        status = fetch_end(&fetch);
        sh_fetch_release(&fetch.call);
    } while (status == SH_OK && sh_clock_now_ms() < until_ms);
    assert_int_equal(status, SH_OUT_OF_RANGE);
    assert_int_equal(fetch.part.log_start, 10);
    assert_int_equal(read_to(fixture, "t", 10, 20), 20);
}

static void test_garbage_is_deleted_and_confirmed(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 3, 1);
    int stored = stored_objects(fixture);
    pthread_mutex_lock(&fake.lock);
    for (size_t i = 0; i < 250; i++) { /* most of them are gone already, which is as good */
        ShPgGarbage *garbage = &fake_out.garbage[fake_out.garbage_count++];
        memset(garbage->object_id.bytes, 0, sizeof garbage->object_id.bytes);
        garbage->object_id.bytes[0] = (uint8_t)(i + 1);
        garbage->object_id.bytes[1] = (uint8_t)((i + 1) >> 8);
        snprintf(garbage->object_key, sizeof garbage->object_key, "%s",
                 i < 2 ? fake.topics[0].partitions[0].segments[i].object_key : "ab/gone/1/1-x.seg");
    }
    pthread_mutex_unlock(&fake.lock);
    assert_ok(sh_fault_arm("store.delete=error:3", err));
    wait_until(FAKE_GET(fake_out.confirmed) == 250);
    assert_int_equal(stored_objects(fixture), stored - 2);
    assert_int_equal(FAKE_GET(fake_out.garbage_count), 0);
}

static void test_the_store_is_looked_through(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 5, 1);
    static const char *const keys[] = {"ff/a9/3/7-x.seg", "zz/a9/3/7-x.seg", "check/one"};
    const struct iovec piece = {.iov_base = (char[]){"x"}, .iov_len = 1};
    for (size_t i = 0; i < 3; i++)
        assert_ok(sh_store_put(fixture->engine->store, keys[i], &piece, 1, 1, err));
    FAKE_DO(fake_out.scan_wanted = true);
    wait_until(FAKE_GET(fake_out.scans_done) == 1);
    bool found = false;
    pthread_mutex_lock(&fake.lock);
    assert_true(fake_out.asked_count >= 6);
    for (size_t i = 0; i < fake_out.asked_count; i++) {
        assert_string_not_equal(fake_out.asked[i].object_key, keys[1]);
        assert_string_not_equal(fake_out.asked[i].object_key, keys[2]);
        found |= strcmp(fake_out.asked[i].object_key, keys[0]) == 0 && fake_out.asked[i].bytes == 1;
    }
    pthread_mutex_unlock(&fake.lock);
    assert_true(found);
}

static void test_small_objects_become_one(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 6, 5);
    size_t segments = segment_count();
    assert_true(segments > 1);
    compact(fixture);
    assert_int_equal(segment_count(), 1);
    ShPgCompacted row = FAKE_GET(fake_out.rows[0]);
    assert_int_equal(row.first_offset, 0);
    assert_int_equal(row.base_offset, 0);
    assert_int_equal(row.last_offset, 29);
    /* A new process has nothing in memory. */
    stop(fixture);
    start(fixture);
    assert_int_equal(read_to(fixture, "t", 0, 30), 30);
    assert_int_equal(read_to(fixture, "t", 17, 30), 30);

    /* And the object tells by itself what it is. */
    ShPgSegment segment = FAKE_GET(fake.topics[0].partitions[0].segments[0]);
    assert_non_null(strstr(segment.object_key, "/compact-"));
    uint64_t bytes = 0;
    ShBuf *object = NULL;
    ShSegmentIndex *index = NULL;
    assert_ok(sh_store_size(fixture->engine->store, segment.object_key, &bytes, err));
    assert_ok(sh_store_get(fixture->engine->store, segment.object_key, 0, bytes, &object, err));
    assert_ok(sh_segment_parse(object->data, bytes, &index, err));
    assert_int_equal(index->run_count, 1);
    assert_int_equal(index->runs[0].first_offset, 0);
    assert_int_equal(index->runs[0].record_count, 30);
    assert_int_equal(index->writer.publish_no, 0);
    sh_segment_index_free(index);
    sh_buf_unref(object);
}

static void test_epochs_and_holes_stay_apart(void **state)
{
    Fixture *fixture = *state;
    FAKE_DO(fake.range = 16);
    start(fixture);
    publish_objects(fixture, 9, 5); /* three batches fill a range */
    size_t segments = segment_count();
    int64_t end = fake_published(0);
    compact(fixture);
    size_t rows = FAKE_GET(fake_out.row_count);
    assert_true(rows > 1 && rows <= segments);
    for (size_t i = 1; i < rows; i++) {
        ShPgCompacted before = FAKE_GET(fake_out.rows[i - 1]);
        ShPgCompacted row = FAKE_GET(fake_out.rows[i]);
        assert_true(row.epoch > before.epoch);
        assert_true(row.first_offset > before.last_offset);
        assert_true(row.position >= before.position + before.length);
    }
    stop(fixture);
    start(fixture);
    assert_int_equal(read_to(fixture, "t", 0, end), end);
}

static void test_a_lost_answer_is_asked_for_again(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 3, 5);
    FAKE_DO(fake_out.lost_swap_replies = 2);
    compact(fixture);
    wait_until(FAKE_GET(fake_out.swaps) == 3);
    assert_int_equal(segment_count(), 1);
    assert_int_equal(sh_metric_value(fixture->engine->compactor.swapped) > 0, true);
    assert_int_equal(read_to(fixture, "t", 0, 15), 15);
}

static void test_a_reader_finds_records_in_their_new_place(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 4, "FETCH_BYTES_MAX=1kB"); /* one batch at a time */
    start(fixture);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(append_patiently(fixture, "t", 5, 300), 5 * i);
        wait_until(fake_published(0) == 5 * (i + 1));
    }
    stop(fixture);
    start(fixture);
    Fetch fetch;
    fetch_begin(fixture, &fetch, "t", 0, 0, 1);
    assert_int_equal(fetch_end(&fetch), SH_OK);
    assert_int_equal(fetch.part.next_offset, 5); /* and all rows of the index are known now */
    sh_fetch_release(&fetch.call);
    size_t segments = segment_count();
    ShPgSegment old[4];
    assert_true(segments <= 4);
    FAKE_DO(memcpy(old, fake.topics[0].partitions[0].segments, segments * sizeof *old));
    compact(fixture);
    for (size_t i = 0; i < segments; i++)
        assert_ok(sh_store_delete(fixture->engine->store, old[i].object_key, err));
    assert_int_equal(read_to(fixture, "t", 5, 20), 20);
    /* The new one gone too is damage, not a hole. */
    ShPgSegment new = FAKE_GET(fake.topics[0].partitions[0].segments[0]);
    assert_ok(sh_store_delete(fixture->engine->store, new.object_key, err));
    stop(fixture);
    start(fixture);
    fetch_begin(fixture, &fetch, "t", 0, 0, 1);
    assert_int_equal(fetch_end(&fetch), SH_CORRUPT);
}

static void test_a_refused_swap_changes_nothing(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 3, 5);
    size_t segments = segment_count();
    FAKE_DO(fake_out.refuse_swap = true);
    int64_t refused = sh_metric_value(fixture->engine->compactor.refused);
    compact(fixture);
    wait_until(sh_metric_value(fixture->engine->compactor.refused) == refused + 1);
    assert_int_equal(FAKE_GET(fake_out.given_up_announced), 0); /* refusing it was the end of it */

    /* The store may have taken it, and does not say: PostgreSQL is told that nothing comes of it. */
    int announced = FAKE_GET(fake_out.announced);
    assert_int_equal(sh_fault_arm("store.put.reply=error:1", NULL), SH_OK);
    FAKE_DO(fake_out.compaction_wanted = true);
    wait_until(FAKE_GET(fake_out.given_up_announced) == 1);
    assert_true(FAKE_GET(fake_out.announced) > announced);
    assert_int_equal(segment_count(), segments);
    assert_int_equal(read_to(fixture, "t", 0, 15), 15);
}

static void test_a_source_that_is_gone_or_damaged_ends_the_compaction(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    publish_objects(fixture, 3, 5);
    ShPgSegment segment = FAKE_GET(fake.topics[0].partitions[0].segments[1]);
    FAKE_DO(fake.topics[0].partitions[0].segments[1].last_offset++);
    int claims = FAKE_GET(fake_out.claims);
    FAKE_DO(fake_out.compaction_wanted = true);
    wait_until(FAKE_GET(fake_out.claims) > claims + 1 && !FAKE_GET(fake_out.compaction_wanted));
    FAKE_DO(fake.topics[0].partitions[0].segments[1].last_offset--);
    assert_ok(sh_store_delete(fixture->engine->store, segment.object_key, err));
    claims = FAKE_GET(fake_out.claims);
    FAKE_DO(fake_out.compaction_wanted = true);
    wait_until(FAKE_GET(fake_out.claims) > claims + 1 && !FAKE_GET(fake_out.compaction_wanted));
    assert_int_equal(FAKE_GET(fake_out.swaps), 0);
}

static void test_a_rate_of_zero_compacts_nothing(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 3, "COMPACTION_RATE=0");
    start(fixture);
    assert_false(fixture->engine->compactor.started);
}

static void test_log_starts_are_asked_for_once_a_second(void **state)
{
    Fixture *fixture = *state;
    set(fixture, 1, "GARBAGE_INTERVAL=1h");
    int64_t began_ms = sh_clock_now_ms();
    start(fixture);
    wait_until(FAKE_GET(fake_out.log_start_looks) > 0);
    int looks = FAKE_GET(fake_out.log_start_looks);
    assert_true(sh_clock_now_ms() - began_ms >= 1000 * looks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_log_start_that_moved_is_learned, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_log_starts_are_asked_for_once_a_second, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_is_deleted_and_confirmed, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_the_store_is_looked_through, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_small_objects_become_one, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_epochs_and_holes_stay_apart, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_answer_is_asked_for_again, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_a_reader_finds_records_in_their_new_place, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_a_refused_swap_changes_nothing, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_a_source_that_is_gone_or_damaged_ends_the_compaction, setup_fast,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_rate_of_zero_compacts_nothing, setup_fast, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
