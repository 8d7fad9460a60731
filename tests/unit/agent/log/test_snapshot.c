/* Snapshots of the index: what is written, what is left when it breaks off, and what is deleted. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/snapshot_manifest.h"
#include "core/codec.h"
#include "core/crc32c.h"

static int setup_fast(void **state)
{
    int status = setup(state);
    snprintf(((Fixture *)*state)->extra[0], sizeof((Fixture *)*state)->extra[0],
             "STREAMHOUSE_GARBAGE_INTERVAL=50ms");
    memset(&fake_snapshot, 0, sizeof fake_snapshot);
    memset(&fake_out, 0, sizeof fake_out);
    fake_snapshot.keep_from = 1;
    return status;
}

static bool is_there(Fixture *fixture, const char *key)
{
    uint64_t bytes;
    return sh_store_size(fixture->engine->store, key, &bytes, NULL) == SH_OK;
}

static bool has_manifest(Fixture *fixture, int64_t number)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    sh_snapshot_manifest_key(key, number);
    return is_there(fixture, key);
}

static bool has_part(Fixture *fixture, int64_t number, size_t part)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    sh_snapshot_part_key(key, number, part);
    return is_there(fixture, key);
}

static void take_snapshot(int64_t number, size_t bytes)
{
    int done = FAKE_GET(fake_snapshot.done);
    FAKE_CHANGE(fake_snapshot.table_bytes = bytes);
    FAKE_CHANGE(fake_snapshot.due = number);
    wait_until(FAKE_GET(fake_snapshot.done) > done);
}

static void test_a_snapshot_of_several_parts(void **state)
{
    Fixture *fixture = *state;
    const size_t total = SH_SNAPSHOT_PART_BYTES + 12345;
    start(fixture);
    take_snapshot(4, total);

    char key[SH_SNAPSHOT_KEY_BYTES];
    ShBuf *text = NULL;
    ShSnapshotManifest manifest = {0};
    sh_snapshot_manifest_key(key, 4);
    assert_ok(sh_store_get(fixture->engine->store, key, 0, 1 << 20, &text, err));
    assert_ok(sh_snapshot_manifest_parse((const char *)text->data, text->length, &manifest, err));
    assert_int_equal(manifest.origin.term, 3);
    assert_int_equal(manifest.part_count, 2);
    uint64_t stored = text->length;
    size_t at = 0;
    ShScratch bytes = {0};
    for (size_t i = 0; i < manifest.part_count; i++) {
        ShBuf *part = NULL;
        sh_snapshot_part_key(key, 4, i);
        assert_ok(sh_store_get(fixture->engine->store, key, 0, SH_SNAPSHOT_PART_BYTES, &part, err));
        assert_int_equal(part->length, manifest.parts[i].stored_bytes);
        assert_int_equal(sh_crc32c(part->data, part->length), manifest.parts[i].crc);
        assert_ok(sh_codec_decompress(SH_CODEC_ZSTD, part->data, part->length, SH_SNAPSHOT_PART_BYTES, &bytes,
                                      err));
        for (size_t j = 0; j < bytes.length; j++)
            if ((char)bytes.data[j] != fake_snapshot_byte(at + j))
                fail_msg("byte %zu is another", at + j);
        at += bytes.length;
        stored += part->length;
        sh_buf_unref(part);
    }
    assert_int_equal(at, total);
    assert_int_equal(FAKE_GET(fake_snapshot.bytes), stored);
    sh_scratch_free(&bytes);
    sh_snapshot_manifest_free(&manifest);
    sh_buf_unref(text);
}

static void test_one_that_breaks_off_is_none(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake_snapshot.stands_still = fake_snapshot.breaks_off = true);
    FAKE_CHANGE(fake_snapshot.table_bytes = 3 * SH_SNAPSHOT_PART_BYTES);
    FAKE_CHANGE(fake_snapshot.due = 1);
    wait_until(has_part(fixture, 1, 0));
    FAKE_CHANGE(fake_snapshot.stands_still = false);
    /* PostgreSQL is told, and nothing of it is left. */
    wait_until(FAKE_GET(fake_snapshot.failed) == 1);
    assert_string_equal(fake_snapshot.reason, "the fake breaks off");
    assert_false(has_part(fixture, 1, 0));
    FAKE_CHANGE(fake_snapshot.breaks_off = false);
    take_snapshot(2, 100);
    assert_true(has_manifest(fixture, 2));
    assert_false(has_manifest(fixture, 1));
}

/* What another agent left when it was killed. */
static void leave_part(Fixture *fixture, int64_t number, size_t part)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    struct iovec piece = {.iov_base = "left", .iov_len = 4};
    sh_snapshot_part_key(key, number, part);
    assert_ok(sh_store_put(fixture->engine->store, key, &piece, 1, 4, err));
}

static void test_older_ones_go_whole_or_not(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    take_snapshot(2, 100);
    for (size_t i = 0; i < 300; i++) /* more than are listed at a time */
        leave_part(fixture, 3, i);
    FAKE_CHANGE(fake_snapshot.keep_from = 4);
    take_snapshot(4, 100);
    wait_until(!has_part(fixture, 3, 299) && !has_manifest(fixture, 2));
    assert_true(has_part(fixture, 4, 0));
}

static void test_the_upkeep_goes_on_beside_a_slow_one(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake_snapshot.stands_still = true);
    FAKE_CHANGE(fake_snapshot.table_bytes = 100000);
    FAKE_CHANGE(fake_snapshot.due = 1);
    wait_until(FAKE_GET(fake_snapshot.is_standing));
    FAKE_CHANGE((fake_out.garbage[0] = (ShPgGarbage){.object_key = "00/gone.seg", .bytes = 1},
                 fake_out.garbage_count = 1));
    FAKE_CHANGE(fake_out.scan_wanted = true);
    wait_until(FAKE_GET(fake_out.confirmed) == 1);
    wait_until(FAKE_GET(fake_out.scans_done) == 1);
    assert_int_equal(FAKE_GET(fake_snapshot.done), 0);
    FAKE_CHANGE(fake_snapshot.stands_still = false);
    wait_until(FAKE_GET(fake_snapshot.done) == 1);
    assert_true(has_manifest(fixture, 1));
}

static void test_one_that_stands_still_holds_up_no_stop(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake_snapshot.stands_still = true);
    FAKE_CHANGE(fake_snapshot.table_bytes = 100000);
    FAKE_CHANGE(fake_snapshot.due = 1);
    wait_until(FAKE_GET(fake_snapshot.is_standing));
    sh_engine_stop(fixture->engine); /* returns */
    fixture->engine = NULL;
}

static void test_the_claim_is_renewed_and_one_that_is_lost_ends_it(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    take_snapshot(1, 100);
    assert_true(FAKE_GET(fake_snapshot.renewed) >= 2); /* before it reads, and before the manifest */
    FAKE_CHANGE(fake_snapshot.stands_still = true);
    FAKE_CHANGE(fake_snapshot.table_bytes = 3 * SH_SNAPSHOT_PART_BYTES);
    FAKE_CHANGE(fake_snapshot.due = 2);
    wait_until(has_part(fixture, 2, 0));
    FAKE_CHANGE(fake_snapshot.is_lost = true);
    FAKE_CHANGE(fake_snapshot.stands_still = false);
    wait_until(FAKE_GET(fake_snapshot.failed) == 1);
    assert_non_null(strstr(fake_snapshot.reason, "snapshot_hold"));
    assert_false(has_part(fixture, 2, 0));
    assert_false(has_manifest(fixture, 2));
}

static void test_a_lost_answer_loses_no_snapshot(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    FAKE_CHANGE(fake_snapshot.answers_lost = 2);
    take_snapshot(1, 100);
    assert_int_equal(FAKE_GET(fake_snapshot.failed), 0);
    /* One that counts for nothing is not deleted: what it replaced may be gone. */
    FAKE_CHANGE(fake_snapshot.keep_from = 0);
    FAKE_CHANGE(fake_snapshot.due = 2);
    wait_until(FAKE_GET(fake_snapshot.failed) == 1);
    assert_true(has_manifest(fixture, 1));
}

static void test_those_that_are_given_up_are_deleted_first(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    take_snapshot(1, 100);
    take_snapshot(2, 100);
    take_snapshot(3, 100);
    FAKE_CHANGE(fake_snapshot.give_up_below = 3);
    wait_until(FAKE_GET(fake_snapshot.given_up_below) == 3);
    assert_false(has_manifest(fixture, 1));
    assert_false(has_manifest(fixture, 2));
    assert_false(has_part(fixture, 2, 0));
    assert_true(has_manifest(fixture, 3));
}

static void test_a_number_that_is_taken_is_left_alone(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    take_snapshot(7, 100);
    FAKE_CHANGE(fake_snapshot.table_bytes = 101);
    FAKE_CHANGE(fake_snapshot.due = 7);
    wait_until(FAKE_GET(fake_snapshot.due) == 0);
    take_snapshot(8, 50);
    assert_int_equal(FAKE_GET(fake_snapshot.done), 2);
    assert_true(has_manifest(fixture, 7));
    assert_true(has_manifest(fixture, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_snapshot_of_several_parts, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_breaks_off_is_none, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_older_ones_go_whole_or_not, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_the_upkeep_goes_on_beside_a_slow_one, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_stands_still_holds_up_no_stop, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_the_claim_is_renewed_and_one_that_is_lost_ends_it, setup_fast,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_answer_loses_no_snapshot, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_those_that_are_given_up_are_deleted_first, setup_fast, teardown),
        cmocka_unit_test_setup_teardown(test_a_number_that_is_taken_is_left_alone, setup_fast, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
