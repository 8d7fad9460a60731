#include "schema/schema.h"

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

ShStatus sh_schema_parse(ShSchemaType type, const char *text, size_t text_bytes,
                         const ShSchemaReference *references, size_t reference_count, ShSchema **out,
                         ShError *err)
{
    if (text_bytes > SH_SCHEMA_BYTES_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the schema has %zu bytes, more than %u: split it into references",
                       text_bytes, SH_SCHEMA_BYTES_MAX);
    if (reference_count > SH_SCHEMA_REFS_MAX)
        return sh_fail(err, SH_TOO_LARGE, "the schema needs %zu references, more than %d", reference_count,
                       SH_SCHEMA_REFS_MAX);
    return languages[type].language->parse(text, text_bytes, references, reference_count, out, err);
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

ShStatus sh_schema_text(const ShSchema *schema, ShSchemaForm form, char **out, ShError *err)
{
    return schema->language->text(schema, form, out, err);
}

ShStatus sh_schema_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaFindings *out,
                           ShError *err)
{
    *out = (ShSchemaFindings){0};
    if (reader->type == writer->type)
        return reader->language->compare(reader, writer, out, err);
    if (!sh_schema_findings_add(out, "TYPE_MISMATCH", "/",
                                "the reader's schema is %s, the writer's %s: keep the type",
                                sh_schema_type_name(reader->type), sh_schema_type_name(writer->type)))
        return sh_fail(err, SH_NO_MEMORY, "no memory to compare two schemas");
    return SH_OK;
}

ShStatus sh_schema_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                            ShError *err)
{
    return schema->language->validate(schema, payload, payload_bytes, err);
}

const char *sh_schema_record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    return schema->language->record_name(schema, payload, payload_bytes);
}
