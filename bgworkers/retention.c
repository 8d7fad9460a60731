/*
 * retention.c - one round per streamhouse.retention_interval, of small steps until nothing is left to do.
 *
 * A step is a transaction of its own and bounded, so that no lock is held for long, and a round is bounded
 * too: what is left then waits for the next one. The pause after a step grows with its time, so that the
 * worker takes a quarter of one processor at most and leaves the disk to publishing.
 */
#include "bgworkers/retention.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

#define RETENTION_STEP "SELECT streamhouse.apply_retention(1000) > 0"
#define PRODUCER_STEP  "SELECT streamhouse.expire_producers(1000) = 1000"
#define STEPS_MAX      1000
#define STEP_PAUSE_MS  10L
#define PAUSE_OF_STEPS 3 /* the pause, in times of the step before it */

static void run_steps(const char *step);
static bool run_step(const char *step, bool *more);

void sh_retention_main(Datum arg)
{
    sh_worker_begin(DatumGetObjectId(arg));
    if (!sh_worker_claim(SH_WORKER_RETENTION))
        proc_exit(0);
    while (sh_worker_is_wanted()) {
        sh_worker_run("SELECT streamhouse.note_clock()", NULL);
        sh_worker_run("SELECT streamhouse.retire_silent_agents()", NULL);
        run_steps(RETENTION_STEP);
        run_steps(PRODUCER_STEP);
        sh_worker_wait(sh_retention_interval_ms);
    }
    proc_exit(0);
}

static void run_steps(const char *step)
{
    bool more = false;

    for (int i = 0; i < STEPS_MAX && sh_worker_is_wanted() && run_step(step, &more) && more; i++)
        CHECK_FOR_INTERRUPTS();
}

/* One step, and the pause after it when there is more to do. */
static bool run_step(const char *step, bool *more)
{
    instr_time start;
    instr_time took;
    bool done;

    INSTR_TIME_SET_CURRENT(start);
    done = sh_worker_run(step, more);
    INSTR_TIME_SET_CURRENT(took);
    INSTR_TIME_SUBTRACT(took, start);
    if (done && *more)
        sh_worker_wait(STEP_PAUSE_MS + PAUSE_OF_STEPS * (long)INSTR_TIME_GET_MILLISEC(took));
    return done;
}
