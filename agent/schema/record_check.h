/*
 * record_check.h - one part of a request held against its topic's schemas, record by record.
 *
 *     ShRecordCheck check;
 *     if (sh_engine_check_begin(engine, &target, &check)) {   (agent/log/engine.h)
 *         ... each batch: sh_batch_check_watched(..., &check.watch, ...), then sh_record_check_next_batch
 *         status = sh_record_check_end(&check, &err);
 *     }
 */
#ifndef SH_AGENT_SCHEMA_RECORD_CHECK_H
#define SH_AGENT_SCHEMA_RECORD_CHECK_H

#include "agent/schema/record_errors.h"
#include "agent/schema/topic_schemas.h"
#include "core/batch.h"

/* A record's key or value. */
typedef struct ShSubjectCheck {
    const ShPartSchemas *part;
    const char *name; /* "key" or "value" */
    bool needs_text;
    const ShStoredSchema *schema; /* the last one that was needed; NULL: none */
    /* What begins so may name `schema`, whatever follows; SH_RECORD_HEAD_NONE: it has to be looked at. */
    uint64_t settled_head;
} ShSubjectCheck;

typedef struct ShRecordCheck {
    ShBatchWatch watch; /* first: what is shown is cast back */
    ShSchemaTable *table;
    ShSchemaStore *store;
    ShSchemaBudget *budget; /* of the whole request */
    /* Does PostgreSQL not have an id either that the table of `as_of_ms` lacks? False: it is asked, and the
     * part has to come again. */
    bool (*lacks)(void *arg, int32_t id, int64_t as_of_ms);
    void *arg;
    int64_t as_of_ms;

    size_t first_index; /* of the batch that is checked, in the part */
    ShSubjectCheck key;
    ShSubjectCheck value;
    ShRecordErrors *errors; /* NULL: no record is refused. The caller's after the end */
    int32_t awaited_id;     /* a schema that has to be fetched first; 0: none */
    bool out_of_memory;
    bool out_of_budget;
} ShRecordCheck;

/* The work that the records of a request of so many bytes may take, in all of its parts. */
void sh_record_check_budget(ShSchemaBudget *budget, size_t request_bytes);

/* `table` is a reference, given back at the end. */
void sh_record_check_begin(ShRecordCheck *check, ShSchemaTable *table, const ShTopicSchemas *topic,
                           ShSchemaStore *store, ShSchemaBudget *budget);
/* The records that are shown next are numbered after those of a batch that is done. */
void sh_record_check_next_batch(ShRecordCheck *check, size_t record_count);

/* SH_UNAVAILABLE, to be tried again: something has to be fetched. SH_TOO_LARGE: the request's records ask for
 * more work than one request may. SH_OK: `check->errors` has what is refused. Call it in any case. */
ShStatus sh_record_check_end(ShRecordCheck *check, ShError *err) SH_MUST_CHECK;

#endif
