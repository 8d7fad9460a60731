/*
 * drop_guard.c - DROP EXTENSION streamhouse is refused while agents are live, unless CASCADE is said, and
 * waits for the workers' steps: locks that it takes one after the other would meet theirs in a deadlock.
 *
 * With the extension go all topics and the index, under agents that still accept records. An event trigger
 * cannot tell: before the command it does not know what is dropped, and after it the leases are gone.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"

#include "extension/drop_guard.h"
#include "extension/settings.h"

#define EXTENSION_NAME "streamhouse"
/* In the fourth field of the lock's tag, where SQL's advisory locks have 1 or 2: no session can take it. */
#define DROP_CLASS 0x5344
#define LIVE_AGENTS                                                                                          \
    "SELECT pg_catalog.string_agg(agent_id, ', ' ORDER BY agent_id) FROM streamhouse.live_agent"

static ProcessUtility_hook_type next_hook;

static void guard_utility(PlannedStmt *planned, const char *query, bool is_read_only,
                          ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
                          DestReceiver *receiver, QueryCompletion *completion);
static bool drops_extension(const DropStmt *drop);
static bool take_lock(LOCKMODE mode, bool dont_wait);
static void refuse_live_agents(void);

void sh_drop_guard_install(void)
{
    next_hook = ProcessUtility_hook != NULL ? ProcessUtility_hook : standard_ProcessUtility;
    ProcessUtility_hook = guard_utility;
}

static void guard_utility(PlannedStmt *planned, const char *query, bool is_read_only,
                          ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
                          DestReceiver *receiver, QueryCompletion *completion)
{
    if (IsA(planned->utilityStmt, DropStmt) && drops_extension((DropStmt *)planned->utilityStmt)) {
        if (!sh_allow_drop && ((DropStmt *)planned->utilityStmt)->behavior != DROP_CASCADE)
            refuse_live_agents();
        (void)take_lock(ExclusiveLock, false);
    }
    next_hook(planned, query, is_read_only, context, params, environment, receiver, completion);
}

/* PostgreSQL itself refuses whoever does not own it: nobody else keeps the workers off. */
static bool drops_extension(const DropStmt *drop)
{
    ListCell *cell;

    if (drop->removeType != OBJECT_EXTENSION)
        return false;
    foreach (cell, drop->objects) {
        if (strcmp(strVal(lfirst(cell)), EXTENSION_NAME) == 0) {
            Oid extension = get_extension_oid(EXTENSION_NAME, true);

            return OidIsValid(extension) && pg_extension_ownercheck(extension, GetUserId());
        }
    }
    return false;
}

bool sh_drop_hold_off(void)
{
    return take_lock(ShareLock, true);
}

/* Until the transaction ends. */
static bool take_lock(LOCKMODE mode, bool dont_wait)
{
    LOCKTAG tag;

    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, DROP_CLASS);
    return LockAcquire(&tag, mode, false, dont_wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void refuse_live_agents(void)
{
    char *agents = NULL;

    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    if (SPI_execute(LIVE_AGENTS, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "could not look for live agents");
    agents = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
    if (agents != NULL)
        ereport(ERROR, errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
                errmsg("cannot drop extension %s because agents are live", EXTENSION_NAME),
                errdetail("Live are: %s.", agents),
                errhint("Stop them first, or say DROP EXTENSION %s CASCADE: all topics go with it, and the "
                        "index of what "
                        "is in the store.",
                        EXTENSION_NAME));
    PopActiveSnapshot();
    SPI_finish();
}
