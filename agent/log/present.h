/*
 * present.h - in a new term: what the store and the WAL hold and the database has forgotten is presented to
 * it, before the agent asks for partitions.
 *
 * All objects that the index does not know are read, and published in the name of the WAL that wrote them.
 * What is no longer published after that was not published before either, or is in a WAL.
 */
#ifndef SH_AGENT_LOG_PRESENT_H
#define SH_AGENT_LOG_PRESENT_H

#include "agent/log/engine.h"
#include "agent/log/partition.h"
#include "agent/wal/wal.h"

/* At the start, once the agent is registered. Does nothing unless the agent is awaited by an unsettled term.
 */
ShStatus sh_present(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* During recovery: make the epoch of a batch known, unless the partition recovers it already and the batch
 * lies in it. One that was presented before may begin lower than the store has shown. */
ShStatus sh_present_epoch(ShEngine *engine, ShPartition *partition, const ShWalEntry *entry,
                          int64_t base_offset, ShError *err) SH_MUST_CHECK;

/* What the WAL held is published, and its epochs are sealed. */
ShStatus sh_present_end(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* When the engine has stopped publishing: what it uploaded without an answer, it has not acknowledged. The
 * next engine of this process does not count that as missing. */
void sh_present_note_end(const ShEngine *engine);

#endif
