/*
 * lease.c - one tick per streamhouse.tick_interval.
 *
 * Leases are counted in ticks, not in time, so a server that was down or a clock that jumped expires
 * nobody. Each step of a tick is a transaction of its own: the tick itself locks leases, which must not
 * be held while rebalance() waits for the control lock.
 */
#include "bgworkers/lease.h"

#include "storage/ipc.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

void sh_lease_main(Datum arg)
{
    sh_worker_begin(DatumGetObjectId(arg));
    while (sh_worker_is_wanted()) {
        bool agents_changed = false;

        if (sh_worker_run("SELECT streamhouse.lease_tick()", &agents_changed) && agents_changed)
            sh_worker_run("SELECT streamhouse.rebalance()", NULL);
        sh_worker_run("SELECT streamhouse.prune_publish_results()", NULL);
        sh_worker_wait(sh_tick_interval_ms);
    }
    proc_exit(0);
}
