/*
 * gated_store.h - a store whose reads are counted, held up and failed, and who asks for them.
 */
#ifndef SH_TESTS_UNIT_GATED_STORE_H
#define SH_TESTS_UNIT_GATED_STORE_H

#include "agent/store/store_internal.h"
#include "tests/unit/agent/log/log_fixture.h"

/* What the store's reads go through. */
static struct {
    const ShStoreOps *real;
    ShStoreOps ops;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int begun;
    int allowed;    /* so many may go on */
    int fail_first; /* [fail_first, fail_end) fail */
    int fail_end;
    uint64_t bytes; /* that were asked for */
} gate;

static inline ShStatus gated_get(ShStore *store, const char *key, uint64_t position, uint64_t length,
                                 ShBuf **out, ShError *err)
{
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    pthread_mutex_lock(&gate.lock);
    int index = gate.begun++;
    gate.bytes += length;
    pthread_cond_broadcast(&gate.cond);
    while (index >= gate.allowed && sh_clock_now_ms() < until_ms)
        sh_cond_wait_ms(&gate.cond, &gate.lock, 100);
    bool fails = index >= gate.fail_first && index < gate.fail_end;
    pthread_mutex_unlock(&gate.lock);
    return fails ? sh_fail(err, SH_UNAVAILABLE, "the test fails this read")
                 : gate.real->get(store, key, position, length, out, err);
}

static inline void allow(int count)
{
    pthread_mutex_lock(&gate.lock);
    gate.allowed = count;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
}

static inline int begun(void)
{
    pthread_mutex_lock(&gate.lock);
    int count = gate.begun;
    pthread_mutex_unlock(&gate.lock);
    return count;
}

/* An agent that has nothing in memory of what this one has taken, and a store behind the gate. */
static inline void start_again(Fixture *fixture)
{
    assert_ok(sh_engine_drain(fixture->engine, err));
    stop(fixture);
    start(fixture);
    gate.real = fixture->engine->store->ops;
    gate.ops = *gate.real;
    gate.ops.get = gated_get;
    gate.begun = gate.fail_first = gate.fail_end = 0;
    gate.bytes = 0;
    gate.allowed = INT32_MAX;
    pthread_mutex_init(&gate.lock, NULL);
    assert_ok(sh_cond_init(&gate.cond, err));
    fixture->engine->store->ops = &gate.ops;
}

/* A fetch of one record of t/0. */
static inline void fetch_as(Fixture *fixture, Fetch *fetch, const char *asker, int64_t offset)
{
    memset(fetch, 0, sizeof *fetch);
    signal_init(&fetch->signal);
    fetch->part = (ShFetchPart){.target = target_of("t", 0), .offset = offset, .bytes_max = 1};
    fetch->call = (ShFetch){.parts = &fetch->part,
                            .part_count = 1,
                            .wait_max_ms = 2000,
                            .bytes_min = 1,
                            .bytes_max = 1,
                            .asker = asker,
                            .done = fetch_done};
    sh_engine_fetch(fixture->engine, &fetch->call);
}

#endif
