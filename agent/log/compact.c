#include "agent/log/compact.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

/* What one compaction may take of the memory budget. */
#define BUDGET_SHARE 8
/* A swap whose answer is lost is asked for again so often. */
#define SWAPS_MAX 8

static void *run(void *arg);
static ShStatus compact_one(ShEngine *engine, bool *found, ShError *err);
static ShStatus rewrite(ShEngine *engine, ShPgSource *sources, size_t count, ShError *err);
static void give_up(ShEngine *engine, const ShCompaction *compaction);
static ShStatus swap_rows(ShEngine *engine, const ShCompaction *compaction, ShError *err);
static ShStatus call_swap(ShEngine *engine, const ShPgSwap *swap, bool *swapped, ShError *err);
static bool is_leaving(ShEngine *engine);

void sh_compact_init(ShCompactor *compactor)
{
    const char *help = "Compactions by result: swapped, or refused because the rows had changed.";
    *compactor = (ShCompactor){0};
    compactor->swapped = sh_metric_counter("streamhouse_compactions_total", "result=\"swapped\"", help);
    compactor->refused = sh_metric_counter("streamhouse_compactions_total", "result=\"refused\"", help);
    compactor->bytes = sh_metric_counter("streamhouse_compaction_bytes_total", NULL,
                                         "Bytes of the objects that compactions wrote.");
    compactor->segments = sh_metric_counter("streamhouse_compaction_segments_total", NULL,
                                            "Segments that compactions replaced.");
}

ShStatus sh_compact_start(ShEngine *engine, ShError *err)
{
    if (engine->config->compaction_rate_bytes == 0)
        return SH_OK;
    ShStatus status = sh_engine_pg(engine, "compaction", &engine->compactor.pg, err);
    if (status == SH_OK)
        status = sh_thread_start(&engine->compactor.thread, "sh-compact", run, engine, err);
    engine->compactor.started = status == SH_OK;
    return status;
}

void sh_compact_stop(ShEngine *engine)
{
    ShCompactor *compactor = &engine->compactor;
    if (compactor->started) {
        sh_pg_cancel(compactor->pg);
        pthread_join(compactor->thread, NULL);
        compactor->started = false;
    }
    sh_pg_free(compactor->pg);
    compactor->pg = NULL;
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    int64_t wait_ms = engine->config->compaction_interval_ms;
    while (sh_engine_pause(engine, wait_ms)) {
        ShError err = {0};
        bool found = false;
        ShStatus status = is_leaving(engine) ? SH_OK : compact_one(engine, &found, &err);
        if (status == SH_FENCED) /* or ended by the drain; the control thread knows which */
            break;
        wait_ms = status == SH_OK && found ? 0 : engine->config->compaction_interval_ms;
        if (status != SH_OK && !is_leaving(engine))
            sh_log_warn("compaction_failed", "status=%s reason=\"%s\"", sh_status_name(status), err.message);
    }
    return NULL;
}

/* `*found`: there was something to do, and there may be more. */
static ShStatus compact_one(ShEngine *engine, bool *found, ShError *err)
{
    ShPgSource *sources = NULL;
    size_t count = 0;
    int64_t bytes_max = engine->config->memory_budget_bytes / BUDGET_SHARE;
    ShStatus status = sh_pg_compaction_claim(engine->compactor.pg, engine->registered.incarnation, bytes_max,
                                             &sources, &count, err);
    if (status != SH_OK || count == 0) {
        free(sources);
        return status;
    }
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += (int64_t)sources[i].length;
    if (sh_memory_reserve(engine, bytes)) {
        *found = true;
        status = rewrite(engine, sources, count, err);
        sh_memory_release(&engine->memory, bytes);
    } else {
        status = sh_fail(err, SH_EXHAUSTED, "no room in memory_budget for %lld bytes", (long long)bytes);
    }
    free(sources);
    return status;
}

static ShStatus rewrite(ShEngine *engine, ShPgSource *sources, size_t count, ShError *err)
{
    ShCompaction compaction = {.sources = sources, .source_count = count};
    ShStatus status = sh_compaction_build(engine, &compaction, err);
    if (status == SH_OK)
        status = sh_pg_announce_object(engine->compactor.pg, engine->registered.incarnation,
                                       &compaction.id.object_id, compaction.key,
                                       compaction.object.total_bytes, err);
    if (status == SH_OK) {
        status = sh_store_put(engine->store, compaction.key, compaction.object.pieces,
                              compaction.object.piece_count, compaction.object.total_bytes, err);
        if (status == SH_OK)
            status = swap_rows(engine, &compaction, err);
        if (status != SH_OK)
            give_up(engine, &compaction);
    }
    sh_compaction_free(&compaction);
    return status;
}

/* The object may be in the store, whole or coming still, or even swapped in: PostgreSQL knows, and forgets
 * nothing that was announced. If it does not answer either, the object is garbage once this incarnation is
 * over. */
static void give_up(ShEngine *engine, const ShCompaction *compaction)
{
    ShError err = {0};
    ShStatus status = sh_pg_give_up_object(engine->compactor.pg, engine->registered.incarnation,
                                           &compaction->id.object_id, &err);
    if (status != SH_OK)
        sh_log_debug("compaction_not_given_up", "key=%s status=%s reason=\"%s\"", compaction->key,
                     sh_status_name(status), err.message);
}

/* Until it is known whether the rows were swapped, as far as possible: what stays unknown is right in both
 * cases. */
static ShStatus swap_rows(ShEngine *engine, const ShCompaction *compaction, ShError *err)
{
    const ShPgSwap swap = {.incarnation = engine->registered.incarnation,
                           .object_id = compaction->id.object_id,
                           .object_key = compaction->key,
                           .object_bytes = compaction->object.total_bytes,
                           .sources = compaction->sources,
                           .source_count = compaction->source_count,
                           .rows = compaction->rows,
                           .row_count = compaction->row_count};
    bool swapped = false;
    ShStatus status = call_swap(engine, &swap, &swapped, err);
    for (int i = 1; status == SH_UNAVAILABLE && i < SWAPS_MAX; i++) {
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(i)))
            break;
        status = call_swap(engine, &swap, &swapped, err);
    }
    if (status != SH_OK)
        return status;
    ShCompactor *compactor = &engine->compactor;
    sh_metric_add(swapped ? compactor->swapped : compactor->refused, 1);
    sh_metric_add(compactor->bytes, (int64_t)swap.object_bytes);
    sh_metric_add(compactor->segments, swapped ? (int64_t)swap.source_count : 0);
    sh_log_debug("compacted", "key=%s segments=%zu rows=%zu bytes=%llu result=%s", swap.object_key,
                 swap.source_count, swap.row_count, (unsigned long long)swap.object_bytes,
                 swapped ? "swapped" : "refused");
    return SH_OK;
}

static ShStatus call_swap(ShEngine *engine, const ShPgSwap *swap, bool *swapped, ShError *err)
{
    if (sh_fault_hit("compact.before_swap"))
        return sh_fail(err, SH_UNAVAILABLE, "fault point compact.before_swap");
    ShStatus status = sh_pg_compaction_swap(engine->compactor.pg, swap, swapped, err);
    if (status == SH_OK && sh_fault_hit("compact.after_swap"))
        status = sh_fail(err, SH_UNAVAILABLE, "fault point compact.after_swap");
    return status;
}

static bool is_leaving(ShEngine *engine)
{
    return atomic_load(&engine->stopping) || atomic_load(&engine->draining);
}
