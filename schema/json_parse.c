/*
 * json_parse.c - from the text of a JSON schema to its graph of nodes.
 *
 * Nodes are made when something leads to them and filled from a list, so that a schema may refer to itself
 * and a long chain of references needs no stack.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "schema/json_fill.h"
#include "schema/json_load.h"

#define NODES_MAX 200000

typedef struct Slot {
    const json_t *json; /* the key */
    ShJsonNode node;
    struct Slot *next; /* to be filled */
    UT_hash_handle hh;
} Slot;

static const ShJsonNode any_node = {.path = "#", .types = SH_JSON_ANY, .has = SH_JSON_IS_EMPTY};
static const ShJsonNode no_node = {.path = "#", .types = 0, .has = SH_JSON_IS_FALSE};

static void lack_memory(ShJsonParse *parse);
static ShStatus load(ShJsonParse *parse, const char *text, size_t text_bytes,
                     const ShSchemaReference *references, size_t reference_count, ShJsonPlace *root);
static ShStatus load_one(ShJsonParse *parse, const char *text, size_t text_bytes, const char *name,
                         ShJsonPlace *root);

ShStatus sh_json_parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                       size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err)
{
    ShJsonSchema *schema = calloc(1, sizeof *schema);
    if (schema == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to parse a JSON schema");
    schema->base = (ShSchema){.type = SH_SCHEMA_JSON, .language = &sh_schema_json};
    schema->arena = sh_schema_arena_new(budget);
    schema->index = schema->arena == NULL ? NULL : sh_json_index_new(schema->arena, budget);
    schema->documents = calloc(reference_count + 1, sizeof *schema->documents);
    ShJsonParse parse = {.schema = schema, .budget = budget, .err = err};
    ShJsonPlace root;
    if (schema->index == NULL || schema->documents == NULL)
        parse.status = sh_fail(err, SH_NO_MEMORY, "no memory to parse a JSON schema");
    else
        parse.status = load(&parse, text, text_bytes, references, reference_count, &root);
    if (parse.status == SH_OK)
        schema->root = sh_json_node_of(&parse, &root);
    for (Slot *slot = parse.first; slot != NULL && parse.status == SH_OK; slot = slot->next)
        sh_json_fill(&parse, &slot->node);
    sh_schema_arena_seal(schema->arena);
    schema->nodes = parse.slots;
    if (parse.status == SH_OK)
        *out = &schema->base;
    else
        sh_json_free(&schema->base);
    return parse.status;
}

void sh_json_free(ShSchema *base)
{
    ShJsonSchema *schema = (ShJsonSchema *)base;
    for (size_t i = 0; i < schema->code_count; i++)
        sh_json_pattern_free(schema->codes[i]);
    free(schema->codes);
    for (size_t i = 0; i < schema->document_count; i++)
        json_decref(schema->documents[i]);
    free(schema->documents);
    Slot *slots = schema->nodes;
    HASH_CLEAR(hh, slots); /* they stand in the arena */
    sh_json_index_free(schema->index);
    sh_schema_arena_free(schema->arena);
    free(schema);
}

const ShJsonNode *sh_json_node_at(const ShJsonSchema *schema, const json_t *json)
{
    Slot *slots = schema->nodes;
    Slot *slot;
    if (json_is_boolean(json))
        return json_is_true(json) ? &any_node : &no_node;
    HASH_FIND_PTR(slots, &json, slot);
    return slot == NULL ? NULL : &slot->node;
}

/* --- documents
 * ------------------------------------------------------------------------------------------------- */

static ShStatus load(ShJsonParse *parse, const char *text, size_t text_bytes,
                     const ShSchemaReference *references, size_t reference_count, ShJsonPlace *root)
{
    ShStatus status = load_one(parse, text, text_bytes, NULL, root);
    for (size_t i = 0; status == SH_OK && i < reference_count; i++) {
        ShJsonPlace place;
        status = load_one(parse, references[i].text, references[i].text_bytes, references[i].name, &place);
    }
    return status;
}

static ShStatus load_one(ShJsonParse *parse, const char *text, size_t text_bytes, const char *name,
                         ShJsonPlace *root)
{
    json_error_t fault;
    json_t *document = sh_json_load(
        text, text_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, parse->budget, &fault);
    const char *whose = name == NULL ? "the schema" : name;
    if (document == NULL)
        return sh_fail(parse->err, SH_INVALID, "%s is no JSON: line %d, column %d: %s", whose, fault.line,
                       fault.column, fault.text);
    parse->schema->documents[parse->schema->document_count++] = document;
    if (!json_is_object(document) && !json_is_boolean(document))
        return sh_fail(parse->err, SH_INVALID, "%s is neither an object nor true or false", whose);
    return sh_json_index_add(parse->schema->index, document, name, root, parse->err);
}

/* --- nodes
 * ----------------------------------------------------------------------------------------------------- */

ShStatus sh_json_stop(ShJsonParse *parse, ShStatus status)
{
    if (parse->status == SH_OK)
        parse->status = status;
    return status;
}

const ShJsonNode *sh_json_node_of(ShJsonParse *parse, const ShJsonPlace *place)
{
    if (json_is_true(place->json))
        return &any_node;
    if (json_is_false(place->json))
        return &no_node;
    Slot *slot;
    HASH_FIND_PTR(parse->slots, &place->json, slot);
    if (slot != NULL)
        return &slot->node;
    if (!json_is_object(place->json)) {
        sh_json_stop(parse, sh_fail(parse->err, SH_INVALID,
                                    "%s: a schema must be an object, or true or false", place->path));
        return &any_node;
    }
    if (++parse->count > NODES_MAX) {
        sh_json_stop(parse, sh_fail(parse->err, SH_TOO_LARGE,
                                    "the schema has more than %d subschemas: split it", NODES_MAX));
        return &any_node;
    }
    slot = sh_json_room(parse, sizeof *slot);
    if (slot == NULL)
        return &any_node;
    slot->json = place->json;
    slot->node = (ShJsonNode){
        .json = place->json, .path = place->path, .base = place->base, .draft = place->draft};
    HASH_ADD_PTR(parse->slots, json, slot);
    if (slot->hh.tbl == NULL) {
        lack_memory(parse);
        return &any_node;
    }
    if (parse->last == NULL)
        parse->first = slot;
    else
        parse->last->next = slot;
    parse->last = slot;
    return &slot->node;
}

void *sh_json_room(ShJsonParse *parse, size_t bytes)
{
    void *out = sh_schema_arena_alloc(parse->schema->arena, bytes);
    if (out == NULL)
        lack_memory(parse);
    return out;
}

static void lack_memory(ShJsonParse *parse)
{
    sh_json_stop(parse, sh_fail(parse->err, SH_NO_MEMORY, "no memory to parse a JSON schema"));
}
