/*
 * produce_check.h - the partitions of a ProduceRequest, checked one after the other: here, or later
 * elsewhere.
 *
 * A worker serves everybody, so it gives a request 2 ms, and lets a batch unfold to 4 MiB. What wants more is
 * postponed, from the part on at which that was seen, and goes on at the checker (checker.h) with the bounds
 * of a request: what its batches unfold to together, and 10 s.
 */
#ifndef SH_AGENT_RPC_PRODUCE_CHECK_H
#define SH_AGENT_RPC_PRODUCE_CHECK_H

#include "agent/rpc/checker.h"
#include "agent/rpc/produce_request.h"

/* Check the partitions from request->next_part on: accepted ones go to the front of request->parts, refused
 * ones to its end. `is_inline`: on the worker; SH_OK with request->is_postponed set when the rest is for the
 * checker. `last` (NULL allowed) is the last part as it was read when the request was counted: all of a small
 * one, which is not read again. An error: the message cannot be understood. */
ShStatus sh_produce_check(ShProduceRequest *request, ShCheckTools *tools, const ShWirePartition *last,
                          bool is_inline, ShError *err) SH_MUST_CHECK;

#endif
