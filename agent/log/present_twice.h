/*
 * present_twice.h - what is stored in two epochs, because the database has forgotten a claim: the batches in
 * the older one become void before readers get there.
 */
#ifndef SH_AGENT_LOG_PRESENT_TWICE_H
#define SH_AGENT_LOG_PRESENT_TWICE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/pg/pg_present.h"

#define SH_PIECES_MAX 2 /* before what becomes void, and behind it */

/* Once this agent has published what it knows: make void what PostgreSQL says is stored twice. Waits for a
 * store that is away. */
ShStatus sh_present_void_twice(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* Part a segment, whose bytes are given, around the batches that lie in what is to be void; one that only
 * overlaps it stays. Sets `*count` to how many pieces are left. The bytes are checked, and get absolute
 * offsets. SH_CORRUPT: they are not the segment's. */
ShStatus sh_present_part_twice(const ShPgTwice *twice, uint8_t *bytes, ShPgPiece *pieces, size_t *count,
                               ShError *err) SH_MUST_CHECK;

#endif
