/*
 * pg_schema.h - what the agent asks of the schema registry in PostgreSQL to serve its REST API.
 *
 * A question is one statement with parameters in text form; its answer is one text, the JSON that the API
 * answers with (or a schema's bare text). What PostgreSQL refuses is an answer too: its SQLSTATE and words.
 */
#ifndef SH_AGENT_PG_PG_SCHEMA_H
#define SH_AGENT_PG_PG_SCHEMA_H

#include "agent/pg/pg.h"

#define SH_PG_SCHEMA_VALUES_MAX 8

/* The parameters in the order in which they are passed; NULL where one is not given. A boolean is "true" or
 * "false", a version a number or "latest". */
typedef enum ShPgSchemaQuestion {
    SH_PG_SCHEMA_SUBJECTS,       /* deleted, deleted only, prefix, offset, limit */
    SH_PG_SCHEMA_VERSIONS,       /* subject, deleted, deleted only, offset, limit */
    SH_PG_SCHEMA_VERSION,        /* subject, version, deleted, format */
    SH_PG_SCHEMA_VERSION_TEXT,   /* subject, version, deleted, format */
    SH_PG_SCHEMA_REFERENCED_BY,  /* subject, version, deleted, offset, limit */
    SH_PG_SCHEMA_REGISTER,       /* subject, schema, type, references, normalize, id, version */
    SH_PG_SCHEMA_LOOKUP,         /* subject, schema, type, references, normalize, deleted, format */
    SH_PG_SCHEMA_DELETE_VERSION, /* subject, version, permanent */
    SH_PG_SCHEMA_DELETE_SUBJECT, /* subject, permanent */
    SH_PG_SCHEMA_LIST,           /* prefix, deleted, latest only, offset, limit */
    SH_PG_SCHEMA_BY_ID,          /* id, format, with the highest id */
    SH_PG_SCHEMA_TEXT_BY_ID,     /* id, format */
    SH_PG_SCHEMA_SUBJECTS_OF_ID, /* id, subject, deleted, offset, limit */
    SH_PG_SCHEMA_VERSIONS_OF_ID, /* id, subject, deleted, offset, limit */
    SH_PG_SCHEMA_COMPATIBLE,     /* subject, schema, type, references, normalize, version, verbose */
    SH_PG_SCHEMA_GET_LEVEL,      /* subject, effective */
    SH_PG_SCHEMA_SET_LEVEL,      /* subject, level */
    SH_PG_SCHEMA_RESET_LEVEL,    /* subject */
    SH_PG_SCHEMA_GET_MODE,       /* subject, effective */
    SH_PG_SCHEMA_SET_MODE,       /* subject, mode, force */
    SH_PG_SCHEMA_RESET_MODE,     /* subject */
    SH_PG_SCHEMA_CLUSTER,        /* none */
    SH_PG_SCHEMA_QUESTION_COUNT
} ShPgSchemaQuestion;

/* Texts end with a NUL and belong to the struct. */
typedef struct ShPgSchemaAnswer {
    char sqlstate[6]; /* "" unless PostgreSQL refused */
    char *text;       /* the answer, or what is wrong */
    char *detail;     /* of a refusal; may be "" */
} ShPgSchemaAnswer;

/* Ask, and ask again after a conflict of transactions. SH_OK also when PostgreSQL refuses: `out->sqlstate`
 * says so. Failures are those of the connection, of deadlines, rights and versions. */
ShStatus sh_pg_schema_ask(ShPg *pg, ShPgSchemaQuestion question, const char *const *values,
                          ShPgSchemaAnswer *out, ShError *err) SH_MUST_CHECK;
/* A zeroed one is fine. */
void sh_pg_schema_answer_free(ShPgSchemaAnswer *answer);

#endif
