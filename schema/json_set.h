/*
 * json_set.h - values by what they are, to JSON Schema: 1 and 1.0 are one value, and the order of an object's
 * members means nothing.
 */
#ifndef SH_SCHEMA_JSON_SET_H
#define SH_SCHEMA_JSON_SET_H

#include <jansson.h>
#include <stdbool.h>

#include "schema/arena.h"

typedef struct ShJsonSet ShJsonSet;

/* Are two values the same? False when the budget ends, too. */
bool sh_json_same(const json_t *a, const json_t *b, ShSchemaBudget *budget);

/* Room for so many values. It lives in the arena; NULL when memory is short, or the budget's. */
ShJsonSet *sh_json_set_new(ShSchemaArena *arena, size_t count);
/* Put one in, which has to stay where it is. False when it is there already. */
bool sh_json_set_add(ShJsonSet *set, const json_t *value, ShSchemaBudget *budget);
/* Those of an array. */
ShJsonSet *sh_json_set_of(ShSchemaArena *arena, const json_t *array, ShSchemaBudget *budget);
bool sh_json_set_has(const ShJsonSet *set, const json_t *value, ShSchemaBudget *budget);

#endif
