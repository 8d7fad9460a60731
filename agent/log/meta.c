#include "agent/log/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

/* What a topic's batches are held against. */
typedef struct TopicRules {
    int64_t batch_bytes_max;
    ShTimeRule time;
} TopicRules;

typedef struct ShMetaSnapshot {
    ShMeta meta; /* first: what is handed out is cast back */
    atomic_int refs;
    ShOwner **owners; /* each agent that owns partitions once */
    size_t owner_count;
    TopicRules *rules;         /* by index in meta.topics */
    const ShMetaTopic **by_id; /* ordered by topic id */
} ShMetaSnapshot;

static ShMetaSnapshot *build_snapshot(const ShUuid *cluster_id, const ShPgMetadata *metadata);
static bool fill_topics(ShMetaSnapshot *snapshot, const ShPgMetadata *metadata);
static size_t topic_rows(const ShPgMetadata *metadata, size_t first);
static bool fill_partition(ShMetaSnapshot *snapshot, ShMetaPartition *to, const ShPgPartitionInfo *from);
static const ShOwner *find_owner(ShMetaSnapshot *snapshot, const ShPgPartitionInfo *from);
static void set_owner(ShOwner *to, const char *agent_id, const char *address, const char *zone);
static bool is_live(const ShMeta *meta, const char *agent_id);
static int compare_names(const void *a, const void *b);
static int compare_ids(const void *a, const void *b);
static ShMetaSnapshot *borrow(ShMetaCache *cache);
static void give_back(ShMetaSnapshot *snapshot);
static const ShMetaTopic *find_id(const ShMetaSnapshot *snapshot, const ShUuid *id);
static ShStatus find_target(const ShMetaSnapshot *snapshot, const ShTarget *target, const ShMetaTopic **out,
                            ShError *err);

ShStatus sh_meta_init(ShMetaCache *cache, const ShUuid *cluster_id, ShError *err)
{
    static const ShPgMetadata nothing;
    pthread_mutex_init(&cache->lock, NULL);
    cache->current = NULL;
    return sh_meta_replace(cache, cluster_id, &nothing, err);
}

void sh_meta_destroy(ShMetaCache *cache)
{
    give_back(cache->current);
    pthread_mutex_destroy(&cache->lock);
}

ShStatus sh_meta_replace(ShMetaCache *cache, const ShUuid *cluster_id, const ShPgMetadata *metadata,
                         ShError *err)
{
    ShMetaSnapshot *fresh = build_snapshot(cluster_id, metadata);
    if (fresh == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the metadata of %zu partitions",
                       metadata->partition_count);
    pthread_mutex_lock(&cache->lock);
    ShMetaSnapshot *old = cache->current;
    cache->current = fresh;
    pthread_mutex_unlock(&cache->lock);
    give_back(old);
    return SH_OK;
}

bool sh_meta_topic_id(ShMetaCache *cache, const ShTarget *target, ShUuid *out)
{
    ShMetaSnapshot *snapshot = borrow(cache);
    const ShMetaTopic *topic = NULL;
    bool found = find_target(snapshot, target, &topic, NULL) == SH_OK;
    if (found)
        *out = topic->topic_id;
    give_back(snapshot);
    return found;
}

ShStatus sh_meta_resolve(ShEngine *engine, ShTarget *target, ShResolved *out, ShError *err)
{
    ShMetaSnapshot *snapshot = borrow(&engine->meta);
    const ShMetaTopic *topic = NULL;
    ShStatus status = find_target(snapshot, target, &topic, err);
    if (status != SH_OK)
        goto done;
    if (target->partition < 0 || (size_t)target->partition >= topic->partition_count) {
        status = sh_fail(err, SH_NOT_FOUND,
                         "topic \"%s\" has %zu partitions, numbered from 0: there is no partition %d",
                         topic->name, topic->partition_count, (int)target->partition);
        goto done;
    }
    target->has_topic_id = true;
    target->topic_id = topic->topic_id;
    out->batch_bytes_max = snapshot->rules[topic - snapshot->meta.topics].batch_bytes_max;
    out->time_rule = snapshot->rules[topic - snapshot->meta.topics].time;
    out->epoch = topic->partitions[target->partition].epoch;
    out->partition = sh_partition_table_get(&engine->partitions, &topic->topic_id, target->partition);
    if (out->partition == NULL)
        out->partition = sh_partition_table_add(&engine->partitions, &topic->topic_id, target->partition,
                                                topic->name, topic->object_durability);
    if (out->partition == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for partition %s/%d", topic->name,
                         (int)target->partition);
done:
    give_back(snapshot);
    return status;
}

bool sh_meta_owner(ShEngine *engine, const ShPartition *partition, ShOwner *out)
{
    ShMetaSnapshot *snapshot = borrow(&engine->meta);
    const ShMetaTopic *topic = find_id(snapshot, &partition->key.topic_id);
    bool found = false;
    if (topic != NULL && (size_t)partition->key.number < topic->partition_count) {
        const ShMetaPartition *row = &topic->partitions[partition->key.number];
        found = row->owner != NULL && is_live(&snapshot->meta, row->owner->agent_id);
        if (found) {
            *out = *row->owner;
            out->epoch = row->epoch;
        }
    }
    give_back(snapshot);
    return found;
}

bool sh_meta_durability(ShMetaCache *cache, const ShUuid *topic_id, bool *object_durability)
{
    ShMetaSnapshot *snapshot = borrow(cache);
    const ShMetaTopic *topic = find_id(snapshot, topic_id);
    if (topic != NULL)
        *object_durability = topic->object_durability;
    give_back(snapshot);
    return topic != NULL;
}

int64_t sh_engine_batch_bytes_max(ShEngine *engine, const ShTarget *target, ShTimeRule *time_rule,
                                  bool *is_known)
{
    int64_t bytes = engine->config->batch_bytes_max;
    ShMetaSnapshot *snapshot = borrow(&engine->meta);
    const ShMetaTopic *topic = NULL;
    *is_known = find_target(snapshot, target, &topic, NULL) == SH_OK;
    if (*is_known) {
        const TopicRules *rules = &snapshot->rules[topic - snapshot->meta.topics];
        bytes = rules->batch_bytes_max < bytes ? rules->batch_bytes_max : bytes;
        *time_rule = rules->time;
    }
    give_back(snapshot);
    return bytes;
}

const ShMeta *sh_engine_meta(ShEngine *engine)
{
    return &borrow(&engine->meta)->meta;
}

void sh_engine_meta_release(ShEngine *engine, const ShMeta *meta)
{
    (void)engine;
    give_back((ShMetaSnapshot *)(uintptr_t)meta);
}

const ShMetaTopic *sh_meta_find(const ShMeta *meta, const char *name, size_t name_length)
{
    size_t low = 0;
    size_t high = meta->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const ShMetaTopic *topic = &meta->topics[middle];
        size_t length = strlen(topic->name);
        int order = memcmp(topic->name, name, length < name_length ? length : name_length);
        if (order == 0 && length == name_length)
            return topic;
        if (order < 0 || (order == 0 && length < name_length))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static ShMetaSnapshot *build_snapshot(const ShUuid *cluster_id, const ShPgMetadata *metadata)
{
    ShMetaSnapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL)
        return NULL;
    atomic_init(&snapshot->refs, 1);
    snapshot->meta.cluster_id = *cluster_id;
    size_t topics = 0;
    for (size_t row = 0; row < metadata->partition_count; row += topic_rows(metadata, row))
        topics++;
    snapshot->meta.topics = calloc(topics + 1, sizeof *snapshot->meta.topics);
    snapshot->rules = calloc(topics + 1, sizeof *snapshot->rules);
    snapshot->by_id = calloc(topics + 1, sizeof *snapshot->by_id);
    snapshot->meta.agents = calloc(metadata->agent_count + 1, sizeof *snapshot->meta.agents);
    if (snapshot->meta.topics == NULL || snapshot->rules == NULL || snapshot->by_id == NULL ||
        snapshot->meta.agents == NULL || !fill_topics(snapshot, metadata)) {
        give_back(snapshot);
        return NULL;
    }
    for (size_t i = 0; i < metadata->agent_count; i++) {
        const ShPgAgentInfo *from = &metadata->agents[i];
        set_owner(&snapshot->meta.agents[snapshot->meta.agent_count++], from->agent_id, from->address,
                  from->zone);
    }
    return snapshot;
}

static bool fill_topics(ShMetaSnapshot *snapshot, const ShPgMetadata *metadata)
{
    ShMeta *meta = &snapshot->meta;
    for (size_t row = 0; row < metadata->partition_count;) {
        const ShPgPartitionInfo *info = &metadata->partitions[row];
        size_t rows = topic_rows(metadata, row);
        ShMetaTopic *topic = &meta->topics[meta->topic_count];
        topic->partitions = calloc(rows, sizeof *topic->partitions);
        if (topic->partitions == NULL)
            return false;
        snprintf(topic->name, sizeof topic->name, "%s", info->topic);
        topic->topic_id = info->topic_id;
        topic->object_durability = info->object_durability;
        topic->partition_count = rows;
        meta->topic_count++;
        for (size_t i = 0; i < rows; i++)
            if (!fill_partition(snapshot, &topic->partitions[i], &info[i]))
                return false;
        row += rows;
    }
    /* The database orders names by its own collation; look-ups here go by bytes. */
    qsort(meta->topics, meta->topic_count, sizeof *meta->topics, compare_names);
    for (size_t i = 0; i < meta->topic_count; i++)
        snapshot->by_id[i] = &meta->topics[i];
    qsort(snapshot->by_id, meta->topic_count, sizeof *snapshot->by_id, compare_ids);
    for (size_t row = 0; row < metadata->partition_count; row += topic_rows(metadata, row)) {
        const ShMetaTopic *topic = find_id(snapshot, &metadata->partitions[row].topic_id);
        snapshot->rules[topic - meta->topics] = (TopicRules){
            .batch_bytes_max = metadata->partitions[row].batch_bytes_max,
            .time = metadata->partitions[row].time_rule};
    }
    return true;
}

/* How many rows from `first` on belong to one topic. */
static size_t topic_rows(const ShPgMetadata *metadata, size_t first)
{
    size_t end = first + 1;
    while (end < metadata->partition_count &&
           sh_uuid_equal(&metadata->partitions[end].topic_id, &metadata->partitions[first].topic_id))
        end++;
    return end - first;
}

static bool fill_partition(ShMetaSnapshot *snapshot, ShMetaPartition *to, const ShPgPartitionInfo *from)
{
    *to = (ShMetaPartition){.partition = from->partition, .epoch = from->epoch};
    if (from->owner[0] == '\0')
        return true;
    to->owner = find_owner(snapshot, from);
    return to->owner != NULL;
}

/* The snapshot's entry for the row's owner, made when it is the first; NULL when memory is short. */
static const ShOwner *find_owner(ShMetaSnapshot *snapshot, const ShPgPartitionInfo *from)
{
    for (size_t i = 0; i < snapshot->owner_count; i++)
        if (strcmp(snapshot->owners[i]->agent_id, from->owner) == 0)
            return snapshot->owners[i];
    ShOwner **owners = realloc(snapshot->owners, (snapshot->owner_count + 1) * sizeof *owners);
    if (owners == NULL)
        return NULL;
    snapshot->owners = owners;
    ShOwner *owner = calloc(1, sizeof *owner);
    if (owner == NULL)
        return NULL;
    set_owner(owner, from->owner, from->address, from->zone);
    owners[snapshot->owner_count++] = owner;
    return owner;
}

static void set_owner(ShOwner *to, const char *agent_id, const char *address, const char *zone)
{
    snprintf(to->agent_id, sizeof to->agent_id, "%s", agent_id);
    snprintf(to->address, sizeof to->address, "%s", address);
    snprintf(to->zone, sizeof to->zone, "%s", zone);
}

static bool is_live(const ShMeta *meta, const char *agent_id)
{
    for (size_t i = 0; i < meta->agent_count; i++)
        if (strcmp(meta->agents[i].agent_id, agent_id) == 0)
            return true;
    return false;
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

static ShMetaSnapshot *borrow(ShMetaCache *cache)
{
    pthread_mutex_lock(&cache->lock);
    ShMetaSnapshot *snapshot = cache->current;
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&cache->lock);
    return snapshot;
}

static void give_back(ShMetaSnapshot *snapshot)
{
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < snapshot->meta.topic_count; i++)
        free(snapshot->meta.topics[i].partitions);
    for (size_t i = 0; i < snapshot->owner_count; i++)
        free(snapshot->owners[i]);
    free(snapshot->owners);
    free(snapshot->meta.topics);
    free(snapshot->meta.agents);
    free(snapshot->rules);
    free(snapshot->by_id);
    free(snapshot);
}

static const ShMetaTopic *find_id(const ShMetaSnapshot *snapshot, const ShUuid *id)
{
    const ShMetaTopic wanted = {.topic_id = *id};
    const ShMetaTopic *key = &wanted;
    const ShMetaTopic **found = bsearch(&key, snapshot->by_id, snapshot->meta.topic_count,
                                        sizeof *snapshot->by_id, compare_ids);
    return found == NULL ? NULL : *found;
}

static ShStatus find_target(const ShMetaSnapshot *snapshot, const ShTarget *target, const ShMetaTopic **out,
                            ShError *err)
{
    bool has_name = target->topic != NULL && target->topic_length > 0;
    int name_length = target->topic_length > 249 ? 249 : (int)target->topic_length;
    char id[SH_UUID_TEXT_BYTES] = "";
    if (target->has_topic_id)
        sh_uuid_format(&target->topic_id, id);
    if (!has_name && !target->has_topic_id)
        return sh_fail(err, SH_INVALID, "the request names no topic: give its name, its id, or both");
    const ShMetaTopic *topic = has_name ? sh_meta_find(&snapshot->meta, target->topic, target->topic_length)
                                        : find_id(snapshot, &target->topic_id);
    if (topic == NULL && has_name)
        return sh_fail(err, SH_NOT_FOUND, "there is no topic \"%.*s\"", name_length, target->topic);
    if (topic == NULL)
        return sh_fail(err, SH_NOT_FOUND,
                       "there is no topic with the id %s: it was dropped, or never existed", id);
    if (target->has_topic_id && !sh_uuid_equal(&topic->topic_id, &target->topic_id))
        return sh_fail(err, SH_NOT_FOUND,
                       "topic \"%.*s\" was dropped and created again: the id %s is no longer its id; "
                       "ask for the metadata and start anew",
                       name_length, target->topic, id);
    *out = topic;
    return SH_OK;
}
