/*
 * rebuild.h - the index out of the store alone: the newest snapshot that is whole, into an empty database.
 */
#ifndef SH_AGENT_LOG_REBUILD_H
#define SH_AGENT_LOG_REBUILD_H

#include <stdio.h>

#include "agent/base/config.h"
#include "core/status.h"

/* Find the newest snapshot in the store that is whole, put it into the database, where nothing is known yet,
 * and begin a term above all that the store tells of. What came after the snapshot the agents present when
 * they start. Prints what was done, and what was found damaged, to `out`, a line each. Blocks. */
ShStatus sh_rebuild(const ShConfig *config, FILE *out, ShError *err) SH_MUST_CHECK;

#endif
