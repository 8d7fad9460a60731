/*
 * settings.h - the extension's settings (streamhouse.*), as PostgreSQL keeps them.
 *
 * docs/reference/sql.md lists them with units and ranges. The variables belong to the configuration
 * machinery of PostgreSQL: read them, never write them.
 */
#ifndef SH_EXTENSION_SETTINGS_H
#define SH_EXTENSION_SETTINGS_H

extern char *sh_database;       /* where the workers work; empty: nowhere */
extern int sh_tick_interval_ms; /* between two ticks of the lease worker */
extern int sh_lease_ticks;      /* ticks that a lease outlives its last renewal */
extern int sh_offset_range;     /* offsets that an owned epoch may assign */

/* Declare the settings. Called once, when the library is loaded. */
void sh_settings_define(void);

#endif
