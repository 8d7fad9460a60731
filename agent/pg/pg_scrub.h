/*
 * pg_scrub.h - the index compared with what the store holds. What pg.h says of connections, calls and errors
 * holds here too. Lists are freed with free().
 */
#ifndef SH_AGENT_PG_PG_SCRUB_H
#define SH_AGENT_PG_PG_SCRUB_H

#include "agent/pg/pg_garbage.h"

typedef enum ShScrubFinding {
    SH_SCRUB_MISSING, /* segments refer to it, the store did not list it */
    SH_SCRUB_SIZE,    /* it has not the size with which it was published */
    SH_SCRUB_UNKNOWN  /* the index has no such object */
} ShScrubFinding;

typedef struct ShPgScrubbed {
    char object_key[SH_OBJECT_KEY_BYTES];
    ShScrubFinding finding;
    int64_t bytes;        /* by the index; -1: unknown */
    int64_t stored_bytes; /* by the store; -1: missing */
} ShPgScrubbed;

/* Compare all objects that the store holds under `prefix`, of two hexadecimal digits, with the index. */
ShStatus sh_pg_scrub_objects(ShPg *pg, const char *prefix, const ShPgStored *objects, size_t count,
                             ShPgScrubbed **out, size_t *out_count, ShError *err) SH_MUST_CHECK;

typedef struct ShPgScrubbedSegment {
    char object_key[SH_OBJECT_KEY_BYTES];
    char topic[SH_TOPIC_NAME_BYTES];
    int32_t partition;
    int64_t first_offset;
    int64_t last_offset;
    int64_t records;
} ShPgScrubbedSegment;

/* What those objects hold, by object. */
ShStatus sh_pg_scrub_segments(ShPg *pg, const char *const *object_keys, size_t count,
                              ShPgScrubbedSegment **out, size_t *out_count, ShError *err) SH_MUST_CHECK;

#endif
