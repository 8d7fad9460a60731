#include "agent/pg/pg_schema.h"

#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

/* What each schema is told by, in the order of the published API: AVRO and no references go without saying.
 */
#define WITHOUT_SAYING                                                                                       \
    "'references', CASE WHEN \"references\" <> '[]' THEN \"references\" END, "                               \
    "'schemaType', nullif(type, 'AVRO'), "
#define VERSION_JSON(format)                                                                                 \
    "json_strip_nulls(json_build_object('subject', subject, 'version', version, 'id', schema_id, "           \
    "" WITHOUT_SAYING "'schema', streamhouse.schema_in_format(schema_id, " format "), "                      \
    "'deleted', nullif(is_deleted, false)))"
/* A page of a list: a negative limit is none. */
#define PAGE(offset, limit)                                                                                  \
    " OFFSET greatest(" offset "::int, 0) LIMIT CASE WHEN " limit "::int >= 0 THEN " limit "::int END"
/* json_strip_nulls writes without blanks, too. OFFSET 0: the list is made once. */
#define LIST(element, source)                                                                                \
    "SELECT list FROM (SELECT json_strip_nulls(coalesce(json_agg(" element                                   \
    " ORDER BY n), '[]'))::text AS list FROM (" source ") AS page OFFSET 0) AS whole "                       \
    "WHERE streamhouse.agent_list_fits(octet_length(list))"
#define MEMBER(name, value) "SELECT json_strip_nulls(json_build_object('" name "', " value "))"

#define TRIES 3 /* when transactions conflict */

typedef struct Question {
    const char *sql;
    int value_count;
} Question;

static const Question questions[SH_PG_SCHEMA_QUESTION_COUNT] = {
    [SH_PG_SCHEMA_SUBJECTS] =
        {LIST("subject", "SELECT subject, n FROM streamhouse.subjects($1::boolean OR $2::boolean, $3) "
                         "WITH ORDINALITY AS s(subject, n) WHERE NOT $2::boolean OR NOT EXISTS (SELECT FROM "
                         "streamhouse.schema_version AS v WHERE v.subject = s.subject AND v.state = 'live') "
                         "ORDER BY n" PAGE("$4", "$5")),
         5},
    [SH_PG_SCHEMA_VERSIONS] =
        {LIST("version", "SELECT version, n FROM streamhouse.versions($1, $2::boolean OR $3::boolean) "
                         "WITH ORDINALITY AS s(version, n) WHERE NOT $3::boolean OR EXISTS (SELECT FROM "
                         "streamhouse.schema_version AS v WHERE (v.subject, v.version) = ($1, s.version) "
                         "AND v.state = 'deleted') ORDER BY n" PAGE("$4", "$5")),
         5},
    [SH_PG_SCHEMA_VERSION] = {"SELECT " VERSION_JSON(
                                  "$4") " FROM streamhouse.get_schema($1, $2::text, $3::boolean)",
                              4},
    [SH_PG_SCHEMA_VERSION_TEXT] = {"SELECT streamhouse.schema_in_format(schema_id, $4) "
                                   "FROM streamhouse.get_schema($1, $2::text, $3::boolean)",
                                   4},
    [SH_PG_SCHEMA_REFERENCED_BY] =
        {LIST("id", "SELECT id, n FROM streamhouse.referenced_by($1, $2::text, $3::boolean) "
                    "WITH ORDINALITY AS s(id, n) ORDER BY n" PAGE("$4", "$5")),
         5},
    [SH_PG_SCHEMA_REGISTER] = {MEMBER("id", "streamhouse.register_schema($1, $2, $3, $4::jsonb, $5::boolean, "
                                            "$6::int, $7::int)"),
                               7},
    [SH_PG_SCHEMA_LOOKUP] = {"SELECT " VERSION_JSON(
                                 "$7") " FROM streamhouse.lookup_schema($1, $2, $3, $4::jsonb, $5::boolean, "
                                       "$6::boolean)",
                             7},
    [SH_PG_SCHEMA_DELETE_VERSION] = {"SELECT streamhouse.delete_version($1, $2::text, $3::boolean)", 3},
    [SH_PG_SCHEMA_DELETE_SUBJECT] = {LIST("version", "SELECT version, n FROM streamhouse.delete_subject($1, "
                                                     "$2::boolean) WITH ORDINALITY AS s(version, n)"),
                                     2},
    [SH_PG_SCHEMA_LIST] =
        {LIST(VERSION_JSON("NULL"),
              "SELECT * FROM streamhouse.agent_list_schemas($1, $2::boolean, $3::boolean, $4::int, $5::int)"),
         5},
    [SH_PG_SCHEMA_BY_ID] =
        {"SELECT json_strip_nulls(json_build_object(" WITHOUT_SAYING
         "'schema', streamhouse.schema_in_format(schema_id, $2), 'maxId', "
         "CASE WHEN $3::boolean THEN (SELECT max(m.schema_id) FROM streamhouse.schema AS m) END)) "
         "FROM streamhouse.get_schema($1::int)",
         3},
    [SH_PG_SCHEMA_TEXT_BY_ID] = {"SELECT streamhouse.schema_in_format(schema_id, $2) "
                                 "FROM streamhouse.get_schema($1::int)",
                                 2},
    [SH_PG_SCHEMA_SUBJECTS_OF_ID] =
        {LIST("subject",
              "SELECT subject, row_number() OVER (ORDER BY subject COLLATE \"C\") AS n "
              "FROM (SELECT DISTINCT subject FROM streamhouse.schema_versions($1::int, $3::boolean)) AS s "
              "WHERE $2::text IS NULL OR subject = $2::text ORDER BY n" PAGE("$4", "$5")),
         5},
    [SH_PG_SCHEMA_VERSIONS_OF_ID] =
        {LIST("json_build_object('subject', subject, 'version', version)",
              "SELECT subject, version, n FROM streamhouse.schema_versions($1::int, $3::boolean) "
              "WITH ORDINALITY AS s(subject, version, n) WHERE $2::text IS NULL OR subject = $2::text "
              "ORDER BY n" PAGE("$4", "$5")),
         5},
    [SH_PG_SCHEMA_COMPATIBLE] =
        {"SELECT json_strip_nulls(json_build_object('is_compatible', bool_and(is_compatible), 'messages', "
         "CASE WHEN $7::boolean THEN coalesce(json_agg(format('{errorType:''%s'', description:''%s'', "
         "additionalInfo:''%s, against version %s, at %s''}', kind, message, direction, against_version, "
         "path)) "
         "FILTER (WHERE NOT is_compatible), '[]') END)) "
         "FROM streamhouse.check_compatibility($1, $2, $3, $4::jsonb, $6::text, NULL, $5::boolean)",
         7},
    [SH_PG_SCHEMA_GET_LEVEL] = {MEMBER("compatibilityLevel",
                                       "streamhouse.get_compatibility($1, $2::boolean)"),
                                2},
    [SH_PG_SCHEMA_SET_LEVEL] = {MEMBER("compatibility", "streamhouse.set_compatibility($2, $1)"), 2},
    [SH_PG_SCHEMA_RESET_LEVEL] = {MEMBER("compatibilityLevel", "streamhouse.reset_compatibility($1)"), 1},
    [SH_PG_SCHEMA_GET_MODE] = {MEMBER("mode", "streamhouse.get_mode($1, $2::boolean)"), 2},
    [SH_PG_SCHEMA_SET_MODE] = {MEMBER("mode", "streamhouse.set_mode($2, $1, $3::boolean)"), 3},
    [SH_PG_SCHEMA_RESET_MODE] = {MEMBER("mode", "streamhouse.reset_mode($1)"), 1},
    [SH_PG_SCHEMA_CLUSTER] = {MEMBER("scope",
                                     "json_build_object('path', '[]'::json, 'clusters', json_build_object("
                                     "'kafka-cluster', cluster_id, 'schema-registry-cluster', "
                                     "'schema-registry'))") " FROM streamhouse.cluster",
                              0},
};

static ShStatus keep_refusal(const PGresult *failed, ShPgSchemaAnswer *out, ShError *err);
static const char *sqlstate_of(const PGresult *refused);
static bool is_refusal(const char *sqlstate);
static char *copy_field(const PGresult *result, int code);

ShStatus sh_pg_schema_ask(ShPg *pg, ShPgSchemaQuestion question, const char *const *values,
                          ShPgSchemaAnswer *out, ShError *err)
{
    PGresult *result;
    ShPgSchemaAnswer answer = {.sqlstate = ""};
    ShStatus status = SH_UNAVAILABLE;
    const char *sqlstate = "40";
    for (int i = 0; i < TRIES && strncmp(sqlstate, "40", 2) == 0; i++) {
        status = sh_pg_query(pg, questions[question].sql, questions[question].value_count, values, &result,
                             err);
        sqlstate = status == SH_OK ? "" : sqlstate_of(pg->refused);
    }
    if (status != SH_OK)
        return is_refusal(sqlstate) ? keep_refusal(pg->refused, out, err) : status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        answer.text = strdup(PQgetvalue(result, 0, 0));
        answer.detail = strdup("");
        if (answer.text == NULL || answer.detail == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "memory is short for PostgreSQL's answer");
    }
    PQclear(result);
    if (status == SH_OK)
        *out = answer;
    else
        sh_pg_schema_answer_free(&answer);
    return status;
}

void sh_pg_schema_answer_free(ShPgSchemaAnswer *answer)
{
    free(answer->text);
    free(answer->detail);
    *answer = (ShPgSchemaAnswer){.sqlstate = ""};
}

static ShStatus keep_refusal(const PGresult *failed, ShPgSchemaAnswer *out, ShError *err)
{
    ShPgSchemaAnswer answer = {.sqlstate = ""};
    strncpy(answer.sqlstate, PQresultErrorField(failed, PG_DIAG_SQLSTATE), sizeof answer.sqlstate - 1);
    answer.text = copy_field(failed, PG_DIAG_MESSAGE_PRIMARY);
    answer.detail = copy_field(failed, PG_DIAG_MESSAGE_DETAIL);
    if (answer.text == NULL || answer.detail == NULL) {
        sh_pg_schema_answer_free(&answer);
        return sh_fail(err, SH_NO_MEMORY, "memory is short for PostgreSQL's refusal");
    }
    *out = answer;
    sh_error_clear(err);
    return SH_OK;
}

static const char *sqlstate_of(const PGresult *refused)
{
    const char *sqlstate = refused == NULL ? NULL : PQresultErrorField(refused, PG_DIAG_SQLSTATE);
    return sqlstate != NULL ? sqlstate : "";
}

/* The registry's own codes, SH2xx and SH4xx; data that PostgreSQL cannot take, such as JSON with a NUL; and
 * schemas that take more work than one call may (54000, program_limit_exceeded). */
static bool is_refusal(const char *sqlstate)
{
    return strncmp(sqlstate, "SH2", 3) == 0 || strncmp(sqlstate, "SH4", 3) == 0 ||
           strncmp(sqlstate, "22", 2) == 0 || strcmp(sqlstate, "54000") == 0;
}

static char *copy_field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);
    return strdup(text != NULL ? text : "");
}
