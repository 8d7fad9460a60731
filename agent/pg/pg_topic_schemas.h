/*
 * pg_topic_schemas.h - which topics' records are held against which schemas, and what was seen of them.
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

/* One part (key or value) of one topic under one subject. A part has a row for each of its subjects, one
 * without ids if there is none. */
typedef struct ShPgTopicSchema {
    ShUuid topic_id;
    bool is_key;
    ShValidation validation;
    ShSubjectStrategy strategy;
    char *record_name; /* whose records the subject is for; NULL under SH_SUBJECT_TOPIC: for all */
    int32_t *ids;      /* those of the subject's live versions, rising */
    size_t id_count;
} ShPgTopicSchema;

typedef struct ShPgTopicSchemas {
    bool changed;          /* false: nothing is new since the known version, and there are no rows */
    int64_t version;       /* when changed */
    ShPgTopicSchema *rows; /* ordered by topic, key before value, record name */
    size_t row_count;
} ShPgTopicSchemas;

/* What has changed since `known_version`; 0: tell all. Free with sh_pg_topic_schemas_free. */
ShStatus sh_pg_topic_schemas(ShPg *pg, int64_t known_version, ShPgTopicSchemas **out,
                             ShError *err) SH_MUST_CHECK;
/* NULL is fine. */
void sh_pg_topic_schemas_free(ShPgTopicSchemas *schemas);

/* What a schema refers to. */
typedef struct ShPgReference {
    const char *name;
    const char *text;
} ShPgReference;

/* A schema's text, and those that it needs, each after what it needs itself. */
typedef struct ShPgSchema {
    const char *type; /* "AVRO", "JSON" or "PROTOBUF" */
    const char *text;
    ShPgReference *references;
    size_t reference_count;
    void *result; /* holds the texts */
} ShPgSchema;

/* SH_NOT_FOUND: no such schema, or it is deleted for good. Free with sh_pg_schema_free. */
ShStatus sh_pg_schema_by_id(ShPg *pg, int32_t id, ShPgSchema *out, ShError *err) SH_MUST_CHECK;
/* A zeroed one is fine. */
void sh_pg_schema_free(ShPgSchema *schema);

/* A schema that records of a topic named. */
typedef struct ShPgSchemaSeen {
    int32_t id;
    ShUuid topic_id;
} ShPgSchemaSeen;

/* Note that they were seen just now. */
ShStatus sh_pg_schemas_seen(ShPg *pg, const ShPgSchemaSeen *seen, size_t count, ShError *err) SH_MUST_CHECK;

#endif
