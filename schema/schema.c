#include "schema/schema.h"

#include <stdlib.h>

#include "schema/schema_internal.h"

static const struct {
    const char *name;
    const ShSchemaLanguage *language;
} languages[] = {
    [SH_SCHEMA_AVRO] = {"AVRO", &sh_schema_avro},
    [SH_SCHEMA_JSON] = {"JSON", &sh_schema_json},
    [SH_SCHEMA_PROTOBUF] = {"PROTOBUF", &sh_schema_protobuf},
};

const char *sh_schema_type_name(ShSchemaType type)
{
    return languages[type].name;
}

/* The budget, or one of the call's own. */
static ShSchemaBudget *begin(ShSchemaBudget *budget, ShSchemaBudget *own)
{
    if (budget == NULL) {
        sh_budget_init(own, SH_BUDGET_CALL_STEPS, SH_BUDGET_SCHEMA_BYTES);
        budget = own;
    }
    budget->bytes_held = 0;
    return budget;
}

static ShStatus check_sizes(size_t text_bytes, const ShSchemaReference *references, size_t reference_count,
                            ShError *err)
{
    if (text_bytes > SH_SCHEMA_BYTES_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the schema has %zu bytes, more than %u: split it into references",
                       text_bytes, SH_SCHEMA_BYTES_MAX);
    if (reference_count > SH_SCHEMA_REFS_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the schema needs %zu references, more than %d", reference_count,
                       SH_SCHEMA_REFS_MAX);
    size_t all = text_bytes;
    for (size_t i = 0; i < reference_count; i++)
        all += references[i].text_bytes;
    if (all > SH_SCHEMA_TEXTS_MAX)
        return sh_fail(err, SH_TOO_LARGE,
                       "the schema and its references have %zu bytes together, more than %u", all,
                       SH_SCHEMA_TEXTS_MAX);
    return SH_OK;
}

ShStatus sh_schema_parse(ShSchemaType type, const char *text, size_t text_bytes,
                         const ShSchemaReference *references, size_t reference_count, ShSchemaBudget *budget,
                         ShSchema **out, ShError *err)
{
    ShSchemaBudget own;
    ShStatus status = check_sizes(text_bytes, references, reference_count, err);
    if (status != SH_OK)
        return status;
    budget = begin(budget, &own);
    ShSchema *schema = NULL;
    status = languages[type].language->parse(text, text_bytes, references, reference_count, budget, &schema,
                                             err);
    if (sh_budget_has_ended(budget)) {
        sh_schema_free(schema);
        return sh_budget_fail(budget, err);
    }
    if (status != SH_OK)
        return status;
    schema->bytes = budget->bytes_held;
    *out = schema;
    return SH_OK;
}

void sh_schema_free(ShSchema *schema)
{
    if (schema != NULL)
        schema->language->free(schema);
}

ShSchemaType sh_schema_type(const ShSchema *schema)
{
    return schema->type;
}

size_t sh_schema_bytes(const ShSchema *schema)
{
    return schema->bytes;
}

ShStatus sh_schema_text(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err)
{
    ShSchemaBudget own;
    char *text = NULL;
    budget = begin(budget, &own);
    ShStatus status = schema->language->text(schema, form, budget, &text, err);
    if (sh_budget_has_ended(budget)) {
        free(text);
        return sh_budget_fail(budget, err);
    }
    if (status == SH_OK)
        *out = text;
    return status;
}

ShStatus sh_schema_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                           ShSchemaFindings *out, ShError *err)
{
    ShSchemaBudget own;
    budget = begin(budget, &own);
    *out = (ShSchemaFindings){0};
    ShStatus status = SH_OK;
    if (reader->type == writer->type)
        status = reader->language->compare(reader, writer, budget, out, err);
    else if (!sh_schema_findings_add(out, "TYPE_MISMATCH", "/",
                                     "the reader's schema is %s, the writer's %s: keep the type",
                                     sh_schema_type_name(reader->type), sh_schema_type_name(writer->type)))
        status = sh_fail(err, SH_NO_MEMORY, "no memory to compare two schemas");
    if (sh_budget_has_ended(budget))
        status = sh_budget_fail(budget, err);
    if (status != SH_OK)
        sh_schema_findings_free(out);
    return status;
}

ShStatus sh_schema_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                            ShSchemaBudget *budget, ShError *err)
{
    return schema->language->validate(schema, payload, payload_bytes, budget, err);
}

const char *sh_schema_record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    return schema->language->record_name(schema, payload, payload_bytes);
}
