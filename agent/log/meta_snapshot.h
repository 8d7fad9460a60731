/*
 * meta_snapshot.h - one state of the cluster's metadata, immutable once made: from all rows, or from the
 * state before and what has changed since.
 */
#ifndef SH_AGENT_LOG_META_SNAPSHOT_H
#define SH_AGENT_LOG_META_SNAPSHOT_H

#include <stdatomic.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

typedef struct ShMetaSnapshot {
    ShMeta meta; /* first: what is handed out is cast back */
    atomic_int refs;
    ShOwner **owners; /* each agent that owns partitions once, by id, address and zone */
    size_t owner_count;
    const ShMetaTopic **by_id; /* ordered by topic id */
} ShMetaSnapshot;

/* The next state, with one reference; NULL when memory is short. `old` may be NULL, and is not looked at when
 * the rows are the whole. */
ShMetaSnapshot *sh_meta_snapshot_new(const ShMetaSnapshot *old, const ShUuid *cluster_id,
                                     const ShPgMetadata *metadata);
/* NULL is allowed. Nobody may hold a reference. */
void sh_meta_snapshot_free(ShMetaSnapshot *snapshot);

/* NULL when there is none. */
const ShMetaTopic *sh_meta_snapshot_find_id(const ShMetaSnapshot *snapshot, const ShUuid *id);

#endif
