/* workers.h - what loading the library asks of the background workers; bgworkers/launcher.c answers. */
#ifndef SH_EXTENSION_WORKERS_H
#define SH_EXTENSION_WORKERS_H

/* Register the launcher with the postmaster. Only while shared_preload_libraries are loaded. */
void sh_workers_register(void);

#endif
