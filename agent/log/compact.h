/*
 * compact.h - the thread that rewrites a partition's small objects into one large one.
 *
 * PostgreSQL says which segments; their batches are read, put into an object of their own, and the rows of
 * the index are swapped. A crash at any point leaves either the old rows, and an object that nobody knows, or
 * the new ones, and old objects that are garbage.
 */
#ifndef SH_AGENT_LOG_COMPACT_H
#define SH_AGENT_LOG_COMPACT_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/base/metrics.h"
#include "agent/log/engine.h"
#include "agent/pg/pg_garbage.h"
#include "agent/store/store.h"
#include "core/segment.h"

typedef struct ShCompactor {
    pthread_t thread;
    bool started;
    ShPg *pg;
    ShMetric *swapped;
    ShMetric *refused;
    ShMetric *bytes;
    ShMetric *segments;
} ShCompactor;

void sh_compact_init(ShCompactor *compactor);
/* Not when compaction_rate is 0. */
ShStatus sh_compact_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread; `stopping` is set already. */
void sh_compact_stop(ShEngine *engine);

/* A compacted object on its way. Zero-initialise it; freed by sh_compaction_free. */
typedef struct ShCompaction {
    const ShPgSource *sources; /* borrowed */
    size_t source_count;
    ShSegmentWriterId id;
    char key[SH_STORE_KEY_BYTES_MAX];
    ShSegmentWriter *writer;
    ShSegmentObject object; /* borrows from writer */
    ShPgCompacted *rows;    /* one for each run of the object */
    size_t row_count;
} ShCompaction;

/* Read the sources at the pace of compaction_rate and build the object (compact_build.c). SH_CANCELLED when
 * the agent is stopping or leaving; SH_NOT_FOUND when a source is gone by now; SH_CORRUPT names the object.
 */
ShStatus sh_compaction_build(ShEngine *engine, ShCompaction *compaction, ShError *err) SH_MUST_CHECK;
void sh_compaction_free(ShCompaction *compaction);

#endif
