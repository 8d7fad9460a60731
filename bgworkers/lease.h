/* lease.h - the worker that lets leases run out, and tidies after agents that are gone. */
#ifndef SH_BGWORKERS_LEASE_H
#define SH_BGWORKERS_LEASE_H

#include "postgres.h"

/* Entry point, called by the postmaster by name. `arg` is the database's oid. */
extern PGDLLEXPORT void sh_lease_main(Datum arg);

#endif
