/*
 * pg_topic_schemas.h - which topics' records are held against schemas, and which schema ids they may name.
 *
 * Everything that pg.h says of connections, calls and errors holds here too.
 */
#ifndef SH_AGENT_PG_PG_TOPIC_SCHEMAS_H
#define SH_AGENT_PG_PG_TOPIC_SCHEMAS_H

#include "agent/pg/pg.h"

/* In the order of the words that PostgreSQL has for them. */
typedef enum ShValidation { SH_VALIDATION_NONE, SH_VALIDATION_ID, SH_VALIDATION_FULL } ShValidation;
typedef enum ShSubjectStrategy {
    SH_SUBJECT_TOPIC,
    SH_SUBJECT_RECORD,
    SH_SUBJECT_TOPIC_RECORD
} ShSubjectStrategy;

/* One part (key or value) of one topic under one subject. A part has a row for each of its subjects. */
typedef struct ShPgTopicSchema {
    ShUuid topic_id;
    bool is_key;
    ShValidation validation;
    ShSubjectStrategy strategy;
    int32_t *ids; /* those of the subject's live versions, rising */
    size_t id_count;
} ShPgTopicSchema;

typedef struct ShPgTopicSchemas {
    bool changed;          /* false: nothing is new since the known version, and there are no rows */
    int64_t version;       /* when changed */
    ShPgTopicSchema *rows; /* ordered by topic, key before value */
    size_t row_count;
} ShPgTopicSchemas;

/* What has changed since `known_version`; 0: tell all. Free with sh_pg_topic_schemas_free. */
ShStatus sh_pg_topic_schemas(ShPg *pg, int64_t known_version, ShPgTopicSchemas **out,
                             ShError *err) SH_MUST_CHECK;
/* NULL is fine. */
void sh_pg_topic_schemas_free(ShPgTopicSchemas *schemas);

#endif
