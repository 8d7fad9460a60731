/*
 * admin.h - the thread that runs administration calls, one after the other and of each asker in turn, on a
 * connection of its own.
 */
#ifndef SH_AGENT_LOG_ADMIN_H
#define SH_AGENT_LOG_ADMIN_H

#include <pthread.h>
#include <stdbool.h>

#include "agent/base/rounds.h"
#include "agent/log/engine.h"
#include "agent/pg/pg.h"

typedef struct ShAdmin {
    pthread_t thread;
    bool started;
    ShPg *pg;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    bool stopping;
    ShRounds rounds; /* of jobs that wait */
    int count;
} ShAdmin;

ShStatus sh_admin_init(ShAdmin *admin, ShError *err) SH_MUST_CHECK;
ShStatus sh_admin_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* End the thread; calls that did not begin get SH_UNAVAILABLE. */
void sh_admin_stop(ShEngine *engine);
void sh_admin_destroy(ShAdmin *admin);

#endif
