/*
 * avro_text.c - an Avro schema's text in its forms. Parsing canonical form: Apache Avro 1.11 specification,
 * "Transforming into Parsing Canonical Form". The normalized form keeps all attributes, in one order, with
 * full names.
 *
 * A named type is written out where it is first met, unless a reference defines it; from then on its name
 * stands.
 */
#include <string.h>
#include <uthash.h>

#include "schema/avro_node.h"
#include "schema/json_load.h"

#define TYPE_STEPS 32 /* to write one */

typedef struct Written {
    const ShAvroNode *node;
    UT_hash_handle hh;
} Written;

typedef struct Text {
    ShSchemaBudget *budget;
    ShSchemaArena *arena; /* of the set of types that are written out */
    Written *written;
    bool is_parsing; /* parsing canonical form */
    bool failed;
} Text;

static json_t *new_object(void);
static json_t *type_of(Text *text, const ShAvroNode *node);
static json_t *primitive_of(Text *text, const ShAvroNode *node);
static json_t *named_of(Text *text, const ShAvroNode *node);
static bool write_out(Text *text, const ShAvroNode *node);
static json_t *fields_of(Text *text, const ShAvroNode *node);
static json_t *names_of(Text *text, const char *const *names, size_t count);
static void set(Text *text, json_t *object, const char *key, json_t *value);
static void set_rest(Text *text, json_t *object, const json_t *from);
static json_t *sorted_copy(Text *text, const json_t *value);

ShStatus sh_avro_text(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                      ShError *err)
{
    const ShAvroSchema *avro = (const ShAvroSchema *)schema;
    const int flags = JSON_COMPACT | JSON_ENCODE_ANY;
    char *text = NULL;
    if (form == SH_SCHEMA_FORM_CANONICAL || form == SH_SCHEMA_FORM_SERIALIZED) {
        text = json_dumps(avro->documents[avro->document_count - 1], flags);
    } else {
        Text work = {.budget = budget,
                     .arena = sh_schema_arena_new(budget),
                     .is_parsing = form == SH_SCHEMA_FORM_PARSING};
        work.failed = work.arena == NULL;
        json_t *json = work.failed ? NULL : type_of(&work, avro->root);
        if (!work.failed)
            text = json_dumps(json, flags);
        json_decref(json);
        HASH_CLEAR(hh, work.written);
        sh_schema_arena_free(work.arena);
    }
    if (text == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the text of a schema");
    *out = text;
    return SH_OK;
}

/* Not json_object(): a function of PostgreSQL has that name, and comes before jansson's in its backends. */
static json_t *new_object(void)
{
    return json_pack("{}");
}

static json_t *type_of(Text *text, const ShAvroNode *node)
{
    json_t *json = NULL;
    if (!sh_budget_spend(text->budget, TYPE_STEPS)) {
        text->failed = true;
        return NULL;
    }
    if (sh_avro_is_named(node->type)) {
        json = named_of(text, node);
    } else if (node->type == SH_AVRO_UNION) {
        json = json_array();
        for (size_t i = 0; i < node->branch_count && json != NULL; i++)
            if (json_array_append_new(json, type_of(text, node->branches[i])) != 0)
                text->failed = true;
    } else if (node->type == SH_AVRO_ARRAY || node->type == SH_AVRO_MAP) {
        json = new_object();
        set(text, json, "type", json_string(sh_avro_type_name(node->type)));
        set(text, json, node->type == SH_AVRO_ARRAY ? "items" : "values", type_of(text, node->items));
        set_rest(text, json, node->json);
    } else {
        json = primitive_of(text, node);
    }
    if (json == NULL)
        text->failed = true;
    return json;
}

/* An object only if there is more to say than the type. */
static json_t *primitive_of(Text *text, const ShAvroNode *node)
{
    const char *name = sh_avro_type_name(node->type);
    json_t *json = new_object();
    set(text, json, "type", json_string(name));
    set_rest(text, json, node->json);
    if (json_object_size(json) > 1)
        return json;
    json_decref(json);
    return json_string(name);
}

static json_t *named_of(Text *text, const ShAvroNode *node)
{
    /* A name may be much longer than what names it. */
    if (!sh_budget_hold(text->budget, 2 * strlen(node->name)))
        return NULL;
    if (node->is_foreign || !write_out(text, node))
        return json_string(node->name);
    json_t *json = new_object();
    /* [ORDER]: name, type, fields, symbols, items, values, size. */
    if (text->is_parsing)
        set(text, json, "name", json_string(node->name));
    set(text, json, "type", json_string(sh_avro_type_name(node->type)));
    if (!text->is_parsing) {
        set(text, json, "name", json_string(node->name));
        if (node->alias_count > 0)
            set(text, json, "aliases", names_of(text, node->aliases, node->alias_count));
    }
    if (node->type == SH_AVRO_RECORD)
        set(text, json, "fields", fields_of(text, node));
    else if (node->type == SH_AVRO_ENUM)
        set(text, json, "symbols", names_of(text, node->symbols, node->symbol_count));
    else
        set(text, json, "size", json_integer((json_int_t)node->size));
    set_rest(text, json, node->json);
    return json;
}

/* False when it is written out already. */
static bool write_out(Text *text, const ShAvroNode *node)
{
    Written *found;
    HASH_FIND_PTR(text->written, &node, found);
    if (found != NULL)
        return false;
    found = sh_schema_arena_alloc(text->arena, sizeof *found);
    if (found == NULL) {
        text->failed = true;
        return false;
    }
    found->node = node;
    HASH_ADD_PTR(text->written, node, found);
    text->failed |= found->hh.tbl == NULL;
    return !text->failed;
}

static json_t *fields_of(Text *text, const ShAvroNode *node)
{
    json_t *fields = json_array();
    for (size_t i = 0; i < node->field_count && fields != NULL; i++) {
        const ShAvroField *field = &node->fields[i];
        json_t *json = new_object();
        set(text, json, "name", json_string(field->name));
        set(text, json, "type", type_of(text, field->node));
        if (!text->is_parsing) {
            if (field->alias_count > 0)
                set(text, json, "aliases", names_of(text, field->aliases, field->alias_count));
            set_rest(text, json, field->json);
        }
        if (json_array_append_new(fields, json) != 0)
            text->failed = true;
    }
    return fields;
}

static json_t *names_of(Text *text, const char *const *names, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count && list != NULL && sh_budget_hold(text->budget, 2 * strlen(names[i])); i++)
        if (json_array_append_new(list, json_string(names[i])) != 0)
            text->failed = true;
    return list;
}

static void set(Text *text, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        text->failed = true;
}

/* What else the schema says there, by name. The order of fields is ascending if nothing is said. */
static void set_rest(Text *text, json_t *object, const json_t *from)
{
    static const char *const done[] = {"type",    "name",  "namespace", "aliases", "fields",
                                       "symbols", "items", "values",    "size"};
    if (text->is_parsing || from == NULL)
        return;
    json_t *rest = new_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        bool is_done = strcmp(key, "order") == 0 && strcmp(json_string_value(value) ?: "", "ascending") == 0;
        for (size_t i = 0; i < sizeof done / sizeof *done && !is_done; i++)
            is_done = strcmp(key, done[i]) == 0;
        if (!is_done)
            set(text, rest, key, json_incref(value));
    }
    json_t *sorted = sorted_copy(text, rest);
    if (sorted == NULL || json_object_update(object, sorted) != 0)
        text->failed = true;
    json_decref(sorted);
    json_decref(rest);
}

/* With the members of all objects in the order of their names. */
static json_t *sorted_copy(Text *text, const json_t *value)
{
    char *sorted = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    json_error_t fault;
    json_t *copy = sorted == NULL
                       ? NULL
                       : sh_json_load(sorted, strlen(sorted), JSON_DECODE_ANY, text->budget, &fault);
    free(sorted);
    if (copy == NULL)
        text->failed = true;
    return copy;
}
