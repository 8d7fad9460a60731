/* One partition's state: the ring, the cursors, offsets, eviction; and the table that finds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/log/partition.h"
#include "agent/log/partition_table.h"

static const ShUuid topic = {{7}};

static ShLogBatch *new_batch(ShPartition *partition, int32_t offsets)
{
    ShBuf *buf = sh_buf_new(SH_BATCH_HEADER_BYTES);
    assert_non_null(buf);
    ShBatchHeader header = {
        .base_offset = -1, .last_offset_delta = offsets - 1, .total_bytes = SH_BATCH_HEADER_BYTES};
    ShSlice bytes = {.data = buf->data, .length = SH_BATCH_HEADER_BYTES, .owner = buf};
    ShLogBatch *batch = sh_log_batch_new(partition, bytes, &header);
    sh_buf_unref(buf);
    assert_non_null(batch);
    return batch;
}

static void add_batches(ShPartition *partition, int count, int32_t offsets)
{
    uint64_t from = partition->ring.end;
    assert_int_equal(sh_batch_ring_reserve(&partition->ring, (size_t)count, NULL), SH_OK);
    for (int i = 0; i < count; i++)
        sh_batch_ring_push(&partition->ring, new_batch(partition, offsets));
    sh_partition_assign_offsets(partition, from);
}

static void test_offsets_follow_each_other_and_stand_in_the_bytes(void **state)
{
    (void)state;
    ShPartition *partition = sh_partition_new(&topic, 3, "t", false);
    sh_partition_open(partition, 5, 100, 200, 100);
    add_batches(partition, 4, 10);
    for (uint64_t seq = 0; seq < 4; seq++) {
        const ShLogBatch *batch = sh_batch_ring_at(&partition->ring, seq);
        assert_int_equal(batch->header.base_offset, 100 + 10 * (int64_t)seq);
        assert_int_equal(sh_get_u64(batch->wal.batch.data), 100 + 10 * seq);
        assert_int_equal(sh_get_u32(batch->wal.batch.data + 12), 5);
        assert_int_equal(batch->wal.partition, 3);
    }
    assert_int_equal(partition->next_offset, 140);
    sh_partition_unref(partition);
}

static void test_an_epoch_goes_on_where_it_was_published(void **state)
{
    (void)state;
    ShPartition *partition = sh_partition_new(&topic, 0, "t", false);
    sh_partition_open(partition, 1, 100, 200, 150);
    assert_int_equal(partition->next_offset, 150);
    assert_int_equal(partition->high_watermark, 150);
    sh_partition_open(partition, 2, 200, 300, 150);
    assert_int_equal(partition->next_offset, 200);
    sh_partition_unref(partition);
}

static void test_only_published_batches_are_evicted(void **state)
{
    (void)state;
    ShPartition *partition = sh_partition_new(&topic, 0, "t", false);
    sh_partition_open(partition, 1, 0, 1000, 0);
    add_batches(partition, 10, 1);
    int64_t cost = sh_log_batch_cost(sh_batch_ring_at(&partition->ring, 0));
    assert_int_equal(sh_partition_evict(partition, 10), 0);
    partition->published = 4;
    assert_int_equal(sh_partition_evict(partition, 3), 3 * cost);
    assert_int_equal(sh_partition_evict(partition, 10), cost);
    assert_int_equal(partition->ring.first, 4);
    assert_false(sh_partition_is_drained(partition));
    partition->published = 10;
    assert_true(sh_partition_is_drained(partition));
    sh_partition_unref(partition);
}

static void test_the_ring_grows_and_finds(void **state)
{
    (void)state;
    ShPartition *partition = sh_partition_new(&topic, 0, "t", false);
    sh_partition_open(partition, 1, 0, 1000000, 0);
    add_batches(partition, 10, 5);
    partition->published = 7;
    sh_partition_evict(partition, 7);
    add_batches(partition, 1000, 5);
    const ShBatchRing *ring = &partition->ring;
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 0), 7);
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 35), 7);
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 39), 7);
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 40), 8);
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 5049), 1009);
    assert_int_equal(sh_batch_ring_find(ring, ring->end, 5050), 1010);
    assert_int_equal(sh_batch_ring_find(ring, 9, 4000), 9);
    sh_partition_unref(partition);
}

static void test_the_table_keeps_one_of_each(void **state)
{
    (void)state;
    ShPartitionTable table;
    sh_partition_table_init(&table);
    assert_null(sh_partition_table_get(&table, &topic, 0));
    ShPartition *first = sh_partition_table_add(&table, &topic, 0, "t", false);
    ShPartition *again = sh_partition_table_add(&table, &topic, 0, "t", false);
    ShPartition *other = sh_partition_table_add(&table, &topic, 1, "t", false);
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, other);
    sh_partition_table_remove(&table, first);
    assert_null(sh_partition_table_get(&table, &topic, 0));
    char name[SH_PARTITION_NAME_BYTES];
    assert_string_equal(sh_partition_name(first, name), "t/0");
    sh_partition_unref(first);
    sh_partition_unref(again);
    sh_partition_unref(other);
    sh_partition_table_destroy(&table);
}

static void test_what_is_left_stays_listed_until_it_is_published(void **state)
{
    (void)state;
    ShPartitionTable table;
    ShPartition **list = NULL;
    size_t count = 9;
    sh_partition_table_init(&table);
    ShPartition *first = sh_partition_table_add(&table, &topic, 0, "t", true);
    ShPartition *second = sh_partition_table_add(&table, &topic, 1, "t", true);
    assert_int_equal(sh_partition_table_list_left(&table, &list, &count, NULL), SH_OK);
    assert_int_equal(count, 0);
    sh_partition_list_free(list, count);
    sh_partition_table_leave(&table, first);
    sh_partition_table_leave(&table, first); /* another thread was as quick */
    sh_partition_table_leave(&table, second);
    assert_null(sh_partition_table_get(&table, &topic, 0));
    ShPartition *again = sh_partition_table_add(&table, &topic, 0, "t", false);
    assert_ptr_not_equal(first, again);
    sh_partition_table_leave(&table, first); /* not the one that is there now */
    sh_partition_table_forget_left(&table, again);
    assert_int_equal(sh_partition_table_list_left(&table, &list, &count, NULL), SH_OK);
    assert_int_equal(count, 2);
    sh_partition_list_free(list, count);
    sh_partition_table_forget_left(&table, first);
    assert_int_equal(sh_partition_table_list_left(&table, &list, &count, NULL), SH_OK);
    assert_int_equal(count, 1);
    assert_ptr_equal(list[0], second);
    sh_partition_list_free(list, count);
    sh_partition_unref(first);
    sh_partition_unref(second);
    sh_partition_unref(again);
    sh_partition_table_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets_follow_each_other_and_stand_in_the_bytes),
        cmocka_unit_test(test_an_epoch_goes_on_where_it_was_published),
        cmocka_unit_test(test_only_published_batches_are_evicted),
        cmocka_unit_test(test_the_ring_grows_and_finds),
        cmocka_unit_test(test_the_table_keeps_one_of_each),
        cmocka_unit_test(test_what_is_left_stays_listed_until_it_is_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
