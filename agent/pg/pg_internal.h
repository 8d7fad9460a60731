/*
 * pg_internal.h - what the files of pg/ share: the connection, calls, parameters and rows. Nobody else
 * includes it.
 */
#ifndef SH_AGENT_PG_PG_INTERNAL_H
#define SH_AGENT_PG_PG_INTERNAL_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "agent/pg/pg.h"

struct ShPg {
    char *conninfo;
    char *application_name;
    int64_t timeout_ms;
    int cancel_fd; /* eventfds; the only fields that other threads use */
    int wake_fd;
    PGconn *conn;        /* NULL: not connected */
    uint64_t prepared;   /* bit per ShPgStatement, of this connection */
    int64_t incarnation; /* 0: none; else each new connection is asked whether it knows of this one ... */
    atomic_int_fast64_t *calls; /* ... and of as many calls of it; other connections raise it too */
    char reported[48];          /* what this connection reported last of the counts of calls; "": nothing */
    bool listening;
    bool doomed;       /* the server has said that it will close the connection */
    bool locked_out;   /* the last attempt to connect failed in a way that waiting does not change */
    PGresult *refused; /* the last answer, if it was an error: its fields; else NULL */
};

/* --- connection (pg_conn.c) -------------------------------------------------------------------------------
 */

/* Connect unless there is a connection that still answers. */
ShStatus sh_pg_connect(ShPg *pg, ShError *err) SH_MUST_CHECK;
void sh_pg_disconnect(ShPg *pg);

/* Wait for `events` of the connection's socket. `*ready` is false when `deadline_ms` (of sh_clock_now_ms)
 * passed; a cancel is SH_UNAVAILABLE. */
ShStatus sh_pg_wait(ShPg *pg, short events, int64_t deadline_ms, bool *ready, ShError *err) SH_MUST_CHECK;

/* Receive the answer to what was sent, within `deadline_ms`. `*out` is a result without error, for PQclear.
 * The connection is given up when the answer does not come. */
ShStatus sh_pg_receive(ShPg *pg, int64_t deadline_ms, PGresult **out, ShError *err) SH_MUST_CHECK;

/* Send what is queued; wait until a result can be taken without blocking. */
ShStatus sh_pg_flush(ShPg *pg, int64_t deadline_ms, ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_wait_until_read(ShPg *pg, int64_t deadline_ms, ShError *err) SH_MUST_CHECK;

/* Connect if need be, and run one statement with text parameters. */
ShStatus sh_pg_query(ShPg *pg, const char *sql, int value_count, const char *const *values, PGresult **out,
                     ShError *err) SH_MUST_CHECK;

/* --- errors (pg_error.c) ----------------------------------------------------------------------------------
 */

/* Turn a failed result into an error: the status of its SQLSTATE; message, detail and hint. */
ShStatus sh_pg_fail_result(const PGresult *result, ShError *err);
/* The connection's own complaint, SH_UNAVAILABLE. */
ShStatus sh_pg_fail_connection(const PGconn *conn, const char *what, ShError *err);
/* Why none came about, SH_UNAVAILABLE; its errors must be verbose (PQERRORS_VERBOSE). `*for_good`: waiting
 * does not change it, as the role, its password, the database or the connection string are to blame. */
ShStatus sh_pg_fail_connect(const PGconn *conn, bool *for_good, ShError *err);

/* --- session (pg_session.c) --------------------------------------------------------------------------------
 */

/* Make a new connection's session one that the calls can rely on, whatever the settings of role and database.
 */
ShStatus sh_pg_set_up_session(ShPg *pg, int64_t deadline_ms, ShError *err) SH_MUST_CHECK;
/* SH_UNSUPPORTED when what is between here and the server gives the session's transactions to several server
 * processes. */
ShStatus sh_pg_check_session(ShPg *pg, ShError *err) SH_MUST_CHECK;
/* After an answer: take its count of calls; `seen` is what *pg->calls was when the call was sent. */
ShStatus sh_pg_note_calls(ShPg *pg, int64_t seen, ShError *err) SH_MUST_CHECK;

/* --- prepared statements (pg_call.c) ----------------------------------------------------------------------
 */

typedef enum ShPgStatement {
    SH_PG_REGISTER,
    SH_PG_HEARTBEAT,
    SH_PG_LACKS_ROOM,
    SH_PG_END,
    SH_PG_ASSIGNMENTS,
    SH_PG_GRANT,
    SH_PG_OPEN,
    SH_PG_SEAL,
    SH_PG_LEFTOVER,
    SH_PG_PUBLISH,
    SH_PG_INIT_PRODUCER,
    SH_PG_PRODUCERS,
    SH_PG_LOOKUP_PRODUCERS,
    SH_PG_CLAIM,
    SH_PG_CLAIMS,
    SH_PG_READ_INDEX,
    SH_PG_READ_BOUNDS,
    SH_PG_FIND_TIMESTAMPS,
    SH_PG_VERSIONS,
    SH_PG_METADATA,
    SH_PG_LIVE_AGENTS,
    SH_PG_DROP_TOPIC,
    SH_PG_DESCRIBE,
    SH_PG_TOPIC_SCHEMAS,
    SH_PG_SCHEMA_TEXTS,
    SH_PG_SCHEMAS_SEEN,
    SH_PG_LOG_STARTS,
    SH_PG_MARKER_DUE,
    SH_PG_MARKER_NEXT,
    SH_PG_MARKER_CONFIRM,
    SH_PG_SNAPSHOT_CLAIM,
    SH_PG_SNAPSHOT_RENEW,
    SH_PG_SNAPSHOT_FAILED,
    SH_PG_SNAPSHOT_DONE,
    SH_PG_SNAPSHOTS_GONE,
    SH_PG_GARBAGE,
    SH_PG_GARBAGE_DONE,
    SH_PG_SCAN_CLAIM,
    SH_PG_SCAN_DONE,
    SH_PG_UNKNOWN_OBJECTS,
    SH_PG_SCRUB_OBJECTS,
    SH_PG_SCRUB_SEGMENTS,
    SH_PG_COMPACTION_CLAIM,
    SH_PG_ANNOUNCE_OBJECT,
    SH_PG_GIVE_UP_OBJECT,
    SH_PG_COMPACTION_SWAP,
    SH_PG_STORE,
    SH_PG_TERM_TO_TAKE,
    SH_PG_TERM_TAKEN,
    SH_PG_AWAITED,
    SH_PG_UNKNOWN_KEYS,
    SH_PG_PRESENT_EPOCHS,
    SH_PG_PRESENT_OBJECT,
    SH_PG_NEXT_TWICE,
    SH_PG_VOID_TWICE,
    SH_PG_PRESENTED,
    SH_PG_STATEMENT_COUNT
} ShPgStatement;

/* Run a statement, prepared on its first use in a connection; `values` as many as it has parameters. */
ShStatus sh_pg_call(ShPg *pg, ShPgStatement statement, const char *const *values, PGresult **out,
                    ShError *err) SH_MUST_CHECK;
/* The same; SH_INTERNAL unless the result is one row. */
ShStatus sh_pg_call_row(ShPg *pg, ShPgStatement statement, const char *const *values, PGresult **out,
                        ShError *err) SH_MUST_CHECK;
/* The same where that row is one boolean. */
ShStatus sh_pg_call_bool(ShPg *pg, ShPgStatement statement, const char *const *values, bool *out,
                         ShError *err) SH_MUST_CHECK;

/* --- parameters (pg_array.c) ------------------------------------------------------------------------------
 */

/* Room for any bigint as text. */
typedef struct ShPgNumber {
    char text[24];
} ShPgNumber;
const char *sh_pg_number(ShPgNumber *number, int64_t value);

/* An array in PostgreSQL's text form, built element by element. Zero-initialise it. Shortage of memory is
 * noticed at the end. */
typedef struct ShPgArray {
    char *text;
    size_t length;
    size_t capacity;
    bool failed;
} ShPgArray;

void sh_pg_array_add_number(ShPgArray *array, int64_t value);
void sh_pg_array_add_bool(ShPgArray *array, bool value);
void sh_pg_array_add_uuid(ShPgArray *array, const ShUuid *uuid);
void sh_pg_array_add_text(ShPgArray *array, const char *text);
void sh_pg_array_add_null(ShPgArray *array);
/* Close `count` arrays and put their texts into `values`; SH_NO_MEMORY if one of them failed. */
ShStatus sh_pg_arrays_end(ShPgArray *arrays, size_t count, const char **values, ShError *err) SH_MUST_CHECK;
void sh_pg_arrays_free(ShPgArray *arrays, size_t count);

/* --- publishing (pg_publish.c) ----------------------------------------------------------------------------
 */

#define SH_PG_PUBLISH_ARRAYS 17

/* The arrays of runs and stretches, in the order of the functions that take them. */
void sh_pg_publish_arrays(const ShPgPublish *publish, ShPgArray arrays[SH_PG_PUBLISH_ARRAYS]);

/* --- rows (pg_row.c) --------------------------------------------------------------------------------------
 */

/* Reads the columns of one row in turn. What does not have the expected form latches `bad`. */
typedef struct ShPgRow {
    const PGresult *result;
    int row;
    int column;
    bool bad;
} ShPgRow;

int64_t sh_pg_row_number(ShPgRow *row, int64_t if_null);
bool sh_pg_row_bool(ShPgRow *row);
ShUuid sh_pg_row_uuid(ShPgRow *row);
/* Null is "". */
void sh_pg_row_text(ShPgRow *row, char *out, size_t out_bytes);
/* A word out of a NULL-terminated list: its position. */
int sh_pg_row_word(ShPgRow *row, const char *const *words);
/* SH_INTERNAL when something was bad. */
ShStatus sh_pg_row_end(const ShPgRow *row, ShError *err) SH_MUST_CHECK;
/* SH_INTERNAL unless the result has this many rows. */
ShStatus sh_pg_expect_rows(const PGresult *result, size_t count, ShError *err) SH_MUST_CHECK;

/* The first row of what is told since a version: that of the rest, and whether that is the whole. */
#define SH_PG_HEAD_COLUMNS 2
ShStatus sh_pg_read_head(const PGresult *result, int64_t *version, bool *whole, ShError *err) SH_MUST_CHECK;

#endif
