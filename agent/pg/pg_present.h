/*
 * pg_present.h - what the agent tells PostgreSQL in a new term: epochs and objects that may be forgotten
 * there.
 *
 * Everything that pg.h says of connections, calls and errors holds here too.
 */
#ifndef SH_AGENT_PG_PG_PRESENT_H
#define SH_AGENT_PG_PG_PRESENT_H

#include "agent/pg/pg.h"

#define SH_TERM_BODY_BYTES 200

/* A term whose number is to be taken in the store. */
typedef struct ShPgTerm {
    int64_t number; /* 0: nothing is to be done */
    ShUuid nonce;   /* of this beginning of it */
    char body[SH_TERM_BODY_BYTES];
} ShPgTerm;

/* Is the number of the term still to be taken? */
ShStatus sh_pg_term_to_take(ShPg *pg, int64_t incarnation, ShPgTerm *out, ShError *err) SH_MUST_CHECK;
/* The term's object is in the store; `others` is the highest number there of another beginning, 0: none. Sets
 * `is_ours`; if it is not, a later term has begun. */
ShStatus sh_pg_term_taken(ShPg *pg, int64_t incarnation, int64_t others, bool *is_ours,
                          ShError *err) SH_MUST_CHECK;

/* Is this agent to present what it knows, before it asks for partitions? */
ShStatus sh_pg_awaited(ShPg *pg, int64_t incarnation, bool *awaited, ShError *err) SH_MUST_CHECK;

/* Which of these keys (sorted, all different) the index does not know, or what was presented of them waits
 * for what others know: sets `unknown`, of `count` places. */
ShStatus sh_pg_unknown_keys(ShPg *pg, int64_t incarnation, const char *const *keys, size_t count,
                            bool *unknown, ShError *err) SH_MUST_CHECK;

/* Make an epoch known that this WAL holds records of, from `start_offset`. `out->result` is SH_EPOCH_OPEN or
 * SH_EPOCH_SEALED, with the epoch's range and published end; SH_EPOCH_FENCED; SH_EPOCH_DROPPED. */
ShStatus sh_pg_present_epoch(ShPg *pg, int64_t incarnation, const ShPgPartition *partition,
                             int64_t start_offset, ShPgEpoch *out, ShError *err) SH_MUST_CHECK;

/* What the store shows of a run's epoch, for a database that has forgotten it. */
typedef struct ShPgEpochOrigin {
    int64_t start_offset; /* the lowest that is known of its runs; -1: none is */
    bool is_ownerless;    /* the object has no offsets of its runs: their publishes gave them */
} ShPgEpochOrigin;

typedef struct ShPgPresented {
    ShUuid writer_wal;
    const char *writer_agent;
    const ShPgEpochOrigin *origins; /* by run */
    bool is_last;                   /* nothing else comes, so that it is placed as far as it can be */
    bool acknowledged;              /* a producer may have had an answer about runs without offsets */
    int64_t left_out;               /* records of the object that are in no run and have no place */
} ShPgPresented;

/* Publish an object of an older term; of `object` the numbers are not used. PostgreSQL remembers what has no
 * place in the index. Sets `placed` when some of it has got one, and `waits` when another object has to come
 * before some of it: without `is_last` nothing was done then. It may be presented again. */
ShStatus sh_pg_present_object(ShPg *pg, const ShPgPublish *object, const ShPgPresented *presented,
                              bool *placed, bool *waits, ShError *err) SH_MUST_CHECK;

/* Offsets whose records are stored in a later epoch too, and a segment that holds some of them. */
typedef struct ShPgTwice {
    ShUuid topic_id;
    int32_t partition;
    int64_t void_from;
    int64_t void_end;
    ShPgSegment segment; /* without its times */
} ShPgTwice;

/* What is left of a segment, on one side of what became void. */
typedef struct ShPgPiece {
    int64_t first_offset;
    int64_t last_offset;
    uint64_t length; /* from where the segment begins */
    int64_t records;
} ShPgPiece;

/* The next offsets that are to be made void; `*found` is false when there are none. */
ShStatus sh_pg_next_twice(ShPg *pg, int64_t incarnation, ShPgTwice *out, bool *found,
                          ShError *err) SH_MUST_CHECK;

/* Make them void: put the pieces in the segment's place. Does nothing when it was replaced meanwhile. */
ShStatus sh_pg_void_twice(ShPg *pg, int64_t incarnation, const ShPgTwice *twice, const ShPgPiece *pieces,
                          size_t count, ShError *err) SH_MUST_CHECK;

/* All is presented but `unreadable` objects, and this WAL's epochs of older terms are sealed. Sets
 * `unresolved` to how many records of the store have no place in the index now. */
ShStatus sh_pg_presented(ShPg *pg, int64_t incarnation, int64_t unreadable, int64_t *unresolved,
                         ShError *err) SH_MUST_CHECK;

#endif
