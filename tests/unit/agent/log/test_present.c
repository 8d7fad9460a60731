/* What of the store is presented in a new term, in which order, and with which offsets. */
#include "tests/unit/agent/log/log_fixture.h"

#include <glob.h>
#include <inttypes.h>

#include "agent/log/present.h"
#include "core/segment.h"

#define EPOCH 7

/* A run of t/partition; `first` is what the object itself says, `told` what a result says of it (-1: none).
 */
typedef struct Run {
    int32_t partition;
    int64_t first;
    int64_t told;
    int32_t count;
} Run;

static int setup_present(void **state)
{
    int status = setup(state);
    memset(&fake_present, 0, sizeof fake_present);
    fake_present.awaited = true;
    return status;
}

static ShUuid writer_of(int agent)
{
    return (ShUuid){.bytes = {9, (uint8_t)agent}};
}

static ShUuid object_of(int agent, int64_t publish_no)
{
    return (ShUuid){.bytes = {8, (uint8_t)agent, (uint8_t)publish_no}};
}

static void add_run(ShSegmentWriter *writer, const Run *run)
{
    ShBuf *buf;
    ShBatchHeader header;
    ShRecord record = {.timestamp_ms = 1000, .value = (const uint8_t *)"v", .value_length = 1};
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int32_t i = 0; i < run->count; i++)
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
    assert_ok(sh_batch_builder_finish(builder, &buf, err));
    sh_batch_builder_free(builder);
    sh_batch_set_base_offset(buf->data, run->first);
    assert_ok(sh_batch_peek(buf->data, buf->length, &header, err));
    assert_ok(
        sh_segment_writer_begin_run(writer, &fake.topics[0].id, run->partition, EPOCH, run->first, err));
    ShSlice batch = {.data = buf->data, .length = buf->length, .owner = buf};
    assert_ok(sh_segment_writer_add(writer, batch, &header, err));
    sh_buf_unref(buf);
}

static void put_as(Fixture *fixture, int agent, const ShSegmentWriterId *id, const Run *runs, size_t count,
                   const ShSegmentResult *results, size_t result_count)
{
    ShSegmentWriter *writer = sh_segment_writer_new(id, results, result_count);
    for (size_t i = 0; i < count; i++)
        add_run(writer, &runs[i]);
    ShSegmentObject object;
    assert_ok(sh_segment_writer_finish(writer, &object, err));
    char path[256];
    char command[300];
    snprintf(path, sizeof path, "%s/store/0%d/x%d/%d", fixture->dir, agent, agent, agent);
    snprintf(command, sizeof command, "mkdir -p %s", path);
    assert_int_equal(system(command), 0);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/%" PRId64 "-o.seg", id->publish_no);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < object.piece_count; i++)
        assert_int_equal(fwrite(object.pieces[i].iov_base, 1, object.pieces[i].iov_len, file),
                         object.pieces[i].iov_len);
    assert_int_equal(fclose(file), 0);
    sh_segment_writer_free(writer);
}

static void put(Fixture *fixture, int agent, int64_t publish_no, const Run *runs, size_t count,
                const ShSegmentResult *results, size_t result_count)
{
    ShSegmentWriterId id = {.object_id = object_of(agent, publish_no),
                            .wal_uuid = writer_of(agent),
                            .incarnation = agent,
                            .publish_no = publish_no};
    put_as(fixture, agent, &id, runs, count, results, result_count);
}

/* An object of a writer, and right behind it one that tells its results. */
static void store(Fixture *fixture, int agent, int64_t publish_no, const Run *runs, size_t count)
{
    ShSegmentResult results[4];
    size_t told = 0;
    for (size_t i = 0; i < count; i++)
        if (runs[i].told >= 0)
            results[told++] = (ShSegmentResult){.object_id = object_of(agent, publish_no),
                                                .publish_no = publish_no,
                                                .topic_id = fake.topics[0].id,
                                                .partition = runs[i].partition,
                                                .epoch = EPOCH,
                                                .first_offset = runs[i].told,
                                                .offset_count = runs[i].count,
                                                .disposition = SH_DISPOSITION_PUBLISHED};
    put(fixture, agent, publish_no, runs, count, NULL, 0);
    if (told > 0)
        put(fixture, agent, publish_no + 1, NULL, 0, results, told);
}

static void an_epoch_begins_at_the_lowest_offset_that_is_known(void **state)
{
    Fixture *fixture = *state;
    store(fixture, 1, 1, &(Run){.first = SH_OFFSET_UNASSIGNED, .told = -1, .count = 4}, 1);
    store(fixture, 1, 3, &(Run){.first = SH_OFFSET_UNASSIGNED, .told = 20, .count = 2}, 1);
    store(fixture, 1, 5, &(Run){.first = SH_OFFSET_UNASSIGNED, .told = 22, .count = 2}, 1);
    fake_present.ends[0] = 20;
    start(fixture);
    assert_int_equal(fake_present.count, 3);
    assert_int_equal(fake_present.calls[0].first_offset, -1);
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(fake_present.calls[i].first_offset, 18 + 2 * (int64_t)i);
        assert_int_equal(fake_present.calls[i].origin.start_offset, 20);
        assert_true(fake_present.calls[i].origin.is_ownerless);
    }
}

/* Of an object's results one may be missing: the run gets no other's offset. */
static void a_run_takes_no_other_runs_result(void **state)
{
    Fixture *fixture = *state;
    store(fixture, 1, 1,
          (Run[]){{.first = SH_OFFSET_UNASSIGNED, .told = -1, .count = 4},
                  {.first = SH_OFFSET_UNASSIGNED, .told = 20, .count = 2},
                  {.first = SH_OFFSET_UNASSIGNED, .told = 22, .count = 3}},
          3);
    fake_present.ends[0] = 20;
    start(fixture);
    assert_int_equal(fake_present.count, 1);
    assert_int_equal(fake_present.calls[0].first_offset, SH_OFFSET_UNASSIGNED); /* of the first run */
}

/* What follows a gap gets no place; what follows something else that stands in the same object does. */
static void what_a_part_of_an_object_was_waited_for_gets_its_place(void **state)
{
    Fixture *fixture = *state;
    store(fixture, 1, 1, &(Run){.first = 4, .told = -1, .count = 2}, 1);
    store(fixture, 1, 2,
          (Run[]){{.first = 2, .told = -1, .count = 2}, {.partition = 1, .first = 7, .told = -1, .count = 1}},
          2);
    store(fixture, 2, 1,
          (Run[]){{.first = 0, .told = -1, .count = 2}, {.partition = 1, .first = 9, .told = -1, .count = 1}},
          2);
    start(fixture);
    assert_int_equal(fake_present.ends[0], 6);
    assert_int_equal(fake_present.ends[1], 0);
    assert_false(fake_present.calls[0].origin.is_ownerless);
    assert_false(fake_present.calls[2].is_last);
    assert_true(fake_present.calls[fake_present.count - 1].is_last);
}

/* Its object holds nothing of what a publish made void, or nothing at all. */
static void what_was_void_is_presented_as_that(void **state)
{
    Fixture *fixture = *state;
    ShSegmentResult results[] = {
        {.first_offset = 2, .offset_count = 3, .publish_no = 1},
        {.first_offset = 8, .offset_count = 1, .publish_no = 1},
        {.first_offset = 10, .offset_count = 4, .publish_no = 2},
        {.first_offset = 8, .offset_count = 1, .publish_no = 1}, /* told once more */
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        results[i].object_id = object_of(1, results[i].publish_no);
        results[i].topic_id = fake.topics[0].id;
        results[i].epoch = EPOCH;
        results[i].disposition = SH_DISPOSITION_VOID;
    }
    put(fixture, 1, 1,
        (Run[]){{.first = 0, .count = 2},
                {.first = 5, .count = 3},
                {.first = 9, .count = 1},
                {.partition = 1, .first = 0, .count = 1}},
        4, NULL, 0);
    put(fixture, 1, 2, NULL, 0, NULL, 0);
    put(fixture, 1, 3, &(Run){.first = 14, .count = 1}, 1, results, sizeof results / sizeof *results);
    put(fixture, 1, 4, NULL, 0, NULL, 0);
    start(fixture);
    assert_int_equal(fake_present.ends[0], 15);
    assert_int_equal(fake_present.ends[1], 1);
    assert_int_equal(fake_present.count, 3);
    assert_int_equal(fake_present.voids, 3);
}

/* Of what the engine before has published itself, this process knows whether a producer had an answer. */
static void a_producer_may_have_an_answer_unless_this_process_knows_better(void **state)
{
    Fixture *fixture = *state;
    fake_present.awaited = false;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "o", 1, 10), 0);
    const ShSegmentWriterId own = {.wal_uuid = fixture->engine->identity.wal_uuid,
                                   .incarnation = fixture->engine->registered.incarnation};
    int64_t answered = fixture->engine->pipeline.answered_no;
    assert_true(answered > 0);
    stop(fixture);
    sh_present_note_end(&(ShEngine){0}); /* of an engine that PostgreSQL did not know yet */
    fake_present.awaited = true;
    const struct {
        ShUuid wal_uuid;
        int64_t incarnation;
        int64_t publish_no;
        bool acknowledged;
    } cases[] = {
        {own.wal_uuid, own.incarnation, answered + 1, false},
        {own.wal_uuid, own.incarnation, answered, true},
        {own.wal_uuid, own.incarnation + 1, answered + 1, true}, /* numbers are given again after a restore */
        {writer_of(1), own.incarnation, answered + 1, true},
    };
    for (int i = 0; i < 4; i++) {
        ShSegmentWriterId id = {.object_id = object_of(i + 1, 1),
                                .wal_uuid = cases[i].wal_uuid,
                                .incarnation = cases[i].incarnation,
                                .publish_no = cases[i].publish_no};
        put_as(fixture, i + 1, &id, &(Run){.first = SH_OFFSET_UNASSIGNED, .count = 1}, 1, NULL, 0);
    }
    start(fixture);
    int found = 0;
    for (size_t i = 0; i < fake_present.count; i++) {
        const FakePresented *call = &fake_present.calls[i];
        if (call->writer[0] != 'x')
            continue;
        assert_int_equal(call->acknowledged, cases[call->writer[1] - '1'].acknowledged);
        found++;
    }
    assert_int_equal(found, 4);
}

static size_t count_objects(const Fixture *fixture)
{
    char pattern[200];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/store/*/*/*/*.seg", fixture->dir);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    size_t count = found.gl_pathc;
    globfree(&found);
    return count;
}

/* What the last publishes have decided about ownerless epochs is known nowhere else, once the database has
 * lost it. */
static void what_a_store_that_was_away_did_not_take_is_stored_before_it_is_read(void **state)
{
    Fixture *fixture = *state;
    fake_present.awaited = false;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "o", 1, 10), 0);
    assert_int_equal(count_objects(fixture), 1);
    ShError lost = {0};
    (void)sh_fail(&lost, SH_OUTDATED, "the database lost history");
    sh_engine_set_fatal(fixture->engine, &lost);
    assert_ok(sh_fault_arm("store.put=error", err));
    stop(fixture);
    assert_int_equal(count_objects(fixture), 1);
    assert_ok(sh_fault_arm("store.put=error:3", err));
    fake_present.awaited = true;
    start(fixture);
    assert_false(sh_fault_hit("store.put"));
    assert_int_equal(count_objects(fixture), 2);
    stop(fixture);
    start(fixture);
    assert_int_equal(count_objects(fixture), 2); /* once */
}

/* A stop that has time puts them at once; one that has begun long ago leaves them to the next start. */
static void what_a_stop_has_time_for_is_stored_by_it(void **state)
{
    Fixture *fixture = *state;
    ShError lost = {0};
    (void)sh_fail(&lost, SH_OUTDATED, "the database lost history");
    fake_present.awaited = false;
    start(fixture);
    assert_int_equal(append_patiently(fixture, "o", 1, 10), 0);
    sh_engine_set_fatal(fixture->engine, &lost);
    stop(fixture);
    assert_int_equal(count_objects(fixture), 2);

    start(fixture);
    assert_int_equal(append_patiently(fixture, "o", 1, 10), 1);
    sh_engine_set_fatal(fixture->engine, &lost);
    sh_engine_end_calls(fixture->engine);
    fixture->engine->ending_since_ms = sh_clock_now_ms() - SH_ENGINE_STOP_MAX_MS;
    stop(fixture);
    assert_int_equal(count_objects(fixture), 3);
    fake_present.awaited = true;
    start(fixture);
    assert_int_equal(count_objects(fixture), 4);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_present, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_epoch_begins_at_the_lowest_offset_that_is_known),
        TEST(a_run_takes_no_other_runs_result),
        TEST(a_producer_may_have_an_answer_unless_this_process_knows_better),
        TEST(what_was_void_is_presented_as_that),
        TEST(what_a_store_that_was_away_did_not_take_is_stored_before_it_is_read),
        TEST(what_a_stop_has_time_for_is_stored_by_it),
        TEST(what_a_part_of_an_object_was_waited_for_gets_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
