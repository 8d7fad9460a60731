#include "cli/key.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static ShStatus extract_json(const char *field, ShRecord *record, ShKey *key, ShError *err);

ShStatus sh_key_extract(const ShKeyRule *rule, ShRecord *record, ShKey *key, ShError *err)
{
    *key = (ShKey){0};
    if (rule->json_field != NULL)
        return extract_json(rule->json_field, record, key, err);
    if (rule->separator == '\0')
        return SH_OK;

    const uint8_t *separator = memchr(record->value, rule->separator, record->value_length);
    if (separator != NULL) {
        record->key = record->value;
        record->key_length = (size_t)(separator - record->value);
        record->value = separator + 1;
        record->value_length -= record->key_length + 1;
    }
    return SH_OK;
}

void sh_key_release(ShKey *key)
{
    json_decref(key->document);
    free(key->text);
    *key = (ShKey){0};
}

static ShStatus extract_json(const char *field, ShRecord *record, ShKey *key, ShError *err)
{
    json_error_t where;
    json_t *object = json_loadb((const char *)record->value, record->value_length, JSON_ALLOW_NUL, &where);
    if (!json_is_object(object)) {
        json_decref(object);
        return sh_fail(err, SH_INVALID, "not a JSON object, so it has no field \"%s\"%s%s", field,
                       object == NULL ? ": " : "", object == NULL ? where.text : "");
    }
    const json_t *value = json_object_get(object, field);
    key->document = object;
    if (json_is_string(value)) {
        record->key = (const uint8_t *)json_string_value(value);
        record->key_length = json_string_length(value);
    } else if (value != NULL && !json_is_null(value)) {
        key->text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (key->text == NULL) {
            sh_key_release(key);
            return sh_fail(err, SH_NO_MEMORY, "no memory for a key");
        }
        record->key = (const uint8_t *)key->text;
        record->key_length = strlen(key->text);
    }
    return SH_OK;
}
