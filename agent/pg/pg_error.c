#include <ctype.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

#define SQLSTATE_CHARACTERS 5
#define ATTEMPT             "connection to server" /* how libpq begins to tell of one */

typedef struct ErrorMapping {
    const char *prefix; /* of the SQLSTATE */
    ShStatus status;
} ErrorMapping;

/* The first match counts. The SH... codes are the extension's own, see docs/reference/sql.md. */
static const ErrorMapping mappings[] = {
    {"SH001", SH_FENCED},                /* fenced incarnation */
    {"SH002", SH_OUTDATED},              /* unknown incarnation */
    {"SH003", SH_OUTDATED},              /* the database lost history */
    {"SH004", SH_EXISTS},                /* agent id is live elsewhere */
    {"SH005", SH_INVALID},               /* incarnation number not above the known ones */
    {"SH006", SH_INVALID},               /* incarnation has open epochs */
    {"SH007", SH_INVALID},               /* publish number in use by another object */
    {"SH008", SH_CANCELLED},             /* object was abandoned */
    {"SH009", SH_EXISTS},                /* object was published and confirmed */
    {"SH010", SH_OUT_OF_ORDER_SEQUENCE}, /* batches that a later epoch has claimed */
    {"SH011", SH_UNSUPPORTED},           /* not in this isolation level */
    {"26000", SH_UNAVAILABLE},           /* prepared statement unknown: another server process than before */
    {"42P05", SH_UNAVAILABLE},           /* prepared already, by another session: likewise */
    {"42501", SH_DENIED},                /* insufficient privilege */
    {"28", SH_DENIED},                   /* authorization */
    {"42704", SH_NOT_FOUND},             /* undefined object: the topic */
    {"3D000", SH_NOT_FOUND},             /* undefined database */
    {"42710", SH_EXISTS},                /* duplicate object: the topic */
    {"42883", SH_UNSUPPORTED},           /* undefined function */
    {"42P01", SH_UNSUPPORTED},           /* undefined table */
    {"42703", SH_UNSUPPORTED},           /* undefined column */
    {"3F000", SH_UNSUPPORTED},           /* undefined schema */
    {"0A", SH_UNSUPPORTED},              /* feature not supported */
    {"22", SH_INVALID},                  /* data */
    {"23", SH_INVALID},                  /* constraint */
    {"08", SH_UNAVAILABLE},              /* connection */
    {"25006", SH_UNAVAILABLE},           /* read only: a standby, or one about to become primary */
    {"40", SH_UNAVAILABLE},              /* transaction rolled back: deadlock, serialization */
    {"53400", SH_EXHAUSTED},             /* a bound that a setting gives */
    {"53", SH_UNAVAILABLE},              /* resources */
    {"54", SH_EXHAUSTED},                /* a limit: of partitions */
    {"55", SH_UNAVAILABLE},              /* object not in the needed state: lock not available */
    {"57", SH_UNAVAILABLE},              /* operator intervention: shutdown, time-out */
    {"58", SH_UNAVAILABLE},              /* system error outside PostgreSQL */
};

/* What libpq itself says of a server that it does not take for the one that was meant. */
static const char *const refusals[] = {"certificate verify failed", "does not match host name",
                                       "root certificate file", "server does not support SSL"};

static const char *last_attempt(const char *message);
static const char *find_sqlstate(const char *line);
static bool is_for_good(const PGconn *conn, const char *line, const char *sqlstate);
static ShStatus status_of(const char *sqlstate);
static const char *field(const PGresult *result, int code);

ShStatus sh_pg_fail_result(const PGresult *result, ShError *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = field(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = field(result, PG_DIAG_MESSAGE_HINT);
    /* libpq makes results without a SQLSTATE when the connection breaks. */
    ShStatus status = sqlstate == NULL ? SH_UNAVAILABLE : status_of(sqlstate);
    if (status == SH_UNSUPPORTED && hint[0] == '\0')
        hint = "The extension may be missing or of another version: CREATE EXTENSION streamhouse, or ALTER "
               "EXTENSION "
               "streamhouse UPDATE.";
    if (message[0] == '\0')
        message = PQresultErrorMessage(result);
    size_t length = strcspn(message, "\n");
    return sh_fail(err, status, "%.*s%s%s%s%s", (int)length, message, detail[0] == '\0' ? "" : ". ", detail,
                   hint[0] == '\0'     ? ""
                   : detail[0] == '\0' ? ". "
                                       : " ",
                   hint);
}

ShStatus sh_pg_fail_connection(const PGconn *conn, const char *what, ShError *err)
{
    const char *message = PQerrorMessage(conn);
    return sh_fail(err, SH_UNAVAILABLE, "%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

ShStatus sh_pg_fail_connect(const PGconn *conn, bool *for_good, ShError *err)
{
    const char *line = last_attempt(PQerrorMessage(conn));
    const char *sqlstate = find_sqlstate(line);
    const char *rest = sqlstate != NULL ? sqlstate + SQLSTATE_CHARACTERS + 2 : line;
    *for_good = is_for_good(conn, line, sqlstate);
    return sh_fail(err, SH_UNAVAILABLE, "cannot connect to PostgreSQL: %.*s%.*s",
                   sqlstate != NULL ? (int)(sqlstate - line) : 0, line, (int)strcspn(rest, "\n"), rest);
}

/* Of several hosts and addresses each has its line, and libpq ends at the one that decides. */
static const char *last_attempt(const char *message)
{
    const char *last = message;
    for (const char *found = message; (found = strstr(found, "\n" ATTEMPT)) != NULL;)
        last = ++found;
    return last;
}

/* "... failed: FATAL:  28P01: password authentication failed"; the word may be of another language. NULL:
 * none, no server has answered. */
static const char *find_sqlstate(const char *line)
{
    const char *end = line + strcspn(line, "\n");
    for (const char *at = line; (at = strstr(at, ":  ")) != NULL && at < end;) {
        at += 3;
        size_t length = 0;
        while (isdigit((unsigned char)at[length]) || isupper((unsigned char)at[length]))
            length++;
        if (length == SQLSTATE_CHARACTERS && strncmp(at + length, ": ", 2) == 0)
            return at;
    }
    return NULL;
}

/* What no attempt was made for is wrong in the connection string. An unknown name may be known to the DNS
 * soon. */
static bool is_for_good(const PGconn *conn, const char *line, const char *sqlstate)
{
    if (sqlstate != NULL) {
        ShStatus status = status_of(sqlstate);
        return status == SH_DENIED || status == SH_NOT_FOUND || status == SH_UNSUPPORTED;
    }
    if (PQconnectionNeedsPassword(conn))
        return true;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strstr(line, refusals[i]) != NULL)
            return true;
    return strncmp(line, ATTEMPT, sizeof ATTEMPT - 1) != 0 &&
           strstr(line, "could not translate host") == NULL && strstr(line, "out of memory") == NULL;
}

static ShStatus status_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof mappings / sizeof mappings[0]; i++) {
        if (strncmp(sqlstate, mappings[i].prefix, strlen(mappings[i].prefix)) == 0)
            return mappings[i].status;
    }
    return SH_INTERNAL;
}

static const char *field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);
    return text != NULL ? text : "";
}
