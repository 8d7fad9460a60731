/*
 * json_compare.h - what the files of the comparison of JSON schemas share.
 */
#ifndef SH_SCHEMA_JSON_COMPARE_H
#define SH_SCHEMA_JSON_COMPARE_H

#include "schema/json_node.h"

struct ShJsonPair;

typedef struct ShJsonComparison {
    ShSchemaFindings *findings; /* NULL: only whether */
    struct ShJsonPair *pairs;   /* compared before, or being compared */
    size_t pair_count;
    ShSchemaBudget *budget;
    ShJsonMatcher matcher;
    ShSchemaArena *scratch; /* for as long as the comparison */
    const ShJsonSchema *reader;
    const ShJsonSchema *writer;
    int depth;
    bool no_memory;
} ShJsonComparison;

/* Does `reader` accept all that `writer` accepts of these types? Findings are added where it does not. */
bool sh_json_accepts(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                     unsigned types, const char *path);
/* The same without findings. */
bool sh_json_accepts_quietly(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             unsigned types, const char *path);

/* The keywords of objects and of arrays alone. */
bool sh_json_accepts_objects(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path);
bool sh_json_accepts_arrays(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path);

/* A keyword whose subschema cannot be compared: it is as it was, or accepts more. */
bool sh_json_must_stay(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                       const char *path, const char *keyword);

/* Is no more to be done? What is returned after that means nothing. */
static inline bool sh_json_has_failed(const ShJsonComparison *work)
{
    return work->no_memory || sh_budget_has_ended(work->budget);
}

/* Add a finding, below `path` at `part` (NULL: at the path itself); always false. */
bool sh_json_differs(ShJsonComparison *work, const char *kind, const char *path, const char *part,
                     const char *fmt, ...) SH_PRINTF(5, 6);

/* `path`/`part`, cut to fit. */
#define SH_JSON_PATH_BYTES 1024
const char *sh_json_below(char out[SH_JSON_PATH_BYTES], const char *path, const char *part);

/* A count that may only shrink or grow: is the reader's bound as wide as the writer's? `is_upper` says which
 * bound. */
bool sh_json_bound(ShJsonComparison *work, int64_t reader, int64_t writer, bool is_upper,
                   const char *kind_added, const char *kind_changed, const char *path, const char *keyword);

#endif
