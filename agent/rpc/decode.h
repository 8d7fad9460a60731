/*
 * decode.h - fetched batches as structured records, for readers that decode none.
 */
#ifndef SH_AGENT_RPC_DECODE_H
#define SH_AGENT_RPC_DECODE_H

#include "agent/log/engine.h"
#include "agent/rpc/checker.h"

/* Encode the part's records from its offset on as fields `number` of type Record into tools->encoded, until
 * they have `bytes_max` bytes. With `is_first` at least one comes, however large; else perhaps none.
 * part->next_offset then says where to continue: a batch that unfolds to more than one answer's bytes is read
 * on from its middle. Damage is put into part->error if nothing was decoded before it. What was accepted is
 * read, whatever the settings say by now. False: the first batch unfolds to more than
 * SH_CHECK_INLINE_BYTES_MAX, which is too much `is_inline`; the part is left as it was. */
bool sh_decode_records(ShCheckTools *tools, uint32_t number, size_t bytes_max, bool is_first, bool is_inline,
                       ShFetchPart *part);

#endif
