#include <string.h>

#include "agent/pg/pg_internal.h"

#define EXTENSION_VERSION "0.1" /* major and minor; patches are compatible */

static ShStatus refuse(ShError *err);
static ShStatus check_extension(ShPg *pg, ShError *err);
static ShStatus judge_extension(const PGresult *result, ShError *err);
static ShStatus check_rights(ShPg *pg, ShError *err);
static ShStatus judge_rights(const PGresult *result, ShError *err);

ShStatus sh_pg_check(ShPg *pg, ShError *err)
{
    ShStatus status = check_extension(pg, err);
    if (status == SH_UNAVAILABLE && pg->locked_out)
        return refuse(err);
    if (status == SH_OK)
        status = check_rights(pg, err);
    if (status == SH_OK)
        status = sh_pg_check_session(pg, err);
    return status;
}

ShStatus sh_pg_advice(ShPg *pg, const ShPgNeeds *needs, void (*tell)(const char *problem, void *arg),
                      void *arg, ShError *err)
{
    ShPgNumber numbers[3];
    const char *const values[] = {sh_pg_number(&numbers[0], needs->connections),
                                  sh_pg_number(&numbers[1], needs->heartbeat_ms),
                                  sh_pg_number(&numbers[2], needs->marker_ms)};
    PGresult *result;
    ShStatus status = sh_pg_query(pg,
                                  "SELECT * FROM streamhouse.agent_advice($1::int, $2::bigint, $3::bigint)",
                                  3, values, &result, err);
    if (status != SH_OK)
        return status;
    for (int i = 0; i < PQntuples(result); i++)
        tell(PQgetvalue(result, i, 0), arg);
    PQclear(result);
    return SH_OK;
}

static ShStatus refuse(ShError *err)
{
    ShError why = {0};
    if (err != NULL)
        why = *err;
    return sh_fail(err, SH_DENIED, "%s; see the setting postgres", why.message);
}

static ShStatus check_extension(ShPg *pg, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_query(
        pg,
        "SELECT current_database(), pg_catalog.pg_is_in_recovery(), "
        "(SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'streamhouse')",
        0, NULL, &result, err);
    if (status != SH_OK)
        return status;
    status = judge_extension(result, err);
    PQclear(result);
    return status;
}

static ShStatus judge_extension(const PGresult *result, ShError *err)
{
    ShStatus status = sh_pg_expect_rows(result, 1, err);
    if (status != SH_OK)
        return status;
    const char *database = PQgetvalue(result, 0, 0);
    if (strcmp(PQgetvalue(result, 0, 1), "t") == 0)
        return sh_fail(err, SH_UNAVAILABLE, "the PostgreSQL server is a standby; agents need the primary");
    if (PQgetisnull(result, 0, 2))
        return sh_fail(
            err, SH_UNSUPPORTED,
            "the database \"%s\" has no extension streamhouse; run there: CREATE EXTENSION streamhouse",
            database);

    const char *version = PQgetvalue(result, 0, 2);
    size_t length = strlen(EXTENSION_VERSION);
    if (strncmp(version, EXTENSION_VERSION, length) != 0 ||
        (version[length] != '.' && version[length] != '\0'))
        return sh_fail(
            err, SH_UNSUPPORTED,
            "the extension streamhouse in database \"%s\" is version %s, this agent needs %s; install the "
            "matching version and run: ALTER EXTENSION streamhouse UPDATE",
            database, version, EXTENSION_VERSION);
    return SH_OK;
}

static ShStatus check_rights(ShPg *pg, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_query(
        pg,
        "SELECT pg_catalog.quote_ident(current_user), "
        "pg_catalog.has_schema_privilege('streamhouse', 'USAGE') AND "
        "pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) "
        "FROM pg_catalog.pg_proc AS p "
        "WHERE p.pronamespace = 'streamhouse'::pg_catalog.regnamespace "
        "AND p.proname IN ('agent_register', 'agent_heartbeat', 'publish_object', 'read_index')",
        0, NULL, &result, err);
    if (status != SH_OK)
        return status;
    status = judge_rights(result, err);
    PQclear(result);
    return status;
}

static ShStatus judge_rights(const PGresult *result, ShError *err)
{
    ShStatus status = sh_pg_expect_rows(result, 1, err);
    if (status != SH_OK || strcmp(PQgetvalue(result, 0, 1), "t") == 0)
        return status;
    const char *role = PQgetvalue(result, 0, 0);
    return sh_fail(
        err, SH_DENIED,
        "the role %s may not call StreamHouse's functions; run as a superuser: GRANT streamhouse_agent TO %s",
        role, role);
}
