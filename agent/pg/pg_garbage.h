/*
 * pg_garbage.h - what the agent asks PostgreSQL about data on its way out: log starts, garbage, compaction.
 *
 * Everything that pg.h says of connections, calls and errors holds here too. Lists are freed with free().
 */
#ifndef SH_AGENT_PG_PG_GARBAGE_H
#define SH_AGENT_PG_PG_GARBAGE_H

#include "agent/pg/pg.h"

/* --- log starts -------------------------------------------------------------------------------------------
 */

typedef struct ShPgLogStart {
    ShUuid topic_id;
    int32_t partition;
    int64_t log_start;
    int64_t version; /* rises with each change; the rows come in its order */
} ShPgLogStart;

/* Log starts that moved after `after_version` (0: all that ever did). */
ShStatus sh_pg_log_starts(ShPg *pg, int64_t after_version, ShPgLogStart **out, size_t *count,
                          ShError *err) SH_MUST_CHECK;

/* --- garbage ----------------------------------------------------------------------------------------------
 */

typedef struct ShPgGarbage {
    ShUuid object_id;
    char object_key[SH_OBJECT_KEY_BYTES];
    int64_t bytes;
} ShPgGarbage;

/* At most `max` objects that this agent is to delete from the store, and then to confirm. */
ShStatus sh_pg_garbage(ShPg *pg, int64_t incarnation, size_t max, ShPgGarbage **out, size_t *count,
                       ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_garbage_done(ShPg *pg, int64_t incarnation, const ShUuid *object_ids, size_t count,
                            ShError *err) SH_MUST_CHECK;

/* Is this agent to look through the store now? */
ShStatus sh_pg_scan_claim(ShPg *pg, int64_t incarnation, bool *claimed, ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_scan_done(ShPg *pg, int64_t incarnation, ShError *err) SH_MUST_CHECK;

typedef struct ShPgStored {
    char object_key[SH_OBJECT_KEY_BYTES];
    uint64_t bytes;
} ShPgStored;

/* Of objects that the store holds, give up those that nothing knows and nobody can publish any more:
 * `*given_up` of them. */
ShStatus sh_pg_unknown_objects(ShPg *pg, int64_t incarnation, const ShPgStored *objects, size_t count,
                               size_t *given_up, ShError *err) SH_MUST_CHECK;

/* --- compaction -------------------------------------------------------------------------------------------
 */

/* One segment to rewrite, as ShPgSegment. All of a claim are of one partition, in the order of offsets. */
typedef struct ShPgSource {
    ShUuid topic_id;
    int32_t partition;
    int64_t first_offset;
    int64_t base_offset;
    int64_t last_offset;
    int64_t epoch;
    ShUuid object_id;
    char object_key[SH_OBJECT_KEY_BYTES];
    uint64_t position;
    uint64_t length;
} ShPgSource;

/* Segments to rewrite, together at most `bytes_max`; none when nothing is worth it. */
ShStatus sh_pg_compaction_claim(ShPg *pg, int64_t incarnation, int64_t bytes_max, ShPgSource **out,
                                size_t *count, ShError *err) SH_MUST_CHECK;

typedef struct ShPgCompacted {
    int64_t first_offset;
    int64_t base_offset;
    int64_t last_offset;
    int64_t epoch;
    uint64_t position;
    uint64_t length;
} ShPgCompacted;

typedef struct ShPgSwap {
    int64_t incarnation;
    ShUuid object_id;
    const char *object_key;
    uint64_t object_bytes;
    const ShPgSource *sources; /* the whole claim */
    size_t source_count;
    const ShPgCompacted *rows; /* what stands for them in the new object */
    size_t row_count;
} ShPgSwap;

/* Make the object known before it is uploaded, so that it is garbage when nothing comes of it; and say that
 * nothing does. Of an object whose rows were swapped in, giving up is nothing. */
ShStatus sh_pg_announce_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id, const char *object_key,
                               uint64_t object_bytes, ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_give_up_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id,
                              ShError *err) SH_MUST_CHECK;

/* Put the rows of an object that is stored in the place of its sources. Not `*swapped`: they have changed,
 * and the object is garbage. Asking again is safe. */
ShStatus sh_pg_compaction_swap(ShPg *pg, const ShPgSwap *swap, bool *swapped, ShError *err) SH_MUST_CHECK;

#endif
