/* The metadata: all rows, or the state before and what has changed since, make the next state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/log/meta_snapshot.h"

#define ROWS_MAX 8

typedef struct Told {
    ShPgPartitionInfo rows[ROWS_MAX];
    ShPgMetadata metadata;
} Told;

static const ShUuid cluster = {{7}};

static void tell(Told *told, int topic, const char *name, int partitions, int partition, const char *owner,
                 const char *address, int64_t epoch)
{
    ShPgPartitionInfo *row = &told->rows[told->metadata.partition_count++];
    memset(row->topic_id.bytes, topic, sizeof row->topic_id.bytes);
    snprintf(row->topic, sizeof row->topic, "%s", name);
    row->batch_bytes_max = 1000 + topic;
    row->time_rule = (ShTimeRule){.before_max_ms = 2000 + topic, .after_max_ms = -1};
    row->partitions = partitions;
    row->partition = partition;
    snprintf(row->owner, sizeof row->owner, "%s", owner);
    snprintf(row->address, sizeof row->address, "%s", address);
    row->epoch = epoch;
    told->metadata.partitions = told->rows;
}

static const ShMetaTopic *topic(const ShMetaSnapshot *snapshot, int id)
{
    ShUuid uuid;
    memset(uuid.bytes, id, sizeof uuid.bytes);
    return sh_meta_snapshot_find_id(snapshot, &uuid);
}

static ShMetaSnapshot *first_state(void)
{
    Told told = {.metadata.whole = true};
    tell(&told, 1, "b", 2, 0, "a1", "here:1", 5);
    tell(&told, 1, "b", 2, 1, "a2", "there:2", 6);
    tell(&told, 2, "a", 1, 0, "", "", 0);
    ShMetaSnapshot *snapshot = sh_meta_snapshot_new(NULL, &cluster, &told.metadata);
    assert_non_null(snapshot);
    return snapshot;
}

static void test_all_rows_make_a_state(void **state)
{
    (void)state;
    ShMetaSnapshot *snapshot = first_state();
    assert_int_equal(snapshot->meta.topic_count, 2);
    assert_string_equal(snapshot->meta.topics[0].name, "a"); /* by name */
    assert_int_equal(topic(snapshot, 1)->partition_count, 2);
    assert_int_equal(topic(snapshot, 1)->batch_bytes_max, 1001);
    assert_int_equal(topic(snapshot, 1)->time_rule.before_max_ms, 2001);
    assert_string_equal(topic(snapshot, 1)->partitions[1].owner->address, "there:2");
    assert_null(topic(snapshot, 2)->partitions[0].owner);
    sh_meta_snapshot_free(snapshot);
}

static void test_changes_leave_the_rest_as_it_was(void **state)
{
    (void)state;
    ShMetaSnapshot *old = first_state();
    Told told = {0};
    tell(&told, 1, "b", 2, 1, "a3", "new:3", 7); /* another owner */
    tell(&told, 2, "z", 3, -1, "", "", 0);       /* another name, and more partitions */
    tell(&told, 3, "m", 2, -1, "", "", 0);       /* a new topic, of which one partition has an owner */
    tell(&told, 3, "m", 2, 1, "a1", "here:1", 9);
    tell(&told, 4, "", 0, 0, "", "", 0); /* gone before it was seen here */
    ShMetaSnapshot *fresh = sh_meta_snapshot_new(old, &cluster, &told.metadata);
    assert_non_null(fresh);
    sh_meta_snapshot_free(old); /* nothing of it is borrowed */
    assert_int_equal(fresh->meta.topic_count, 3);
    assert_string_equal(fresh->meta.topics[0].name, "b");
    assert_string_equal(fresh->meta.topics[1].name, "m");
    assert_string_equal(fresh->meta.topics[2].name, "z");
    const ShMetaTopic *b = topic(fresh, 1);
    assert_string_equal(b->partitions[0].owner->agent_id, "a1");
    assert_int_equal(b->partitions[0].epoch, 5);
    assert_string_equal(b->partitions[1].owner->address, "new:3");
    assert_int_equal(b->partitions[1].epoch, 7);
    const ShMetaTopic *z = topic(fresh, 2);
    assert_int_equal(z->partition_count, 3);
    assert_int_equal(z->partitions[2].partition, 2);
    assert_null(z->partitions[2].owner);
    const ShMetaTopic *m = topic(fresh, 3);
    assert_null(m->partitions[0].owner);
    assert_ptr_equal(m->partitions[1].owner, b->partitions[0].owner); /* one entry an agent */
    assert_null(topic(fresh, 4));
    sh_meta_snapshot_free(fresh);
}

static void test_what_is_gone_goes(void **state)
{
    (void)state;
    ShMetaSnapshot *old = first_state();
    Told told = {0};
    tell(&told, 1, "", 0, 0, "", "", 0);
    tell(&told, 1, "", 0, 1, "", "", 0);
    ShMetaSnapshot *fresh = sh_meta_snapshot_new(old, &cluster, &told.metadata);
    assert_non_null(fresh);
    assert_int_equal(fresh->meta.topic_count, 1);
    assert_null(topic(fresh, 1));
    sh_meta_snapshot_free(old);

    /* Owners that own nothing any more are forgotten with the next state. */
    Told nothing = {0};
    ShMetaSnapshot *next = sh_meta_snapshot_new(fresh, &cluster, &nothing.metadata);
    assert_int_equal(next->owner_count, 0);
    sh_meta_snapshot_free(fresh);
    sh_meta_snapshot_free(next);
}

static void test_an_agent_that_is_back_at_another_address_is_shown_there(void **state)
{
    (void)state;
    ShMetaSnapshot *old = first_state();
    Told told = {0};
    tell(&told, 1, "b", 2, 0, "a1", "moved:4", 5);
    ShMetaSnapshot *fresh = sh_meta_snapshot_new(old, &cluster, &told.metadata);
    assert_string_equal(topic(fresh, 1)->partitions[0].owner->address, "moved:4");
    assert_string_equal(topic(old, 1)->partitions[0].owner->address, "here:1");
    sh_meta_snapshot_free(old);
    sh_meta_snapshot_free(fresh);
}

static void test_the_whole_replaces_all(void **state)
{
    (void)state;
    ShMetaSnapshot *old = first_state();
    Told told = {.metadata.whole = true};
    tell(&told, 3, "m", 1, 0, "a1", "here:1", 9);
    ShMetaSnapshot *fresh = sh_meta_snapshot_new(old, &cluster, &told.metadata);
    assert_int_equal(fresh->meta.topic_count, 1);
    assert_null(topic(fresh, 1));
    assert_non_null(topic(fresh, 3));
    sh_meta_snapshot_free(old);
    sh_meta_snapshot_free(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rows_make_a_state),
        cmocka_unit_test(test_changes_leave_the_rest_as_it_was),
        cmocka_unit_test(test_what_is_gone_goes),
        cmocka_unit_test(test_an_agent_that_is_back_at_another_address_is_shown_there),
        cmocka_unit_test(test_the_whole_replaces_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
