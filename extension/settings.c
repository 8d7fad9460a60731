/* settings.c - declares the settings, and shows them to SQL in plain units. */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"

#include "extension/settings.h"

char *sh_database;
int sh_tick_interval_ms;
int sh_lease_ticks;
int sh_offset_range;
int sh_producers_max;
int sh_retention_interval_ms;
int sh_garbage_grace_ms;
int sh_scan_interval_ms;
int sh_compaction_delay_ms;
int sh_compaction_objects;
int sh_marker_interval_ms;
int sh_snapshot_interval_ms;
int sh_snapshot_hold_ms;
int sh_partitions_max;
int sh_open_transaction_warning_ms;
bool sh_require_store_marker;
int sh_agent_retention_ms;
bool sh_allow_drop;
static char *calls; /* PostgreSQL's copy; nobody reads it here */

PG_FUNCTION_INFO_V1(sh_setting_tick_interval_ms);
PG_FUNCTION_INFO_V1(sh_setting_lease_ticks);
PG_FUNCTION_INFO_V1(sh_setting_offset_range);
PG_FUNCTION_INFO_V1(sh_setting_producers_max);
PG_FUNCTION_INFO_V1(sh_setting_garbage_grace_ms);
PG_FUNCTION_INFO_V1(sh_setting_scan_interval_ms);
PG_FUNCTION_INFO_V1(sh_setting_compaction_delay_ms);
PG_FUNCTION_INFO_V1(sh_setting_compaction_objects);
PG_FUNCTION_INFO_V1(sh_setting_marker_interval_ms);
PG_FUNCTION_INFO_V1(sh_setting_snapshot_interval_ms);
PG_FUNCTION_INFO_V1(sh_setting_snapshot_hold_ms);
PG_FUNCTION_INFO_V1(sh_setting_partitions_max);
PG_FUNCTION_INFO_V1(sh_setting_open_transaction_warning_ms);
PG_FUNCTION_INFO_V1(sh_setting_require_store_marker);
PG_FUNCTION_INFO_V1(sh_setting_agent_retention_ms);

#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

static void define_garbage_settings(void);

void sh_settings_define(void)
{
    DefineCustomStringVariable("streamhouse.database",
                               "Database in which the background workers of StreamHouse work.",
                               "Empty: they do nothing.", &sh_database, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.tick_interval", "Time between two ticks of the lease worker.", NULL,
                            &sh_tick_interval_ms, 1000, 10, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
                            NULL);
    DefineCustomIntVariable("streamhouse.lease_ticks", "Ticks that a lease outlives its last renewal.", NULL,
                            &sh_lease_ticks, 10, 2, 3600, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.offset_range",
                            "Offsets that one owned epoch of a partition may assign.",
                            "An owner that nears the end of its range seals the epoch and begins the next.",
                            &sh_offset_range, 1 << 28, 16, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.partitions_max", "Partitions that all topics together may have.",
                            "Agents know of each, and placement looks at each.", &sh_partitions_max, 200000,
                            1, 10 * 1000 * 1000, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.open_transaction_warning",
                            "Age at which open transactions that hold locks of StreamHouse are warned of.",
                            "0: never.", &sh_open_transaction_warning_ms, 10 * SECOND_MS, 0, DAY_MS,
                            PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.agent_retention",
                            "Agents that own nothing and were not heard of for so long are retired.",
                            "0: never.", &sh_agent_retention_ms, 7 * DAY_MS, 0, 24 * DAY_MS, PGC_SIGHUP,
                            GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomBoolVariable("streamhouse.allow_drop", "DROP EXTENSION is allowed while agents are live.",
                             "Off: it must say CASCADE.", &sh_allow_drop, false, PGC_SUSET, 0, NULL, NULL,
                             NULL);
    DefineCustomIntVariable("streamhouse.producers_max",
                            "Idempotent producers that are remembered at a time.",
                            "No ids are given beyond that before some have not been used for a week.",
                            &sh_producers_max, 1000000, 1, 100000000, PGC_SUSET, 0, NULL, NULL, NULL);
    define_garbage_settings();
    /* Not to be set: how each call tells its count beside its rows, in the protocol's own report of settings.
     */
    DefineCustomStringVariable(
        "streamhouse.calls", "Count of calls of the agent that called last, and the transaction.", NULL,
        &calls, "", PGC_USERSET, GUC_REPORT | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
        NULL, NULL, NULL);
    MarkGUCPrefixReserved("streamhouse");
}

static void define_garbage_settings(void)
{
    DefineCustomIntVariable(
        "streamhouse.retention_interval", "Time between two rounds of the retention worker.", NULL,
        &sh_retention_interval_ms, 10 * SECOND_MS, 10, HOUR_MS, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable(
        "streamhouse.garbage_grace", "How long an object that no segment refers to stays in the store.",
        "Readers that found it in the index may still be reading it.", &sh_garbage_grace_ms, 10 * MINUTE_MS,
        0, 7 * DAY_MS, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.scan_interval",
                            "Time between two looks through the store for objects that the index does not "
                            "know.",
                            NULL, &sh_scan_interval_ms, DAY_MS, 0, 24 * DAY_MS, PGC_SUSET, GUC_UNIT_MS, NULL,
                            NULL, NULL);
    DefineCustomIntVariable("streamhouse.compaction_delay", "Objects younger than this are not compacted.",
                            NULL, &sh_compaction_delay_ms, 10 * MINUTE_MS, 0, 7 * DAY_MS, PGC_SUSET,
                            GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable("streamhouse.compaction_objects",
                            "Objects over which a partition's records must be spread to be compacted.",
                            "Those that fill a segment are compacted from two on.", &sh_compaction_objects,
                            10, 2, 1000, PGC_SUSET, 0, NULL, NULL, NULL);
    DefineCustomIntVariable(
        "streamhouse.snapshot_interval", "Time between two snapshots of the index in the store.",
        "0: none. Objects that the last two snapshots refer to are not deleted.", &sh_snapshot_interval_ms,
        15 * MINUTE_MS, 0, DAY_MS, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable(
        "streamhouse.snapshot_hold", "How long snapshots hold up deletion while no new one can be finished.",
        "Then those in the store are deleted, and garbage goes on without. 0: for ever.",
        &sh_snapshot_hold_ms, 2 * DAY_MS, 0, 24 * DAY_MS, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable(
        "streamhouse.marker_interval", "Time between two markers that agents leave in the store.",
        "Nothing is deleted before two of them have met no objection.", &sh_marker_interval_ms, MINUTE_MS, 10,
        HOUR_MS, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomBoolVariable(
        "streamhouse.require_store_marker",
        "Delete objects only while markers in the store show that no other database works "
        "with it.",
        NULL, &sh_require_store_marker, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

Datum sh_setting_tick_interval_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_tick_interval_ms);
}

Datum sh_setting_lease_ticks(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_lease_ticks);
}

Datum sh_setting_offset_range(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_offset_range);
}

Datum sh_setting_producers_max(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_producers_max);
}

Datum sh_setting_garbage_grace_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_garbage_grace_ms);
}

Datum sh_setting_scan_interval_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_scan_interval_ms);
}

Datum sh_setting_compaction_delay_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_compaction_delay_ms);
}

Datum sh_setting_compaction_objects(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_compaction_objects);
}

Datum sh_setting_snapshot_interval_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_snapshot_interval_ms);
}

Datum sh_setting_snapshot_hold_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_snapshot_hold_ms);
}

Datum sh_setting_marker_interval_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_marker_interval_ms);
}

Datum sh_setting_partitions_max(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_partitions_max);
}

Datum sh_setting_open_transaction_warning_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_open_transaction_warning_ms);
}

Datum sh_setting_require_store_marker(PG_FUNCTION_ARGS)
{
    PG_RETURN_BOOL(sh_require_store_marker);
}

Datum sh_setting_agent_retention_ms(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(sh_agent_retention_ms);
}
