/*
 * session.c - what a session must be like before a function may decide anything in it, whatever the settings
 * of its role or database say.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "extension/settings.h"

#define SH_ERRCODE_ISOLATION MAKE_SQLSTATE('S', 'H', '0', '1', '1')

static void require_read_committed(void);
static void commit_durably(void);
static int server_synchronous_commit(void);
static bool config_files_want_apply(void);
static void set_for_transaction(const char *name, const char *value);

PG_FUNCTION_INFO_V1(sh_begin_decision);

Datum sh_begin_decision(PG_FUNCTION_ARGS)
{
    require_read_committed();
    commit_durably();
    /* A replica's session checks no foreign keys. */
    if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
        set_for_transaction("session_replication_role", "origin");
    PG_RETURN_VOID();
}

/* Who waited for a lock must see what its holder has committed; an older snapshot would decide by the past.
 */
static void require_read_committed(void)
{
    if (!IsolationUsesXactSnapshot())
        return;
    ereport(ERROR,
            (errcode(SH_ERRCODE_ISOLATION),
             errmsg("StreamHouse decides in transactions of isolation level read committed only"),
             errdetail("This transaction is %s.",
                       XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
             errhint("Use BEGIN ISOLATION LEVEL READ COMMITTED, or SET default_transaction_isolation = "
                     "'read committed'.")));
}

/* What was answered is acted on: records are released, offsets given out. A setting that lets a commit be
 * forgotten by a crash is overruled. */
static void commit_durably(void)
{
    int wanted = server_synchronous_commit();

    if (synchronous_commit < wanted)
        set_for_transaction("synchronous_commit",
                            wanted == SYNCHRONOUS_COMMIT_REMOTE_APPLY ? "remote_apply" : "on");
}

/* At least `on`, and no less than the configuration files say; roles, databases and sessions may ask for
 * less. The files are read again when the server has. */
static int server_synchronous_commit(void)
{
    static bool known = false;
    static TimestampTz as_of;
    static int level = SYNCHRONOUS_COMMIT_ON;

    if (synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY)
        return SYNCHRONOUS_COMMIT_REMOTE_APPLY; /* there is no more */
    if (!known || as_of != PgReloadTime) {
        level = config_files_want_apply() ? SYNCHRONOUS_COMMIT_REMOTE_APPLY : SYNCHRONOUS_COMMIT_ON;
        as_of = PgReloadTime;
        known = true;
    }
    return level;
}

static bool config_files_want_apply(void)
{
    bool wanted;

    if (!superuser()) /* the owner of the extension may not read them */
        return false;
    SPI_connect();
    if (SPI_execute("SELECT FROM pg_catalog.pg_file_settings AS f WHERE f.name OPERATOR(pg_catalog.=) "
                    "'synchronous_commit' "
                    "AND f.applied AND pg_catalog.lower(f.setting) OPERATOR(pg_catalog.=) 'remote_apply'",
                    true, 1) < 0)
        elog(ERROR, "could not read the server's settings");
    wanted = SPI_processed > 0;
    SPI_finish();
    return wanted;
}

/* Until the transaction ends, also beyond the function that is running. */
static void set_for_transaction(const char *name, const char *value)
{
    (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}
