/*
 * metrics.h - counters, gauges and histograms, printed in Prometheus' text format.
 *
 * Metrics are created once at start by the module that owns them and live as long as the process. Updates are
 * relaxed atomics. Source of the format: Prometheus, "Exposition formats", text format 0.0.4.
 */
#ifndef SH_AGENT_BASE_METRICS_H
#define SH_AGENT_BASE_METRICS_H

#include <stdint.h>

#include "core/codec.h"

typedef struct ShMetric ShMetric;

/* Find or create a metric. `name` ends in its unit (streamhouse_wal_sync_duration_seconds) and counters in
 * _total; `labels` is NULL or text such as operation="put"; `help` is one sentence. The same (name, labels)
 * gives the same metric. Aborts the process only if memory is short at start or a name is used for two types.
 */
ShMetric *sh_metric_counter(const char *name, const char *labels, const char *help);
/* A counter of time: its value counts microseconds and is printed in seconds. */
ShMetric *sh_metric_counter_seconds(const char *name, const char *labels, const char *help);
ShMetric *sh_metric_gauge(const char *name, const char *labels, const char *help);
/* A latency histogram in seconds, buckets in powers of two from 0.0001 s to about 52 s; observe in
 * microseconds. */
ShMetric *sh_metric_histogram(const char *name, const char *labels, const char *help);

void sh_metric_add(ShMetric *counter, int64_t n);
/* Of a gauge, or of a counter that mirrors what another one counts. */
void sh_metric_set(ShMetric *gauge, int64_t value);
void sh_metric_observe_us(ShMetric *histogram, int64_t us);
/* Of a histogram: the number of observations. */
int64_t sh_metric_value(const ShMetric *metric);

/* Call `refresh(arg)` before each print, to bring gauges up to date. At most 16. */
void sh_metrics_on_print(void (*refresh)(void *arg), void *arg);
void sh_metrics_forget_on_print(void (*refresh)(void *arg), void *arg);

/* Append all metrics in text format to `out`. */
ShStatus sh_metrics_print(ShScratch *out, ShError *err) SH_MUST_CHECK;

#endif
