/*
 * schema_glue.h - between SQL's values and schema/: texts in UTF-8, SQLSTATEs, and memory that errors free.
 *
 * What schema/ allocates comes from malloc. Each such object hangs on a memory context, whose end frees it:
 * so ereport, also out of memory or on a cancelled query, leaks nothing.
 */
#ifndef SH_EXTENSION_SCHEMA_GLUE_H
#define SH_EXTENSION_SCHEMA_GLUE_H

#include "postgres.h"

#include "extension/schema_budget.h"
#include "schema/schema.h"
#include "utils/array.h"

/* A schema's text and the texts that it needs, all in UTF-8, in palloc'ed memory. */
typedef struct ShSchemaSource {
    ShSchemaType type;
    const char *text;
    size_t text_bytes;
    ShSchemaReference *references;
    size_t reference_count;
} ShSchemaSource;

/* Raises SH201 for an unknown type, or arrays that do not fit. The arrays may be NULL: no references. */
ShSchemaSource sh_schema_source(const text *type, const text *schema, ArrayType *names, ArrayType *texts);

/* Parse; the result goes with CurrentMemoryContext. Raises SH201 or SH209; here and below 54000 when the
 * budget is spent, and what interrupts the query. */
const ShSchema *sh_schema_of(const ShSchemaSource *source, ShSchemaBudget *budget);
/* The same; who makes its place NULL owns it. */
ShSchema **sh_schema_place_of(const ShSchemaSource *source, ShSchemaBudget *budget);

/* A text of it, in palloc'ed memory and the database's encoding. */
text *sh_schema_form(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget);

/* Compare; the findings go with CurrentMemoryContext. */
const ShSchemaFindings *sh_schema_differences(const ShSchema *reader, const ShSchema *writer,
                                              ShSchemaBudget *budget);

/* Free one that is nobody's, and give its memory back to the system when it was much. NULL is fine. */
void sh_schema_drop(ShSchema *schema);

/* From UTF-8 to a text in the database's encoding. What does not fit it becomes '?'. */
text *sh_schema_words(const char *utf8);

/* Raise the SQLSTATE that goes with the status. */
pg_attribute_noreturn() void sh_schema_raise(ShSchemaType type, const ShError *err);

#endif
