/* json_value.c - the types of values, and names that are looked for. */
#include <math.h>
#include <string.h>

#include "schema/json_node.h"

unsigned sh_json_type_of(const json_t *value, ShJsonDraft draft)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return SH_JSON_OBJECT;
    case JSON_ARRAY:
        return SH_JSON_ARRAY;
    case JSON_STRING:
        return SH_JSON_STRING;
    case JSON_INTEGER:
        return SH_JSON_INTEGER;
    case JSON_REAL: {
        double real = json_real_value(value);
        return draft != SH_JSON_DRAFT_4 && real == trunc(real) ? SH_JSON_INTEGER : SH_JSON_FRACTION;
    }
    case JSON_TRUE:
    case JSON_FALSE:
        return SH_JSON_BOOLEAN;
    case JSON_NULL:
        break;
    }
    return SH_JSON_NULL;
}

const ShJsonNode *sh_json_property(const ShJsonProperty *properties, size_t count, const char *name)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(properties[middle].name, name);
        if (order == 0)
            return properties[middle].node;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool sh_json_is_listed(const char *const *names, size_t count, const char *name)
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
