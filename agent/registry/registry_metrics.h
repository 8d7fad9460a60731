/*
 * registry_metrics.h - what the schema registry counts. Only the files of registry/ include it.
 */
#ifndef SH_AGENT_REGISTRY_REGISTRY_METRICS_H
#define SH_AGENT_REGISTRY_REGISTRY_METRICS_H

#include <stdint.h>

#include "agent/base/metrics.h"
#include "agent/registry/cache.h"
#include "agent/registry/routes.h"

#define SH_REGISTRY_STATUSES 12

typedef struct ShRegistryMetrics {
    /* By route and status, made when they first happen. */
    ShMetric *_Atomic requests[SH_REGISTRY_ROUTES_MAX][SH_REGISTRY_STATUSES];
    ShMetric *duration;
    ShMetric *hits;
    ShMetric *misses;
    ShMetric *bytes;
    ShRegistryCache *cache;
} ShRegistryMetrics;

void sh_registry_metrics_start(ShRegistryMetrics *metrics, ShRegistryCache *cache);
/* A zeroed one is fine. */
void sh_registry_metrics_stop(ShRegistryMetrics *metrics);

void sh_registry_metrics_count(ShRegistryMetrics *metrics, int route, unsigned status, int64_t us);
void sh_registry_metrics_count_found(ShRegistryMetrics *metrics, ShRegistryFound found);

#endif
