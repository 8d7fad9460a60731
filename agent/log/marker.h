/*
 * marker.h - the chain of marker objects that shows whether another database works with this store.
 */
#ifndef SH_AGENT_LOG_MARKER_H
#define SH_AGENT_LOG_MARKER_H

#include "core/status.h"

struct ShEngine;

/* On the garbage thread: if it is this agent's turn, look at the markers and make the next one. That somebody
 * else has made it first is no failure: PostgreSQL notes it, and gives no garbage out. */
ShStatus sh_marker_renew(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
