/*
 * launcher.c - starts the lease worker and starts it again when it ends.
 *
 * A worker ends by itself where there is nothing to do (no extension in the database) and when it is terminated
 * (DROP DATABASE ... WITH (FORCE)). The pause before the next start leaves DROP DATABASE room to finish: a connected
 * worker would block it.
 */
#include "bgworkers/launcher.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"

#define SH_LAUNCH_PAUSE_MS 5000L

static Oid find_database(void);
static BackgroundWorkerHandle *start_lease_worker(Oid database);

void
sh_launcher_register(void)
{
    BackgroundWorker worker = {0};

    snprintf(worker.bgw_name, BGW_MAXLEN, "streamhouse launcher");
    snprintf(worker.bgw_type, BGW_MAXLEN, "streamhouse launcher");
    snprintf(worker.bgw_library_name, BGW_MAXLEN, "streamhouse");
    snprintf(worker.bgw_function_name, BGW_MAXLEN, "sh_launcher_main");
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = (int)(SH_LAUNCH_PAUSE_MS / 1000);
    RegisterBackgroundWorker(&worker);
}

void
sh_launcher_main(Datum arg)
{
    BackgroundWorkerHandle *lease = NULL;

    sh_worker_begin(InvalidOid);
    for (;;) {
        pid_t pid;

        if (lease != NULL && GetBackgroundWorkerPid(lease, &pid) == BGWH_STOPPED) {
            pfree(lease);
            lease = NULL;
            sh_worker_wait(SH_LAUNCH_PAUSE_MS);
        }
        if (lease == NULL) {
            Oid database = find_database();

            if (OidIsValid(database))
                lease = start_lease_worker(database);
        }
        sh_worker_wait(SH_LAUNCH_PAUSE_MS);
    }
}

/* The database to work in, or InvalidOid when the setting is empty or names none. */
static Oid
find_database(void)
{
    Oid database = InvalidOid;

    if (sh_database[0] == '\0')
        return InvalidOid;
    StartTransactionCommand();
    database = get_database_oid(sh_database, true);
    CommitTransactionCommand();
    return database;
}

/* NULL when no worker slot is free (max_worker_processes): the launcher tries again later. */
static BackgroundWorkerHandle *
start_lease_worker(Oid database)
{
    BackgroundWorker worker = {0};
    BackgroundWorkerHandle *handle = NULL;

    snprintf(worker.bgw_name, BGW_MAXLEN, "streamhouse lease");
    snprintf(worker.bgw_type, BGW_MAXLEN, "streamhouse lease");
    snprintf(worker.bgw_library_name, BGW_MAXLEN, "streamhouse");
    snprintf(worker.bgw_function_name, BGW_MAXLEN, "sh_lease_main");
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_main_arg = ObjectIdGetDatum(database);
    worker.bgw_notify_pid = MyProcPid;
    if (!RegisterDynamicBackgroundWorker(&worker, &handle))
        return NULL;
    return handle;
}
