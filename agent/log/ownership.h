/*
 * ownership.h - taking up and handing over partitions: grant, open, release, seal.
 *
 * All on the control thread, or on the starting thread before it. Epochs are opened as soon as they are
 * granted, in one call for all, so that the first append of a partition waits for nothing.
 */
#ifndef SH_AGENT_LOG_OWNERSHIP_H
#define SH_AGENT_LOG_OWNERSHIP_H

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

/* Ask what has changed for this incarnation since the last time, at first for all, and act on it. */
ShStatus sh_ownership_update(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* Seal what is on its way out and completely published; `*sealed` counts. */
ShStatus sh_ownership_settle(ShEngine *engine, ShPg *pg, size_t *sealed, ShError *err) SH_MUST_CHECK;

/* Put every partition on its way out (for a drain). */
ShStatus sh_ownership_release_all(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* How many partitions are still owned. */
size_t sh_ownership_count(ShEngine *engine);

#endif
