/*
 * segment_read.h - ranges of batches from the store, through the cache; on read threads only.
 */
#ifndef SH_AGENT_LOG_SEGMENT_READ_H
#define SH_AGENT_LOG_SEGMENT_READ_H

#include <stdatomic.h>
#include <stdbool.h>

#include "agent/log/read_cache.h"
#include "agent/pg/pg.h"

typedef struct ShSegmentRead {
    const atomic_bool *given_up; /* nobody waits for it any more; NULL: somebody does */
    int reads_max;               /* of the store, about; 0: as many as it takes */
    ShSearchedPlace *searched;   /* with `reads_max`: how far an earlier call came, and this one */
    /* results */
    bool found;    /* false: the index has nothing at or above the offset */
    bool goes_on;  /* `reads_max` was reached: there is no range yet, and the next call goes on from there */
    ShRange range; /* with a reference on the owner of its bytes */
    int store_reads; /* also after an error; 0: it was in the cache */
} ShSegmentRead;

/* The range that holds `offset`, or the one that begins with the next record above it. Errors: SH_CORRUPT
 * when an object is damaged or missing, SH_CANCELLED, what the store and PostgreSQL say otherwise. */
ShStatus sh_segment_read(struct ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                         ShSegmentRead *read, ShError *err) SH_MUST_CHECK;

/* Read the range that begins at `offset` into the cache, for a reader who is about to ask for it. At most
 * SH_AHEAD_CHUNK_BYTES, or one batch. */
ShStatus sh_segment_read_ahead(struct ShEngine *engine, ShPg *pg, ShPartition *partition, int64_t offset,
                               ShError *err) SH_MUST_CHECK;

#define SH_AHEAD_CHUNK_BYTES (4 << 20)

#endif
