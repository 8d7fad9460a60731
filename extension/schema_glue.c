#include "postgres.h"

#include <malloc.h>
#include <stdlib.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "extension/schema_glue.h"

#define ERRCODE_SCHEMA_INVALID   MAKE_SQLSTATE('S', 'H', '2', '0', '1')
#define ERRCODE_SCHEMA_TOO_LARGE MAKE_SQLSTATE('S', 'H', '2', '0', '9')

#define TRIM_BYTES ((size_t)8 << 20) /* what malloc may keep for later of a schema that is gone */

/* One object of schema/, freed by the end of a memory context. */
typedef struct Owned {
    MemoryContextCallback at_end;
    ShSchema *schema;
    ShSchemaFindings findings;
    char *form;
} Owned;

static void free_owned(void *arg)
{
    Owned *owned = arg;
    sh_schema_drop(owned->schema);
    sh_schema_findings_free(&owned->findings);
    free(owned->form);
}

static Owned *owned_by_context(void)
{
    Owned *owned = palloc0(sizeof *owned);
    owned->at_end.func = free_owned;
    owned->at_end.arg = owned;
    MemoryContextRegisterResetCallback(CurrentMemoryContext, &owned->at_end);
    return owned;
}

static const char *utf8_of(const text *value, size_t *bytes)
{
    char *own = text_to_cstring(value);
    const char *utf8 = pg_server_to_any(own, (int)strlen(own), PG_UTF8);
    *bytes = strlen(utf8);
    return utf8;
}

static ShSchemaType type_of(const text *name)
{
    char *own = text_to_cstring(name);
    for (ShSchemaType type = SH_SCHEMA_AVRO; type <= SH_SCHEMA_PROTOBUF; type++)
        if (pg_strcasecmp(own, sh_schema_type_name(type)) == 0)
            return type;
    ereport(ERROR, (errcode(ERRCODE_SCHEMA_INVALID), errmsg("unknown schema type \"%.100s\"", own),
                    errhint("A schema is of type AVRO, JSON or PROTOBUF.")));
}

static int elements_of(ArrayType *array, Datum **values)
{
    int count;
    bool *nulls;
    deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, values, &nulls, &count);
    for (int i = 0; i < count; i++)
        if (nulls[i])
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a reference is null")));
    return count;
}

ShSchemaSource sh_schema_source(const text *type, const text *schema, ArrayType *names, ArrayType *texts)
{
    ShSchemaSource source = {.type = type_of(type)};
    source.text = utf8_of(schema, &source.text_bytes);
    if (names == NULL)
        return source;

    Datum *name_values, *text_values;
    int count = elements_of(names, &name_values);
    if (elements_of(texts, &text_values) != count)
        ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
                        errmsg("references have as many names as texts, not %d and another number", count)));
    source.reference_count = (size_t)count;
    source.references = palloc0(sizeof *source.references * (size_t)Max(count, 1));
    for (int i = 0; i < count; i++) {
        ShSchemaReference *reference = &source.references[i];
        size_t name_bytes;
        reference->name = utf8_of(DatumGetTextPP(name_values[i]), &name_bytes);
        reference->text = utf8_of(DatumGetTextPP(text_values[i]), &reference->text_bytes);
    }
    return source;
}

void sh_schema_drop(ShSchema *schema)
{
    bool was_large = schema != NULL && sh_schema_bytes(schema) > TRIM_BYTES;
    sh_schema_free(schema);
    if (was_large)
        malloc_trim(0);
}

const ShSchema *sh_schema_of(const ShSchemaSource *source, ShSchemaBudget *budget)
{
    return *sh_schema_place_of(source, budget);
}

ShSchema **sh_schema_place_of(const ShSchemaSource *source, ShSchemaBudget *budget)
{
    Owned *owned = owned_by_context();
    ShError err = {0};
    if (sh_schema_parse(source->type, source->text, source->text_bytes, source->references,
                        source->reference_count, budget, &owned->schema, &err) != SH_OK) {
        owned->schema = NULL;
        sh_schema_raise(source->type, &err);
    }
    return &owned->schema;
}

text *sh_schema_form(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget)
{
    Owned *owned = owned_by_context();
    ShError err = {0};
    if (sh_schema_text(schema, form, budget, &owned->form, &err) != SH_OK) {
        owned->form = NULL;
        sh_schema_raise(sh_schema_type(schema), &err);
    }
    return sh_schema_words(owned->form);
}

const ShSchemaFindings *sh_schema_differences(const ShSchema *reader, const ShSchema *writer,
                                              ShSchemaBudget *budget)
{
    Owned *owned = owned_by_context();
    ShError err = {0};
    if (sh_schema_compare(reader, writer, budget, &owned->findings, &err) != SH_OK)
        sh_schema_raise(sh_schema_type(reader), &err);
    return &owned->findings;
}

text *sh_schema_words(const char *utf8)
{
    size_t bytes = strlen(utf8);
    char *copy = pnstrdup(utf8, bytes);
    if (!pg_verify_mbstr(PG_UTF8, copy, (int)bytes, true))
        for (char *c = copy; *c != '\0'; c++)
            if (IS_HIGHBIT_SET(*c))
                *c = '?';
    return cstring_to_text(pg_any_to_server(copy, (int)bytes, PG_UTF8));
}

void sh_schema_raise(ShSchemaType type, const ShError *err)
{
    char *words = text_to_cstring(sh_schema_words(err->message));
    const char *name = sh_schema_type_name(type);
    switch (err->status) {
    case SH_TOO_LARGE:
        ereport(ERROR, (errcode(ERRCODE_SCHEMA_TOO_LARGE), errmsg("the %s schema is too large", name),
                        errdetail("%s", words)));
    case SH_EXHAUSTED:
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("the %s schemas take too much work to be parsed or compared", name),
                        errdetail("%s", words),
                        errhint("Make them simpler, or compare with fewer versions: a level that is not "
                                "transitive asks for the latest alone.")));
    case SH_CANCELLED:
        CHECK_FOR_INTERRUPTS();
        ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("%s", words))); /* they are held off */
    case SH_NO_MEMORY:
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("%s", words)));
    case SH_INVALID:
    case SH_CORRUPT:
    case SH_UNSUPPORTED:
        ereport(ERROR,
                (errcode(ERRCODE_SCHEMA_INVALID), errmsg("invalid %s schema", name), errdetail("%s", words)));
    default:
        ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("%s", words)));
    }
}
