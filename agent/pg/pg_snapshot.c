#include "agent/pg/pg_snapshot.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/pg/pg_internal.h"

/* For statements of a rebuild that work, unbounded by the size of the index, before they answer. */
#define WORK_MS (24 * 60 * 60 * 1000)

static ShStatus call(ShPg *pg, ShPgStatement statement, const char *const *values, ShError *err);
static ShStatus run(ShPg *pg, const char *sql, int value_count, const char *const *values, PGresult **out,
                    ShError *err);
static ShStatus lift_limits(ShPg *pg, ShError *err);
static ShStatus read_origin(ShPg *pg, ShPgOrigin *out, ShError *err);
static ShStatus read_sections(ShPg *pg, ShPgSection *sections, size_t *count, ShError *err);
static ShStatus start_copy(ShPg *pg, const char *sql, ExecStatusType expected, ShError *err);
static ShStatus copy_out(ShPg *pg, ShPgSection *section, ShPgStreamFn fn, void *arg, ShError *err);
static ShStatus wait_for_data(ShPg *pg, ShError *err);

ShStatus sh_pg_snapshot_claim(ShPg *pg, int64_t incarnation, ShPgSnapshotClaim *out, ShError *err)
{
    ShPgNumber text;
    const char *const values[] = {sh_pg_number(&text, incarnation)};
    PGresult *result;
    *out = (ShPgSnapshotClaim){0};
    ShStatus status = sh_pg_call(pg, SH_PG_SNAPSHOT_CLAIM, values, &result, err);
    if (status != SH_OK)
        return status;
    if (PQntuples(result) > 0) {
        ShPgRow row = {.result = result};
        out->number = sh_pg_row_number(&row, 0);
        out->give_up_below = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_snapshot_renew(ShPg *pg, int64_t incarnation, int64_t number, bool *held, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], number)};
    return sh_pg_call_bool(pg, SH_PG_SNAPSHOT_RENEW, values, held, err);
}

ShStatus sh_pg_snapshot_failed(ShPg *pg, int64_t incarnation, int64_t number, const char *reason,
                               ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], number),
                                  reason};
    return call(pg, SH_PG_SNAPSHOT_FAILED, values, err);
}

ShStatus sh_pg_snapshots_gone(ShPg *pg, int64_t incarnation, int64_t below, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], below)};
    return call(pg, SH_PG_SNAPSHOTS_GONE, values, err);
}

ShStatus sh_pg_snapshot_done(ShPg *pg, int64_t incarnation, int64_t number, uint64_t bytes,
                             int64_t *keep_from, ShError *err)
{
    ShPgNumber numbers[3];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], number),
                                  sh_pg_number(&numbers[2], (int64_t)bytes)};
    PGresult *result;
    ShStatus status = sh_pg_call_row(pg, SH_PG_SNAPSHOT_DONE, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    *keep_from = sh_pg_row_number(&row, 0);
    status = sh_pg_row_end(&row, err);
    PQclear(result);
    return status;
}

ShStatus sh_pg_snapshot_read(ShPg *pg, ShPgOrigin *origin, ShPgSection *sections, size_t *count,
                             ShPgStreamFn fn, void *arg, ShError *err)
{
    ShStatus status = run(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL, NULL, err);
    if (status == SH_OK)
        status = lift_limits(pg, err);
    if (status == SH_OK)
        status = read_origin(pg, origin, err);
    if (status == SH_OK)
        status = read_sections(pg, sections, count, err);
    for (size_t i = 0; i < *count && status == SH_OK; i++)
        status = copy_out(pg, &sections[i], fn, arg, err);
    if (status == SH_OK)
        status = run(pg, "COMMIT", 0, NULL, NULL, err);
    if (status != SH_OK)
        sh_pg_disconnect(pg); /* with the transaction, or in the middle of a copy */
    return status;
}

static ShStatus call(ShPg *pg, ShPgStatement statement, const char *const *values, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call(pg, statement, values, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

/* What a table takes, no setting knows: the server breaks off nothing of this transaction because of time. */
static ShStatus lift_limits(ShPg *pg, ShError *err)
{
    return run(pg,
               "SELECT pg_catalog.set_config(s.name, '0', true) FROM pg_catalog.pg_settings AS s "
               "WHERE s.name IN ('statement_timeout', 'transaction_timeout', "
               "'idle_in_transaction_session_timeout')",
               0, NULL, NULL, err);
}

/* The first call of a transaction connects; a later one must not do so unnoticed, the transaction being gone.
 */
static ShStatus run(ShPg *pg, const char *sql, int value_count, const char *const *values, PGresult **out,
                    ShError *err)
{
    PGresult *result;
    if (strncmp(sql, "BEGIN", 5) != 0 &&
        (pg->conn == NULL || PQtransactionStatus(pg->conn) != PQTRANS_INTRANS))
        return sh_fail(err, SH_UNAVAILABLE, "lost the connection to PostgreSQL");
    ShStatus status = sh_pg_query(pg, sql, value_count, values, &result, err);
    if (status == SH_OK && out != NULL)
        *out = result;
    else if (status == SH_OK)
        PQclear(result);
    return status;
}

static ShStatus read_origin(ShPg *pg, ShPgOrigin *out, ShError *err)
{
    PGresult *result;
    ShStatus status = run(pg,
                          "SELECT c.cluster_id, c.term, e.extversion, "
                          "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') "
                          "FROM streamhouse.cluster AS c, pg_catalog.pg_extension AS e "
                          "WHERE e.extname = 'streamhouse'",
                          0, NULL, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        out->cluster_id = sh_pg_row_uuid(&row);
        out->term = sh_pg_row_number(&row, 0);
        sh_pg_row_text(&row, out->version, sizeof out->version);
        sh_pg_row_text(&row, out->taken_at, sizeof out->taken_at);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

static ShStatus read_sections(ShPg *pg, ShPgSection *sections, size_t *count, ShError *err)
{
    static const char *const kinds[] = {"table", "sequence", NULL};
    PGresult *result;
    ShStatus status = run(pg, "SELECT kind, name, columns FROM streamhouse.snapshot_tables()", 0, NULL,
                          &result, err);
    if (status != SH_OK)
        return status;
    *count = (size_t)PQntuples(result);
    if (*count == 0 || *count > SH_SNAPSHOT_SECTIONS_MAX)
        status = sh_fail(err, SH_INTERNAL, "the extension has %zu tables to save, not 1 to %d", *count,
                         SH_SNAPSHOT_SECTIONS_MAX);
    for (size_t i = 0; i < *count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        sections[i] = (ShPgSection){.is_sequence = sh_pg_row_word(&row, kinds) == 1};
        sh_pg_row_text(&row, sections[i].name, sizeof sections[i].name);
        sh_pg_row_text(&row, sections[i].columns, sizeof sections[i].columns);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

static ShStatus copy_out(ShPg *pg, ShPgSection *section, ShPgStreamFn fn, void *arg, ShError *err)
{
    /* The names come from the database itself, quoted. */
    char sql[SH_SNAPSHOT_NAME_BYTES + SH_SNAPSHOT_COLUMNS_BYTES + 64];
    snprintf(sql, sizeof sql, "COPY (SELECT %s FROM %s) TO STDOUT", section->columns, section->name);
    ShStatus status = start_copy(pg, sql, PGRES_COPY_OUT, err);
    while (status == SH_OK) {
        char *row = NULL;
        int length = PQgetCopyData(pg->conn, &row, 1);
        if (length == -1)
            break;
        if (length == -2) {
            status = sh_pg_fail_connection(pg->conn, "cannot copy from PostgreSQL", err);
        } else if (length == 0) {
            status = wait_for_data(pg, err);
        } else {
            section->bytes += (uint64_t)length;
            status = fn(arg, row, (size_t)length, err);
        }
        PQfreemem(row);
    }
    PGresult *result = NULL;
    if (status == SH_OK)
        status = sh_pg_receive(pg, sh_clock_now_ms() + pg->timeout_ms, &result, err);
    PQclear(result);
    return status;
}

static ShStatus start_copy(ShPg *pg, const char *sql, ExecStatusType expected, ShError *err)
{
    int64_t deadline_ms = sh_clock_now_ms() + pg->timeout_ms;
    if (pg->conn == NULL || PQtransactionStatus(pg->conn) != PQTRANS_INTRANS)
        return sh_fail(err, SH_UNAVAILABLE, "lost the connection to PostgreSQL");
    if (!PQsendQuery(pg->conn, sql))
        return sh_pg_fail_connection(pg->conn, "cannot ask PostgreSQL", err);
    ShStatus status = sh_pg_flush(pg, deadline_ms, err);
    if (status == SH_OK)
        status = sh_pg_wait_until_read(pg, deadline_ms, err);
    if (status != SH_OK)
        return status;
    PGresult *result = PQgetResult(pg->conn);
    if (result == NULL)
        status = sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
    else if (PQresultStatus(result) != expected)
        status = sh_pg_fail_result(result, err);
    PQclear(result);
    return status;
}

static ShStatus wait_for_data(ShPg *pg, ShError *err)
{
    bool ready;
    ShStatus status = sh_pg_wait(pg, POLLIN, sh_clock_now_ms() + pg->timeout_ms, &ready, err);
    if (status == SH_OK && !ready)
        status = sh_fail(err, SH_UNAVAILABLE, "PostgreSQL sends no more of a copy within %lld ms",
                         (long long)pg->timeout_ms);
    if (status == SH_OK && !PQconsumeInput(pg->conn))
        status = sh_pg_fail_connection(pg->conn, "lost the connection to PostgreSQL", err);
    return status;
}

/* --- into a database --------------------------------------------------------------------------------------
 */

static ShStatus check_sections(ShPg *pg, const ShPgSection *sections, size_t count, ShError *err);
static ShStatus copy_in(ShPg *pg, const ShPgSection *section, ShPgSourceFn fn, void *arg, ShError *err);
static ShStatus put_data(ShPg *pg, const char *bytes, size_t count, ShError *err);
static ShStatus set_sequence(ShPg *pg, const ShPgSection *section, ShPgSourceFn fn, void *arg, ShError *err);
static ShStatus end_rebuild(ShPg *pg, int64_t number, int64_t above, int64_t *term, ShError *err);

ShStatus sh_pg_rebuild(ShPg *pg, int64_t number, int64_t above, const ShPgSection *sections, size_t count,
                       ShPgSourceFn fn, void *arg, int64_t *term, ShError *err)
{
    int64_t timeout_ms = pg->timeout_ms;
    ShStatus status = run(pg, "BEGIN", 0, NULL, NULL, err);
    if (status == SH_OK)
        status = lift_limits(pg, err);
    pg->timeout_ms = WORK_MS;
    if (status == SH_OK)
        status = run(pg, "SELECT streamhouse.rebuild_begin()", 0, NULL, NULL, err);
    if (status == SH_OK)
        status = check_sections(pg, sections, count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++)
        status = sections[i].is_sequence ? set_sequence(pg, &sections[i], fn, arg, err)
                                         : copy_in(pg, &sections[i], fn, arg, err);
    if (status == SH_OK)
        status = end_rebuild(pg, number, above, term, err);
    if (status == SH_OK)
        status = run(pg, "COMMIT", 0, NULL, NULL, err);
    pg->timeout_ms = timeout_ms;
    if (status != SH_OK)
        sh_pg_disconnect(pg);
    return status;
}

/* Only names that the database itself says go into its statements. */
static ShStatus check_sections(ShPg *pg, const ShPgSection *sections, size_t count, ShError *err)
{
    ShPgSection *known = calloc(SH_SNAPSHOT_SECTIONS_MAX, sizeof *known);
    size_t known_count = 0;
    if (known == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the extension's tables");
    ShStatus status = read_sections(pg, known, &known_count, err);
    if (status == SH_OK && known_count != count)
        status = sh_fail(
            err, SH_UNSUPPORTED,
            "the snapshot has %zu tables, this version of the extension has %zu: create the extension in the "
            "snapshot's version, rebuild, and update it then",
            count, known_count);
    for (size_t i = 0; i < count && status == SH_OK; i++)
        if (known[i].is_sequence != sections[i].is_sequence || strcmp(known[i].name, sections[i].name) != 0 ||
            strcmp(known[i].columns, sections[i].columns) != 0)
            status = sh_fail(err, SH_UNSUPPORTED,
                             "the snapshot has \"%s\" (%s) where this version of the extension has \"%s\" "
                             "(%s): create the "
                             "extension in the snapshot's version, rebuild, and update it then",
                             sections[i].name, sections[i].columns, known[i].name, known[i].columns);
    free(known);
    return status;
}

static ShStatus copy_in(ShPg *pg, const ShPgSection *section, ShPgSourceFn fn, void *arg, ShError *err)
{
    char sql[SH_SNAPSHOT_NAME_BYTES + SH_SNAPSHOT_COLUMNS_BYTES + 64];
    snprintf(sql, sizeof sql, "COPY %s (%s) FROM STDIN", section->name, section->columns);
    if (section->bytes == 0)
        return SH_OK;
    ShStatus status = start_copy(pg, sql, PGRES_COPY_IN, err);
    for (uint64_t done = 0; done < section->bytes && status == SH_OK;) {
        const char *bytes;
        size_t count;
        uint64_t left = section->bytes - done;
        status = fn(arg, left > SIZE_MAX ? SIZE_MAX : (size_t)left, &bytes, &count, err);
        if (status == SH_OK)
            status = put_data(pg, bytes, count, err);
        done += status == SH_OK ? count : 0;
    }
    while (status == SH_OK) {
        int ended = PQputCopyEnd(pg->conn, NULL);
        if (ended == 1)
            break;
        status = ended < 0 ? sh_pg_fail_connection(pg->conn, "cannot copy into PostgreSQL", err)
                           : sh_pg_flush(pg, sh_clock_now_ms() + pg->timeout_ms, err);
    }
    PGresult *result = NULL;
    if (status == SH_OK)
        status = sh_pg_receive(pg, sh_clock_now_ms() + pg->timeout_ms, &result, err);
    PQclear(result);
    return status;
}

/* Sent at once, so that libpq does not gather the whole table in memory. */
static ShStatus put_data(ShPg *pg, const char *bytes, size_t count, ShError *err)
{
    const size_t piece_max = 1 << 20;
    ShStatus status = SH_OK;
    while (count > 0 && status == SH_OK) {
        size_t piece = count < piece_max ? count : piece_max;
        int put = PQputCopyData(pg->conn, bytes, (int)piece);
        if (put < 0)
            return sh_pg_fail_connection(pg->conn, "cannot copy into PostgreSQL", err);
        if (put == 1) {
            bytes += piece;
            count -= piece;
        }
        status = sh_pg_flush(pg, sh_clock_now_ms() + pg->timeout_ms, err);
    }
    return status;
}

/* Its section is one line: the last value, and whether that was given out. */
static ShStatus set_sequence(ShPg *pg, const ShPgSection *section, ShPgSourceFn fn, void *arg, ShError *err)
{
    char line[64] = "";
    size_t length = 0;
    while (length < section->bytes) {
        const char *bytes;
        size_t count;
        if (section->bytes >= sizeof line)
            return sh_fail(err, SH_CORRUPT, "the snapshot holds no value of sequence %s", section->name);
        ShStatus status = fn(arg, section->bytes - length, &bytes, &count, err);
        if (status != SH_OK)
            return status;
        memcpy(line + length, bytes, count);
        length += count;
    }
    char value[32], is_called[2];
    if (sscanf(line, "%31[0-9]\t%1[tf]", value, is_called) != 2)
        return sh_fail(err, SH_CORRUPT, "the snapshot holds no value of sequence %s", section->name);
    const char *const values[] = {section->name, value, is_called};
    return run(pg, "SELECT pg_catalog.setval($1::regclass, $2, $3)", 3, values, NULL, err);
}

static ShStatus end_rebuild(ShPg *pg, int64_t number, int64_t above, int64_t *term, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], number), sh_pg_number(&numbers[1], above)};
    PGresult *result;
    ShStatus status = run(pg, "SELECT streamhouse.rebuild_end($1, $2)", 2, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        *term = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}
