/* loop.c - the common parts of the background workers. */
#include "bgworkers/loop.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/sinvaladt.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "extension/drop_guard.h"
#include "extension/settings.h"

/* In the fourth field of the claims' lock tags, where SQL's advisory locks have 1 or 2: no session can be in
 * the way of a worker. */
#define CLAIM_CLASS 0x5348

static bool try_claim(ShWorkerKind kind, Oid database, bool for_session);
static bool is_in_named_database(void);
static bool has_extension(void);
static bool is_in_the_way(void);
static bool owns_database(Oid role);
static bool run_in_transaction(const char *sql, bool *value);

void sh_worker_begin(Oid database)
{
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();

    SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
    if (OidIsValid(database))
        BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    else
        BackgroundWorkerInitializeConnection(NULL, NULL, 0);
    /* The database's owner may set another one, and workers are superusers. */
    SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
    /* The functions refuse other levels, and settings of the role or the database are the administrator's for
     * people. */
    SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
    SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
    SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, NULL);
}

bool sh_worker_claim(ShWorkerKind kind)
{
    return try_claim(kind, MyDatabaseId, true);
}

bool sh_worker_is_running(ShWorkerKind kind, Oid database)
{
    return !try_claim(kind, database, false);
}

void sh_worker_wait(long timeout_ms)
{
    instr_time start;
    long left_ms = timeout_ms;

    INSTR_TIME_SET_CURRENT(start);
    while (left_ms > 0) {
        instr_time now;

        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left_ms, PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
            return;
        }
        INSTR_TIME_SET_CURRENT(now);
        INSTR_TIME_SUBTRACT(now, start);
        left_ms = timeout_ms - (long)INSTR_TIME_GET_MILLISEC(now);
    }
}

bool sh_worker_is_wanted(void)
{
    return is_in_named_database() && has_extension() && !is_in_the_way();
}

bool sh_worker_run(const char *sql, bool *value)
{
    MemoryContext context = CurrentMemoryContext;
    volatile bool done = false;

    pgstat_report_activity(STATE_RUNNING, sql);
    PG_TRY();
    {
        done = run_in_transaction(sql, value);
    }
    PG_CATCH();
    {
        HOLD_INTERRUPTS();
        MemoryContextSwitchTo(context);
        EmitErrorReport();
        AbortCurrentTransaction();
        FlushErrorState();
        RESUME_INTERRUPTS();
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    pgstat_report_activity(STATE_IDLE, NULL);
    return done;
}

/* Claims are of the lock method of advisory locks, which a session keeps when a transaction fails. */
static bool try_claim(ShWorkerKind kind, Oid database, bool for_session)
{
    LOCKTAG tag;
    bool is_free;

    SET_LOCKTAG_ADVISORY(tag, database, 0, kind, CLAIM_CLASS);
    StartTransactionCommand();
    is_free = LockAcquire(&tag, ExclusiveLock, for_session, true) != LOCKACQUIRE_NOT_AVAIL;
    CommitTransactionCommand();
    return is_free;
}

static bool is_in_named_database(void)
{
    const char *connected;
    bool same;

    StartTransactionCommand();
    connected = get_database_name(MyDatabaseId);
    same = connected != NULL && strcmp(connected, sh_database) == 0;
    CommitTransactionCommand();
    return same;
}

static bool has_extension(void)
{
    bool found;

    StartTransactionCommand();
    found = OidIsValid(get_extension_oid("streamhouse", true));
    CommitTransactionCommand();
    return found;
}

/* Anybody may say DROP DATABASE, and has the lock for a moment before he is refused: owners alone count. */
static bool is_in_the_way(void)
{
    LOCKTAG tag;
    bool is = false;

    SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
    StartTransactionCommand();
    if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL) {
        int count;
        VirtualTransactionId *holders = GetLockConflicts(&tag, RowExclusiveLock, &count);

        for (int i = 0; i < count && !is; i++) {
            PGPROC *holder = BackendIdGetProc(holders[i].backendId);

            is = holder != NULL && owns_database(holder->roleId);
        }
    }
    CommitTransactionCommand();
    return is;
}

/* By SET ROLE too. */
static bool owns_database(Oid role)
{
    HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
    Oid owner;

    if (!HeapTupleIsValid(tuple))
        return true;
    owner = ((Form_pg_database)GETSTRUCT(tuple))->datdba;
    ReleaseSysCache(tuple);
    return is_member_of_role(role, owner);
}

static bool run_in_transaction(const char *sql, bool *value)
{
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    if (!sh_drop_hold_off()) {
        CommitTransactionCommand();
        return false;
    }
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    if (SPI_execute(sql, false, 0) < 0)
        elog(ERROR, "could not run \"%s\"", sql);
    if (value != NULL) {
        bool is_null = true;
        Datum first = (Datum)0;

        if (SPI_processed > 0)
            first = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
        *value = !is_null && DatumGetBool(first);
    }
    SPI_finish();
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(true);
    return true;
}
