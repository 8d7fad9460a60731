/*
 * last_results.h - what an agent that starts over leaves in the store for itself and others.
 */
#ifndef SH_AGENT_LOG_LAST_RESULTS_H
#define SH_AGENT_LOG_LAST_RESULTS_H

#include <stdint.h>

#include "core/status.h"

struct ShEngine;

/* When the engine ends because the database lost history: put the results of publishes that no object carries
 * yet into one of its own, so that records of `object` topics whose offsets the database has forgotten get
 * them back (present.c). Called with all threads ended, when the engine has been stopping since `begun_ms`. A
 * store that is away is no failure, nor is one that may take longer than the stop: the process keeps the
 * object for the next engine; only if it ends before, these records wait for an operator. */
void sh_last_results_leave(struct ShEngine *engine, int64_t begun_ms);

/* Store what an earlier engine of this process could not, before the store is looked through. */
ShStatus sh_last_results_send(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
