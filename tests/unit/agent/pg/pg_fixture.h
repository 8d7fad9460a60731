/*
 * pg_fixture.h - a database of its own for each test program, on the server that STREAMHOUSE_TEST_PG names.
 */
#ifndef SH_TESTS_UNIT_AGENT_PG_PG_FIXTURE_H
#define SH_TESTS_UNIT_AGENT_PG_PG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/pg/pg.h"

static char fixture_conninfo[1024];

static inline const char *fixture_server(void)
{
    const char *server = getenv("STREAMHOUSE_TEST_PG");
    if (server == NULL)
        fail_msg("STREAMHOUSE_TEST_PG must name a PostgreSQL server for this test");
    return server;
}

static inline PGconn *fixture_connect(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

/* Run SQL as the superuser; the first column of the first row is returned in a static buffer. */
static inline const char *fixture_sql_in(const char *conninfo, const char *sql)
{
    static char value[256];
    PGconn *conn = fixture_connect(conninfo);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(result));
    snprintf(value, sizeof value, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    return value;
}
static inline const char *fixture_sql(const char *sql)
{
    return fixture_sql_in(fixture_conninfo, sql);
}

static inline int fixture_make_database(void **state)
{
    (void)state;
    char sql[128];
    snprintf(sql, sizeof sql, "CREATE DATABASE agent_pg_%d", (int)getpid());
    fixture_sql_in(fixture_server(), sql);
    snprintf(fixture_conninfo, sizeof fixture_conninfo, "%s dbname=agent_pg_%d", fixture_server(),
             (int)getpid());
    fixture_sql("CREATE EXTENSION streamhouse");
    return 0;
}

static inline int fixture_drop_database(void **state)
{
    (void)state;
    char sql[128];
    snprintf(sql, sizeof sql, "DROP DATABASE agent_pg_%d WITH (FORCE)", (int)getpid());
    fixture_sql_in(fixture_server(), sql);
    return 0;
}

static inline ShPg *fixture_pg(const char *conninfo, int64_t timeout_ms)
{
    ShPg *pg;
    ShError err;
    if (sh_pg_new(conninfo, "unit test", timeout_ms, &pg, &err) != SH_OK)
        fail_msg("%s", err.message);
    return pg;
}

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        ShStatus status_ = (call);                                                                           \
        if (status_ != SH_OK)                                                                                \
            fail_msg("%s: %s", sh_status_name(status_), err.message);                                        \
    } while (0)

#define assert_message(part)                                                                                 \
    do {                                                                                                     \
        if (strstr(err.message, part) == NULL)                                                               \
            fail_msg("\"%s\" does not hold \"%s\"", err.message, part);                                      \
    } while (0)

#endif
