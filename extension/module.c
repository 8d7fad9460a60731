/* module.c - what happens when PostgreSQL loads the library. */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "extension/drop_guard.h"
#include "extension/settings.h"
#include "extension/workers.h"

#if PG_VERSION_NUM < 150000
#error "StreamHouse needs PostgreSQL 15 or newer"
#endif

PG_MODULE_MAGIC;

void _PG_init(void);

void _PG_init(void)
{
    sh_settings_define();
    sh_drop_guard_install();
    if (process_shared_preload_libraries_in_progress)
        sh_workers_register();
}
