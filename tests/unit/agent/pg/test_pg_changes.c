/* What is told as changes since a version. */
#include "tests/unit/agent/pg/pg_fixture.h"
#include "tests/unit/agent/pg/pg_life.h"

static void test_what_changed_is_told_alone(void **state)
{
    Life *life = *state;
    ShError err;
    ShPgAssignments all, changes;
    ShPgMetadata *metadata;
    ShPgVersions versions;
    assert_ok(sh_pg_assignments(life->pg, life->incarnation, 0, &all, &err));
    free(all.rows);
    assert_ok(sh_pg_versions(life->pg, life->incarnation, &versions, &err));
    assert_int_equal(versions.metadata_version, all.version);
    assert_ok(sh_pg_assignments(life->pg, life->incarnation, all.version, &changes, &err));
    assert_false(changes.whole);
    free(changes.rows);
    assert_ok(sh_pg_metadata(life->pg, all.version, &metadata, &err));
    assert_false(metadata->whole);
    sh_pg_metadata_free(metadata);

    /* A seal concerns the one partition. Its epoch is gone, so it is to be granted anew. */
    ShPgEpoch sealed;
    ShPgSeal seal = {.partition = life->partition, .end_offset = 0};
    assert_ok(sh_pg_seal(life->pg, life->incarnation, &seal, 1, &sealed, &err));
    assert_ok(sh_pg_assignments(life->pg, life->incarnation, all.version, &changes, &err));
    assert_false(changes.whole);
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.rows[0].partition, life->partition.partition);
    assert_int_equal(changes.rows[0].action, SH_ACTION_GRANT);
    assert_true(changes.version > all.version);
    free(changes.rows);
    assert_ok(sh_pg_metadata(life->pg, all.version, &metadata, &err));
    assert_false(metadata->whole);
    assert_int_equal(metadata->partition_count, 1);
    assert_int_equal(metadata->partitions[0].partition, life->partition.partition);
    assert_string_equal(metadata->partitions[0].owner, "");
    assert_int_equal(metadata->partitions[0].partitions, 2);
    sh_pg_metadata_free(metadata);

    /* A topic that is gone has no name, and nothing is to be done there. */
    int64_t known = changes.version;
    assert_ok(sh_pg_drop_topic(life->pg, "orders", &err));
    assert_ok(sh_pg_metadata(life->pg, known, &metadata, &err));
    assert_false(metadata->whole);
    assert_true(metadata->partition_count > 0);
    assert_string_equal(metadata->partitions[0].topic, "");
    sh_pg_metadata_free(metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_changed_is_told_alone, begin, end),
    };
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
