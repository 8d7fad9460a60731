/*
 * upload.c - the upload threads: each puts one object at a time into the store, and does not give up (G5).
 */
#include "agent/log/engine_internal.h"

static bool pause_upload(ShEngine *engine, int attempt, int64_t retry_after_ms, uint64_t stored);

bool sh_upload_flight(ShEngine *engine, ShFlight *flight)
{
    for (int attempt = 0; !atomic_load(&engine->stopping); attempt++) {
        ShError err = {0};
        ShStatus status;
        int64_t started_us = sh_clock_now_us();
        uint64_t stored = sh_pipeline_stored(&engine->pipeline);
        if (sh_fault_hit("flush.before_upload"))
            status = sh_fail(&err, SH_UNAVAILABLE, "fault point flush.before_upload");
        else
            status = sh_store_put(engine->store, flight->key, flight->object.pieces,
                                  flight->object.piece_count, flight->object.total_bytes, &err);
        if (status == SH_OK) {
            sh_metric_observe_us(engine->metrics.upload_duration, sh_clock_now_us() - started_us);
            sh_pipeline_note_stored(&engine->pipeline);
            return true;
        }
        sh_log_warn("upload_failed", "key=%s bytes=%llu attempt=%d status=%s reason=\"%s\"", flight->key,
                    (unsigned long long)flight->object.total_bytes, attempt + 1, sh_status_name(status),
                    err.message);
        /* A taken key is another object's: this one needs an id of its own. */
        if (status == SH_EXISTS && sh_flight_build(engine, flight, &err) != SH_OK)
            sh_log_error("flush_failed", "publish_no=%lld reason=\"%s\"", (long long)flight->id.publish_no,
                         err.message);
        if (!pause_upload(engine, attempt, err.retry_after_ms, stored))
            break;
    }
    return false;
}

void *sh_upload_run(void *arg)
{
    ShEngine *engine = arg;
    ShFlight *flight;
    while ((flight = sh_pipeline_take_ready(&engine->pipeline)) != NULL && sh_upload_flight(engine, flight))
        sh_pipeline_set_uploaded(&engine->pipeline, flight);
    return NULL;
}

/* Wait before the next attempt. One that the store turned away because it did not answer lately learns when
 * it is tried again, or that another upload got through before. */
static bool pause_upload(ShEngine *engine, int attempt, int64_t retry_after_ms, uint64_t stored)
{
    if (retry_after_ms <= 0)
        return sh_engine_pause(engine, sh_engine_backoff_ms(attempt));
    return sh_pipeline_pause(&engine->pipeline, stored, retry_after_ms);
}
