/* json_value.c - the types of values, and names that are looked for. */
#include <math.h>
#include <stdlib.h>
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

static int against_property(const void *name, const void *property)
{
    return strcmp(name, ((const ShJsonProperty *)property)->name);
}

const ShJsonNode *sh_json_property(const ShJsonProperty *properties, size_t count, const char *name)
{
    const ShJsonProperty *found =
        count == 0 ? NULL : bsearch(name, properties, count, sizeof *properties, against_property);
    return found == NULL ? NULL : found->node;
}
