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

PG_FUNCTION_INFO_V1(sh_setting_tick_interval_ms);
PG_FUNCTION_INFO_V1(sh_setting_lease_ticks);
PG_FUNCTION_INFO_V1(sh_setting_offset_range);

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
    MarkGUCPrefixReserved("streamhouse");
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
