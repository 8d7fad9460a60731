/* avro.c - Avro as a language of schemas. */
#include <string.h>

#include "schema/avro_node.h"

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

bool sh_avro_is_listed(const char *const *names, size_t count, const char *name)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(names[middle], name);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool sh_avro_has_symbol(const ShAvroNode *node, const char *symbol)
{
    return sh_avro_is_listed(node->sorted, node->symbol_count, symbol);
}

const ShAvroField *sh_avro_field(const ShAvroNode *node, const char *name)
{
    size_t low = 0;
    size_t high = node->field_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(node->sorted_fields[middle]->name, name);
        if (order == 0)
            return node->sorted_fields[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    (void)payload;
    (void)payload_bytes;
    return ((const ShAvroSchema *)schema)->root->name;
}
