/*
 * loop.h - what all background workers do alike: begin, wait, and run one SQL command per transaction.
 */
#ifndef SH_BGWORKERS_LOOP_H
#define SH_BGWORKERS_LOOP_H

#include "postgres.h"

/* What runs once in a database. */
typedef enum ShWorkerKind { SH_WORKER_LEASE = 1, SH_WORKER_RETENTION } ShWorkerKind;

/* Take over signals, connect to `database` (InvalidOid: to none, shared catalogs only) as the bootstrap
 * superuser, and show the worker's name in pg_stat_activity. */
void sh_worker_begin(Oid database);

/* Be the one worker of this kind in the connected database, for as long as the process lives; false when
 * another one is. */
bool sh_worker_claim(ShWorkerKind kind);

/* Does a worker of this kind run in `database`? Any process may ask, whoever started it. */
bool sh_worker_is_running(ShWorkerKind kind, Oid database);

/* Sleep for `timeout_ms`, or until the configuration changes, which is read then. Ends the process on SIGTERM
 * and on the postmaster's death. */
void sh_worker_wait(long timeout_ms);

/* False when there is nothing to work at: the extension was dropped, streamhouse.database names another
 * database, or somebody waits to drop, rename or copy the connected one, which its sessions prevent. */
bool sh_worker_is_wanted(void);

/* Run one command in a transaction of its own. An error is logged and swallowed: the next tick tries again.
 * Returns false then, and when the extension is being dropped. `*value` (may be NULL) is set to the first
 * row's first column, a boolean. */
bool sh_worker_run(const char *sql, bool *value);

#endif
