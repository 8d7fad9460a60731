/*
 * fault.h - named places where a test can make a call fail, stall or kill the process.
 *
 * STREAMHOUSE_FAULTS="wal.fdatasync=error:2,store.put=crash,pg.publish.reply=error" arms them at start:
 * `error` fails the call, `error:N` its first N passes, `crash` is _exit(137) at the spot, `stall:MS` delays
 * it. Unarmed, a point costs one relaxed load. Names are listed in docs/internals/faults.md.
 */
#ifndef SH_AGENT_BASE_FAULT_H
#define SH_AGENT_BASE_FAULT_H

#include <stdbool.h>

#include "core/status.h"

/* Arm points from text as above; SH_INVALID when it does not parse. NULL or "" disarms all. */
ShStatus sh_fault_arm(const char *spec, ShError *err) SH_MUST_CHECK;

/* True when the call at this point shall fail. Crashes or stalls by itself. */
bool sh_fault_hit(const char *point);

#endif
