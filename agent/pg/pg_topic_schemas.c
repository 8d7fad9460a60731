#include "agent/pg/pg_topic_schemas.h"

#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

enum { COLUMN_TOPIC_ID = 1, COLUMN_RECORD_NAME = 5, COLUMN_IDS = 6 };
enum { COLUMN_TYPE, COLUMN_TEXT, COLUMN_REFERENCE_NAME, COLUMN_REFERENCE_TEXT };

static const char *const part_words[] = {"value", "key", NULL};
static const char *const validation_words[] = {"none", "id", "full", NULL};
static const char *const strategy_words[] = {"topic", "record", "topic-record", NULL};

static ShStatus read_rows(const PGresult *result, ShPgTopicSchemas *schemas, ShError *err);
static ShStatus read_ids(const char *text, ShPgTopicSchema *out, ShError *err);

ShStatus sh_pg_topic_schemas(ShPg *pg, int64_t known_version, ShPgTopicSchemas **out, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, known_version)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_TOPIC_SCHEMAS, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgTopicSchemas *schemas = calloc(1, sizeof *schemas);
    if (schemas != NULL)
        schemas->rows = calloc((size_t)PQntuples(result) + 1, sizeof schemas->rows[0]);
    if (schemas == NULL || schemas->rows == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for the topics' schemas");
    else
        status = read_rows(result, schemas, err);
    PQclear(result);
    if (status == SH_OK)
        *out = schemas;
    else
        sh_pg_topic_schemas_free(schemas);
    return status;
}

void sh_pg_topic_schemas_free(ShPgTopicSchemas *schemas)
{
    if (schemas == NULL)
        return;
    for (size_t i = 0; i < schemas->row_count; i++) {
        free(schemas->rows[i].record_name);
        free(schemas->rows[i].ids);
    }
    free(schemas->rows);
    free(schemas);
}

ShStatus sh_pg_schema_by_id(ShPg *pg, int32_t id, ShPgSchema *out, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, id)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_SCHEMA_TEXTS, values, &result, err);
    if (status != SH_OK)
        return status;
    *out = (ShPgSchema){.result = result};
    int rows = PQntuples(result);
    if (rows == 0) {
        status = sh_fail(err, SH_NOT_FOUND, "there is no schema %d", (int)id);
    } else {
        out->references = calloc((size_t)rows, sizeof out->references[0]);
        if (out->references == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "memory is short for schema %d", (int)id);
    }
    for (int i = 0; i < rows && status == SH_OK; i++) {
        out->type = PQgetvalue(result, i, COLUMN_TYPE);
        out->text = PQgetvalue(result, i, COLUMN_TEXT);
        if (!PQgetisnull(result, i, COLUMN_REFERENCE_NAME))
            out->references[out->reference_count++] = (ShPgReference){
                .name = PQgetvalue(result, i, COLUMN_REFERENCE_NAME),
                .text = PQgetvalue(result, i, COLUMN_REFERENCE_TEXT)};
    }
    if (status != SH_OK)
        sh_pg_schema_free(out);
    return status;
}

void sh_pg_schema_free(ShPgSchema *schema)
{
    free(schema->references);
    PQclear(schema->result);
    *schema = (ShPgSchema){0};
}

ShStatus sh_pg_schemas_seen(ShPg *pg, const ShPgSchemaSeen *seen, size_t count, ShError *err)
{
    enum { IDS, TOPICS, VALUE_COUNT };
    ShPgArray arrays[VALUE_COUNT] = {0};
    const char *values[VALUE_COUNT];
    PGresult *result = NULL;
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_number(&arrays[IDS], seen[i].id);
        sh_pg_array_add_uuid(&arrays[TOPICS], &seen[i].topic_id);
    }
    ShStatus status = sh_pg_arrays_end(arrays, VALUE_COUNT, values, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_SCHEMAS_SEEN, values, &result, err);
    PQclear(result);
    sh_pg_arrays_free(arrays, VALUE_COUNT);
    return status;
}

/* When no topic is validated there is one row, with only a version. */
static ShStatus read_rows(const PGresult *result, ShPgTopicSchemas *schemas, ShError *err)
{
    ShStatus status = SH_OK;
    for (int i = 0; i < PQntuples(result) && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = i};
        schemas->changed = true;
        schemas->version = sh_pg_row_number(&row, 0);
        if (PQgetisnull(result, i, COLUMN_TOPIC_ID))
            continue;
        ShPgTopicSchema *schema = &schemas->rows[schemas->row_count++];
        schema->topic_id = sh_pg_row_uuid(&row);
        schema->is_key = sh_pg_row_word(&row, part_words) == 1;
        schema->validation = (ShValidation)sh_pg_row_word(&row, validation_words);
        schema->strategy = (ShSubjectStrategy)sh_pg_row_word(&row, strategy_words);
        status = sh_pg_row_end(&row, err);
        if (status == SH_OK && !PQgetisnull(result, i, COLUMN_RECORD_NAME)) {
            schema->record_name = strdup(PQgetvalue(result, i, COLUMN_RECORD_NAME));
            if (schema->record_name == NULL)
                status = sh_fail(err, SH_NO_MEMORY, "memory is short for the topics' schemas");
        }
        if (status == SH_OK && !PQgetisnull(result, i, COLUMN_IDS))
            status = read_ids(PQgetvalue(result, i, COLUMN_IDS), schema, err);
    }
    return status;
}

/* An array in PostgreSQL's text form: {1,2,3}. */
static ShStatus read_ids(const char *text, ShPgTopicSchema *out, ShError *err)
{
    size_t places = 1;
    for (const char *at = text; *at != '\0'; at++)
        places += *at == ',';
    out->ids = calloc(places, sizeof out->ids[0]);
    if (out->ids == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for %zu schema ids", places);
    const char *at = text + (*text == '{');
    while (*at != '\0' && *at != '}') {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || id <= 0 || id > INT32_MAX)
            return sh_fail(err, SH_INTERNAL, "PostgreSQL answers with schema ids that cannot be read");
        out->ids[out->id_count++] = (int32_t)id;
        at = end + (*end == ',');
    }
    return SH_OK;
}
