#include "agent/log/log_metrics.h"

#include "agent/log/engine_internal.h"

void sh_log_metrics_init(ShLogMetrics *metrics)
{
    const char *fetched = "Bytes of record batches served to readers, by where they came from.";
    metrics->records = sh_metric_counter("streamhouse_producer_records_total", NULL,
                                         "Records accepted from producers.");
    metrics->bytes = sh_metric_counter("streamhouse_producer_bytes_total", NULL,
                                       "Bytes of record batches accepted from producers.");
    metrics->misfits = sh_metric_counter("streamhouse_producer_invalid_records_total", NULL,
                                         "Records refused because they do not fit their topic's schemas.");
    metrics->append_duration = sh_metric_histogram(
        "streamhouse_producer_latency_seconds", NULL,
        "Time from taking in a partition's batches to their acknowledgement.");
    metrics->flush_duration = sh_metric_histogram("streamhouse_flush_duration_seconds", NULL,
                                                  "Time to put an object together.");
    metrics->upload_duration = sh_metric_histogram("streamhouse_upload_duration_seconds", NULL,
                                                   "Time of an object's upload that succeeded.");
    metrics->publish_duration = sh_metric_histogram("streamhouse_publish_duration_seconds", NULL,
                                                    "Time of a publish call that succeeded.");
    metrics->unpublished_bytes = sh_metric_gauge("streamhouse_unpublished_bytes", NULL,
                                                 "Bytes accepted and not yet visible in PostgreSQL's index.");
    metrics->memory_bytes = sh_metric_gauge("streamhouse_memory_budget_used_bytes", NULL,
                                            "Memory counted against the budget: waiting records and caches.");
    metrics->partition_count = sh_metric_gauge("streamhouse_partition_count", NULL,
                                               "Partitions this agent owns.");
    metrics->fetches_waiting = sh_metric_gauge("streamhouse_fetches_waiting", NULL,
                                               "Fetches that wait for records.");
    metrics->fetch_tail_bytes = sh_metric_counter("streamhouse_fetch_bytes_total", "source=\"tail\"",
                                                  fetched);
    metrics->fetch_cache_bytes = sh_metric_counter("streamhouse_fetch_bytes_total", "source=\"cache\"",
                                                   fetched);
    metrics->fetch_store_bytes = sh_metric_counter("streamhouse_fetch_bytes_total", "source=\"store\"",
                                                   fetched);
}

void sh_log_metrics_refresh(void *arg)
{
    ShEngine *engine = arg;
    ShPartition **partitions = NULL;
    size_t count = 0;
    int64_t owned = 0;
    int64_t unpublished = 0;
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        ShPartition *partition = partitions[i];
        pthread_mutex_lock(&partition->mutex);
        owned += sh_partition_is_owned(partition);
        for (uint64_t seq = partition->published; seq < partition->ring.end; seq++)
            unpublished += (int64_t)sh_batch_ring_at(&partition->ring, seq)->wal.batch.length;
        pthread_mutex_unlock(&partition->mutex);
    }
    sh_partition_list_free(partitions, count);
    pthread_mutex_lock(&engine->fetcher.lock);
    sh_metric_set(engine->metrics.fetches_waiting, (int64_t)engine->fetcher.heap_count);
    pthread_mutex_unlock(&engine->fetcher.lock);
    sh_metric_set(engine->metrics.partition_count, owned);
    sh_metric_set(engine->metrics.unpublished_bytes, unpublished);
    sh_metric_set(engine->metrics.memory_bytes, sh_memory_used(&engine->memory));
}
