#include "agent/log/last_results.h"

#include <inttypes.h>

#include "agent/log/engine_internal.h"

/* What is built and not stored. Engines follow each other, so nothing guards it. */
static ShFlight *unsent;

static ShStatus take_back(ShEngine *engine, ShError *err);
static ShStatus put(ShEngine *engine, const ShFlight *flight, ShError *err);

void sh_last_results_leave(ShEngine *engine)
{
    if (engine->store == NULL || sh_engine_fatal(engine, NULL) != SH_OUTDATED)
        return;
    ShError err = {0};
    ShStatus status = take_back(engine, &err);
    ShFlight *flight = sh_flight_new();
    if (status == SH_OK && flight == NULL)
        status = sh_fail(&err, SH_NO_MEMORY, "no memory for an object");
    if (status == SH_OK) {
        sh_results_take(&engine->results, &flight->results, &flight->result_count);
        flight->id.publish_no = ++engine->flusher.last_publish_no;
    }
    if (status == SH_OK && flight->result_count > 0) {
        status = sh_flight_build(engine, flight, &err);
        if (status == SH_OK && put(engine, flight, &err) != SH_OK) {
            sh_log_warn("last_results_kept", "object=%s results=%zu reason=\"%s\"", flight->key,
                        flight->result_count, err.message);
            flight->next = unsent;
            unsent = flight;
            return;
        }
    }
    if (status != SH_OK)
        sh_log_warn("last_results_lost", "reason=\"%s\"", err.message);
    sh_flight_free(flight);
}

ShStatus sh_last_results_send(ShEngine *engine, ShError *err)
{
    while (unsent != NULL) {
        ShFlight *flight = unsent;
        ShStatus status = put(engine, flight, err);
        if (status != SH_OK)
            return status;
        unsent = flight->next;
        sh_flight_free(flight);
    }
    return SH_OK;
}

static ShStatus put(ShEngine *engine, const ShFlight *flight, ShError *err)
{
    ShStatus status = sh_store_put(engine->store, flight->key, flight->object.pieces,
                                   flight->object.piece_count, flight->object.total_bytes, err);
    if (status == SH_OK)
        sh_log_info("last_results_stored", "object=%s results=%zu", flight->key, flight->result_count);
    return status;
}

/* Of objects that may not be in the store. Told twice does no harm. */
static ShStatus take_back(ShEngine *engine, ShError *err)
{
    ShStatus status = SH_OK;
    for (const ShFlight *flight = engine->pipeline.first; flight != NULL; flight = flight->next)
        for (size_t i = 0; i < flight->result_count && status == SH_OK; i++)
            status = sh_results_add(&engine->results, &flight->results[i], err);
    return status;
}
