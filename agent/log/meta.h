/*
 * meta.h - the cluster's metadata as this agent last heard it: an immutable snapshot that is replaced as a
 * whole.
 */
#ifndef SH_AGENT_LOG_META_H
#define SH_AGENT_LOG_META_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/log/engine.h"
#include "agent/log/partition.h"
#include "agent/pg/pg.h"

struct ShMetaSnapshot;

typedef struct ShMetaCache {
    pthread_mutex_t lock;
    struct ShMetaSnapshot *current; /* guarded by lock; one reference */
} ShMetaCache;

/* Start with an empty snapshot. */
ShStatus sh_meta_init(ShMetaCache *cache, const ShUuid *cluster_id, ShError *err) SH_MUST_CHECK;
void sh_meta_destroy(ShMetaCache *cache);

/* Replace the snapshot by the next one: of all rows, or of the one before and what has changed since. One
 * thread at a time. */
ShStatus sh_meta_update(ShMetaCache *cache, const ShUuid *cluster_id, const ShPgMetadata *metadata,
                        ShError *err) SH_MUST_CHECK;

/* What a request names. */
typedef struct ShResolved {
    ShPartition *partition; /* a reference */
    int64_t batch_bytes_max;
    ShTimeRule time_rule;
    int64_t epoch; /* as the metadata has it */
} ShResolved;

/* Find the partition and fill in the target's topic id. SH_NOT_FOUND: no such topic or partition, or the name
 * belongs to another topic than the id by now. */
ShStatus sh_meta_resolve(struct ShEngine *engine, ShTarget *target, ShResolved *out,
                         ShError *err) SH_MUST_CHECK;

/* The owner of a partition; false when none is known that has a live lease. */
bool sh_meta_owner(struct ShEngine *engine, const ShPartition *partition, ShOwner *out);

/* The id of the topic that a request means; false when the snapshot does not have it. */
bool sh_meta_topic_id(ShMetaCache *cache, const ShTarget *target, ShUuid *out);

/* The topic's durability; false when the snapshot does not have the topic. */
bool sh_meta_durability(ShMetaCache *cache, const ShUuid *topic_id, bool *object_durability);

#endif
