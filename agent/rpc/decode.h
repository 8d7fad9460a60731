/*
 * decode.h - fetched batches as structured records, for readers that decode none.
 */
#ifndef SH_AGENT_RPC_DECODE_H
#define SH_AGENT_RPC_DECODE_H

#include "agent/log/engine.h"
#include "agent/rpc/worker.h"

/* Encode the part's records from its offset on as fields `number` of type Record into worker->encoded, until
 * they have `bytes_max` bytes. With `is_first` at least one comes, however large; else perhaps none.
 * part->next_offset then says where to continue: a batch that unfolds to more than one answer's bytes is read
 * on from its middle. Damage is put into part->error if nothing was decoded before it. What was accepted is
 * read, whatever the settings say by now. */
void sh_decode_records(ShWorker *worker, uint32_t number, size_t bytes_max, bool is_first, ShFetchPart *part);

#endif
