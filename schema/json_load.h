/* json_load.h - JSON texts into memory, no more of it than the budget has. */
#ifndef SH_SCHEMA_JSON_LOAD_H
#define SH_SCHEMA_JSON_LOAD_H

#include <jansson.h>

#include "schema/budget.h"

/* `flags` are jansson's. What it takes is bounded before, by the characters that stand for values outside of
 * strings. Integers that do not fit 64 bits become fractions. NULL: `fault` says why not,
 * unless the budget has ended. */
json_t *sh_json_load(const char *text, size_t bytes, size_t flags, ShSchemaBudget *budget,
                     json_error_t *fault);

#endif
