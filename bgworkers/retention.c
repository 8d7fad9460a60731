/*
 * retention.c - one round per streamhouse.retention_interval, of small steps until nothing is left to do.
 *
 * A step is a transaction of its own and bounded, so that no lock is held for long, and a round is bounded
 * too: what is left then waits for the next one. The pause between steps leaves the disk to publishing.
 */
#include "bgworkers/retention.h"

#include "storage/ipc.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

#define STEP          "SELECT streamhouse.apply_retention(1000) > 0"
#define STEPS_MAX     200
#define STEP_PAUSE_MS 20L

void sh_retention_main(Datum arg)
{
    sh_worker_begin(DatumGetObjectId(arg));
    while (sh_worker_is_wanted()) {
        bool more = false;

        for (int i = 0; i < STEPS_MAX && sh_worker_run(STEP, &more) && more; i++)
            sh_worker_wait(STEP_PAUSE_MS);
        sh_worker_wait(sh_retention_interval_ms);
    }
    proc_exit(0);
}
