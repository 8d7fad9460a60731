/*
 * topic_schemas.h - what the records of validated topics must name: for each topic and part (key or value)
 * the subjects that it may go by, and the ids that these have.
 *
 * The table is constant once built, but for the marks of what was seen; threads share it by reference.
 */
#ifndef SH_AGENT_SCHEMA_TOPIC_SCHEMAS_H
#define SH_AGENT_SCHEMA_TOPIC_SCHEMAS_H

#include <stdatomic.h>

#include "agent/pg/pg_topic_schemas.h"
#include "agent/schema/schema_store.h"

/* One subject and the ids of its live versions. */
typedef struct ShSubjectIds {
    char *record_name; /* whose records it is for; NULL under SH_SUBJECT_TOPIC: for all */
    int32_t *ids;      /* rising */
    atomic_bool *seen; /* per id: a record has named it */
    size_t id_count;
} ShSubjectIds;

/* A record's key or value. */
typedef struct ShPartSchemas {
    ShValidation validation;
    ShSubjectStrategy strategy;
    ShSubjectIds *subjects; /* ordered by record name; under SH_SUBJECT_TOPIC there is one */
    size_t subject_count;
} ShPartSchemas;

typedef struct ShTopicSchemas {
    ShUuid topic_id;
    ShPartSchemas key;
    ShPartSchemas value;
} ShTopicSchemas;

typedef struct ShSchemaTable ShSchemaTable;

/* With one reference. NULL when memory is short. */
ShSchemaTable *sh_schema_table_new(const ShPgTopicSchemas *schemas);
void sh_schema_table_ref(ShSchemaTable *table);
/* NULL is fine. */
void sh_schema_table_unref(ShSchemaTable *table);

/* NULL: records of the topic are not checked. */
const ShTopicSchemas *sh_schema_table_find(const ShSchemaTable *table, const ShUuid *topic_id);

#define SH_ANY_RECORD NULL

/* Has the subject that records of that name go by the id? SH_ANY_RECORD: has one of the part's subjects it?
 * The id is marked as seen, unless the subject is not told. Under SH_SUBJECT_TOPIC all go by one subject. */
bool sh_part_schemas_has(const ShPartSchemas *part, const char *record_name, int32_t id);
/* Are parsed schemas needed to check records? */
bool sh_part_schemas_needs_text(const ShPartSchemas *part);

/* Take what was seen since the last time; at most `room` of it, the rest comes next time. */
size_t sh_schema_table_take_seen(ShSchemaTable *table, ShPgSchemaSeen *out, size_t room);
/* Wish for the newest schema of each subject whose text will be needed. */
void sh_schema_table_wish(const ShSchemaTable *table, ShSchemaStore *store);

#endif
