#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

static void add_element(ShPgArray *array, const char *text, size_t length);
static void add_bytes(ShPgArray *array, const char *bytes, size_t length);

const char *sh_pg_number(ShPgNumber *number, int64_t value)
{
    snprintf(number->text, sizeof number->text, "%lld", (long long)value);
    return number->text;
}

void sh_pg_array_add_number(ShPgArray *array, int64_t value)
{
    ShPgNumber number;
    sh_pg_number(&number, value);
    add_element(array, number.text, strlen(number.text));
}

void sh_pg_array_add_bool(ShPgArray *array, bool value)
{
    add_element(array, value ? "t" : "f", 1);
}

void sh_pg_array_add_uuid(ShPgArray *array, const ShUuid *uuid)
{
    char text[SH_UUID_TEXT_BYTES];
    sh_uuid_format(uuid, text);
    add_element(array, text, strlen(text));
}

void sh_pg_array_add_text(ShPgArray *array, const char *text)
{
    add_element(array, "\"", 1);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            add_bytes(array, "\\", 1);
        add_bytes(array, c, 1);
    }
    add_bytes(array, "\"", 1);
}

void sh_pg_array_add_null(ShPgArray *array)
{
    add_element(array, "NULL", 4);
}

ShStatus sh_pg_arrays_end(ShPgArray *arrays, size_t count, const char **values, ShError *err)
{
    for (size_t i = 0; i < count; i++) {
        if (arrays[i].length == 0)
            add_bytes(&arrays[i], "{", 1);
        add_bytes(&arrays[i], "}", 2); /* with its NUL */
        if (arrays[i].failed)
            return sh_fail(err, SH_NO_MEMORY, "memory is short for the parameters of a PostgreSQL call");
        values[i] = arrays[i].text;
    }
    return SH_OK;
}

void sh_pg_arrays_free(ShPgArray *arrays, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(arrays[i].text);
}

static void add_element(ShPgArray *array, const char *text, size_t length)
{
    add_bytes(array, array->length == 0 ? "{" : ",", 1);
    add_bytes(array, text, length);
}

static void add_bytes(ShPgArray *array, const char *bytes, size_t length)
{
    if (array->failed)
        return;
    if (length > array->capacity - array->length) {
        size_t capacity = 2 * (array->capacity + length) + 64;
        char *text = realloc(array->text, capacity);
        if (text == NULL) {
            array->failed = true;
            return;
        }
        array->text = text;
        array->capacity = capacity;
    }
    memcpy(array->text + array->length, bytes, length);
    array->length += length;
}
