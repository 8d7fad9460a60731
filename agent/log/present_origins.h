/*
 * present_origins.h - where the epochs began of which objects in the store hold runs, as far as these show
 * it.
 *
 * An epoch that the database does not know begins at the lowest offset that is known of its runs, unless its
 * WAL, which comes later, holds what is lower and had not reached the store; or it is ownerless, and another
 * agent comes that can tell a lower one of a run that has none here.
 */
#ifndef SH_AGENT_LOG_PRESENT_ORIGINS_H
#define SH_AGENT_LOG_PRESENT_ORIGINS_H

#include "agent/log/present_claims.h"

/* Begins as {0}. */
typedef struct ShPresentOrigins {
    ShPgRun *runs;
    size_t count;
    size_t capacity;
    bool is_sorted;
} ShPresentOrigins;

/* Add the runs of an object. */
ShStatus sh_present_origins_add(ShPresentOrigins *origins, const ShPresentRuns *object,
                                ShError *err) SH_MUST_CHECK;

/* Once all are added: set where the epochs of an object's runs began. */
void sh_present_origins_give(ShPresentOrigins *origins, ShPresentRuns *object);

void sh_present_origins_free(ShPresentOrigins *origins);

#endif
