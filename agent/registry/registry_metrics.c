#include "agent/registry/registry_metrics.h"

#include <stdatomic.h>
#include <stdio.h>

/* The last stands for all others. */
static const unsigned statuses[SH_REGISTRY_STATUSES] = {200, 400, 404, 405, 406, 409,
                                                        413, 415, 422, 503, 500, 0};

static ShMetric *make_requests(int route, unsigned status);
static void refresh(void *arg);

void sh_registry_metrics_start(ShRegistryMetrics *metrics, ShRegistryCache *cache)
{
    metrics->duration = sh_metric_histogram("streamhouse_schema_registry_request_duration_seconds", NULL,
                                            "Time from a request to its answer.");
    metrics->hits = sh_metric_counter("streamhouse_schema_registry_cache_hits_total", NULL,
                                      "Look-ups by id that the cache answered.");
    metrics->misses = sh_metric_counter("streamhouse_schema_registry_cache_misses_total", NULL,
                                        "Look-ups by id for which PostgreSQL was asked.");
    metrics->bytes = sh_metric_gauge("streamhouse_schema_registry_cache_bytes", NULL,
                                     "Memory that the cache of schemas takes.");
    metrics->cache = cache;
    sh_metrics_on_print(refresh, metrics);
}

void sh_registry_metrics_stop(ShRegistryMetrics *metrics)
{
    if (metrics->cache != NULL)
        sh_metrics_forget_on_print(refresh, metrics);
    metrics->cache = NULL;
}

void sh_registry_metrics_count(ShRegistryMetrics *metrics, int route, unsigned status, int64_t us)
{
    int at = 0;
    while (at < SH_REGISTRY_STATUSES - 1 && statuses[at] != status)
        at++;
    ShMetric *requests = atomic_load_explicit(&metrics->requests[route][at], memory_order_acquire);
    if (requests == NULL) {
        requests = make_requests(route, status); /* the same for all who ask */
        atomic_store_explicit(&metrics->requests[route][at], requests, memory_order_release);
    }
    sh_metric_add(requests, 1);
    sh_metric_observe_us(metrics->duration, us);
}

void sh_registry_metrics_count_found(ShRegistryMetrics *metrics, ShRegistryFound found)
{
    sh_metric_add(found == SH_REGISTRY_FOUND_FRESH ? metrics->hits : metrics->misses, 1);
}

static ShMetric *make_requests(int route, unsigned status)
{
    char labels[128];
    snprintf(labels, sizeof labels, "route=\"%s\",status=\"%u\"", sh_registry_route_name(route), status);
    return sh_metric_counter("streamhouse_schema_registry_requests_total", labels,
                             "Requests to the schema registry that were answered.");
}

static void refresh(void *arg)
{
    ShRegistryMetrics *metrics = arg;
    sh_metric_set(metrics->bytes, sh_registry_cache_bytes(metrics->cache));
}
