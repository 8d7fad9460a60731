/*
 * schemas.h - what the schema registry says of the topics' records, as this agent last heard it.
 *
 * The control thread asks PostgreSQL; requests take what is there, and leave wishes for what is not.
 */
#ifndef SH_AGENT_LOG_SCHEMAS_H
#define SH_AGENT_LOG_SCHEMAS_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/pg/pg.h"
#include "agent/schema/record_check.h"

#define SH_SCHEMAS_MISSED 1024

struct ShEngine;

typedef struct ShSchemas {
    pthread_mutex_t lock;
    ShSchemaTable *table;         /* guarded by lock; one reference; NULL: no topic is validated */
    atomic_bool validates;        /* is there a table? */
    atomic_int_fast64_t as_of_ms; /* the table has all that PostgreSQL had then */
    ShSchemaStore *store;
    atomic_int_fast64_t refresh_ms; /* when an id that the table lacks last made us ask */
    /* Such ids: id << 32 | the low bits of when it was first met. */
    atomic_uint_fast64_t missed[SH_SCHEMAS_MISSED];
    /* the control thread's own */
    int64_t version; /* of the table; 0: nothing is known */
    int64_t seen_due_ms;
} ShSchemas;

/* Are records of the topic held against schemas? Any thread. */
bool sh_schemas_validates(struct ShEngine *engine, const ShUuid *topic_id);

ShStatus sh_schemas_init(ShSchemas *schemas, ShError *err) SH_MUST_CHECK;
void sh_schemas_destroy(ShSchemas *schemas);

/* --- on the control thread, or before it runs --------------------------------------------------------------
 */

/* Ask what validates which topics, unless that is known. */
ShStatus sh_schemas_load(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* All that has to be done now: fetch the schemas that are wished for, tell which ones were seen. */
ShStatus sh_schemas_step(struct ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* The table has all that PostgreSQL had at that time. */
void sh_schemas_note_fresh(struct ShEngine *engine, int64_t as_of_ms);

#endif
