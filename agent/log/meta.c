#include "agent/log/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/meta_snapshot.h"

static bool is_live(const ShMeta *meta, const char *agent_id);
static ShMetaSnapshot *borrow(ShMetaCache *cache);
static void give_back(ShMetaSnapshot *snapshot);
static ShStatus find_target(const ShMetaSnapshot *snapshot, const ShTarget *target, const ShMetaTopic **out,
                            ShError *err);
static ShStatus fail_target(const ShTarget *target, const ShMetaTopic *topic, ShError *err)
    __attribute__((cold, noinline));

ShStatus sh_meta_init(ShMetaCache *cache, const ShUuid *cluster_id, ShError *err)
{
    static const ShPgMetadata nothing = {.whole = true};
    pthread_mutex_init(&cache->lock, NULL);
    cache->current = NULL;
    return sh_meta_update(cache, cluster_id, &nothing, err);
}

void sh_meta_destroy(ShMetaCache *cache)
{
    give_back(cache->current);
    pthread_mutex_destroy(&cache->lock);
}

ShStatus sh_meta_update(ShMetaCache *cache, const ShUuid *cluster_id, const ShPgMetadata *metadata,
                        ShError *err)
{
    /* Nobody else replaces it, so that it stays while the next one is made. */
    ShMetaSnapshot *fresh = sh_meta_snapshot_new(cache->current, cluster_id, metadata);
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
    out->batch_bytes_max = topic->batch_bytes_max;
    out->time_rule = topic->time_rule;
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
    const ShMetaTopic *topic = sh_meta_snapshot_find_id(snapshot, &partition->key.topic_id);
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
    const ShMetaTopic *topic = sh_meta_snapshot_find_id(snapshot, topic_id);
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
        bytes = topic->batch_bytes_max < bytes ? topic->batch_bytes_max : bytes;
        *time_rule = topic->time_rule;
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

static bool is_live(const ShMeta *meta, const char *agent_id)
{
    for (size_t i = 0; i < meta->agent_count; i++)
        if (strcmp(meta->agents[i].agent_id, agent_id) == 0)
            return true;
    return false;
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
    sh_meta_snapshot_free(snapshot);
}

static ShStatus find_target(const ShMetaSnapshot *snapshot, const ShTarget *target, const ShMetaTopic **out,
                            ShError *err)
{
    bool has_name = target->topic != NULL && target->topic_length > 0;
    if (!has_name && !target->has_topic_id)
        return sh_fail(err, SH_INVALID, "the request names no topic: give its name, its id, or both");
    const ShMetaTopic *topic = has_name ? sh_meta_find(&snapshot->meta, target->topic, target->topic_length)
                                        : sh_meta_snapshot_find_id(snapshot, &target->topic_id);
    if (topic == NULL || (target->has_topic_id && !sh_uuid_equal(&topic->topic_id, &target->topic_id)))
        return fail_target(target, topic, err);
    *out = topic;
    return SH_OK;
}

/* There is no topic of the target's name, or id, or the one of its name has another id. */
static ShStatus fail_target(const ShTarget *target, const ShMetaTopic *topic, ShError *err)
{
    int name_length = target->topic_length > 249 ? 249 : (int)target->topic_length;
    char id[SH_UUID_TEXT_BYTES] = "";
    if (target->has_topic_id)
        sh_uuid_format(&target->topic_id, id);
    if (topic == NULL && target->topic != NULL && name_length > 0)
        return sh_fail(err, SH_NOT_FOUND, "there is no topic \"%.*s\"", name_length, target->topic);
    if (topic == NULL)
        return sh_fail(err, SH_NOT_FOUND,
                       "there is no topic with the id %s: it was dropped, or never existed", id);
    return sh_fail(err, SH_NOT_FOUND,
                   "topic \"%.*s\" was dropped and created again: the id %s is no longer its id; "
                   "ask for the metadata and start anew",
                   name_length, target->topic, id);
}
