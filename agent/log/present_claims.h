/*
 * present_claims.h - what of a presented object is left out because its producers have sent it anew.
 *
 * The object stays as it is, so a run is presented in pieces: each begins where the run does and ends before
 * the next void batch, and the index takes of it what lies above the pieces before.
 */
#ifndef SH_AGENT_LOG_PRESENT_CLAIMS_H
#define SH_AGENT_LOG_PRESENT_CLAIMS_H

#include <stdint.h>

#include "agent/pg/pg.h"
#include "agent/pg/pg_present.h"
#include "core/batch.h"
#include "core/segment.h"

typedef struct ShPresentRuns {
    ShPgRun *runs;
    ShPgEpochOrigin *origins; /* by run */
    size_t count;
    size_t capacity;
    ShPgStretch *stretches;
    size_t stretch_count;
    size_t stretch_capacity;
    int64_t unplaced; /* records before a claim that begins inside their batch, which goes as a whole */
} ShPresentRuns;

/* Add a run of an object, whose bytes were checked, and what it holds of idempotent producers; of one without
 * offsets, as if it began at 0. Of its origin is set whether it is ownerless. */
ShStatus sh_present_add_run(ShPresentRuns *runs, const ShSegmentRun *run, const uint8_t *object,
                            ShError *err) SH_MUST_CHECK;

/* Add offsets that the object's publish made void, as a result tells: the object holds nothing of them. They
 * go where they belong among the runs of their epoch; what is there already is not added again. */
ShStatus sh_present_add_void(ShPresentRuns *runs, const ShSegmentResult *told, ShError *err) SH_MUST_CHECK;

/* Ask what later epochs have claimed of an object's runs, and leave it out. */
ShStatus sh_present_ask_claims(ShPg *pg, int64_t incarnation, const ShPresentRuns *runs,
                               const uint8_t *object, ShPresentRuns *out, ShError *err) SH_MUST_CHECK;

/* Part the runs of an object, whose bytes were checked, around the batches that `rows` make void; their
 * places are those of the runs. The pieces replace what is in `out`; on failure it stays. */
ShStatus sh_present_leave_out(const ShPresentRuns *runs, const uint8_t *object, const ShPgVoid *rows,
                              size_t row_count, ShPresentRuns *out, ShError *err) SH_MUST_CHECK;

void sh_present_runs_free(ShPresentRuns *runs);

#endif
