/*
 * process_metrics.h - what the process takes from its host, as metrics.
 */
#ifndef SH_AGENT_BASE_PROCESS_METRICS_H
#define SH_AGENT_BASE_PROCESS_METRICS_H

#include <stdint.h>

/* Create the metrics; they are read from /proc when metrics are printed. Call once, at start. */
void sh_process_metrics_start(void);

/* Resident memory of the process; 0 when /proc does not tell. */
int64_t sh_process_resident_bytes(void);

#endif
