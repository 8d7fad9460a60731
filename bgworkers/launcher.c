/*
 * launcher.c - the one static background worker. It is connected to no database, and keeps the others
 * running in the one that streamhouse.database names, whenever that exists and holds the extension.
 *
 * A worker ends by itself where there is nothing to do (no extension in the database), where it is in the
 * way of DROP DATABASE, and when it is terminated. The pause before the next start lets DROP DATABASE
 * finish.
 */
#include "postgres.h"

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
#include "extension/workers.h"

#define SH_LAUNCH_PAUSE_MS 2000L

/* Entry point, called by the postmaster by name. */
extern PGDLLEXPORT void sh_launcher_main(Datum arg);

/* A worker that is to run, and its handle while it does. */
typedef struct LaunchedWorker {
    const char *name;
    const char *function;
    BackgroundWorkerHandle *handle;
} LaunchedWorker;

static Oid find_database(void);
static void keep_running(LaunchedWorker *launched, Oid database);
static BackgroundWorkerHandle *start_worker(const LaunchedWorker *launched, Oid database);

void sh_workers_register(void)
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

void sh_launcher_main(Datum arg)
{
    LaunchedWorker launched[] = {{"streamhouse lease", "sh_lease_main", NULL},
                                 {"streamhouse retention", "sh_retention_main", NULL}};

    sh_worker_begin(InvalidOid);
    for (;;) {
        Oid database = find_database();

        for (size_t i = 0; i < lengthof(launched); i++)
            keep_running(&launched[i], database);
        sh_worker_wait(SH_LAUNCH_PAUSE_MS);
    }
}

/* A worker that has ended is started at the next look. */
static void keep_running(LaunchedWorker *launched, Oid database)
{
    pid_t pid;

    if (launched->handle == NULL) {
        launched->handle = start_worker(launched, database);
    } else if (GetBackgroundWorkerPid(launched->handle, &pid) == BGWH_STOPPED) {
        pfree(launched->handle);
        launched->handle = NULL;
    }
}

/* The database to work in, or InvalidOid when the setting is empty or names none. */
static Oid find_database(void)
{
    Oid database = InvalidOid;

    if (sh_database[0] == '\0')
        return InvalidOid;
    StartTransactionCommand();
    database = get_database_oid(sh_database, true);
    CommitTransactionCommand();
    return database;
}

/* NULL when there is no database, or no slot for a worker (max_worker_processes): to be tried again later. */
static BackgroundWorkerHandle *start_worker(const LaunchedWorker *launched, Oid database)
{
    BackgroundWorker worker = {0};
    BackgroundWorkerHandle *handle = NULL;

    if (!OidIsValid(database))
        return NULL;
    snprintf(worker.bgw_name, BGW_MAXLEN, "%s", launched->name);
    snprintf(worker.bgw_type, BGW_MAXLEN, "%s", launched->name);
    snprintf(worker.bgw_library_name, BGW_MAXLEN, "streamhouse");
    snprintf(worker.bgw_function_name, BGW_MAXLEN, "%s", launched->function);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_main_arg = ObjectIdGetDatum(database);
    worker.bgw_notify_pid = MyProcPid;
    if (!RegisterDynamicBackgroundWorker(&worker, &handle))
        return NULL;
    return handle;
}
