/*
 * json_node.h - a JSON Schema as a graph of nodes, one for each subschema that is reached.
 *
 * The keywords of all drafts are brought into one form: `items` of several meanings becomes `tuple` and
 * `rest`, `dependencies` and its successors become two lists, a boolean `exclusiveMaximum` of draft 4 becomes
 * a number. The graph and the JSON values it points into are constant once parsed.
 */
#ifndef SH_SCHEMA_JSON_NODE_H
#define SH_SCHEMA_JSON_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/arena.h"
#include "schema/json_match.h"
#include "schema/json_set.h"
#include "schema/schema_internal.h"

typedef enum ShJsonDraft {
    SH_JSON_DRAFT_4 = 4,
    SH_JSON_DRAFT_6 = 6,
    SH_JSON_DRAFT_7 = 7,
    SH_JSON_DRAFT_2019 = 2019,
    SH_JSON_DRAFT_2020 = 2020
} ShJsonDraft;

/* The types of an instance, as bits: an integer is a number too. */
enum {
    SH_JSON_NULL = 1,
    SH_JSON_BOOLEAN = 2,
    SH_JSON_OBJECT = 4,
    SH_JSON_ARRAY = 8,
    SH_JSON_STRING = 16,
    SH_JSON_INTEGER = 32,
    SH_JSON_FRACTION = 64, /* a number that is no integer */
    SH_JSON_NUMBER = SH_JSON_INTEGER | SH_JSON_FRACTION,
    SH_JSON_ANY = 127
};

struct ShJsonNode;

typedef struct ShJsonProperty {
    const char *name;
    const struct ShJsonNode *node;
} ShJsonProperty;

typedef struct ShJsonPattern {
    const char *pattern;
    void *code; /* pcre2_code */
    const struct ShJsonNode *node;
} ShJsonPattern;

typedef struct ShJsonList {
    const struct ShJsonNode **nodes;
    size_t count;
} ShJsonList;

/* Which keywords stand in a node, beside those whose value says it (NULL, count 0). */
enum {
    SH_JSON_HAS_MINIMUM = 1 << 0,
    SH_JSON_HAS_MAXIMUM = 1 << 1,
    SH_JSON_HAS_EXCLUSIVE_MINIMUM = 1 << 2,
    SH_JSON_HAS_EXCLUSIVE_MAXIMUM = 1 << 3,
    SH_JSON_HAS_MULTIPLE_OF = 1 << 4,
    SH_JSON_HAS_UNIQUE_ITEMS = 1 << 5,
    SH_JSON_HAS_DEFAULT = 1 << 6,
    SH_JSON_IS_FALSE = 1 << 7, /* accepts nothing */
    SH_JSON_IS_EMPTY = 1 << 8  /* says nothing about what it accepts */
};

#define SH_JSON_NO_LIMIT (-1) /* of counts and lengths */

typedef struct ShJsonNode {
    const json_t *json;
    const char *path; /* "#/properties/a" */
    const char *base; /* the URI against which its references are resolved */
    ShJsonDraft draft;
    unsigned has;
    unsigned types; /* that may be; SH_JSON_ANY when it does not say */

    const struct ShJsonNode *ref;
    const char *dynamic_anchor; /* of a $dynamicRef that looks for it: the outermost one counts */
    const char *own_anchor;     /* its $dynamicAnchor; "" for $recursiveAnchor: true */
    ShJsonList all_of;
    ShJsonList any_of;
    ShJsonList one_of;
    const struct ShJsonNode *not_node;
    const struct ShJsonNode *if_node;
    const struct ShJsonNode *then_node;
    const struct ShJsonNode *else_node;
    const json_t *enumeration; /* an array */
    const ShJsonSet *listed;   /* its values */
    unsigned listed_types;     /* and their types */
    const json_t *constant;

    int64_t min_length, max_length;
    const char *pattern;
    void *pattern_code;
    double minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of;

    ShJsonProperty *properties; /* by name */
    size_t property_count;
    ShJsonPattern *patterns;
    const ShJsonPattern **sorted_patterns; /* by the pattern's text */
    size_t pattern_count;
    const struct ShJsonNode *additional; /* properties; NULL: any */
    const struct ShJsonNode *property_names;
    const struct ShJsonNode *unevaluated_properties;
    const char **required; /* by name */
    size_t required_count;
    int64_t min_properties, max_properties;
    const json_t *dependent_required; /* name -> array of names */
    ShJsonProperty *dependent_schemas;
    size_t dependent_schema_count;

    ShJsonList tuple;              /* of the first items */
    const struct ShJsonNode *rest; /* of those behind the tuple; NULL: any */
    const struct ShJsonNode *contains;
    int64_t min_contains, max_contains;
    const struct ShJsonNode *unevaluated_items;
    int64_t min_items, max_items;
} ShJsonNode;

typedef struct ShJsonSchema {
    ShSchema base;
    ShSchemaArena *arena;
    json_t **documents; /* the schema's own first, then the references' */
    size_t document_count;
    const ShJsonNode *root;
    void **codes; /* of all patterns */
    size_t code_count;
    struct ShJsonIndex *index; /* json_uri.c: what is where, also for dynamic references */
    void *nodes;               /* json_parse.c's table, by JSON value */
    bool tracks_evaluation;    /* unevaluatedProperties or unevaluatedItems stand somewhere */
} ShJsonSchema;

/* --- json_uri.c: which subschema a reference means
 * ------------------------------------------------------------- */

typedef struct ShJsonIndex ShJsonIndex;

/* A subschema that a reference leads to. */
typedef struct ShJsonPlace {
    const json_t *json;
    const char *base; /* owned by the index */
    const char *path;
    ShJsonDraft draft;
} ShJsonPlace;

/* The budget is not needed once all is resolved. */
ShJsonIndex *sh_json_index_new(ShSchemaArena *arena, ShSchemaBudget *budget);
void sh_json_index_free(ShJsonIndex *index);
/* Note a document and every $id and anchor in it. `name` is the reference's; NULL: the schema itself. */
ShStatus sh_json_index_add(ShJsonIndex *index, const json_t *document, const char *name, ShJsonPlace *root,
                           ShError *err) SH_MUST_CHECK;
/* Resolve a $ref that stands below `base`. SH_INVALID when nothing of that name is known. */
ShStatus sh_json_index_find(ShJsonIndex *index, const char *base, const char *ref, ShJsonPlace *out,
                            ShError *err) SH_MUST_CHECK;
/* Does the resource at `base` have this dynamic anchor, and where? ("" for $recursiveAnchor.) */
bool sh_json_index_dynamic(const ShJsonIndex *index, const char *base, const char *anchor, ShJsonPlace *out);
/* Every place that has this dynamic anchor, one call after the other from *cursor NULL on; false at the end.
 */
bool sh_json_index_next_dynamic(const ShJsonIndex *index, const char *anchor, const void **cursor,
                                ShJsonPlace *out);
/* The base below a subschema, which may have an $id. NULL when memory is short. */
const char *sh_json_index_base(ShJsonIndex *index, const json_t *subschema, const char *base,
                               ShJsonDraft draft);

/* --- json_parse.c
 * ---------------------------------------------------------------------------------------------- */

/* The node of a subschema; NULL when nothing led to it. */
const ShJsonNode *sh_json_node_at(const ShJsonSchema *schema, const json_t *json);

ShStatus sh_json_parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                       size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err);
void sh_json_free(ShSchema *schema);

/* --- values
 * ---------------------------------------------------------------------------------------------------- */

/* The bit of a value's type. An integral fraction counts as integer, but not to draft 4. */
unsigned sh_json_type_of(const json_t *value, ShJsonDraft draft);
/* The property of a name; NULL: none. */
const ShJsonNode *sh_json_property(const ShJsonProperty *properties, size_t count, const char *name);

ShStatus sh_json_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                         ShSchemaFindings *out, ShError *err);
ShStatus sh_json_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                          ShSchemaBudget *budget, ShError *err);

#endif
