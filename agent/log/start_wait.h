/*
 * start_wait.h - what an agent that is starting waits for: a store or a PostgreSQL that is busy or gone is
 * there again some time, and an agent that gives up meanwhile only makes somebody start it again.
 */
#ifndef SH_AGENT_LOG_START_WAIT_H
#define SH_AGENT_LOG_START_WAIT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/log/engine.h"

/* Try the store out until it does its part, or refuses in a way that waiting does not change (its key, its
 * bucket, a certificate): that is returned. */
ShStatus sh_start_wait_for_store(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* Look at PostgreSQL, on the control thread's connection, until it answers as agents need it (a server that
 * is starting, has no connection free or is a standby may do so later), or refuses in a way that waiting does
 * not change: that is returned. */
ShStatus sh_start_wait_for_postgres(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* A step of the start. */
typedef ShStatus (*ShStartStepFn)(ShEngine *engine, ShError *err);

/* Open the write-ahead log by `open`, and wait until its disk has room for a file of it. */
ShStatus sh_start_wait_for_disk(ShEngine *engine, ShStartStepFn open, ShError *err) SH_MUST_CHECK;

/* Try `step` until it succeeds or fails in a way that is not retriable, or the engine is stopped; `what` as
 * for sh_start_wait_note. */
ShStatus sh_start_wait_for(ShEngine *engine, const char *what, ShStartStepFn step,
                           ShError *err) SH_MUST_CHECK;

/* A step of the start failed for want of `what`, "store", "postgresql" or "disk", and is tried again: say so,
 * in the log now and then, and to whoever asks sh_engine_start_waits, until sh_start_wait_over. Any thread.
 */
void sh_start_wait_note(const char *what, const ShError *err);
void sh_start_wait_over(void);

#endif
