/*
 * metrics_text.h - the text of the metrics, made a few times a second however often it is asked for.
 *
 * Making it walks all metrics and asks whoever refreshes theirs. Who scrapes gets a text of this moment;
 * whoever asks in a loop gets, after a burst, one that is up to SH_METRICS_TEXT_AGE_MS old. For one thread.
 */
#ifndef SH_AGENT_HTTP_METRICS_TEXT_H
#define SH_AGENT_HTTP_METRICS_TEXT_H

#include <stdint.h>

#include "core/codec.h"

#define SH_METRICS_TEXT_AGE_MS 100
#define SH_METRICS_TEXT_BURST  20

/* Zero-initialise it. */
typedef struct ShMetricsText {
    ShScratch text;
    int64_t due_ms; /* when the text would be made next, were it made evenly */
} ShMetricsText;

/* Append the text to `out`. `now_ms` is of sh_clock_now_ms. */
ShStatus sh_metrics_text_append(ShMetricsText *metrics, int64_t now_ms, ShScratch *out,
                                ShError *err) SH_MUST_CHECK;
/* A zeroed one is fine. */
void sh_metrics_text_free(ShMetricsText *metrics);

#endif
