/*
 * partition_table.h - the partitions this agent has something to do with, found by topic id and number.
 */
#ifndef SH_AGENT_LOG_PARTITION_TABLE_H
#define SH_AGENT_LOG_PARTITION_TABLE_H

#include <pthread.h>

#include "agent/log/partition.h"

typedef struct ShPartitionTable {
    pthread_rwlock_t lock;
    /* guarded by lock; the table holds a reference on each */
    ShPartition *by_key;
    ShPartition *left; /* not found any more */
} ShPartitionTable;

void sh_partition_table_init(ShPartitionTable *table);
void sh_partition_table_destroy(ShPartitionTable *table);

/* A reference on the partition, or NULL. */
ShPartition *sh_partition_table_get(ShPartitionTable *table, const ShUuid *topic_id, int32_t number);

/* A reference on the partition, which is made when it is not there yet; NULL when memory is short. */
ShPartition *sh_partition_table_add(ShPartitionTable *table, const ShUuid *topic_id, int32_t number,
                                    const char *topic, bool object_durability);

/* References on all partitions, in no order; `*out` is freed with sh_partition_list_free. */
ShStatus sh_partition_table_list(ShPartitionTable *table, ShPartition ***out, size_t *count,
                                 ShError *err) SH_MUST_CHECK;
void sh_partition_list_free(ShPartition **partitions, size_t count);

/* Forget a partition. References that others hold stay good. */
void sh_partition_table_remove(ShPartitionTable *table, ShPartition *partition);

/* The same of one whose batches may still have to be published, and their calls to be answered. */
void sh_partition_table_leave(ShPartitionTable *table, ShPartition *partition);
/* References on those that were left so; freed with sh_partition_list_free. */
ShStatus sh_partition_table_list_left(ShPartitionTable *table, ShPartition ***out, size_t *count,
                                      ShError *err) SH_MUST_CHECK;
/* All of its batches are published. */
void sh_partition_table_forget_left(ShPartitionTable *table, ShPartition *partition);

#endif
