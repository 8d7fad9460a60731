#include "agent/http/metrics_text.h"

#include <string.h>

#include "agent/base/metrics.h"

static ShStatus make(ShMetricsText *metrics, ShError *err);

ShStatus sh_metrics_text_append(ShMetricsText *metrics, int64_t now_ms, ShScratch *out, ShError *err)
{
    ShStatus status = SH_OK;
    int64_t ahead_ms = metrics->due_ms - now_ms;
    if (ahead_ms <= (SH_METRICS_TEXT_BURST - 1) * SH_METRICS_TEXT_AGE_MS) {
        metrics->due_ms = (ahead_ms > 0 ? metrics->due_ms : now_ms) + SH_METRICS_TEXT_AGE_MS;
        status = make(metrics, err);
    }
    if (status == SH_OK)
        status = sh_scratch_reserve(out, out->length + metrics->text.length, err);
    if (status != SH_OK)
        return status;
    memcpy(out->data + out->length, metrics->text.data, metrics->text.length);
    out->length += metrics->text.length;
    return SH_OK;
}

void sh_metrics_text_free(ShMetricsText *metrics)
{
    sh_scratch_free(&metrics->text);
}

static ShStatus make(ShMetricsText *metrics, ShError *err)
{
    metrics->text.length = 0;
    return sh_metrics_print(&metrics->text, err);
}
