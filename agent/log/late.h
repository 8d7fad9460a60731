/*
 * late.h - records that publishing refuses because their epoch was sealed by force: they go into an epoch of
 * their own, at offsets above all others, so that they are not lost (G1).
 *
 * The publisher notes that a partition was refused; nothing of it is flushed from then on. Once no object
 * under way holds any of it, the control thread asks PostgreSQL where its batches belong, gives them those
 * offsets, and has them flushed again.
 */
#ifndef SH_AGENT_LOG_LATE_H
#define SH_AGENT_LOG_LATE_H

#include <stdbool.h>

#include "agent/log/engine.h"
#include "agent/log/flight.h"
#include "agent/pg/pg.h"

/* On the publisher thread: the run's epoch is not open any more. */
void sh_late_refuse(ShEngine *engine, const ShFlightRange *range);

/* On the publisher thread: does the run follow a refused one? Its batches come again, whatever its answer is.
 */
bool sh_late_skip(ShEngine *engine, const ShFlightRange *range);

/* On the control thread, or before it runs: settle what was refused. An answer that leaves the batches
 * without a place is fatal to the agent. */
ShStatus sh_late_settle(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* Is anything refused and not settled? */
bool sh_late_is_pending(ShEngine *engine);

#endif
