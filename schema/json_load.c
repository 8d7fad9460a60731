#include "schema/json_load.h"

#include <string.h>

#define BYTES_A_STEP 4

/* What jansson takes at most for what these characters begin or end, in bytes of malloc's. */
static const uint8_t costs[256] = {['{'] = 240, ['['] = 144, ['"'] = 48, [':'] = 32, [','] = 48};

static bool hold(ShSchemaBudget *budget, const char *text, size_t bytes);
static size_t memory_of(const char *text, size_t bytes);
static size_t memory_beside_strings(const char *text, size_t bytes);

json_t *sh_json_load(const char *text, size_t bytes, size_t flags, ShSchemaBudget *budget,
                     json_error_t *fault)
{
    memset(fault, 0, sizeof *fault);
    if (!sh_budget_spend(budget, 1 + bytes / BYTES_A_STEP) || !hold(budget, text, bytes))
        return NULL;
    json_t *value = json_loadb(text, bytes, flags, fault);
    if (value == NULL && json_error_code(fault) == json_error_numeric_overflow &&
        sh_budget_spend(budget, 1 + bytes / BYTES_A_STEP))
        value = json_loadb(text, bytes, flags | JSON_DECODE_INT_AS_REAL, fault);
    return value;
}

/* Strings are looked into only where that matters. */
static bool hold(ShSchemaBudget *budget, const char *text, size_t bytes)
{
    size_t memory = memory_of(text, bytes);
    if (memory > budget->bytes_max - budget->bytes_held)
        memory = memory_beside_strings(text, bytes);
    return sh_budget_hold(budget, memory);
}

/* In strings the characters are counted, too: it is a bound. */
static size_t memory_of(const char *text, size_t bytes)
{
    size_t memory = bytes + 64;
    for (size_t i = 0; i < bytes; i++)
        memory += costs[(uint8_t)text[i]];
    return memory;
}

/* A bound, too, also for what is no JSON: jansson reads it to its first fault, and up to there strings begin
 * and end where it thinks so. */
static size_t memory_beside_strings(const char *text, size_t bytes)
{
    size_t memory = bytes + 64;
    for (size_t i = 0; i < bytes; i++) {
        memory += costs[(uint8_t)text[i]];
        if (text[i] != '"')
            continue;
        for (i++; i < bytes && text[i] != '"'; i++)
            i += text[i] == '\\';
        memory += costs['"'];
    }
    return memory;
}
