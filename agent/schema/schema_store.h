/*
 * schema_store.h - parsed schemas by id, fetched from PostgreSQL when a record first names them.
 *
 * Requests must not wait for PostgreSQL: who does not find a schema leaves a wish, and the thread that talks
 * to PostgreSQL grants it. Ids are never used again and schemas never change, so what is here stays right.
 */
#ifndef SH_AGENT_SCHEMA_SCHEMA_STORE_H
#define SH_AGENT_SCHEMA_SCHEMA_STORE_H

#include "agent/pg/pg_topic_schemas.h"
#include "schema/schema.h"

#define SH_SCHEMA_WISHES_MAX 64 /* more are left at a later try */
/* What is kept at most; what came first goes first. */
#define SH_SCHEMA_STORE_MAX       4096                /* schemas */
#define SH_SCHEMA_STORE_BYTES_MAX ((size_t)256 << 20) /* of memory; the newest one stays, whatever it takes  \
                                                       */

typedef struct ShSchemaStore ShSchemaStore;

typedef struct ShStoredSchema {
    int32_t id;
    const ShSchema *schema; /* NULL: nothing can be read with it */
    const char *problem;    /* then: why */
} ShStoredSchema;

/* NULL when memory is short. */
ShSchemaStore *sh_schema_store_new(void);
void sh_schema_store_free(ShSchemaStore *store);

/* The schema, to be given back with sh_schema_store_release. NULL: it is not here, and is wished for. */
const ShStoredSchema *sh_schema_store_find(ShSchemaStore *store, int32_t id);
/* NULL is fine. */
void sh_schema_store_release(const ShStoredSchema *schema);

/* Wish for a schema unless it is here. */
void sh_schema_store_wish(ShSchemaStore *store, int32_t id);
bool sh_schema_store_has_wishes(ShSchemaStore *store);
/* Fetch what is wished for. What PostgreSQL does not have or what cannot be parsed is kept as such. */
ShStatus sh_schema_store_fetch(ShSchemaStore *store, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* Keep a schema, as sh_schema_store_fetch does; `problem` of PostgreSQL, or NULL. Shortage of memory leaves
 * it out. */
void sh_schema_store_put(ShSchemaStore *store, int32_t id, const ShPgSchema *schema, const char *problem);

#endif
