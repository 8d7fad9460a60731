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

/* In several statements, and so transactions: what one takes is bounded, however many there are. */
static int transactions(void)
{
    return atoi(fixture_sql("SELECT count(DISTINCT e.xmin::text) FROM streamhouse.epoch AS e "
                            "JOIN streamhouse.topic AS t USING (topic_id) WHERE t.name = 'wide'"));
}

static void test_many_partitions_are_taken_up_and_left(void **state)
{
    enum { COUNT = 4500 };
    Life *life = *state;
    ShError err;
    ShUuid topic_id;
    ShPgCreateTopic request = {
        .name = "wide", .partitions = COUNT, .durability = "", .retention = "7 days", .segment_size = "32MB"};
    assert_ok(sh_pg_create_topic(life->pg, &request, &topic_id, &err));
    ShPgPartition *partitions = calloc(COUNT, sizeof *partitions);
    ShPgEpoch *epochs = calloc(COUNT, sizeof *epochs);
    ShPgBounds *bounds = calloc(COUNT, sizeof *bounds);
    ShPgSeal *seals = calloc(COUNT, sizeof *seals);
    for (int i = 0; i < COUNT; i++)
        partitions[i] = (ShPgPartition){.topic_id = topic_id, .partition = COUNT - 1 - i};
    assert_ok(sh_pg_grant(life->pg, life->incarnation, partitions, COUNT, epochs, &err));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(epochs[i].result, SH_EPOCH_GRANTED);
        partitions[i].epoch = epochs[i].epoch;
        seals[i].partition = partitions[i];
    }
    assert_true(transactions() >= 3);
    assert_ok(sh_pg_open(life->pg, life->incarnation, partitions, COUNT, epochs, &err));
    assert_int_equal(epochs[0].result, SH_EPOCH_OPEN);
    assert_int_equal(epochs[COUNT - 1].result, SH_EPOCH_OPEN);
    assert_true(transactions() >= 3);
    assert_ok(sh_pg_read_bounds(life->pg, partitions, COUNT, bounds, &err));
    assert_ok(sh_pg_seal(life->pg, life->incarnation, seals, COUNT, epochs, &err));
    assert_int_equal(epochs[0].result, SH_EPOCH_SEALED);
    assert_int_equal(epochs[COUNT - 1].result, SH_EPOCH_SEALED);
    assert_true(transactions() >= 3);
    free(seals);
    free(bounds);
    free(epochs);
    free(partitions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_changed_is_told_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_many_partitions_are_taken_up_and_left, begin, end),
    };
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
