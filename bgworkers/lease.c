/*
 * lease.c - one tick per streamhouse.tick_interval.
 *
 * Leases are counted in ticks, not in time, so a server that was down or a clock that jumped expires
 * nobody. When a tick is due, worker_tick() decides, by a row that all workers share. Each step of a tick is
 * a transaction of its own, and none waits for a lock that somebody's open transaction may hold: it leaves
 * what is locked for the next tick. lock_timeout stands behind that.
 */
#include "bgworkers/lease.h"

#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

#define LOCK_TIMEOUT "200ms"
#define LOOK_MS      2000

static void tick(void);
static void look(int64 passed_ms);
static int64 now_ms(void);

void sh_lease_main(Datum arg)
{
    int64 looked_ms;

    sh_worker_begin(DatumGetObjectId(arg));
    if (!sh_worker_claim(SH_WORKER_LEASE))
        proc_exit(0);
    SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION);
    looked_ms = now_ms();
    while (sh_worker_is_wanted()) {
        int64 passed_ms = now_ms() - looked_ms;

        tick();
        if (passed_ms >= LOOK_MS) {
            looked_ms += passed_ms;
            look(passed_ms);
        }
        sh_worker_wait(sh_tick_interval_ms);
    }
    proc_exit(0);
}

static void tick(void)
{
    bool agents_changed = false;

    if (sh_worker_run("SELECT streamhouse.worker_tick()", &agents_changed) && agents_changed)
        sh_worker_run("SELECT streamhouse.rebalance_if_free()", NULL);
    sh_worker_run("SELECT streamhouse.orphan_tick()", NULL);
}

/* What need not be looked at in each tick, the last time `passed_ms` ago. */
static void look(int64 passed_ms)
{
    char warn[96];

    snprintf(warn, sizeof warn, "SELECT streamhouse.warn_of_open_transactions(" INT64_FORMAT ")", passed_ms);
    sh_worker_run(warn, NULL);
    sh_worker_run("SELECT streamhouse.prune_publish_results()", NULL);
    sh_worker_run("SELECT streamhouse.prune_control_changes()", NULL);
}

static int64 now_ms(void)
{
    instr_time now;

    INSTR_TIME_SET_CURRENT(now);
    return (int64)INSTR_TIME_GET_MILLISEC(now);
}
