#include "agent/log/partition_table.h"

#include <stdlib.h>
#include <string.h>

static ShPartition *take_out(ShPartitionTable *table, ShPartition *partition);

static ShPartitionKey make_key(const ShUuid *topic_id, int32_t number)
{
    ShPartitionKey key;
    memset(&key, 0, sizeof key);
    key.topic_id = *topic_id;
    key.number = number;
    return key;
}

/* Topic ids are random, so that a multiplication is hash enough: uthash's own reads the key byte by byte. */
static unsigned hash_of(const ShPartitionKey *key)
{
    uint64_t halves[2];
    memcpy(halves, key->topic_id.bytes, sizeof halves);
    uint64_t mixed = (halves[0] ^ halves[1]) + (uint32_t)key->number;
    return (unsigned)((mixed * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

void sh_partition_table_init(ShPartitionTable *table)
{
    pthread_rwlock_init(&table->lock, NULL);
    table->by_key = table->left = NULL;
}

void sh_partition_table_destroy(ShPartitionTable *table)
{
    ShPartition *partition;
    ShPartition *next;
    HASH_ITER(hh, table->by_key, partition, next)
    {
        HASH_DEL(table->by_key, partition);
        sh_partition_unref(partition);
    }
    while (table->left != NULL) {
        partition = table->left;
        table->left = partition->left_next;
        sh_partition_unref(partition);
    }
    pthread_rwlock_destroy(&table->lock);
}

ShPartition *sh_partition_table_get(ShPartitionTable *table, const ShUuid *topic_id, int32_t number)
{
    ShPartitionKey key = make_key(topic_id, number);
    unsigned hash = hash_of(&key);
    ShPartition *partition = NULL;
    pthread_rwlock_rdlock(&table->lock);
    HASH_FIND_BYHASHVALUE(hh, table->by_key, &key, sizeof key, hash, partition);
    if (partition != NULL)
        sh_partition_ref(partition);
    pthread_rwlock_unlock(&table->lock);
    return partition;
}

ShPartition *sh_partition_table_add(ShPartitionTable *table, const ShUuid *topic_id, int32_t number,
                                    const char *topic, bool object_durability)
{
    ShPartitionKey key = make_key(topic_id, number);
    unsigned hash = hash_of(&key);
    ShPartition *partition = NULL;
    pthread_rwlock_wrlock(&table->lock);
    HASH_FIND_BYHASHVALUE(hh, table->by_key, &key, sizeof key, hash, partition);
    if (partition == NULL) {
        partition = sh_partition_new(topic_id, number, topic, object_durability);
        if (partition != NULL)
            HASH_ADD_BYHASHVALUE(hh, table->by_key, key, sizeof partition->key, hash, partition);
        if (partition != NULL && partition->hh.tbl == NULL) {
            sh_partition_unref(partition);
            partition = NULL;
        }
    }
    if (partition != NULL)
        sh_partition_ref(partition);
    pthread_rwlock_unlock(&table->lock);
    return partition;
}

ShStatus sh_partition_table_list(ShPartitionTable *table, ShPartition ***out, size_t *count, ShError *err)
{
    ShStatus status = SH_OK;
    pthread_rwlock_rdlock(&table->lock);
    size_t n = 0;
    ShPartition **list = calloc((size_t)HASH_COUNT(table->by_key) + 1, sizeof *list);
    if (list == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to list the partitions");
        goto done;
    }
    for (ShPartition *p = table->by_key; p != NULL; p = p->hh.next)
        list[n++] = sh_partition_ref(p);
    *out = list;
    *count = n;
done:
    pthread_rwlock_unlock(&table->lock);
    return status;
}

void sh_partition_list_free(ShPartition **partitions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sh_partition_unref(partitions[i]);
    free(partitions);
}

void sh_partition_table_remove(ShPartitionTable *table, ShPartition *partition)
{
    pthread_rwlock_wrlock(&table->lock);
    ShPartition *found = take_out(table, partition);
    pthread_rwlock_unlock(&table->lock);
    sh_partition_unref(found);
}

void sh_partition_table_leave(ShPartitionTable *table, ShPartition *partition)
{
    pthread_rwlock_wrlock(&table->lock);
    ShPartition *found = take_out(table, partition);
    if (found != NULL) {
        found->left_next = table->left;
        table->left = found;
    }
    pthread_rwlock_unlock(&table->lock);
}

ShStatus sh_partition_table_list_left(ShPartitionTable *table, ShPartition ***out, size_t *count,
                                      ShError *err)
{
    ShStatus status = SH_OK;
    size_t n = 0;
    pthread_rwlock_rdlock(&table->lock);
    for (const ShPartition *p = table->left; p != NULL; p = p->left_next)
        n++;
    ShPartition **list = calloc(n + 1, sizeof *list);
    if (list == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory to list the partitions that were left");
        goto done;
    }
    n = 0;
    for (ShPartition *p = table->left; p != NULL; p = p->left_next)
        list[n++] = sh_partition_ref(p);
    *out = list;
    *count = n;
done:
    pthread_rwlock_unlock(&table->lock);
    return status;
}

void sh_partition_table_forget_left(ShPartitionTable *table, ShPartition *partition)
{
    pthread_rwlock_wrlock(&table->lock);
    ShPartition **link = &table->left;
    while (*link != NULL && *link != partition)
        link = &(*link)->left_next;
    ShPartition *found = *link;
    if (found != NULL)
        *link = found->left_next;
    pthread_rwlock_unlock(&table->lock);
    sh_partition_unref(found);
}

/* With the lock held: the table's reference; NULL when it is not there, or another is in its place. */
static ShPartition *take_out(ShPartitionTable *table, ShPartition *partition)
{
    unsigned hash = hash_of(&partition->key);
    ShPartition *found = NULL;
    HASH_FIND_BYHASHVALUE(hh, table->by_key, &partition->key, sizeof partition->key, hash, found);
    if (found != partition)
        return NULL;
    HASH_DEL(table->by_key, found);
    return found;
}
