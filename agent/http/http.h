/*
 * http.h - the agent's HTTP server: liveness, readiness and metrics.
 *
 *   GET /health    200 while the process works
 *   GET /ready     200, or 503 with the reason
 *   GET /metrics   Prometheus' text format
 *
 * Only this folder and agent/registry/server.c know libmicrohttpd.
 */
#ifndef SH_AGENT_HTTP_HTTP_H
#define SH_AGENT_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/address.h"
#include "core/status.h"

typedef struct ShHttp ShHttp;

/* Whether the agent can serve; if not, why, in at most `reason_bytes` with the NUL. Called from the server's
 * thread; must not block. */
typedef bool (*ShHttpReadyFn)(void *arg, char *reason, size_t reason_bytes);

/* Listen on `address` (host:port; port 0: any free one) and serve in a thread of its own. `bound_address`
 * receives where it listens. SH_INVALID for an address that is none; SH_UNAVAILABLE when it cannot be bound,
 * naming it. */
ShStatus sh_http_start(const char *address, ShHttpReadyFn ready, void *arg, ShHttp **out,
                       char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err) SH_MUST_CHECK;

/* Stop listening, end what is under way and free the server. NULL is allowed. */
void sh_http_stop(ShHttp *http);

#endif
