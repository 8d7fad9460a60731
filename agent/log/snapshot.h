/*
 * snapshot.h - writes the index into the store now and then, so that it can be rebuilt from there.
 */
#ifndef SH_AGENT_LOG_SNAPSHOT_H
#define SH_AGENT_LOG_SNAPSHOT_H

#include "core/status.h"

struct ShEngine;

/* On the garbage thread: if a snapshot is due and it is this agent's turn, write it, and delete those before
 * the last two. The marker is renewed in between. */
ShStatus sh_snapshot_renew(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
