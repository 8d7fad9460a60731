#include "agent/log/fetch.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"
#include "agent/log/fetch_queue.h"

/* How long a fetch waits to learn the bounds of a partition, whatever its own wait. */
#define BOUNDS_WAIT_MAX_MS  5000
#define FETCHER_WAIT_MAX_MS 1000
/* A part goes back and forth between memory and store at most so often in one round. */
#define TRIES_MAX 4

typedef enum RoundResult { ROUND_ENOUGH, ROUND_WAIT, ROUND_STORE, ROUND_REFRESH } RoundResult;

static void wake_parked(ShFetcher *fetcher);
static ShFetchState *new_state(ShEngine *engine, ShFetch *fetch);
static void run_round(ShFetchState *state, ShPg *pg);
static RoundResult look(ShFetchState *state, ShPg *pg);
static RoundResult try_parts(ShFetchState *state, ShPg *pg);
static ShReadOutcome try_part(ShFetchState *state, size_t index, ShPg *pg, bool *refresh);
static void reset_parts(ShFetchState *state);
static void forget_waiters(ShFetchState *state);
static void read_job(ShEngine *engine, ShPg *pg, void *arg, bool cancelled);
static void on_refreshed(void *arg, ShStatus status, const ShError *err);
static bool park(ShFetchState *state);
static bool may_wait(ShFetchState *state);
static void let_go(ShFetchState *state);
static void finish(ShFetchState *state);
static void explain_unknown(ShFetchState *state);
static void fail_parts(ShFetch *fetch, ShStatus status, const char *why);
static void *run(void *arg);
static ShFetchState *next_state(ShFetcher *fetcher);

ShStatus sh_fetch_init(ShFetcher *fetcher, ShError *err)
{
    *fetcher = (ShFetcher){0};
    STAILQ_INIT(&fetcher->eager);
    STAILQ_INIT(&fetcher->patient);
    pthread_mutex_init(&fetcher->lock, NULL);
    return sh_cond_init(&fetcher->wake, err);
}

ShStatus sh_fetch_start(ShEngine *engine, ShError *err)
{
    ShStatus status = sh_thread_start(&engine->fetcher.thread, "sh-fetch", run, engine, err);
    engine->fetcher.started = status == SH_OK;
    return status;
}

void sh_fetch_stop(ShEngine *engine)
{
    ShFetcher *fetcher = &engine->fetcher;
    if (!fetcher->started)
        return;
    pthread_mutex_lock(&fetcher->lock);
    fetcher->stopping = true;
    pthread_cond_signal(&fetcher->wake);
    pthread_mutex_unlock(&fetcher->lock);
    pthread_join(fetcher->thread, NULL);
    fetcher->started = false;
}

void sh_fetch_destroy(ShFetcher *fetcher)
{
    free(fetcher->heap);
    pthread_cond_destroy(&fetcher->wake);
    pthread_mutex_destroy(&fetcher->lock);
}

void sh_engine_fetch(ShEngine *engine, ShFetch *fetch)
{
    ShFetchState *state = new_state(engine, fetch);
    if (state == NULL) {
        fail_parts(fetch, SH_NO_MEMORY, "no memory for the call");
        fetch->done(fetch);
        return;
    }
    pthread_mutex_lock(&engine->fetcher.lock);
    fetch->engine_state = state;
    pthread_mutex_unlock(&engine->fetcher.lock);
    run_round(state, NULL);
}

void sh_engine_fetch_cancel(ShEngine *engine, ShFetch *fetch)
{
    pthread_mutex_lock(&engine->fetcher.lock);
    ShFetchState *state = fetch->engine_state;
    if (state != NULL) {
        state->cancelled = true;
        sh_fetch_queue_push(&engine->fetcher, state);
    }
    pthread_mutex_unlock(&engine->fetcher.lock);
}

void sh_fetch_release(ShFetch *fetch)
{
    for (size_t i = 0; i < fetch->part_count; i++) {
        ShFetchPart *part = &fetch->parts[i];
        for (size_t j = 0; j < part->slice_count; j++)
            sh_buf_unref(part->slices[j].owner);
        free(part->slices);
        part->slices = NULL;
        part->slice_count = 0;
        part->bytes = 0;
    }
}

void sh_fetch_wake(ShEngine *engine, ShPartition *partition)
{
    if (partition->waiters == NULL)
        return;
    pthread_mutex_lock(&engine->fetcher.lock);
    for (ShFetchWaiter *waiter = partition->waiters; waiter != NULL; waiter = waiter->next)
        sh_fetch_queue_push(&engine->fetcher, waiter->state);
    pthread_mutex_unlock(&engine->fetcher.lock);
}

void sh_fetch_wake_all(ShEngine *engine)
{
    pthread_mutex_lock(&engine->fetcher.lock);
    wake_parked(&engine->fetcher);
    pthread_mutex_unlock(&engine->fetcher.lock);
}

void sh_fetch_end_waits(ShEngine *engine)
{
    pthread_mutex_lock(&engine->fetcher.lock);
    engine->fetcher.leaving = true;
    wake_parked(&engine->fetcher);
    pthread_mutex_unlock(&engine->fetcher.lock);
}

ShStatus sh_fetch_grow_slices(ShFetchPart *part, ShError *err)
{
    size_t capacity = part->slice_count == 0 ? 1 : part->slice_count * 2;
    ShSlice *slices = realloc(part->slices, capacity * sizeof *slices);
    if (slices == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for an answer of %zu batches", capacity);
    part->slices = slices;
    return SH_OK;
}

/* With the lock held. Rounds under way see the generation when they want to wait. */
static void wake_parked(ShFetcher *fetcher)
{
    fetcher->generation++;
    for (size_t i = 0; i < fetcher->heap_count; i++)
        sh_fetch_queue_push(fetcher, fetcher->heap[i]);
}

static ShFetchState *new_state(ShEngine *engine, ShFetch *fetch)
{
    ShFetchState *state = calloc(1, sizeof *state);
    if (state == NULL || (state->waiters = calloc(fetch->part_count + 1, sizeof *state->waiters)) == NULL) {
        free(state);
        return NULL;
    }
    int64_t bytes_max = engine->config->fetch_bytes_max;
    int64_t wait_ms = engine->config->fetch_wait_max_ms;
    if (fetch->bytes_max > 0 && fetch->bytes_max < bytes_max)
        bytes_max = fetch->bytes_max;
    if (fetch->wait_max_ms < wait_ms)
        wait_ms = fetch->wait_max_ms;
    state->engine = engine;
    state->fetch = fetch;
    state->started_ms = sh_clock_now_ms();
    state->asked_deadline_ms = state->started_ms + wait_ms;
    state->bytes_max = (uint64_t)bytes_max;
    state->bytes_enough = fetch->bytes_min > 1 ? (uint64_t)fetch->bytes_min : 1;
    if (state->bytes_enough > state->bytes_max)
        state->bytes_enough = state->bytes_max;
    state->running = true;
    for (size_t i = 0; i < fetch->part_count; i++) {
        state->waiters[i].state = state;
        state->waiters[i].resume_offset = fetch->parts[i].offset;
        state->waiters[i].goes_on = fetch->parts[i].store_end_offset > 0 &&
                                    fetch->parts[i].store_end_offset == fetch->parts[i].offset;
        state->waiters[i].store_run_bytes = state->waiters[i].goes_on ? fetch->parts[i].store_run_bytes : 0;
        fetch->parts[i].slices = NULL;
        fetch->parts[i].slice_count = 0;
    }
    return state;
}

/* One round; `pg` is there on a read thread. The state may be gone when this returns. */
static void run_round(ShFetchState *state, ShPg *pg)
{
    ShEngine *engine = state->engine;
    state->counts_only = state->has_found && pg == NULL;
    RoundResult result = look(state, pg);
    bool parked = result == ROUND_WAIT && park(state);
    if (!parked && state->counts_only) { /* it waits no longer: now with the batches */
        state->counts_only = false;
        result = look(state, pg);
        parked = result == ROUND_WAIT && park(state);
    }
    if (parked)
        return;
    switch (result) {
    case ROUND_STORE:
        let_go(state);
        sh_read_pool_submit(engine, state->fetch->asker, read_job, state);
        return;
    case ROUND_REFRESH:
        let_go(state);
        sh_engine_meta_refresh(engine, on_refreshed, state);
        return;
    case ROUND_WAIT:
        explain_unknown(state);
        break;
    case ROUND_ENOUGH:
        break;
    }
    finish(state);
}

static RoundResult look(ShFetchState *state, ShPg *pg)
{
    reset_parts(state);
    RoundResult result = try_parts(state, pg);
    if (result == ROUND_STORE || result == ROUND_REFRESH)
        forget_waiters(state);
    return result;
}

static RoundResult try_parts(ShFetchState *state, ShPg *pg)
{
    bool is_answered = false; /* by a failure, or by a part that is led over a hole */
    size_t count = state->fetch->part_count;
    for (size_t turn = 0; turn < count; turn++) {
        bool refresh = false;
        size_t index = (state->fetch->first_part + turn) % count;
        ShReadOutcome outcome = try_part(state, index, pg, &refresh);
        if (refresh)
            return ROUND_REFRESH;
        if (outcome == SH_READ_LATER && (is_answered || state->bytes > 0)) {
            state->is_full = true; /* what others have is not found again for this one */
            outcome = SH_READ_DATA;
        }
        if (outcome == SH_READ_STORE || outcome == SH_READ_LATER)
            return ROUND_STORE;
        is_answered |= outcome == SH_READ_FAILED || sh_fetch_part_is_led_on(&state->fetch->parts[index]);
    }
    bool any_is_enough = pg != NULL || state->from_store;
    if (is_answered || state->bytes >= state->bytes_enough || state->is_full ||
        (any_is_enough && state->bytes > 0) || count == 0)
        return ROUND_ENOUGH;
    return ROUND_WAIT;
}

static ShReadOutcome try_part(ShFetchState *state, size_t index, ShPg *pg, bool *refresh)
{
    ShFetchPart *part = &state->fetch->parts[index];
    ShResolved found = {0};
    ShStatus status = sh_meta_resolve(state->engine, &part->target, &found, &part->error);
    if (status == SH_NOT_FOUND && !state->refreshed) {
        *refresh = true;
        return SH_READ_FAILED;
    }
    if (status == SH_NOT_FOUND && state->refresh_error.status != SH_OK)
        part->error = state->refresh_error;
    if (status != SH_OK)
        return SH_READ_FAILED;
    ShReadOutcome outcome = sh_read_tail(state, index, found.partition);
    if (outcome == SH_READ_STORE && state->is_full)
        outcome = SH_READ_DATA; /* its turn comes */
    if (outcome == SH_READ_STORE && pg == NULL && !state->counts_only)
        outcome = sh_read_cached(state, index, found.partition);
    for (int tries = 1; outcome == SH_READ_STORE && pg != NULL && tries < TRIES_MAX; tries++) {
        outcome = sh_read_store(state, index, found.partition, pg);
        if (outcome == SH_READ_END)
            outcome = sh_read_tail(state, index, found.partition);
    }
    sh_partition_unref(found.partition);
    return outcome;
}

/* Give up what an earlier round found. */
static void reset_parts(ShFetchState *state)
{
    forget_waiters(state);
    pthread_mutex_lock(&state->engine->fetcher.lock);
    state->generation = state->engine->fetcher.generation;
    pthread_mutex_unlock(&state->engine->fetcher.lock);
    sh_fetch_release(state->fetch);
    state->bytes = 0;
    state->tail_bytes = 0;
    state->store_reads = 0;
    state->has_found = false;
    state->is_full = false;
    state->from_store = false;
    for (size_t i = 0; i < state->fetch->part_count; i++) {
        ShFetchPart *part = &state->fetch->parts[i];
        sh_error_clear(&part->error);
        part->next_offset = part->offset;
        state->waiters[i].is_unknown = false;
    }
}

static void forget_waiters(ShFetchState *state)
{
    for (size_t i = 0; i < state->fetch->part_count; i++) {
        ShFetchWaiter *waiter = &state->waiters[i];
        ShPartition *partition = waiter->partition;
        if (partition == NULL)
            continue;
        pthread_mutex_lock(&partition->mutex);
        if (waiter->prev != NULL)
            waiter->prev->next = waiter->next;
        else
            partition->waiters = waiter->next;
        if (waiter->next != NULL)
            waiter->next->prev = waiter->prev;
        pthread_mutex_unlock(&partition->mutex);
        waiter->partition = NULL;
        sh_partition_unref(partition);
    }
}

static void read_job(ShEngine *engine, ShPg *pg, void *arg, bool cancelled)
{
    ShFetchState *state = arg;
    if (cancelled) {
        pthread_mutex_lock(&engine->fetcher.lock);
        state->cancelled = true;
        pthread_mutex_unlock(&engine->fetcher.lock);
        finish(state);
        return;
    }
    run_round(state, pg);
}

static void on_refreshed(void *arg, ShStatus status, const ShError *err)
{
    ShFetchState *state = arg;
    ShFetcher *fetcher = &state->engine->fetcher;
    state->refreshed = true;
    if (status != SH_OK)
        state->refresh_error = *err;
    pthread_mutex_lock(&fetcher->lock);
    state->running = false;
    sh_fetch_queue_push(fetcher, state);
    pthread_mutex_unlock(&fetcher->lock);
}

/* Leave the state to the fetcher until something moves or its time is over. False: its time is over. */
static bool park(ShFetchState *state)
{
    ShFetcher *fetcher = &state->engine->fetcher;
    bool is_unknown = false;
    for (size_t i = 0; i < state->fetch->part_count; i++)
        is_unknown |= state->waiters[i].is_unknown;
    pthread_mutex_lock(&fetcher->lock);
    int64_t known_ms = state->started_ms + BOUNDS_WAIT_MAX_MS;
    state->deadline_ms = is_unknown && state->asked_deadline_ms < known_ms ? known_ms
                                                                           : state->asked_deadline_ms;
    bool parks = state->deadline_ms > sh_clock_now_ms() && may_wait(state);
    if (parks && state->bytes > 0) {
        pthread_mutex_unlock(&fetcher->lock);
        let_go(state);
        pthread_mutex_lock(&fetcher->lock);
        parks = may_wait(state);
    }
    parks = parks && sh_fetch_heap_add(fetcher, state);
    if (parks) {
        state->running = false;
        if (state->again || state->generation != fetcher->generation)
            sh_fetch_queue_push(fetcher, state);
        else if (state->heap_index == 1)
            pthread_cond_signal(&fetcher->wake);
    }
    pthread_mutex_unlock(&fetcher->lock);
    return parks;
}

/* With the lock held. */
static bool may_wait(ShFetchState *state)
{
    ShFetcher *fetcher = &state->engine->fetcher;
    if (fetcher->stopping || state->cancelled)
        return false;
    state->turned_away = fetcher->leaving;
    return !state->turned_away;
}

/* Hold nothing, and remember how much there was: nobody counts what a fetch holds that waits. */
static void let_go(ShFetchState *state)
{
    state->has_found = state->bytes > 0;
    for (size_t i = 0; i < state->fetch->part_count; i++) {
        ShFetchPart *part = &state->fetch->parts[i];
        state->waiters[i].found_bytes = part->bytes;
        state->waiters[i].found_end_offset = part->next_offset;
        part->next_offset = part->offset;
    }
    sh_fetch_release(state->fetch);
    state->bytes = 0;
    state->tail_bytes = 0;
}

static void finish(ShFetchState *state)
{
    ShFetch *fetch = state->fetch;
    ShFetcher *fetcher = &state->engine->fetcher;
    forget_waiters(state);
    sh_metric_add(state->engine->metrics.fetch_tail_bytes, (int64_t)state->tail_bytes);
    pthread_mutex_lock(&fetcher->lock);
    fetch->engine_state = NULL;
    bool cancelled = (state->cancelled || fetcher->stopping) && state->bytes == 0;
    pthread_mutex_unlock(&fetcher->lock);
    if (cancelled)
        fail_parts(fetch, SH_CANCELLED, "the fetch was cancelled");
    else if (state->turned_away && state->bytes == 0)
        fail_parts(fetch, SH_UNAVAILABLE, "the agent is leaving: turn to another one");
    free(state->waiters);
    free(state->searched);
    free(state);
    fetch->done(fetch);
}

/* Parts whose bounds did not come in time say so. */
static void explain_unknown(ShFetchState *state)
{
    for (size_t i = 0; i < state->fetch->part_count; i++) {
        if (!state->waiters[i].is_unknown)
            continue;
        ShError *err = &state->fetch->parts[i].error;
        ShStatus status = sh_fail(err, SH_UNAVAILABLE,
                                  "PostgreSQL does not say how far the partition is published");
        (void)sh_fail_retry_after(err, status, SH_BOUNDS_INTERVAL_MS);
    }
}

static void fail_parts(ShFetch *fetch, ShStatus status, const char *why)
{
    for (size_t i = 0; i < fetch->part_count; i++) {
        ShError *err = &fetch->parts[i].error;
        (void)sh_fail(err, status, "%s", why);
        if (err->retriable)
            (void)sh_fail_retry_after(err, status, SH_BOUNDS_INTERVAL_MS);
    }
}

static void *run(void *arg)
{
    ShEngine *engine = arg;
    ShFetcher *fetcher = &engine->fetcher;
    pthread_mutex_lock(&fetcher->lock);
    for (;;) {
        ShFetchState *state = next_state(fetcher);
        if (state != NULL) {
            pthread_mutex_unlock(&fetcher->lock);
            run_round(state, NULL);
            pthread_mutex_lock(&fetcher->lock);
            continue;
        }
        if (fetcher->stopping)
            break;
        int64_t wait_ms = FETCHER_WAIT_MAX_MS;
        if (fetcher->heap_count > 0 && fetcher->heap[0]->deadline_ms - sh_clock_now_ms() < wait_ms)
            wait_ms = fetcher->heap[0]->deadline_ms - sh_clock_now_ms();
        if (wait_ms > 0)
            sh_cond_wait_ms(&fetcher->wake, &fetcher->lock, wait_ms);
    }
    pthread_mutex_unlock(&fetcher->lock);
    return NULL;
}

/* With the lock held: a state to run a round for: one that was woken, or whose time is over. */
static ShFetchState *next_state(ShFetcher *fetcher)
{
    int64_t now_ms = fetcher->heap_count > 0 ? sh_clock_now_ms() : 0;
    while (fetcher->heap_count > 0 && (fetcher->stopping || fetcher->heap[0]->deadline_ms <= now_ms)) {
        ShFetchState *over = fetcher->heap[0];
        sh_fetch_heap_remove(fetcher, over);
        sh_fetch_queue_push(fetcher, over);
    }
    ShFetchState *state = sh_fetch_queue_pop(fetcher);
    if (state != NULL)
        sh_fetch_heap_remove(fetcher, state);
    return state;
}
