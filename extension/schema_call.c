/* schema_call.c - the functions of SQL that parse and compare schemas. */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "extension/schema_cache.h"
#include "extension/schema_glue.h"

PG_FUNCTION_INFO_V1(sh_schema_parse_text);
PG_FUNCTION_INFO_V1(sh_schema_serialized);
PG_FUNCTION_INFO_V1(sh_schema_compare_texts);
PG_FUNCTION_INFO_V1(sh_schema_compare_stored);

/* What is parsed for one call goes when the call is over, not when the query is. */
static MemoryContext begin_call(MemoryContext *callers)
{
    MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "schema call", ALLOCSET_DEFAULT_SIZES);
    *callers = MemoryContextSwitchTo(own);
    return own;
}

/* (type, schema, reference names, reference texts) -> (canonical, normalized, parsing, record_name) */
Datum sh_schema_parse_text(PG_FUNCTION_ARGS)
{
    TupleDesc row;
    if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "schema_parse is not declared to return a row");

    MemoryContext callers, own = begin_call(&callers);
    ShSchemaSource source = sh_schema_source(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1),
                                             PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
    ShSchemaBudget budget = sh_schema_call_budget();
    const ShSchema *schema = sh_schema_of(&source, &budget);
    const char *record_name = sh_schema_record_name(schema, NULL, 0);
    Datum values[4] = {PointerGetDatum(sh_schema_form(schema, SH_SCHEMA_FORM_CANONICAL, &budget)),
                       PointerGetDatum(sh_schema_form(schema, SH_SCHEMA_FORM_NORMALIZED, &budget)),
                       PointerGetDatum(sh_schema_form(schema, SH_SCHEMA_FORM_PARSING, &budget))};
    bool nulls[4] = {false, false, false, record_name == NULL};
    if (record_name != NULL)
        values[3] = PointerGetDatum(sh_schema_words(record_name));

    MemoryContextSwitchTo(callers);
    HeapTuple tuple = heap_form_tuple(BlessTupleDesc(row), values, nulls);
    MemoryContextDelete(own);
    PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* (type, schema, reference names, reference texts) -> text */
Datum sh_schema_serialized(PG_FUNCTION_ARGS)
{
    MemoryContext callers, own = begin_call(&callers);
    ShSchemaSource source = sh_schema_source(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1),
                                             PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
    ShSchemaBudget budget = sh_schema_call_budget();
    const text *serialized = sh_schema_form(sh_schema_of(&source, &budget), SH_SCHEMA_FORM_SERIALIZED,
                                            &budget);
    MemoryContextSwitchTo(callers);
    Datum copy = PointerGetDatum(pg_detoast_datum_copy((struct varlena *)(uintptr_t)serialized));
    MemoryContextDelete(own);
    PG_RETURN_DATUM(copy);
}

static text *words_of_finding(const ShSchemaFinding *finding, int part)
{
    return sh_schema_words(part == 0 ? finding->kind : part == 1 ? finding->path : finding->message);
}

/* (type, reader, its reference names and texts, writer, its reference names and texts)
 * -> set of (kind, path, message) */
Datum sh_schema_compare_texts(PG_FUNCTION_ARGS)
{
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo *result = (ReturnSetInfo *)fcinfo->resultinfo;
    MemoryContext callers, own = begin_call(&callers);
    ShSchemaSource reader = sh_schema_source(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1),
                                             PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
    ShSchemaSource writer = sh_schema_source(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(4),
                                             PG_GETARG_ARRAYTYPE_P(5), PG_GETARG_ARRAYTYPE_P(6));
    ShSchemaBudget budget = sh_schema_call_budget();
    const ShSchema *reads = sh_schema_of(&reader, &budget);
    const ShSchema *writes = sh_schema_of(&writer, &budget);
    const ShSchemaFindings *found = sh_schema_differences(reads, writes, &budget);
    for (size_t i = 0; i < found->count; i++) {
        Datum values[3];
        bool nulls[3] = {false};
        for (int part = 0; part < 3; part++)
            values[part] = PointerGetDatum(words_of_finding(&found->items[i], part));
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    MemoryContextSwitchTo(callers);
    MemoryContextDelete(own);
    PG_RETURN_NULL();
}

#define STORED_SQL                                                                                           \
    "SELECT s.type, s.canonical, s.dependency_names, "                                                       \
    "       ARRAY(SELECT d.canonical FROM unnest(s.dependency_ids) WITH ORDINALITY AS u(id, n) "             \
    "             JOIN streamhouse.schema AS d ON d.schema_id = u.id ORDER BY u.n) "                         \
    "FROM streamhouse.schema AS s WHERE s.schema_id = $1"

/* A plan that outlives the call. */
static SPIPlanPtr kept_plan(SPIPlanPtr *plan, const char *sql, Oid argument)
{
    if (*plan == NULL) {
        SPIPlanPtr made = SPI_prepare(sql, 1, &argument);
        if (made == NULL || SPI_keepplan(made) != 0)
            elog(ERROR, "cannot prepare the look-up of schemas: %s", SPI_result_code_string(SPI_result));
        *plan = made;
    }
    return *plan;
}

/* The schema with this id, parsed; from the cache if it is there. Wants SPI. */
static const ShSchema *stored_schema(int32 id, const uint8 *digest, ShSchemaBudget *budget)
{
    const ShSchema *cached = sh_schema_cache_get(digest);
    if (cached != NULL)
        return cached;

    static SPIPlanPtr plan;
    MemoryContext callers = CurrentMemoryContext;
    Datum argument = Int32GetDatum(id);
    if (SPI_execute_plan(kept_plan(&plan, STORED_SQL, INT4OID), &argument, NULL, true, 1) != SPI_OK_SELECT ||
        SPI_processed != 1)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no schema with the id %d", id)));
    MemoryContextSwitchTo(callers); /* SPI leaves its own */
    Datum values[4];
    for (int i = 0; i < 4; i++) {
        bool is_null;
        values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &is_null);
        Assert(!is_null);
    }
    ShSchemaSource source = sh_schema_source(DatumGetTextPP(values[0]), DatumGetTextPP(values[1]),
                                             DatumGetArrayTypeP(values[2]), DatumGetArrayTypeP(values[3]));
    cached = sh_schema_cache_add(digest, &source, budget);
    SPI_freetuptable(SPI_tuptable);
    return cached;
}

/* Put the findings of one comparison into the result; how many of them there were. */
static int report_findings(ReturnSetInfo *result, int32 id, const char *direction, const ShSchema *reader,
                           const ShSchema *writer, ShSchemaBudget *budget)
{
    const ShSchemaFindings *found = sh_schema_differences(reader, writer, budget);
    for (size_t i = 0; i < found->count; i++) {
        Datum values[5] = {Int32GetDatum(id), CStringGetTextDatum(direction)};
        bool nulls[5] = {false};
        for (int part = 0; part < 3; part++)
            values[2 + part] = PointerGetDatum(words_of_finding(&found->items[i], part));
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return (int)found->count;
}

#define VERSION_STEPS 64 /* to look one up */

static pg_attribute_noreturn() void raise_spent(ShSchemaType type, const ShSchemaBudget *budget)
{
    ShError err = {0};
    (void)!sh_budget_fail(budget, &err);
    sh_schema_raise(type, &err);
}

/* (backward, forward, type, schema, reference names, reference texts, ids, most findings)
 * -> set of (schema_id, direction, kind, path, message)
 *
 * The ids come in the order in which they are compared. It ends after the comparison that brings the most
 * findings that are wanted. */
Datum sh_schema_compare_stored(PG_FUNCTION_ARGS)
{
    bool is_backward = PG_GETARG_BOOL(0), is_forward = PG_GETARG_BOOL(1);
    int findings_left = PG_GETARG_INT32(7);
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo *result = (ReturnSetInfo *)fcinfo->resultinfo;
    SPI_connect();
    ShSchemaSource source = sh_schema_source(PG_GETARG_TEXT_PP(2), PG_GETARG_TEXT_PP(3),
                                             PG_GETARG_ARRAYTYPE_P(4), PG_GETARG_ARRAYTYPE_P(5));
    ShSchemaBudget budget = sh_schema_call_budget();
    const ShSchema *candidate = sh_schema_of(&source, &budget);

    static SPIPlanPtr plan;
    Datum ids = PG_GETARG_DATUM(6);
    if (SPI_execute_plan(kept_plan(&plan,
                                   "SELECT s.schema_id, s.digest FROM unnest($1) WITH ORDINALITY AS u(id, n) "
                                   "JOIN streamhouse.schema AS s ON s.schema_id = u.id ORDER BY u.n",
                                   INT4ARRAYOID),
                         &ids, NULL, true, 0) != SPI_OK_SELECT)
        elog(ERROR, "cannot look up schemas");
    SPITupleTable *stored = SPI_tuptable;
    MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "schema comparison",
                                               ALLOCSET_DEFAULT_SIZES);
    MemoryContext whole = MemoryContextSwitchTo(each);
    for (uint64 i = 0; i < stored->numvals && findings_left > 0; i++) {
        CHECK_FOR_INTERRUPTS();
        bool is_null;
        int32 id = DatumGetInt32(SPI_getbinval(stored->vals[i], stored->tupdesc, 1, &is_null));
        bytea *digest = DatumGetByteaPP(SPI_getbinval(stored->vals[i], stored->tupdesc, 2, &is_null));
        if (VARSIZE_ANY_EXHDR(digest) != SH_SCHEMA_DIGEST_BYTES)
            elog(ERROR, "the digest of schema %d has a wrong size", id);
        if (!sh_budget_spend(&budget, VERSION_STEPS))
            raise_spent(sh_schema_type(candidate), &budget);
        const ShSchema *other = stored_schema(id, (const uint8 *)VARDATA_ANY(digest), &budget);
        if (is_backward)
            findings_left -= report_findings(result, id, "BACKWARD", candidate, other, &budget);
        if (is_forward)
            findings_left -= report_findings(result, id, "FORWARD", other, candidate, &budget);
        MemoryContextReset(each);
    }
    MemoryContextSwitchTo(whole);
    MemoryContextDelete(each);
    SPI_finish();
    PG_RETURN_NULL();
}
