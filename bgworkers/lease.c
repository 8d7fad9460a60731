/*
 * lease.c - one tick per streamhouse.tick_interval.
 *
 * Leases are counted in ticks, not in time, so a server that was down or a clock that jumped expires
 * nobody; of the time between two ticks at most one interval is counted. Each step of a tick is a transaction
 * of its own: the tick itself locks leases, which must not be held while rebalance() waits for the control
 * lock.
 */
#include "bgworkers/lease.h"

#include "portability/instr_time.h"
#include "storage/ipc.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

static int pass_ms(instr_time *last);

void sh_lease_main(Datum arg)
{
    instr_time last;

    sh_worker_begin(DatumGetObjectId(arg));
    INSTR_TIME_SET_CURRENT(last);
    while (sh_worker_is_wanted()) {
        bool agents_changed = false;
        char tick[64];

        snprintf(tick, sizeof tick, "SELECT streamhouse.lease_tick(%d)", pass_ms(&last));
        if (sh_worker_run(tick, &agents_changed) && agents_changed)
            sh_worker_run("SELECT streamhouse.rebalance()", NULL);
        sh_worker_run("SELECT streamhouse.orphan_tick()", NULL);
        sh_worker_run("SELECT streamhouse.prune_publish_results()", NULL);
        sh_worker_wait(sh_tick_interval_ms);
    }
    proc_exit(0);
}

/* Milliseconds since the last call, at most a minute. */
static int pass_ms(instr_time *last)
{
    instr_time now;
    instr_time passed;

    INSTR_TIME_SET_CURRENT(now);
    passed = now;
    INSTR_TIME_SUBTRACT(passed, *last);
    *last = now;
    return (int)Min(INSTR_TIME_GET_MILLISEC(passed), 60000.0);
}
