/* loop.c - the common parts of the background workers. */
#include "bgworkers/loop.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

static void run_in_transaction(const char *sql, bool *value);

void
sh_worker_begin(Oid database)
{
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();

    SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
    if (OidIsValid(database))
        BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    else
        BackgroundWorkerInitializeConnection(NULL, NULL, 0);
    pgstat_report_appname(MyBgworkerEntry->bgw_name);
    pgstat_report_activity(STATE_IDLE, NULL);
}

void
sh_worker_wait(long timeout_ms)
{
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

bool
sh_worker_has_extension(void)
{
    bool found;

    StartTransactionCommand();
    found = OidIsValid(get_extension_oid("streamhouse", true));
    CommitTransactionCommand();
    return found;
}

bool
sh_worker_run(const char *sql, bool *value)
{
    MemoryContext context = CurrentMemoryContext;
    volatile bool done = false;

    pgstat_report_activity(STATE_RUNNING, sql);
    PG_TRY();
    {
        run_in_transaction(sql, value);
        done = true;
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

static void
run_in_transaction(const char *sql, bool *value)
{
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    if (SPI_execute(sql, false, 0) < 0)
        elog(ERROR, "could not run \"%s\"", sql);
    if (value != NULL) {
        bool is_null = true;

        *value = SPI_processed > 0 &&
                 DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null)) && !is_null;
    }
    SPI_finish();
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(true);
}
