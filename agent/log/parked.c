#include "agent/log/parked.h"

#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

#define FULL_RETRY_MS 200

static ShParkedPart *find(ShParked *parked, const ShTarget *target);
static struct ShParkedBucket *name_bucket(ShParked *parked, const ShTarget *target);
static struct ShParkedBucket *id_bucket(ShParked *parked, const ShTarget *target);
static size_t hash(const ShParked *parked, const void *bytes, size_t length, int32_t partition);
static bool same_target(const ShTarget *a, const ShTarget *b);
static ShParkedPart *push(ShParked *parked, ShAppend *append, ShAppendPart *part, bool asks);
static ShParkedPart *new_entry(ShAppend *append, ShAppendPart *part);
static void try_again(void *arg, ShStatus status, const ShError *err);
static void pop(ShParked *parked);

ShStatus sh_parked_init(ShParked *parked, ShError *err)
{
    ShUuid random = {{0}};
    ShStatus status = sh_uuid_random(&random, err);
    memset(parked, 0, sizeof *parked);
    parked->seed = sh_get_u64(random.bytes);
    STAILQ_INIT(&parked->list);
    pthread_mutex_init(&parked->lock, NULL);
    return status;
}

void sh_parked_destroy(ShParked *parked)
{
    pthread_mutex_destroy(&parked->lock);
}

bool sh_parked_follow(ShEngine *engine, ShAppend *append, ShAppendPart *part, bool asks)
{
    ShParked *parked = &engine->parked;
    if (atomic_load_explicit(&parked->count, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&parked->lock);
    bool follows = find(parked, &part->target) != NULL;
    bool is_full = follows && push(parked, append, part, asks) == NULL;
    pthread_mutex_unlock(&parked->lock);
    if (is_full)
        sh_append_finish(append);
    else if (follows && asks)
        sh_engine_meta_refresh(engine, try_again, engine);
    return follows;
}

bool sh_parked_add(ShEngine *engine, ShAppend *append, ShAppendPart *part)
{
    pthread_mutex_lock(&engine->parked.lock);
    bool added = push(&engine->parked, append, part, true) != NULL;
    pthread_mutex_unlock(&engine->parked.lock);
    if (added)
        sh_engine_meta_refresh(engine, try_again, engine);
    return added;
}

/* With the lock held: one that waits for the same partition, or NULL. */
static ShParkedPart *find(ShParked *parked, const ShTarget *target)
{
    ShParkedPart *entry = NULL;
    if (target->topic_length > 0) {
        LIST_FOREACH(entry, name_bucket(parked, target), name_link)
        if (same_target(&entry->target, target))
            return entry;
    }
    if (target->has_topic_id) {
        LIST_FOREACH(entry, id_bucket(parked, target), id_link)
        if (same_target(&entry->target, target))
            return entry;
    }
    return NULL;
}

static struct ShParkedBucket *name_bucket(ShParked *parked, const ShTarget *target)
{
    return &parked->by_name[hash(parked, target->topic, target->topic_length, target->partition)];
}

static struct ShParkedBucket *id_bucket(ShParked *parked, const ShTarget *target)
{
    return &parked->by_id[hash(parked, target->topic_id.bytes, sizeof target->topic_id.bytes,
                               target->partition)];
}

/* FNV-1a from a secret start. */
static size_t hash(const ShParked *parked, const void *bytes, size_t length, int32_t partition)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t value = (parked->seed ^ (uint32_t)partition) * prime;
    for (size_t i = 0; i < length; i++)
        value = (value ^ ((const uint8_t *)bytes)[i]) * prime;
    return (size_t)((value ^ value >> 32) * 0x9e3779b97f4a7c15 >> (64 - SH_PARKED_BUCKET_BITS));
}

static bool same_target(const ShTarget *a, const ShTarget *b)
{
    if (a->partition != b->partition)
        return false;
    if (a->topic_length > 0 && b->topic_length > 0)
        return a->topic_length == b->topic_length && memcmp(a->topic, b->topic, a->topic_length) == 0;
    return a->has_topic_id && b->has_topic_id && sh_uuid_equal(&a->topic_id, &b->topic_id);
}

/* With the lock held; `asks`: it waits for a look of its own. NULL: there is no room, the part's error says
 * so. */
static ShParkedPart *push(ShParked *parked, ShAppend *append, ShAppendPart *part, bool asks)
{
    bool is_full = atomic_load(&parked->count) >= SH_PARKED_MAX;
    ShParkedPart *entry = is_full ? NULL : new_entry(append, part);
    if (entry == NULL) {
        ShStatus status = sh_fail(
            &part->error, SH_EXHAUSTED,
            "too many records of partitions that are not known here wait for a look at the cluster");
        (void)sh_fail_retry_after(&part->error, status, FULL_RETRY_MS);
        return NULL;
    }
    if (asks)
        entry->look = ++parked->looks_wanted;
    STAILQ_INSERT_TAIL(&parked->list, entry, link);
    if (entry->target.topic_length > 0)
        LIST_INSERT_HEAD(name_bucket(parked, &entry->target), entry, name_link);
    if (entry->target.has_topic_id)
        LIST_INSERT_HEAD(id_bucket(parked, &entry->target), entry, id_link);
    atomic_fetch_add(&parked->count, 1);
    return entry;
}

static ShParkedPart *new_entry(ShAppend *append, ShAppendPart *part)
{
    ShParkedPart *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->append = append;
    entry->part = part;
    entry->target = part->target;
    if (entry->target.topic_length > sizeof entry->topic)
        entry->target.topic_length = sizeof entry->topic;
    if (entry->target.topic_length > 0)
        memcpy(entry->topic, part->target.topic, entry->target.topic_length);
    entry->target.topic = entry->topic;
    return entry;
}

/* Try all that a look was made for, in order. What came while this one was under way may not have been seen
 * by it, and has a later one. An entry leaves the list only after its try, so that none overtakes it. */
static void try_again(void *arg, ShStatus status, const ShError *err)
{
    ShEngine *engine = arg;
    ShParked *parked = &engine->parked;
    pthread_mutex_lock(&parked->lock);
    bool busy = parked->busy;
    parked->busy = true;
    parked->looks_done++;
    ShParkedPart *entry;
    while (!busy && (entry = STAILQ_FIRST(&parked->list)) != NULL && entry->look <= parked->looks_done) {
        pthread_mutex_unlock(&parked->lock);
        ShAppend *append = entry->append;
        ShStatus tried = status;
        if (status == SH_OK)
            tried = sh_append_try(engine, append, entry->part);
        else
            entry->part->error = *err;
        pthread_mutex_lock(&parked->lock);
        pop(parked);
        if (tried != SH_OK) {
            pthread_mutex_unlock(&parked->lock);
            sh_append_finish(append);
            pthread_mutex_lock(&parked->lock);
        }
    }
    if (!busy)
        parked->busy = false;
    pthread_mutex_unlock(&parked->lock);
}

/* With the lock held. */
static void pop(ShParked *parked)
{
    ShParkedPart *entry = STAILQ_FIRST(&parked->list);
    STAILQ_REMOVE_HEAD(&parked->list, link);
    if (entry->target.topic_length > 0)
        LIST_REMOVE(entry, name_link);
    if (entry->target.has_topic_id)
        LIST_REMOVE(entry, id_link);
    atomic_fetch_sub(&parked->count, 1);
    free(entry);
}
