/*
 * probe.h - the agent's look at its own port: can a client connect, and is a call answered?
 *
 * Whatever keeps clients out keeps this look out too: no descriptor, an acceptor that hangs, workers that are
 * stuck. So it goes the whole way, over a connection of its own each time, to grpc.health.v1.Health/Check and
 * back, in hand-written HTTP/2 that shares nothing with the server.
 */
#ifndef SH_AGENT_RPC_PROBE_H
#define SH_AGENT_RPC_PROBE_H

#include <stdatomic.h>

#include "agent/rpc/acceptor.h"

typedef struct ShProbe ShProbe;

/* Begin to look, every PROBE_INTERVAL_MS. `answers` rises when a client is answered: an answer to the look
 * that does not come in time is no failure while others get theirs, for the agent has much to do and does it.
 */
ShStatus sh_probe_start(ShAcceptor *acceptor, const atomic_ullong *answers, ShProbe **out,
                        ShError *err) SH_MUST_CHECK;
/* NULL allowed. */
void sh_probe_stop(ShProbe *probe);

/* False when the last look has failed; see sh_rpc_reachable. */
bool sh_probe_result(ShProbe *probe, int64_t *failures, char *why, size_t why_bytes);

#endif
