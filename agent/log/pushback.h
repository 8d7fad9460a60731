/*
 * pushback.h - what a caller is told that cannot be served now: which bound, whose fault, and when to try
 * again.
 *
 * RESOURCE_EXHAUSTED: the agent has as much as it may hold and the store takes it, at its own pace.
 * UNAVAILABLE: the store does not answer. Nothing that was accepted is given up for it (G5, G10).
 */
#ifndef SH_AGENT_LOG_PUSHBACK_H
#define SH_AGENT_LOG_PUSHBACK_H

#include <stdbool.h>

#include "core/status.h"

struct ShEngine;

/* Refuse what needs the store before it can be acknowledged: SH_UNAVAILABLE while the store refuses puts,
 * else SH_OK. */
ShStatus sh_pushback_object(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* `err` is a refusal at a bound, SH_EXHAUSTED: make it SH_UNAVAILABLE if the bound was reached because the
 * store refuses puts. Other errors stay. Returns the error's status. */
ShStatus sh_pushback_explain(struct ShEngine *engine, ShError *err);

/* A read from the store failed in a way that is the agent's trouble and not the reader's (its key is unknown,
 * its bucket is gone): make it SH_UNAVAILABLE. What is said of the object itself stays. Returns the status.
 */
ShStatus sh_pushback_store(ShStatus status, ShError *err) SH_MUST_CHECK;

/* A read from the store failed: give an error that may pass a retry delay, and call one that only waited too
 * long UNAVAILABLE, as the caller's own deadline is not over. */
void sh_pushback_read(ShError *err);

#endif
