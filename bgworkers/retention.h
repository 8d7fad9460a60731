/* retention.h - the worker that moves log starts up and removes the segments below them. */
#ifndef SH_BGWORKERS_RETENTION_H
#define SH_BGWORKERS_RETENTION_H

#include "postgres.h"

/* Entry point, called by the postmaster by name. `arg` is the database's oid. */
extern PGDLLEXPORT void sh_retention_main(Datum arg);

#endif
