/*
 * scrub.h - does the store hold what the index says? A pass over both, beside the agents at work.
 */
#ifndef SH_AGENT_LOG_SCRUB_H
#define SH_AGENT_LOG_SCRUB_H

#include <stdbool.h>
#include <stdio.h>

#include "agent/base/config.h"
#include "core/status.h"

/* Compare store and index and print what differs to `out`, a line each, and a summary. `*damaged` tells
 * whether published records are lost: an object is missing or has another size. Objects that the index does
 * not know are no damage. Changes nothing, registers no agent. Blocks. */
ShStatus sh_scrub(const ShConfig *config, FILE *out, bool *damaged, ShError *err) SH_MUST_CHECK;

#endif
