/*
 * cache.h - schemas that were asked for by id, so that most look-ups do not reach PostgreSQL.
 *
 * What an id names never changes. But it can go, when all its versions are deleted for good, at any agent: so
 * an entry is old after SH_REGISTRY_CACHE_FRESH_MS, and one of those who ask for it then is told to look. The
 * cache keeps to its bounds by forgetting what was used longest ago. Any thread.
 */
#ifndef SH_AGENT_REGISTRY_CACHE_H
#define SH_AGENT_REGISTRY_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define SH_REGISTRY_CACHE_FRESH_MS 5000

typedef struct ShRegistryCache ShRegistryCache;

/* The forms in which a schema is answered. */
typedef enum ShRegistryForm {
    SH_REGISTRY_FORM_OBJECT,
    SH_REGISTRY_FORM_TEXT,
    SH_REGISTRY_FORM_OBJECT_SERIALIZED,
    SH_REGISTRY_FORM_TEXT_SERIALIZED
} ShRegistryForm;

typedef enum ShRegistryFound {
    SH_REGISTRY_FOUND_NOTHING,
    SH_REGISTRY_FOUND_FRESH,
    SH_REGISTRY_FOUND_OLD /* good if PostgreSQL cannot be asked; others get it as fresh meanwhile */
} ShRegistryFound;

/* `bytes_max` 0: it keeps nothing. */
ShStatus sh_registry_cache_new(int64_t bytes_max, ShRegistryCache **out, ShError *err) SH_MUST_CHECK;
/* NULL is fine. */
void sh_registry_cache_free(ShRegistryCache *cache);

/* `*body` is a copy, from malloc. */
ShRegistryFound sh_registry_cache_get(ShRegistryCache *cache, int32_t id, ShRegistryForm form, char **body,
                                      size_t *body_bytes);
/* The bytes are copied. What does not fit, or for which memory is short, is not kept. */
void sh_registry_cache_put(ShRegistryCache *cache, int32_t id, ShRegistryForm form, const char *body,
                           size_t body_bytes);
void sh_registry_cache_remove(ShRegistryCache *cache, int32_t id, ShRegistryForm form);
/* For when something was deleted for good. */
void sh_registry_cache_clear(ShRegistryCache *cache);
int64_t sh_registry_cache_bytes(ShRegistryCache *cache);

#endif
