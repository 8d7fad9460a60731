#include "agent/registry/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"

#define BUCKETS 4096 /* a power of two */

typedef struct Entry {
    struct Entry *next_in_bucket;
    struct Entry *newer; /* by use; the list's ends are NULL */
    struct Entry *older;
    uint64_t key;
    int64_t checked_ms;
    size_t body_bytes;
    char body[];
} Entry;

struct ShRegistryCache {
    pthread_mutex_t mutex; /* guards all below */
    size_t bytes_max;
    size_t bytes;
    Entry *newest;
    Entry *oldest;
    Entry *buckets[BUCKETS];
};

static uint64_t key_of(int32_t id, ShRegistryForm form);
static Entry **find(ShRegistryCache *cache, uint64_t key);
static void link_newest(ShRegistryCache *cache, Entry *entry);
static void unlink_use(ShRegistryCache *cache, Entry *entry);
static void drop(ShRegistryCache *cache, Entry **place);
static size_t size_of(const Entry *entry);

ShStatus sh_registry_cache_new(int64_t bytes_max, ShRegistryCache **out, ShError *err)
{
    ShRegistryCache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the cache of schemas");
    pthread_mutex_init(&cache->mutex, NULL);
    cache->bytes_max = (size_t)bytes_max;
    *out = cache;
    return SH_OK;
}

void sh_registry_cache_free(ShRegistryCache *cache)
{
    if (cache == NULL)
        return;
    sh_registry_cache_clear(cache);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

ShRegistryFound sh_registry_cache_get(ShRegistryCache *cache, int32_t id, ShRegistryForm form, char **body,
                                      size_t *body_bytes)
{
    ShRegistryFound found = SH_REGISTRY_FOUND_NOTHING;
    pthread_mutex_lock(&cache->mutex);
    Entry *entry = *find(cache, key_of(id, form));
    char *copy = entry == NULL ? NULL : malloc(entry->body_bytes + 1);
    if (copy != NULL) {
        memcpy(copy, entry->body, entry->body_bytes + 1);
        *body = copy;
        *body_bytes = entry->body_bytes;
        unlink_use(cache, entry);
        link_newest(cache, entry);
        int64_t now_ms = sh_clock_now_ms();
        found = now_ms - entry->checked_ms < SH_REGISTRY_CACHE_FRESH_MS ? SH_REGISTRY_FOUND_FRESH
                                                                        : SH_REGISTRY_FOUND_OLD;
        if (found == SH_REGISTRY_FOUND_OLD)
            entry->checked_ms = now_ms;
    }
    pthread_mutex_unlock(&cache->mutex);
    return found;
}

void sh_registry_cache_put(ShRegistryCache *cache, int32_t id, ShRegistryForm form, const char *body,
                           size_t body_bytes)
{
    if (sizeof(Entry) + body_bytes > cache->bytes_max / 2)
        return;
    Entry *entry = malloc(sizeof *entry + body_bytes + 1);
    if (entry == NULL)
        return;
    *entry = (Entry){.key = key_of(id, form), .checked_ms = sh_clock_now_ms(), .body_bytes = body_bytes};
    memcpy(entry->body, body, body_bytes);
    entry->body[body_bytes] = '\0';

    pthread_mutex_lock(&cache->mutex);
    Entry **place = find(cache, entry->key);
    if (*place != NULL)
        drop(cache, place);
    cache->bytes += size_of(entry);
    while (cache->bytes > cache->bytes_max && cache->oldest != NULL)
        drop(cache, find(cache, cache->oldest->key));
    place = find(cache, entry->key);
    entry->next_in_bucket = NULL;
    *place = entry;
    link_newest(cache, entry);
    pthread_mutex_unlock(&cache->mutex);
}

void sh_registry_cache_remove(ShRegistryCache *cache, int32_t id, ShRegistryForm form)
{
    pthread_mutex_lock(&cache->mutex);
    Entry **place = find(cache, key_of(id, form));
    if (*place != NULL)
        drop(cache, place);
    pthread_mutex_unlock(&cache->mutex);
}

void sh_registry_cache_clear(ShRegistryCache *cache)
{
    pthread_mutex_lock(&cache->mutex);
    while (cache->oldest != NULL)
        drop(cache, find(cache, cache->oldest->key));
    pthread_mutex_unlock(&cache->mutex);
}

int64_t sh_registry_cache_bytes(ShRegistryCache *cache)
{
    pthread_mutex_lock(&cache->mutex);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->mutex);
    return (int64_t)bytes;
}

static uint64_t key_of(int32_t id, ShRegistryForm form)
{
    return (uint64_t)(uint32_t)id << 2 | (uint64_t)form;
}

/* Where the entry hangs, or would hang: at the bucket's end. */
static Entry **find(ShRegistryCache *cache, uint64_t key)
{
    Entry **place = &cache->buckets[key % BUCKETS];
    while (*place != NULL && (*place)->key != key)
        place = &(*place)->next_in_bucket;
    return place;
}

static void link_newest(ShRegistryCache *cache, Entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest != NULL)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
}

static void unlink_use(ShRegistryCache *cache, Entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void drop(ShRegistryCache *cache, Entry **place)
{
    Entry *entry = *place;
    *place = entry->next_in_bucket;
    unlink_use(cache, entry);
    cache->bytes -= size_of(entry);
    free(entry);
}

static size_t size_of(const Entry *entry)
{
    return sizeof *entry + entry->body_bytes + 1;
}
