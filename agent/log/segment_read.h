/*
 * segment_read.h - ranges of batches from the store, through the cache; on read threads only.
 */
#ifndef SH_AGENT_LOG_SEGMENT_READ_H
#define SH_AGENT_LOG_SEGMENT_READ_H

#include "agent/log/read_cache.h"
#include "agent/pg/pg.h"

/* The range that holds `offset`, or the one that begins with the next record above it. `*found` is false when
 * the index has none. `out->bytes` comes with a reference on its owner. `*cached` tells whether the store was
 * spared. Errors: SH_CORRUPT when an object is damaged or missing, what the store and PostgreSQL say
 * otherwise. */
ShStatus sh_segment_read(struct ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                         ShRange *out, bool *found, bool *cached, ShError *err) SH_MUST_CHECK;

/* Read the range that begins at `offset` into the cache, for a reader who is about to ask for it. At most
 * SH_AHEAD_CHUNK_BYTES, or one batch. */
ShStatus sh_segment_read_ahead(struct ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                               ShError *err) SH_MUST_CHECK;

#define SH_AHEAD_CHUNK_BYTES (4 << 20)

#endif
