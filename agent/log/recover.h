/*
 * recover.h - what the WAL had left when the agent starts.
 */
#ifndef SH_AGENT_LOG_RECOVER_H
#define SH_AGENT_LOG_RECOVER_H

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

/* Publish the WAL's batches in the epochs that they were accepted in, and seal these. The flusher and the
 * pipeline run already; no call is served yet. Blocks until PostgreSQL has a committed disposition for every
 * batch. SH_UNSUPPORTED when it refuses one: nothing is discarded. */
ShStatus sh_recover(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

#endif
