/*
 * launcher.h - the one static background worker. It is connected to no database, and keeps the other workers running
 * in the database that the setting streamhouse.database names, whenever that exists and holds the extension.
 */
#ifndef SH_BGWORKERS_LAUNCHER_H
#define SH_BGWORKERS_LAUNCHER_H

#include "postgres.h"

/* Register the launcher with the postmaster. Only while shared_preload_libraries are loaded. */
void sh_launcher_register(void);

/* Entry point, called by the postmaster by name. */
extern PGDLLEXPORT void sh_launcher_main(Datum arg);

#endif
