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
extern int sh_producers_max;
extern int sh_retention_interval_ms; /* between two rounds of the retention worker */
extern int sh_garbage_grace_ms;      /* an object without segments stays so long */
extern int sh_scan_interval_ms;      /* between two looks through the store */
extern int sh_compaction_delay_ms;   /* an object is compacted at this age at the earliest */
extern int sh_compaction_objects;    /* so many make a compaction worth while */
extern int sh_snapshot_interval_ms;  /* between two snapshots of the index; 0: none */
extern int sh_snapshot_hold_ms;      /* for which they hold up deletion without a new one; 0: for ever */
extern int sh_marker_interval_ms;    /* between two markers in the store */
extern int sh_partitions_max;        /* of all topics together */
extern int sh_open_transaction_warning_ms; /* older ones are warned of; 0: never */
extern int sh_agent_retention_ms;          /* agents that are silent so long are retired; 0: never */
extern bool sh_require_store_marker;       /* no deletion without them */
extern bool sh_allow_drop;                 /* DROP EXTENSION while agents are live */

/* Declare the settings. Called once, when the library is loaded. */
void sh_settings_define(void);

#endif
