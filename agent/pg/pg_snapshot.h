/*
 * pg_snapshot.h - the index as a stream of bytes, out of one database and into another. What pg.h says of
 * connections, calls and errors holds here too.
 *
 * The stream is PostgreSQL's COPY text of table after table, sequences before them; the sections say where
 * each begins and ends.
 */
#ifndef SH_AGENT_PG_PG_SNAPSHOT_H
#define SH_AGENT_PG_PG_SNAPSHOT_H

#include "agent/pg/pg.h"

#define SH_SNAPSHOT_NAME_BYTES    128
#define SH_SNAPSHOT_COLUMNS_BYTES 1024
#define SH_SNAPSHOT_SECTIONS_MAX  256

/* One table or sequence, as streamhouse.snapshot_tables() names it. */
typedef struct ShPgSection {
    bool is_sequence;
    char name[SH_SNAPSHOT_NAME_BYTES];       /* qualified, quoted where need be */
    char columns[SH_SNAPSHOT_COLUMNS_BYTES]; /* separated by commas */
    uint64_t bytes;                          /* of the stream */
} ShPgSection;

typedef struct ShPgSnapshotClaim {
    int64_t number;        /* of the one that this agent is to write; 0: none */
    int64_t give_up_below; /* delete all below from the store, and tell sh_pg_snapshots_gone; 0: no */
} ShPgSnapshotClaim;

/* What is this agent to do about snapshots now? */
ShStatus sh_pg_snapshot_claim(ShPg *pg, int64_t incarnation, ShPgSnapshotClaim *out,
                              ShError *err) SH_MUST_CHECK;
/* It is still being written; the claim holds for ten minutes from now. `*held` is false when it is no longer
 * this agent's, or has taken too long. */
ShStatus sh_pg_snapshot_renew(ShPg *pg, int64_t incarnation, int64_t number, bool *held,
                              ShError *err) SH_MUST_CHECK;
/* It could not be written. */
ShStatus sh_pg_snapshot_failed(ShPg *pg, int64_t incarnation, int64_t number, const char *reason,
                               ShError *err) SH_MUST_CHECK;
/* It is written. Snapshots below `*keep_from` are to be deleted; 0: it was no longer this agent's. May be
 * called again when no answer came. */
ShStatus sh_pg_snapshot_done(ShPg *pg, int64_t incarnation, int64_t number, uint64_t bytes,
                             int64_t *keep_from, ShError *err) SH_MUST_CHECK;
/* No snapshot below that number is in the store any more. */
ShStatus sh_pg_snapshots_gone(ShPg *pg, int64_t incarnation, int64_t below, ShError *err) SH_MUST_CHECK;

/* Which database it is: for the manifest. */
typedef struct ShPgOrigin {
    ShUuid cluster_id;
    int64_t term;
    char version[32]; /* of the extension */
    char taken_at[40];
} ShPgOrigin;

/* Receives the stream; anything but SH_OK ends the reading. */
typedef ShStatus (*ShPgStreamFn)(void *arg, const char *bytes, size_t count, ShError *err);

/* Read everything as of one moment, however long it takes: the time-out of `pg` is for how long nothing
 * comes. `sections` gets up to SH_SNAPSHOT_SECTIONS_MAX; `fn` gets the bytes. */
ShStatus sh_pg_snapshot_read(ShPg *pg, ShPgOrigin *origin, ShPgSection *sections, size_t *count,
                             ShPgStreamFn fn, void *arg, ShError *err) SH_MUST_CHECK;

/* Gives the next bytes of the stream, at most `max` and at least one; the end before that is SH_CORRUPT. */
typedef ShStatus (*ShPgSourceFn)(void *arg, size_t max, const char **bytes, size_t *count, ShError *err);

/* Fill a database that knows nothing yet with a snapshot, and begin a term above `above`, all or nothing.
 * Takes as long as it takes, a day at most for each statement.
 * SH_UNSUPPORTED: the sections are not those of this version of the extension. SH_DENIED: the role does not
 * own the extension. SH_UNAVAILABLE: the database is in use. `*term` gets the new term. */
ShStatus sh_pg_rebuild(ShPg *pg, int64_t number, int64_t above, const ShPgSection *sections, size_t count,
                       ShPgSourceFn fn, void *arg, int64_t *term, ShError *err) SH_MUST_CHECK;

#endif
