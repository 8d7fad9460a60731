/*
 * topic_schemas.h - what records of validated topics must name, and the check of their wire headers.
 *
 * The table is constant once built; threads share it by reference.
 */
#ifndef SH_AGENT_SCHEMA_TOPIC_SCHEMAS_H
#define SH_AGENT_SCHEMA_TOPIC_SCHEMAS_H

#include "agent/pg/pg_topic_schemas.h"
#include "core/batch.h"

/* A record's key or value. */
typedef struct ShPartSchemas {
    ShValidation validation;
    ShSubjectStrategy strategy;
    int32_t *ids; /* rising */
    size_t id_count;
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

/* Check each record of a batch that sh_batch_check has found whole. SH_INVALID names the first record that
 * does not fit by its index, `first_index` being that of the batch's first record; SH_UNSUPPORTED when the
 * topic asks for what cannot be checked: nothing is accepted unchecked. `*unknown_id` is the id that the
 * table does not have, where that is the reason; else 0. */
ShStatus sh_topic_schemas_check(const ShTopicSchemas *schemas, const uint8_t *batch, size_t batch_bytes,
                                size_t decompressed_bytes_max, size_t first_index, ShScratch *scratch,
                                int32_t *unknown_id, ShError *err) SH_MUST_CHECK;

#endif
