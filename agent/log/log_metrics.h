/*
 * log_metrics.h - what the engine counts and measures.
 */
#ifndef SH_AGENT_LOG_LOG_METRICS_H
#define SH_AGENT_LOG_LOG_METRICS_H

#include "agent/base/metrics.h"

struct ShEngine;

typedef struct ShLogMetrics {
    ShMetric *records;
    ShMetric *bytes;
    ShMetric *misfits;
    ShMetric *append_duration;
    ShMetric *flush_duration;
    ShMetric *upload_duration;
    ShMetric *publish_duration;
    ShMetric *unpublished_bytes;
    ShMetric *memory_bytes;
    ShMetric *partition_count;
    ShMetric *fetches_waiting;
    ShMetric *fetch_tail_bytes;
    ShMetric *fetch_cache_bytes;
    ShMetric *fetch_store_bytes;
} ShLogMetrics;

void sh_log_metrics_init(ShLogMetrics *metrics);

/* Bring the gauges up to date; for sh_metrics_on_print with the engine as `arg`. */
void sh_log_metrics_refresh(void *arg);

#endif
