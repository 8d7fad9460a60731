/*
 * rpc.h - the gRPC server: the services of proto/, health checking and reflection, over the engine.
 */
#ifndef SH_AGENT_RPC_RPC_H
#define SH_AGENT_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/config.h"
#include "agent/log/engine.h"
#include "core/status.h"

typedef struct ShRpc ShRpc;

/* Bind the listen address (not shared with anybody: a port in use is SH_UNAVAILABLE naming it), without
 * serving yet.
 * `*bound` is the "host:port" that was bound, owned by the server. */
ShStatus sh_rpc_bind(const ShConfig *config, ShRpc **out, const char **bound, ShError *err) SH_MUST_CHECK;

/* Begin to serve calls with the engine. Calls that come between bind and serve wait. */
ShStatus sh_rpc_serve(ShRpc *rpc, ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* Does the server answer at its own port? It looks every few seconds; this is what it saw last, and does not
 * block.
 * `*failures` (NULL allowed) is how many looks in a row have failed, the last of them as `why` says. Any
 * thread. */
bool sh_rpc_reachable(const ShRpc *rpc, int64_t *failures, char *why, size_t why_bytes);

/* Health turns NOT_SERVING; new produce calls are refused by the engine; other calls are served. */
void sh_rpc_drain(ShRpc *rpc);

/* Stop: no new calls, at most `grace_ms` for those under way, then they are cancelled. Frees. NULL allowed.
 * After it returns the engine is no longer used. */
void sh_rpc_stop(ShRpc *rpc, int64_t grace_ms);

#endif
