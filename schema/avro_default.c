/* avro_default.c - what Avro 1.11 says of default values ("Complex Types: Records") and of logical types. */
#include <math.h>
#include <string.h>

#include "schema/avro_node.h"

static bool is_byte_string(const json_t *value, size_t *bytes);
static bool fits_record(const ShAvroNode *node, const json_t *value, ShSchemaBudget *budget,
                        const char **why);
static bool fits_decimal(ShAvroNode *node, const json_t *object);

bool sh_avro_default_fits(const ShAvroNode *node, const json_t *value, ShSchemaBudget *budget,
                          const char **why)
{
    size_t bytes = 0;
    if (!sh_budget_spend(budget, 1))
        return false;
    *why = sh_avro_type_name(node->type);
    switch (node->type) {
    case SH_AVRO_NULL:
        return json_is_null(value);
    case SH_AVRO_BOOLEAN:
        return json_is_boolean(value);
    case SH_AVRO_INT:
        return json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
               json_integer_value(value) <= INT32_MAX;
    case SH_AVRO_LONG:
        return json_is_integer(value);
    case SH_AVRO_FLOAT:
    case SH_AVRO_DOUBLE:
        return json_is_number(value);
    case SH_AVRO_BYTES:
        return is_byte_string(value, &bytes);
    case SH_AVRO_FIXED:
        *why = "fixed of its size";
        return is_byte_string(value, &bytes) && bytes == node->size;
    case SH_AVRO_STRING:
        return json_is_string(value);
    case SH_AVRO_ENUM:
        *why = "one of the enum's symbols";
        return json_is_string(value) && sh_avro_has_symbol(node, json_string_value(value));
    case SH_AVRO_RECORD:
        return fits_record(node, value, budget, why);
    case SH_AVRO_ARRAY: {
        if (!json_is_array(value))
            return false;
        for (size_t i = 0; i < json_array_size(value); i++)
            if (!sh_avro_default_fits(node->items, json_array_get(value, i), budget, why))
                return false;
        return true;
    }
    case SH_AVRO_MAP: {
        const char *key;
        json_t *item;
        if (!json_is_object(value))
            return false;
        json_object_foreach((json_t *)(uintptr_t)value, key,
                            item) if (!sh_avro_default_fits(node->items, item, budget, why)) return false;
        return true;
    }
    case SH_AVRO_UNION:
        /* "Default values for union fields correspond to the first schema in the union." */
        return node->branch_count > 0 && sh_avro_default_fits(node->branches[0], value, budget, why);
    }
    return false;
}

/* "Unicode code points 0-255 are mapped to unsigned 8-bit byte values 0-255." */
static bool is_byte_string(const json_t *value, size_t *bytes)
{
    if (!json_is_string(value))
        return false;
    const uint8_t *text = (const uint8_t *)json_string_value(value);
    size_t length = json_string_length(value);
    for (size_t i = 0; i < length; i++, (*bytes)++) {
        if (text[i] < 0x80)
            continue;
        if (text[i] > 0xC3)
            return false;
        i++; /* jansson has checked the UTF-8 */
    }
    return true;
}

static bool fits_record(const ShAvroNode *node, const json_t *value, ShSchemaBudget *budget, const char **why)
{
    if (!json_is_object(value) || !sh_budget_spend(budget, node->field_count))
        return false;
    for (size_t i = 0; i < node->field_count; i++) {
        const json_t *field = json_object_get(value, node->fields[i].name);
        if (field == NULL && node->fields[i].standard == NULL) {
            *why = "a record with a value for each field that has no default";
            return false;
        }
        if (field != NULL && !sh_avro_default_fits(node->fields[i].node, field, budget, why))
            return false;
    }
    return true;
}

void sh_avro_set_logical(ShAvroNode *node, const json_t *object)
{
    static const struct {
        const char *name;
        ShAvroType type;
        uint64_t size; /* of a fixed */
    } known[] = {{"uuid", SH_AVRO_STRING, 0},
                 {"uuid", SH_AVRO_FIXED, 16},
                 {"date", SH_AVRO_INT, 0},
                 {"time-millis", SH_AVRO_INT, 0},
                 {"time-micros", SH_AVRO_LONG, 0},
                 {"timestamp-millis", SH_AVRO_LONG, 0},
                 {"timestamp-micros", SH_AVRO_LONG, 0},
                 {"local-timestamp-millis", SH_AVRO_LONG, 0},
                 {"local-timestamp-micros", SH_AVRO_LONG, 0},
                 {"duration", SH_AVRO_FIXED, 12}};
    const char *name = json_string_value(json_object_get(object, "logicalType"));
    if (name == NULL)
        return;
    if (strcmp(name, "decimal") == 0 && fits_decimal(node, object))
        node->logical = "decimal";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0 && node->type == known[i].type && node->size == known[i].size)
            node->logical = known[i].name;
}

/* "Decimal": over bytes, or a fixed that has room for the precision; scale from 0 to precision. */
static bool fits_decimal(ShAvroNode *node, const json_t *object)
{
    const json_t *precision = json_object_get(object, "precision");
    const json_t *scale = json_object_get(object, "scale");
    if ((node->type != SH_AVRO_BYTES && node->type != SH_AVRO_FIXED) || !json_is_integer(precision) ||
        (scale != NULL && !json_is_integer(scale)))
        return false;
    node->precision = json_integer_value(precision);
    node->scale = json_integer_value(scale);
    if (node->precision < 1 || node->scale < 0 || node->scale > node->precision)
        return false;
    return node->type == SH_AVRO_BYTES ||
           (node->size > 0 && (double)node->precision <= floor(log10(2) * (8.0 * (double)node->size - 1)));
}
