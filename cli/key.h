/*
 * key.h - a record's key out of its line: a field of a JSON object, or what stands before a separator.
 */
#ifndef SH_CLI_KEY_H
#define SH_CLI_KEY_H

#include "core/batch.h"
#include "core/status.h"

typedef struct ShKeyRule {
    const char *json_field; /* NULL: none */
    char separator;         /* 0: none */
} ShKeyRule;

/* What a key was made in. */
typedef struct ShKey {
    void *document;
    char *text;
} ShKey;

/* Set the record's key, and with a separator shorten its value, which holds the line. A JSON string gives its
 * bytes, another value its JSON text; without the field, or where it is null, there is no key. SH_INVALID:
 * the line is not a JSON object. After SH_OK `key` is released once the record is no longer used. */
ShStatus sh_key_extract(const ShKeyRule *rule, ShRecord *record, ShKey *key, ShError *err) SH_MUST_CHECK;
void sh_key_release(ShKey *key);

#endif
