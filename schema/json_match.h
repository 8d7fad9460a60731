/* json_match.h - the regular expressions of JSON schemas: compiled and matched, within a budget. */
#ifndef SH_SCHEMA_JSON_MATCH_H
#define SH_SCHEMA_JSON_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "schema/budget.h"

/* What matching needs, made when it is first used. Zeroed at first; of one thread. */
typedef struct ShJsonMatcher {
    void *data;    /* pcre2_match_data */
    void *context; /* pcre2_match_context */
} ShJsonMatcher;

/* As JavaScript has regular expressions, as far as PCRE2 does. NULL: it is none, or the budget has ended.
 * Freed with sh_json_pattern_free. */
void *sh_json_pattern_new(const char *pattern, size_t length, ShSchemaBudget *budget);
void sh_json_pattern_free(void *code);

/* Does the pattern match somewhere in the text, which is UTF-8? Only true or false if the budget has not
 * ended: what takes too long is neither. */
bool sh_json_matches(ShJsonMatcher *matcher, const void *code, const char *text, size_t bytes,
                     ShSchemaBudget *budget);

void sh_json_matcher_free(ShJsonMatcher *matcher);

#endif
