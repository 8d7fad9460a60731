/*
 * launcher.c - the one static background worker. It is connected to no database, and keeps the others
 * running in the one that streamhouse.database names, whenever that exists and holds the extension.
 *
 * What runs is told by the workers' claims, not by handles alone: a launcher that was terminated comes back
 * without handles, and goes on with the workers that it finds. Should two of a kind begin at the same moment
 * all the same, one gets the claim and the other ends.
 *
 * A worker ends by itself where there is nothing to do (no extension in the database), where it is in the
 * way of DROP DATABASE, and when it is terminated. The pause before the next start lets DROP DATABASE
 * finish.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "bgworkers/loop.h"
#include "extension/settings.h"
#include "extension/workers.h"

#define SH_LAUNCH_PAUSE_MS 2000L

/* Entry point, called by the postmaster by name. */
extern PGDLLEXPORT void sh_launcher_main(Datum arg);

/* A worker that is to run, and its handle while it does. */
typedef struct LaunchedWorker {
    ShWorkerKind kind;
    const char *name;
    const char *function;
    BackgroundWorkerHandle *handle;
    bool has_no_slot;
} LaunchedWorker;

static Oid find_database(void);
static void keep_running(LaunchedWorker *launched, Oid database);
static void make_room(const LaunchedWorker *lease, const LaunchedWorker *other);
static void tell_of_slots(LaunchedWorker *launched);
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
    LaunchedWorker launched[] = {
        {SH_WORKER_LEASE, "streamhouse lease", "sh_lease_main", NULL, false},
        {SH_WORKER_RETENTION, "streamhouse retention", "sh_retention_main", NULL, false}};

    sh_worker_begin(InvalidOid);
    for (;;) {
        Oid database = find_database();

        for (size_t i = 0; i < lengthof(launched); i++)
            keep_running(&launched[i], database);
        make_room(&launched[0], &launched[1]);
        sh_worker_wait(SH_LAUNCH_PAUSE_MS);
    }
}

/* A worker that has ended is started at the next look. */
static void keep_running(LaunchedWorker *launched, Oid database)
{
    pid_t pid;

    if (launched->handle == NULL) {
        if (OidIsValid(database) && !sh_worker_is_running(launched->kind, database)) {
            launched->handle = start_worker(launched, database);
            tell_of_slots(launched);
        }
    } else if (GetBackgroundWorkerPid(launched->handle, &pid) == BGWH_STOPPED) {
        pfree(launched->handle);
        launched->handle = NULL;
    }
}

/* Leases come first: where slots are short, another worker gives its own up. */
static void make_room(const LaunchedWorker *lease, const LaunchedWorker *other)
{
    if (lease->has_no_slot && other->handle != NULL)
        TerminateBackgroundWorker(other->handle);
}

/* Once when slots run out, and once when there is one again. */
static void tell_of_slots(LaunchedWorker *launched)
{
    bool has_no_slot = launched->handle == NULL;

    if (has_no_slot && !launched->has_no_slot)
        ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                          errmsg("no slot for the background worker \"%s\"", launched->name),
                          errdetail("All %d of max_worker_processes are in use.", max_worker_processes),
                          errhint("Raise max_worker_processes and start PostgreSQL again. Until then %s.",
                                  launched->kind == SH_WORKER_LEASE
                                      ? "leases do not run out and partitions are not placed"
                                      : "retention deletes nothing")));
    else if (!has_no_slot && launched->has_no_slot)
        ereport(LOG, (errmsg("the background worker \"%s\" has a slot again", launched->name)));
    launched->has_no_slot = has_no_slot;
}

/* The database to work in, or InvalidOid when the setting is empty or names none. The catalog is read as it
 * lies: without a database, its indexes are known only when another session has left them in the server's
 * cache file, and after a start of the server none has. */
static Oid find_database(void)
{
    Oid database = InvalidOid;
    Relation catalog;
    TableScanDesc scan;
    HeapTuple tuple;

    if (sh_database[0] == '\0')
        return InvalidOid;
    StartTransactionCommand();
    (void)GetTransactionSnapshot();
    catalog = table_open(DatabaseRelationId, AccessShareLock);
    scan = table_beginscan_catalog(catalog, 0, NULL);
    while (!OidIsValid(database) && HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection))) {
        Form_pg_database row = (Form_pg_database)GETSTRUCT(tuple);

        if (strcmp(NameStr(row->datname), sh_database) == 0)
            database = row->oid;
    }
    table_endscan(scan);
    table_close(catalog, AccessShareLock);
    CommitTransactionCommand();
    return database;
}

/* NULL when there is no slot for a worker (max_worker_processes): to be tried again later. */
static BackgroundWorkerHandle *start_worker(const LaunchedWorker *launched, Oid database)
{
    BackgroundWorker worker = {0};
    BackgroundWorkerHandle *handle = NULL;

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
