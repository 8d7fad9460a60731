/* json_value.c - what JSON Schema says of values: their types, and when two are the same. */
#include <math.h>
#include <string.h>

#include "schema/json_node.h"

bool sh_json_same(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        size_t count = json_array_size(a);
        bool same = count == json_array_size(b);
        for (size_t i = 0; same && i < count; i++)
            same = sh_json_same(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!json_is_object(a))
        return json_equal(a, b);
    bool same = json_object_size(a) == json_object_size(b);
    json_t *object = (json_t *)(uintptr_t)a;
    for (void *at = json_object_iter(object); same && at != NULL; at = json_object_iter_next(object, at)) {
        const json_t *other = json_object_get(b, json_object_iter_key(at));
        same = other != NULL && sh_json_same(json_object_iter_value(at), other);
    }
    return same;
}

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
