/*
 * firm.h - how far the tail of an owned partition can no longer change, so that readers may have it.
 *
 * A batch that is durable and whose producer has not heard so yet may still be void: should this agent be cut
 * off, its producer sends the batch again to the next owner, which claims the sequences from the producer's
 * first unacknowledged one on (claims.h). A reader that had it would see the records at two offsets. So the
 * tail is served up to the first batch of which that can be, in whole or in part: one of an idempotent
 * producer that has not said, by a first_unacked_seq behind all of it, that it knows of the acknowledgement.
 * What is published is firm, and what has no producer id.
 */
#ifndef SH_AGENT_LOG_FIRM_H
#define SH_AGENT_LOG_FIRM_H

#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/log/partition.h"

/* With the partition's mutex held: batches became durable or published, or a producer has said more. Wakes
 * readers when the firm end has moved. */
void sh_firm_advance(ShEngine *engine, ShPartition *partition);

/* With the partition's mutex held: this epoch of the producer knows everything below `first_unacked`
 * acknowledged. */
void sh_firm_note(ShEngine *engine, ShPartition *partition, int64_t producer_id, int16_t producer_epoch,
                  int32_t first_unacked);

/* With the partition's mutex held: the end of what readers may have here. */
int64_t sh_firm_end(const ShPartition *partition);

#endif
