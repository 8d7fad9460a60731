/*
 * json_fill.h - a JSON schema while it is parsed: json_parse.c makes nodes, json_keywords.c fills them.
 */
#ifndef SH_SCHEMA_JSON_FILL_H
#define SH_SCHEMA_JSON_FILL_H

#include "schema/json_node.h"

struct Slot;

typedef struct ShJsonParse {
    ShJsonSchema *schema;
    ShSchemaBudget *budget;
    struct Slot *slots;
    struct Slot *first; /* to be filled */
    struct Slot *last;
    size_t count;
    ShError *err;
    ShStatus status; /* the first failure; nothing counts after it */
} ShJsonParse;

/* The node of what stands there, which is filled later. Never NULL. */
const ShJsonNode *sh_json_node_of(ShJsonParse *parse, const ShJsonPlace *place);
/* Take in what the node's keywords say. */
void sh_json_fill(ShJsonParse *parse, ShJsonNode *node);
/* Memory that lives as long as the schema; NULL after a failure. */
void *sh_json_room(ShJsonParse *parse, size_t bytes);
/* Note a failure; returns it. */
ShStatus sh_json_stop(ShJsonParse *parse, ShStatus status);

#endif
