/* avro.c - Avro as a language of schemas. */
#include <stdlib.h>
#include <string.h>

#include "schema/avro_node.h"
#include "schema/sorted_names.h"

static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes);

const ShSchemaLanguage sh_schema_avro = {
    .parse = sh_avro_parse,
    .free = sh_avro_free,
    .text = sh_avro_text,
    .compare = sh_avro_compare,
    .validate = sh_avro_validate,
    .record_name = record_name,
};

static const char *const type_names[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                         "string", "record",  "enum", "fixed", "array", "map",    "union"};

const char *sh_avro_type_name(ShAvroType type)
{
    return type_names[type];
}

ShAvroType sh_avro_primitive(const char *name)
{
    for (ShAvroType type = SH_AVRO_NULL; type < SH_AVRO_RECORD; type++)
        if (strcmp(name, type_names[type]) == 0)
            return type;
    return SH_AVRO_RECORD;
}

bool sh_avro_has_symbol(const ShAvroNode *node, const char *symbol)
{
    return sh_names_hold(node->sorted, node->symbol_count, symbol);
}

static int against_field(const void *name, const void *field)
{
    return strcmp(name, (*(const ShAvroField *const *)field)->name);
}

const ShAvroField *sh_avro_field(const ShAvroNode *node, const char *name)
{
    const ShAvroField *const *found = node->field_count == 0
                                          ? NULL
                                          : bsearch(name, node->sorted_fields, node->field_count,
                                                    sizeof *node->sorted_fields, against_field);
    return found == NULL ? NULL : *found;
}

static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    (void)payload;
    (void)payload_bytes;
    return ((const ShAvroSchema *)schema)->root->name;
}
