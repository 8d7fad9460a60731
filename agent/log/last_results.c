#include "agent/log/last_results.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

/* Memory is short: how often it is tried, and how long waited in between. */
#define BUILDS_MAX     20
#define BUILD_PAUSE_MS 100

/* What is built and not stored. Engines follow each other, so nothing guards it. */
static ShFlight *unsent;

static ShStatus build(ShEngine *engine, ShFlight **out, ShError *err);
static ShStatus collect(ShEngine *engine, ShFlight *flight, ShError *err);
static void append(ShFlight *flight, const ShSegmentResult *results, size_t count);
static bool has_time(ShEngine *engine, int64_t begun_ms, ShError *err);
static ShStatus put(ShEngine *engine, const ShFlight *flight, ShError *err);

void sh_last_results_leave(ShEngine *engine, int64_t begun_ms)
{
    if (engine->store == NULL || sh_engine_fatal(engine, NULL) != SH_OUTDATED)
        return;
    ShError err = {0};
    ShFlight *flight = NULL;
    ShStatus status = build(engine, &flight, &err);
    for (int i = 1; status != SH_OK && i < BUILDS_MAX; i++) {
        (void)poll(NULL, 0, BUILD_PAUSE_MS);
        status = build(engine, &flight, &err);
    }
    if (status != SH_OK) {
        sh_log_error("last_results_lost", "reason=\"%s\"", err.message);
    } else if (flight != NULL && (!has_time(engine, begun_ms, &err) || put(engine, flight, &err) != SH_OK)) {
        sh_log_warn("last_results_kept", "object=%s results=%zu reason=\"%s\"", flight->key,
                    flight->result_count, err.message);
        flight->next = unsent;
        unsent = flight;
        return;
    }
    sh_flight_free(flight);
}

/* `*out` stays NULL when nothing is to be told. After an error it can be done again. */
static ShStatus build(ShEngine *engine, ShFlight **out, ShError *err)
{
    ShFlight *flight = sh_flight_new();
    if (flight == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for an object");
    ShStatus status = collect(engine, flight, err);
    if (status == SH_OK && flight->result_count > 0) {
        flight->id.publish_no = engine->flusher.last_publish_no + 1;
        status = sh_flight_build(engine, flight, err);
    }
    if (status == SH_OK && flight->result_count > 0)
        *out = flight;
    else
        sh_flight_free(flight);
    return status;
}

/* What the engine has, and what flights hold whose objects may not be in the store. Told twice does no harm.
 */
static ShStatus collect(ShEngine *engine, ShFlight *flight, ShError *err)
{
    const ShResults *own = &engine->results;
    size_t count = own->count;
    for (const ShFlight *other = engine->pipeline.first; other != NULL; other = other->next)
        count += other->result_count + other->note_count;
    flight->results = malloc((count + 1) * sizeof *flight->results);
    if (flight->results == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu publish results", count);
    for (const ShFlight *other = engine->pipeline.first; other != NULL; other = other->next) {
        append(flight, other->results, other->result_count);
        append(flight, other->notes, other->note_count);
    }
    append(flight, own->list, own->count);
    return SH_OK;
}

static void append(ShFlight *flight, const ShSegmentResult *results, size_t count)
{
    if (count > 0)
        memcpy(flight->results + flight->result_count, results, count * sizeof *results);
    flight->result_count += count;
}

/* A process that takes too long to stop ends without having kept anything. */
static bool has_time(ShEngine *engine, int64_t begun_ms, ShError *err)
{
    int retry_after_ms;
    if (atomic_load(&engine->draining))
        return true; /* the process does not go on: it is now or never */
    if (sh_store_is_away(engine->store, &retry_after_ms)) {
        (void)sh_fail(err, SH_UNAVAILABLE, "the store is away");
        return false;
    }
    if (sh_clock_now_ms() - begun_ms + engine->config->s3_deadline_ms > SH_ENGINE_STOP_MAX_MS / 4 * 3) {
        (void)sh_fail(err, SH_TIMEOUT, "stopping has taken too long already");
        return false;
    }
    return true;
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
