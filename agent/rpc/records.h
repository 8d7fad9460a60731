/*
 * records.h - structured records of a request as a batch, for clients that build none.
 */
#ifndef SH_AGENT_RPC_RECORDS_H
#define SH_AGENT_RPC_RECORDS_H

#include "agent/log/engine.h"
#include "agent/rpc/checker.h"
#include "agent/rpc/wire.h"
#include "core/batch.h"

/* A record may have so many headers. */
#define SH_RECORD_HEADERS_MAX 1024

/* Build one batch from the records of `partition` with a builder of `tools`: from those that `watch` (NULL:
 * nobody) finds good. The batch is released by the caller; NULL when no record is good. A record's timestamp
 * 0 becomes the current time. SH_INVALID for a codec that does not exist, SH_TOO_LARGE beyond the limits. */
ShStatus sh_records_build(ShCheckTools *tools, const ShWirePartition *partition, const ShBatchLimits *limits,
                          ShBatchWatch *watch, ShBuf **out, ShError *err) SH_MUST_CHECK;

/* Build the part's batches anew without its misfits, those of which nothing is left not at all; they are in
 * one buffer, which the caller releases. */
ShStatus sh_records_drop_misfits(ShCheckTools *tools, ShAppendPart *part, const ShBatchLimits *limits,
                                 ShBuf **out, ShError *err) SH_MUST_CHECK;

#endif
