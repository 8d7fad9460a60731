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
    FAKE_CHANGE(fake_snapshot.breaks_off = true);
    FAKE_CHANGE(fake_snapshot.table_bytes = 3 * SH_SNAPSHOT_PART_BYTES);
    FAKE_CHANGE(fake_snapshot.due = 1);
    wait_until(has_part(fixture, 1, 0));
    FAKE_CHANGE(fake_snapshot.breaks_off = false);
    FAKE_CHANGE(fake_snapshot.keep_from = 2);
    take_snapshot(2, 100);
    assert_true(has_manifest(fixture, 2));
    assert_false(has_manifest(fixture, 1));
    wait_until(!has_part(fixture, 1, 0)); /* older ones go, whole or not */
    assert_true(has_part(fixture, 2, 0));
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
        cmocka_unit_test_setup_teardown(test_a_number_that_is_taken_is_left_alone, setup_fast, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
