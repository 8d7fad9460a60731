/*
 * loop.h - what all background workers do alike: begin, wait, and run one SQL command per transaction.
 */
#ifndef SH_BGWORKERS_LOOP_H
#define SH_BGWORKERS_LOOP_H

#include "postgres.h"

/* Take over signals, connect to `database` (InvalidOid: to none, shared catalogs only) as the bootstrap
 * superuser, and show the worker's name in pg_stat_activity. */
void sh_worker_begin(Oid database);

/* Sleep for `timeout_ms`, or until the configuration changes, which is read then. Ends the process on SIGTERM
 * and on the postmaster's death. */
void sh_worker_wait(long timeout_ms);

/* False when there is nothing to work at: the extension was dropped, streamhouse.database names another
 * database, or somebody waits to drop, rename or copy the connected one, which its sessions prevent. */
bool sh_worker_is_wanted(void);

/* Run one command in a transaction of its own. An error is logged and swallowed: the next tick tries again.
 * Returns false then. `*value` (may be NULL) is set to the first row's first column, a boolean. */
bool sh_worker_run(const char *sql, bool *value);

#endif
