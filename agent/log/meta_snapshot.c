#include "agent/log/meta_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An owner of the old snapshot, and the same in the new one once a partition of it was taken over. */
typedef struct OwnerPair {
    const ShOwner *old;
    const ShOwner *fresh;
} OwnerPair;

static bool take_over(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old);
static bool take_topic(ShMetaSnapshot *snapshot, const ShMetaTopic *from, OwnerPair *pairs,
                       size_t pair_count);
static OwnerPair *find_pair(OwnerPair *pairs, size_t count, const ShOwner *old);
static bool apply_rows(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old, const ShPgMetadata *metadata);
static ShMetaTopic *topic_of(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old,
                             const ShPgPartitionInfo *row);
static bool set_topic(ShMetaTopic *topic, const ShPgPartitionInfo *row);
static bool set_partition(ShMetaSnapshot *snapshot, ShMetaTopic *topic, const ShPgPartitionInfo *row);
static const ShOwner *find_owner(ShMetaSnapshot *snapshot, const char *agent_id, const char *address,
                                 const char *zone);
static void set_owner(ShOwner *to, const char *agent_id, const char *address, const char *zone);
static void remove_gone(ShMeta *meta);
static void index_topics(ShMetaSnapshot *snapshot);
static size_t count_topics(const ShPgMetadata *metadata);
static int compare_names(const void *a, const void *b);
static int compare_ids(const void *a, const void *b);
static int compare_pairs(const void *a, const void *b);

ShMetaSnapshot *sh_meta_snapshot_new(const ShMetaSnapshot *old, const ShUuid *cluster_id,
                                     const ShPgMetadata *metadata)
{
    ShMetaSnapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL)
        return NULL;
    if (metadata->whole)
        old = NULL;
    atomic_init(&snapshot->refs, 1);
    snapshot->meta.cluster_id = *cluster_id;
    size_t topics = count_topics(metadata) + (old == NULL ? 0 : old->meta.topic_count);
    snapshot->meta.topics = calloc(topics + 1, sizeof *snapshot->meta.topics);
    snapshot->by_id = calloc(topics + 1, sizeof *snapshot->by_id);
    snapshot->meta.agents = calloc(metadata->agent_count + 1, sizeof *snapshot->meta.agents);
    if (snapshot->meta.topics == NULL || snapshot->by_id == NULL || snapshot->meta.agents == NULL ||
        (old != NULL && !take_over(snapshot, old)) || !apply_rows(snapshot, old, metadata)) {
        sh_meta_snapshot_free(snapshot);
        return NULL;
    }
    remove_gone(&snapshot->meta);
    index_topics(snapshot);
    for (size_t i = 0; i < metadata->agent_count; i++) {
        const ShPgAgentInfo *from = &metadata->agents[i];
        set_owner(&snapshot->meta.agents[snapshot->meta.agent_count++], from->agent_id, from->address,
                  from->zone);
    }
    return snapshot;
}

void sh_meta_snapshot_free(ShMetaSnapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (size_t i = 0; i < snapshot->meta.topic_count; i++)
        free(snapshot->meta.topics[i].partitions);
    for (size_t i = 0; i < snapshot->owner_count; i++)
        free(snapshot->owners[i]);
    free(snapshot->owners);
    free(snapshot->meta.topics);
    free(snapshot->meta.agents);
    free(snapshot->by_id);
    free(snapshot);
}

const ShMetaTopic *sh_meta_snapshot_find_id(const ShMetaSnapshot *snapshot, const ShUuid *id)
{
    size_t low = 0;
    size_t high = snapshot->meta.topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(snapshot->by_id[middle]->topic_id.bytes, id->bytes, sizeof id->bytes);
        if (order == 0)
            return snapshot->by_id[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Copy the old topics, in their order. Owners come along as far as they still own something. */
static bool take_over(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old)
{
    OwnerPair *pairs = calloc(old->owner_count + 1, sizeof *pairs);
    bool taken = pairs != NULL;
    for (size_t i = 0; taken && i < old->owner_count; i++)
        pairs[i].old = old->owners[i];
    if (taken)
        qsort(pairs, old->owner_count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; taken && i < old->meta.topic_count; i++)
        taken = take_topic(snapshot, &old->meta.topics[i], pairs, old->owner_count);
    free(pairs);
    return taken;
}

static bool take_topic(ShMetaSnapshot *snapshot, const ShMetaTopic *from, OwnerPair *pairs, size_t pair_count)
{
    ShMetaTopic *topic = &snapshot->meta.topics[snapshot->meta.topic_count];
    *topic = *from;
    topic->partitions = calloc(from->partition_count + 1, sizeof *topic->partitions);
    if (topic->partitions == NULL)
        return false;
    snapshot->meta.topic_count++;
    for (size_t i = 0; i < from->partition_count; i++) {
        topic->partitions[i] = from->partitions[i];
        const ShOwner *owner = from->partitions[i].owner;
        if (owner == NULL)
            continue;
        OwnerPair *pair = find_pair(pairs, pair_count, owner);
        if (pair->fresh == NULL)
            pair->fresh = find_owner(snapshot, owner->agent_id, owner->address, owner->zone);
        if (pair->fresh == NULL)
            return false;
        topic->partitions[i].owner = pair->fresh;
    }
    return true;
}

static OwnerPair *find_pair(OwnerPair *pairs, size_t count, const ShOwner *old)
{
    const OwnerPair key = {.old = old};
    return bsearch(&key, pairs, count, sizeof *pairs, compare_pairs);
}

static bool apply_rows(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old, const ShPgMetadata *metadata)
{
    ShMetaTopic *topic = NULL;
    for (size_t i = 0; i < metadata->partition_count; i++) {
        const ShPgPartitionInfo *row = &metadata->partitions[i];
        /* The rows of one topic follow each other. */
        if (i == 0 || !sh_uuid_equal(&row->topic_id, &metadata->partitions[i - 1].topic_id))
            topic = topic_of(snapshot, old, row);
        if (topic == NULL)
            continue; /* gone, and never seen here */
        if (row->topic[0] == '\0') {
            topic->name[0] = '\0';
            continue;
        }
        if (!set_topic(topic, row) || (row->partition >= 0 && !set_partition(snapshot, topic, row)))
            return false;
    }
    return true;
}

/* The topic's place, made when it is new; NULL when it is new and gone already. */
static ShMetaTopic *topic_of(ShMetaSnapshot *snapshot, const ShMetaSnapshot *old,
                             const ShPgPartitionInfo *row)
{
    const ShMetaTopic *known = old == NULL ? NULL : sh_meta_snapshot_find_id(old, &row->topic_id);
    if (known != NULL)
        return &snapshot->meta.topics[known - old->meta.topics];
    if (row->topic[0] == '\0')
        return NULL;
    ShMetaTopic *topic = &snapshot->meta.topics[snapshot->meta.topic_count++];
    topic->topic_id = row->topic_id;
    return topic;
}

static bool set_topic(ShMetaTopic *topic, const ShPgPartitionInfo *row)
{
    snprintf(topic->name, sizeof topic->name, "%s", row->topic);
    topic->object_durability = row->object_durability;
    topic->batch_bytes_max = row->batch_bytes_max;
    topic->time_rule = row->time_rule;
    size_t count = row->partitions < 0 ? 0 : (size_t)row->partitions;
    if (count <= topic->partition_count)
        return true;
    ShMetaPartition *partitions = realloc(topic->partitions, (count + 1) * sizeof *partitions);
    if (partitions == NULL)
        return false;
    for (size_t i = topic->partition_count; i < count; i++)
        partitions[i] = (ShMetaPartition){.partition = (int32_t)i};
    topic->partitions = partitions;
    topic->partition_count = count;
    return true;
}

static bool set_partition(ShMetaSnapshot *snapshot, ShMetaTopic *topic, const ShPgPartitionInfo *row)
{
    if ((size_t)row->partition >= topic->partition_count)
        return true;
    const ShOwner *owner = NULL;
    if (row->owner[0] != '\0' && (owner = find_owner(snapshot, row->owner, row->address, row->zone)) == NULL)
        return false;
    topic->partitions[row->partition] = (ShMetaPartition){
        .partition = row->partition, .epoch = row->epoch, .owner = owner};
    return true;
}

/* The snapshot's entry for an owner, made when it is the first; NULL when memory is short. An agent that has
 * come back at another address is another owner. */
static const ShOwner *find_owner(ShMetaSnapshot *snapshot, const char *agent_id, const char *address,
                                 const char *zone)
{
    for (size_t i = 0; i < snapshot->owner_count; i++)
        if (strcmp(snapshot->owners[i]->agent_id, agent_id) == 0 &&
            strcmp(snapshot->owners[i]->address, address) == 0 &&
            strcmp(snapshot->owners[i]->zone, zone) == 0)
            return snapshot->owners[i];
    ShOwner **owners = realloc(snapshot->owners, (snapshot->owner_count + 1) * sizeof *owners);
    if (owners == NULL)
        return NULL;
    snapshot->owners = owners;
    ShOwner *owner = calloc(1, sizeof *owner);
    if (owner == NULL)
        return NULL;
    set_owner(owner, agent_id, address, zone);
    owners[snapshot->owner_count++] = owner;
    return owner;
}

static void set_owner(ShOwner *to, const char *agent_id, const char *address, const char *zone)
{
    snprintf(to->agent_id, sizeof to->agent_id, "%s", agent_id);
    snprintf(to->address, sizeof to->address, "%s", address);
    snprintf(to->zone, sizeof to->zone, "%s", zone);
}

static void remove_gone(ShMeta *meta)
{
    size_t kept = 0;
    for (size_t i = 0; i < meta->topic_count; i++) {
        if (meta->topics[i].name[0] == '\0')
            free(meta->topics[i].partitions);
        else
            meta->topics[kept++] = meta->topics[i];
    }
    meta->topic_count = kept;
}

/* The database orders names by its own collation; look-ups here go by bytes. */
static void index_topics(ShMetaSnapshot *snapshot)
{
    ShMeta *meta = &snapshot->meta;
    qsort(meta->topics, meta->topic_count, sizeof *meta->topics, compare_names);
    for (size_t i = 0; i < meta->topic_count; i++)
        snapshot->by_id[i] = &meta->topics[i];
    qsort(snapshot->by_id, meta->topic_count, sizeof *snapshot->by_id, compare_ids);
}

static size_t count_topics(const ShPgMetadata *metadata)
{
    size_t count = 0;
    for (size_t i = 0; i < metadata->partition_count; i++)
        count += i == 0 ||
                 !sh_uuid_equal(&metadata->partitions[i].topic_id, &metadata->partitions[i - 1].topic_id);
    return count;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const ShMetaTopic *)a)->name, ((const ShMetaTopic *)b)->name);
}

static int compare_ids(const void *a, const void *b)
{
    const ShMetaTopic *const *left = a;
    const ShMetaTopic *const *right = b;
    return memcmp((*left)->topic_id.bytes, (*right)->topic_id.bytes, sizeof(*left)->topic_id.bytes);
}

static int compare_pairs(const void *a, const void *b)
{
    const ShOwner *left = ((const OwnerPair *)a)->old;
    const ShOwner *right = ((const OwnerPair *)b)->old;
    return (left > right) - (left < right);
}
