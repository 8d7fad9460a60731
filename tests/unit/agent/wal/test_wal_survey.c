/* What a directory holds, read without changing it: ranges of offsets, holes, and recovery that goes past
 * them. */
#include "tests/unit/agent/wal/wal_fixture.h"

#include "agent/wal/wal_ledger.h"
#include "agent/wal/wal_survey.h"

#define BATCHES     40
#define BATCH_BYTES 500

/* What reading brought. */
typedef struct Read {
    int64_t ids[BATCHES];
    int count;
    int holes;
    int64_t hole_from;
    int64_t hole_to;
    int stop_after; /* 0: never */
} Read;

/* A log of several files, closed with everything in it. */
static void write_log(Fixture *fixture)
{
    fixture_init(fixture, SH_WAL_SYNC_ALWAYS);
    fixture->options.file_bytes = 64 * 1024;
    fixture_start(fixture);
    for (int64_t id = 0; id < BATCHES; id++) {
        fixture_append(fixture, id, 1, BATCH_BYTES);
        fixture_wait(fixture, &fixture->written, id + 1);
    }
    fixture_close(fixture);
}

/* Break the frame or the batch of one batch of the log's one file. */
static void damage(const Fixture *fixture, int64_t id, int64_t at)
{
    char names[4][64], path[160];
    assert_int_equal(fixture_files(fixture, ".wal", names, 4), 1);
    fixture_path(fixture, names[0], path);
    size_t length;
    uint8_t *bytes = read_whole(path, &length);
    bytes[SH_WAL_FILE_HEADER_BYTES + id * sh_wal_frame_bytes(BATCH_BYTES) + at] ^= 0xff;
    write_whole(path, bytes, length);
    free(bytes);
}

static ShStatus on_batch(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                         const uint8_t *batch, ShError *err)
{
    Read *read = arg;
    assert_true(position >= SH_WAL_FILE_HEADER_BYTES && position < file->size_bytes);
    assert_int_equal(frame->batch_length, BATCH_BYTES);
    assert_true(read->count < BATCHES);
    read->ids[read->count++] = (int64_t)sh_get_u64(batch);
    if (read->count == read->stop_after)
        return sh_fail(err, SH_CANCELLED, "enough");
    return SH_OK;
}

static ShStatus on_hole(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err)
{
    (void)file;
    (void)err;
    Read *read = arg;
    read->holes++;
    read->hole_from = from;
    read->hole_to = to;
    return SH_OK;
}

static ShStatus read_all(const ShWalSurvey *survey, Read *read, ShError *err)
{
    ShWalReading reading = {on_batch, on_hole, read};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < survey->count && status == SH_OK; i++)
        status = sh_wal_survey_read(survey, &survey->files[i], &reading, err);
    return status;
}

static void test_a_whole_log(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    ShWalSurvey *survey = NULL;
    assert_ok(sh_wal_survey_open(fixture.dir, &survey, err));
    assert_ok(sh_wal_survey_check(survey, err));
    assert_int_equal(survey->identity.incarnation_no, 1);
    assert_true(sh_uuid_equal(&survey->identity.wal_uuid, &fixture.identity.wal_uuid));
    Read read = {0};
    assert_ok(read_all(survey, &read, err));
    assert_int_equal(read.count, BATCHES);
    assert_int_equal(read.holes, 0);
    for (int i = 0; i < BATCHES; i++)
        assert_int_equal(read.ids[i], i);

    /* A callback's failure ends the reading. */
    Read some = {.stop_after = 3};
    assert_int_equal(read_all(survey, &some, NULL), SH_CANCELLED);
    assert_int_equal(some.count, 3);
    sh_wal_survey_free(survey);
    fixture_free(&fixture);
}

static void test_beside_the_agent_that_holds_the_lock(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 10, BATCH_BYTES);
    fixture_wait(&fixture, &fixture.written, 10);
    ShWalSurvey *survey = NULL;
    assert_ok(sh_wal_survey_open(fixture.dir, &survey, err));
    assert_ok(sh_wal_survey_check(survey, err));
    Read read = {0};
    assert_ok(read_all(survey, &read, err));
    assert_int_equal(read.count, 10);

    /* A file that was released meanwhile is gone, which is no damage. */
    for (int64_t id = 0; id < 10; id++)
        sh_wal_release(fixture.wal, fixture.file_of[id], 1);
    fixture_close(&fixture);
    assert_int_equal(read_all(survey, &read, NULL), SH_NOT_FOUND);
    sh_wal_survey_free(survey);
    fixture_free(&fixture);
}

/* Expect that only batch `id` is missing, to the tools and to a recovery that goes past the damage. */
static void expect_hole(Fixture *fixture, int64_t id)
{
    int64_t frame = sh_wal_frame_bytes(BATCH_BYTES);
    ShWalSurvey *survey = NULL;
    ShError why = {0};
    assert_ok(sh_wal_survey_open(fixture->dir, &survey, err));
    assert_int_equal(sh_wal_survey_check(survey, &why), SH_CORRUPT);
    assert_non_null(strstr(why.message, "0000000100000001.wal is damaged at position"));
    Read read = {0};
    assert_ok(read_all(survey, &read, err));
    assert_int_equal(read.count, BATCHES - 1);
    assert_int_equal(read.holes, 1);
    assert_int_equal(read.hole_from, SH_WAL_FILE_HEADER_BYTES + id * frame);
    assert_int_equal(read.hole_to, read.hole_from + frame);
    sh_wal_survey_free(survey);

    sh_log_setup(SH_LOG_ERROR + 1, SH_LOG_TEXT);
    ShWalRecovery stats = {0};
    fixture_open(fixture);
    fixture->recovered_count = 0;
    assert_int_equal(sh_wal_recover(fixture->wal, fixture_on_recovered, fixture, &stats, NULL), SH_CORRUPT);
    assert_int_equal(fixture->recovered_count, 0);
    fixture_close(fixture);
    fixture->options.skip_corruption = true;
    fixture_open(fixture);
    assert_true(fixture->identity.damaged);
    stats = fixture_recover(fixture);
    assert_int_equal(stats.batches, BATCHES - 1);
    assert_int_equal(stats.holes, 1);
    for (int64_t i = 0; i < BATCHES - 1; i++)
        assert_int_equal(fixture->recovered[i], i < id ? i : i + 1);

    /* The damaged file stays until all that it held has a disposition. */
    assert_int_equal(fixture_file_count(fixture), 1);
    for (int64_t i = 0; i < BATCHES - 1; i++)
        sh_wal_release(fixture->wal, fixture->file_of[fixture->recovered[i]], 1);
    fixture_close(fixture);
    /* So it does when the start ends there: nobody has sealed the epochs past what may be lost. */
    assert_int_equal(fixture_file_count(fixture), 1);

    fixture_open(fixture);
    assert_true(fixture->identity.damaged);
    assert_false(fixture->identity.clean);
    fixture_recover(fixture);
    for (int64_t i = 0; i < BATCHES - 1; i++)
        sh_wal_release(fixture->wal, fixture->file_of[fixture->recovered[i]], 1);
    assert_ok(sh_wal_start(fixture->wal, err));
    fixture_close(fixture);
    assert_int_equal(fixture_file_count(fixture), 0);
    fixture_open(fixture);
    assert_false(fixture->identity.damaged);
    assert_true(fixture->identity.clean);
}

/* Who takes the damaged file away does not take the doubt away. */
static void test_damage_is_remembered_without_its_file(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    damage(&fixture, 3, SH_WAL_FRAME_HEADER_BYTES + 200);
    sh_log_setup(SH_LOG_ERROR + 1, SH_LOG_TEXT);
    ShWalRecovery stats;
    fixture_open(&fixture);
    assert_false(fixture.identity.damaged);
    assert_int_equal(sh_wal_recover(fixture.wal, fixture_on_recovered, &fixture, &stats, NULL), SH_CORRUPT);
    fixture_close(&fixture);
    char names[4][64], path[160];
    assert_int_equal(fixture_files(&fixture, ".wal", names, 4), 1);
    fixture_path(&fixture, names[0], path);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 2; i++) {
        fixture_open(&fixture);
        assert_true(fixture.identity.damaged);
        fixture_recover(&fixture);
        fixture_close(&fixture);
    }
    fixture_free(&fixture);
}

static void test_a_damaged_batch(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    damage(&fixture, 7, SH_WAL_FRAME_HEADER_BYTES + 200);
    expect_hole(&fixture, 7);
    fixture_free(&fixture);
}

static void test_a_damaged_length(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    damage(&fixture, 0, 13);
    expect_hole(&fixture, 0);
    fixture_free(&fixture);
}

/* The last batch of a file that was closed: nothing but the END frame proves that it was there. */
static void test_a_damaged_last_batch(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    damage(&fixture, BATCHES - 1, SH_WAL_FRAME_HEADER_BYTES + 30);
    expect_hole(&fixture, BATCHES - 1);
    fixture_free(&fixture);
}

/* The name tells which file it was: nothing of it is lost. */
static void test_a_damaged_file_header(void **state)
{
    (void)state;
    Fixture fixture;
    write_log(&fixture);
    damage(&fixture, 0, 20 - SH_WAL_FILE_HEADER_BYTES);
    sh_log_setup(SH_LOG_ERROR + 1, SH_LOG_TEXT);
    ShWalSurvey *survey = NULL;
    ShError why = {0};
    assert_ok(sh_wal_survey_open(fixture.dir, &survey, err));
    assert_int_equal(sh_wal_survey_check(survey, &why), SH_CORRUPT);
    assert_non_null(strstr(why.message, "file header"));
    sh_wal_survey_free(survey);
    fixture.options.skip_corruption = true;
    fixture_open(&fixture);
    assert_int_equal(fixture_recover(&fixture).batches, BATCHES);
    fixture_free(&fixture);
}

static void add(ShWalLedger *ledger, int32_t partition, int64_t epoch, int64_t first, int32_t offsets)
{
    ShUuid topic_id = {{1}};
    ShBuf *batch = make_batch(first, 100);
    sh_put_u32(batch->data + 23, (uint32_t)(offsets - 1));
    sh_put_u32(batch->data + 57, (uint32_t)offsets);
    assert_ok(sh_wal_ledger_add(ledger, &topic_id, partition, epoch, batch->data, batch->length, err));
    sh_buf_unref(batch);
}

static void test_the_ledger_tells_what_is_missing(void **state)
{
    (void)state;
    ShWalLedger *ledger = sh_wal_ledger_new();
    size_t count = 1;
    assert_non_null(sh_wal_ledger_list(ledger, &count));
    assert_int_equal(count, 0);
    add(ledger, 2, 5, 100, 10);
    add(ledger, 1, 6, 0, 1);
    add(ledger, 2, 5, 110, 5);
    add(ledger, 2, 5, 110, 5); /* written twice */
    add(ledger, 1, 5, 7, 1);
    add(ledger, 2, 5, 120, 1);
    const ShWalAccount *const *accounts = sh_wal_ledger_list(ledger, &count);
    assert_int_equal(count, 3);
    assert_true(accounts[0]->partition == 1 && accounts[0]->epoch == 5);
    assert_true(accounts[1]->partition == 1 && accounts[1]->epoch == 6);
    const ShWalAccount *account = accounts[2];
    assert_int_equal(account->range_count, 2);
    assert_int_equal(account->ranges[0].first, 100);
    assert_int_equal(account->ranges[0].end, 115);
    assert_int_equal(account->ranges[1].first, 120);
    assert_int_equal(account->ranges[1].end, 121);
    assert_int_equal(account->records, 16);
    assert_int_equal(account->batches, 3);
    assert_int_equal(account->bytes, 300);
    sh_wal_ledger_free(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_log),
        cmocka_unit_test(test_beside_the_agent_that_holds_the_lock),
        cmocka_unit_test(test_a_damaged_batch),
        cmocka_unit_test(test_damage_is_remembered_without_its_file),
        cmocka_unit_test(test_a_damaged_length),
        cmocka_unit_test(test_a_damaged_last_batch),
        cmocka_unit_test(test_a_damaged_file_header),
        cmocka_unit_test(test_the_ledger_tells_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
