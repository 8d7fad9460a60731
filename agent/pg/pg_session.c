/*
 * pg_session.c - what each session is made to be, and what each answer tells beside its rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

#define ROUNDS 5 /* of looking for a pooler; each finds nearly every one that is idle */

static ShStatus ask_pid(ShPg *pg, char *pid, size_t pid_bytes, ShError *err);

/* Roles and databases may have settings of their own, and a pooler leftovers of its other clients. What
 * matters: statement_timeout, lock_timeout   what is asked after the deadline would go on in the server,
 * holding its locks; what waits for a lock has the whole of the deadline default_transaction_* the functions
 * refuse other isolation levels; a session that may not write is no use search_path names and operators of
 * the statements below are PostgreSQL's the others                        decide how values are read and
 * written synchronous_commit and session_replication_role are the functions' matter
 * (streamhouse.begin_decision). */
ShStatus sh_pg_set_up_session(ShPg *pg, int64_t deadline_ms, ShError *err)
{
    static const char sql[] =
        "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false), "
        "pg_catalog.set_config('statement_timeout', $1, false), "
        "pg_catalog.set_config('lock_timeout', '0', false), "
        "pg_catalog.set_config('default_transaction_isolation', 'read committed', false), "
        "pg_catalog.set_config('default_transaction_read_only', 'off', false), "
        "pg_catalog.set_config('default_transaction_deferrable', 'off', false), "
        "pg_catalog.set_config('datestyle', 'ISO, MDY', false), "
        "pg_catalog.set_config('intervalstyle', 'postgres', false), "
        "pg_catalog.set_config('timezone', 'UTC', false), "
        "pg_catalog.set_config('bytea_output', 'hex', false), "
        "pg_catalog.set_config('extra_float_digits', '1', false), "
        "pg_catalog.set_config('array_nulls', 'on', false), "
        "pg_catalog.set_config('quote_all_identifiers', 'off', false), "
        "pg_catalog.set_config('transform_null_equals', 'off', false), "
        "pg_catalog.set_config('standard_conforming_strings', 'on', false)";
    ShPgNumber timeout;
    const char *const values[] = {sh_pg_number(&timeout, pg->timeout_ms)};
    PQsetnonblocking(pg->conn, 1);
    if (!PQsendQueryParams(pg->conn, sql, 1, NULL, values, NULL, NULL, 0))
        return sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
    PGresult *result;
    ShStatus status = sh_pg_receive(pg, deadline_ms, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

/* A session has its server process alone for as long as it lasts. Where a pooler lends them by the
 * transaction, a second session gets the first one's, or the first one another than before. */
ShStatus sh_pg_check_session(ShPg *pg, ShError *err)
{
    char first[24], other[24], again[24];
    ShPg *second = NULL;
    bool is_shared = false;
    ShStatus status = sh_pg_new(pg->conninfo, pg->application_name, pg->timeout_ms, &second, err);
    for (int i = 0; i < ROUNDS && status == SH_OK && !is_shared; i++) {
        status = ask_pid(pg, first, sizeof first, err);
        if (status == SH_OK)
            status = ask_pid(second, other, sizeof other, err);
        if (status == SH_OK)
            status = ask_pid(pg, again, sizeof again, err);
        is_shared = status == SH_OK && (strcmp(first, other) == 0 || strcmp(first, again) != 0);
    }
    sh_pg_free(second);
    if (is_shared)
        status = sh_fail(
            err, SH_UNSUPPORTED,
            "postgres: the pooler in between gives a session's transactions to several server processes; "
            "agents need its session mode (PgBouncer: pool_mode = session), or no pooler");
    return status;
}

/* The extension reports the setting with each call that it has counted: the count, and the transaction's
 * number. */
ShStatus sh_pg_note_calls(ShPg *pg, int64_t seen, ShError *err)
{
    const char *reported = PQparameterStatus(pg->conn, "streamhouse.calls");
    if (pg->calls == NULL || reported == NULL || strcmp(reported, pg->reported) == 0)
        return SH_OK; /* not a call that is counted */
    snprintf(pg->reported, sizeof pg->reported, "%s", reported);
    int64_t counted = strtoll(reported, NULL, 10);
    if (counted <= seen)
        return sh_fail(err, SH_OUTDATED,
                       "the database lost history: it answered call number %lld after call number %lld",
                       (long long)counted, (long long)seen);
    int_fast64_t known = atomic_load(pg->calls);
    while (known < counted && !atomic_compare_exchange_weak(pg->calls, &known, counted))
        continue;
    return SH_OK;
}

static ShStatus ask_pid(ShPg *pg, char *pid, size_t pid_bytes, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_query(pg, "SELECT pg_catalog.pg_backend_pid()", 0, NULL, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK)
        sh_pg_row_text(&row, pid, pid_bytes);
    PQclear(result);
    return status;
}
