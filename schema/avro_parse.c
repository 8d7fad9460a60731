/*
 * avro_parse.c - an Avro schema's JSON into nodes, by the Apache Avro 1.11 specification ("Schema
 * Declaration", "Names", "Aliases", "Logical Types").
 *
 * Names are known from their definition on, within it too. A reference's text defines names for those behind
 * it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/avro_node.h"
#include "schema/avro_program.h"
#include "schema/hash.h"
#include "schema/json_load.h"
#include "schema/sorted_names.h"

#define NAME_BYTES_MAX  1024
#define PATH_BYTES_MAX  1024
#define FIXED_BYTES_MAX (1u << 30)
#define TYPE_STEPS      8

typedef struct Known {
    const char *name;
    ShAvroNode *node;
    uint32_t in_union; /* the number of the last union that has it as a branch */
    UT_hash_handle hh;
} Known;

typedef struct Parse {
    ShAvroSchema *schema;
    ShSchemaBudget *budget;
    Known *known;
    uint32_t unions; /* so many were met */
    ShAvroNode *shared[SH_AVRO_RECORD];
    bool is_foreign;
    int depth;
    char path[PATH_BYTES_MAX];
    size_t path_length;
    ShStatus status;
    ShError *err;
} Parse;

static ShStatus parse_document(Parse *parse, const char *text, size_t bytes, const char *whose,
                               const ShAvroNode **out);
static const ShAvroNode *parse_type(Parse *parse, const json_t *json, const char *space);
static const ShAvroNode *parse_name(Parse *parse, const char *name, const char *space);
static const ShAvroNode *parse_object(Parse *parse, const json_t *json, const char *space);
static const ShAvroNode *parse_union(Parse *parse, const json_t *json, const char *space);
static bool add_branch(Parse *parse, ShAvroNode *node, const ShAvroNode *branch, uint32_t number,
                       uint32_t *types);
static const ShAvroNode *parse_named(Parse *parse, ShAvroType type, const json_t *json, const char *space);
static bool sort_aliases(Parse *parse, ShAvroNode *node);
static bool parse_fields(Parse *parse, ShAvroNode *node, const json_t *json, const char *space);
static bool parse_field(Parse *parse, ShAvroNode *node, size_t place, const json_t *json, const char *space);
static bool parse_symbols(Parse *parse, ShAvroNode *node, const json_t *json);
static bool parse_size(Parse *parse, ShAvroNode *node, const json_t *json);
static const ShAvroNode *parse_container(Parse *parse, ShAvroType type, const json_t *json,
                                         const char *space);
static const char **parse_aliases(Parse *parse, const json_t *json, const char *space, size_t *count);
static const char *full_name(Parse *parse, const char *name, const char *space);
static bool is_name(const char *name, bool may_have_dots);
static ShAvroNode *new_node(Parse *parse, ShAvroType type, const json_t *json);
static void *allocate(Parse *parse, size_t bytes);
static void *lack_memory(Parse *parse);
static void *refuse(Parse *parse, const char *fmt, ...) SH_PRINTF(2, 3);
static size_t enter(Parse *parse, const char *fmt, ...) SH_PRINTF(2, 3);
static void leave(Parse *parse, size_t length);

ShStatus sh_avro_parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                       size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err)
{
    Parse *parse = calloc(1, sizeof *parse);
    ShAvroSchema *schema = calloc(1, sizeof *schema);
    if (schema != NULL) {
        schema->base = (ShSchema){.type = SH_SCHEMA_AVRO, .language = &sh_schema_avro};
        schema->arena = sh_schema_arena_new(budget);
        schema->documents = calloc(reference_count + 1, sizeof *schema->documents);
    }
    ShStatus status = SH_OK;
    if (parse == NULL || schema == NULL || schema->arena == NULL || schema->documents == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory to parse a schema");
    if (status == SH_OK) {
        parse->schema = schema;
        parse->budget = budget;
        parse->err = err;
        parse->is_foreign = true;
    }
    const ShAvroNode *root = NULL;
    for (size_t i = 0; i < reference_count && status == SH_OK; i++)
        status = parse_document(parse, references[i].text, references[i].text_bytes, references[i].name,
                                &root);
    if (status == SH_OK) {
        parse->is_foreign = false;
        status = parse_document(parse, text, text_bytes, NULL, &root);
    }
    if (parse != NULL)
        HASH_CLEAR(hh, parse->known);
    free(parse);
    if (status != SH_OK) {
        sh_avro_free((ShSchema *)schema);
        return status;
    }
    schema->root = root;
    schema->program = sh_avro_program(schema, budget);
    sh_schema_arena_seal(schema->arena);
    if (schema->program == NULL) {
        sh_avro_free(&schema->base);
        return sh_fail(err, SH_NO_MEMORY, "no memory to parse a schema");
    }
    *out = &schema->base;
    return SH_OK;
}

void sh_avro_free(ShSchema *base)
{
    ShAvroSchema *schema = (ShAvroSchema *)base;
    if (schema == NULL)
        return;
    for (size_t i = 0; i < schema->document_count; i++)
        json_decref(schema->documents[i]);
    free(schema->documents);
    sh_schema_arena_free(schema->arena);
    free(schema->program);
    free(schema);
}

static ShStatus parse_document(Parse *parse, const char *text, size_t bytes, const char *whose,
                               const ShAvroNode **out)
{
    json_error_t fault;
    json_t *document = sh_json_load(text, bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, parse->budget,
                                    &fault);
    if (document == NULL)
        return sh_fail(parse->err, SH_INVALID, "%s%s is no JSON: line %d, column %d: %s",
                       whose == NULL ? "the schema" : "reference ", whose == NULL ? "" : whose, fault.line,
                       fault.column, fault.text);
    parse->schema->documents[parse->schema->document_count++] = document;
    parse->path_length = 0;
    parse->path[0] = '\0';
    if (whose != NULL)
        enter(parse, "%s:", whose);
    *out = parse_type(parse, document, "");
    return parse->status;
}

static const ShAvroNode *parse_type(Parse *parse, const json_t *json, const char *space)
{
    if (parse->depth == SH_SCHEMA_NESTING_MAX)
        return refuse(parse, "types are nested more than %d deep", SH_SCHEMA_NESTING_MAX);
    if (!sh_budget_spend(parse->budget, TYPE_STEPS)) {
        parse->status = parse->budget->ended;
        return NULL;
    }
    const ShAvroNode *node;
    parse->depth++;
    if (json_is_string(json))
        node = parse_name(parse, json_string_value(json), space);
    else if (json_is_array(json))
        node = parse_union(parse, json, space);
    else if (json_is_object(json))
        node = parse_object(parse, json, space);
    else
        node = refuse(parse, "a type is a name, an object or a list");
    parse->depth--;
    return node;
}

/* A name without dots is looked for in the enclosing namespace first. */
static const ShAvroNode *parse_name(Parse *parse, const char *name, const char *space)
{
    ShAvroType type = sh_avro_primitive(name);
    if (type != SH_AVRO_RECORD) {
        if (parse->shared[type] == NULL)
            parse->shared[type] = new_node(parse, type, NULL);
        return parse->shared[type];
    }
    Known *found = NULL;
    const char *full = full_name(parse, name, space);
    if (full == NULL)
        return NULL;
    HASH_FIND_STR(parse->known, full, found);
    if (found == NULL)
        HASH_FIND_STR(parse->known, name, found);
    if (found == NULL)
        return refuse(
            parse, "there is no type \"%.200s\": define it before, in the schema or in one that it refers to",
            full);
    return found->node;
}

static const ShAvroNode *parse_object(Parse *parse, const json_t *json, const char *space)
{
    const json_t *type = json_object_get(json, "type");
    if (type == NULL)
        return refuse(parse, "the type says no \"type\"");
    if (!json_is_string(type)) {
        /* {"type": {...}}: what stands inside, with attributes beside it that mean nothing. */
        return parse_type(parse, type, space);
    }
    const char *name = json_string_value(type);
    ShAvroType primitive = sh_avro_primitive(name);
    if (primitive != SH_AVRO_RECORD) {
        ShAvroNode *node = new_node(parse, primitive, json);
        if (node != NULL)
            sh_avro_set_logical(node, json);
        return node;
    }
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        return parse_named(parse, SH_AVRO_RECORD, json, space);
    if (strcmp(name, "enum") == 0)
        return parse_named(parse, SH_AVRO_ENUM, json, space);
    if (strcmp(name, "fixed") == 0)
        return parse_named(parse, SH_AVRO_FIXED, json, space);
    if (strcmp(name, "array") == 0)
        return parse_container(parse, SH_AVRO_ARRAY, json, space);
    if (strcmp(name, "map") == 0)
        return parse_container(parse, SH_AVRO_MAP, json, space);
    return parse_name(parse, name, space);
}

static const ShAvroNode *parse_union(Parse *parse, const json_t *json, const char *space)
{
    ShAvroNode *node = new_node(parse, SH_AVRO_UNION, json);
    size_t count = json_array_size(json);
    if (node == NULL || (node->branches = allocate(parse, (count + 1) * sizeof *node->branches)) == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t length = enter(parse, "/%zu", i);
        node->branches[i] = parse_type(parse, json_array_get(json, i), space);
        if (node->branches[i] == NULL)
            return NULL;
        leave(parse, length);
    }
    /* Only now, as unions within it have marked names, too. */
    uint32_t number = ++parse->unions;
    uint32_t types = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = enter(parse, "/%zu", i);
        if (!add_branch(parse, node, node->branches[i], number, &types))
            return NULL;
        leave(parse, length);
    }
    return node;
}

/* "Unions may not contain more than one schema with the same type, except for the named types." */
static bool add_branch(Parse *parse, ShAvroNode *node, const ShAvroNode *branch, uint32_t number,
                       uint32_t *types)
{
    if (branch->type == SH_AVRO_UNION)
        return refuse(parse, "a union stands right in a union: make it one list") != NULL;
    if (!sh_avro_is_named(branch->type)) {
        if (*types & UINT32_C(1) << branch->type)
            return refuse(parse, "the union has two branches of type %s", sh_avro_type_name(branch->type)) !=
                   NULL;
        *types |= UINT32_C(1) << branch->type;
    } else { /* a name stands for one type, so it is known */
        Known *known;
        HASH_FIND_STR(parse->known, branch->name, known);
        if (known != NULL && known->in_union == number)
            return refuse(parse, "the union has two branches \"%.200s\"", branch->name) != NULL;
        if (known != NULL)
            known->in_union = number;
    }
    node->branches[node->branch_count++] = branch;
    return true;
}

static const ShAvroNode *parse_named(Parse *parse, ShAvroType type, const json_t *json, const char *space)
{
    const json_t *name = json_object_get(json, "name");
    const json_t *own_space = json_object_get(json, "namespace");
    if (!json_is_string(name))
        return refuse(parse, "the %s has no name", sh_avro_type_name(type));
    if (own_space != NULL && !json_is_string(own_space) && !json_is_null(own_space))
        return refuse(parse, "the namespace is no string");
    if (json_is_string(own_space)) {
        space = json_string_value(own_space);
        if (space[0] != '\0' && !is_name(space, true))
            return refuse(
                parse, "\"%.200s\" is no namespace: names of letters, digits and '_' joined by dots", space);
    }
    ShAvroNode *node = new_node(parse, type, json);
    const char *full = full_name(parse, json_string_value(name), space);
    if (node == NULL || full == NULL)
        return NULL;
    const char *dot = strrchr(full, '.');
    node->name = full;
    node->simple = dot == NULL ? full : dot + 1;
    if (!is_name(full, true) || sh_avro_primitive(node->simple) != SH_AVRO_RECORD)
        return refuse(
            parse,
            "\"%.200s\" is no name for a type: letters, digits and '_', not a digit first, and none of the "
            "primitive types",
            full);
    char *within = allocate(parse, strlen(full) + 1);
    if (within == NULL)
        return NULL;
    memcpy(within, full, dot == NULL ? 0 : (size_t)(dot - full));

    Known *known = NULL;
    HASH_FIND_STR(parse->known, full, known);
    if (known != NULL)
        return refuse(parse, "type \"%.200s\" is defined twice", full);
    if ((known = allocate(parse, sizeof *known)) == NULL)
        return NULL;
    *known = (Known){.name = full, .node = node};
    HASH_ADD_KEYPTR(hh, parse->known, known->name, strlen(known->name), known);
    if (known->hh.tbl == NULL)
        return lack_memory(parse);

    node->aliases = parse_aliases(parse, json, within, &node->alias_count);
    if (parse->status != SH_OK || !sort_aliases(parse, node))
        return NULL;
    bool good = type == SH_AVRO_RECORD ? parse_fields(parse, node, json, within)
                : type == SH_AVRO_ENUM ? parse_symbols(parse, node, json)
                                       : parse_size(parse, node, json);
    if (!good)
        return NULL;
    sh_avro_set_logical(node, json);
    return node;
}

static bool sort_aliases(Parse *parse, ShAvroNode *node)
{
    node->sorted_aliases = allocate(parse, (node->alias_count + 1) * sizeof *node->sorted_aliases);
    if (node->sorted_aliases == NULL)
        return false;
    for (size_t i = 0; i < node->alias_count; i++)
        node->sorted_aliases[i] = node->aliases[i];
    qsort(node->sorted_aliases, node->alias_count, sizeof *node->sorted_aliases, sh_names_compare);
    return true;
}

static int compare_fields(const void *a, const void *b)
{
    return strcmp((*(const ShAvroField *const *)a)->name, (*(const ShAvroField *const *)b)->name);
}

static bool parse_fields(Parse *parse, ShAvroNode *node, const json_t *json, const char *space)
{
    const json_t *fields = json_object_get(json, "fields");
    if (!json_is_array(fields))
        return refuse(parse, "record \"%.200s\" has no list of fields", node->name) != NULL;
    size_t count = json_array_size(fields);
    node->index = parse->schema->record_count++;
    node->fields = allocate(parse, (count + 1) * sizeof *node->fields);
    if (node->fields == NULL)
        return false;
    bool is_empty = true;
    for (size_t i = 0; i < count; i++) {
        size_t length = enter(parse, "/fields/%zu", i);
        if (!parse_field(parse, node, i, json_array_get(fields, i), space))
            return false;
        is_empty &= node->fields[i].node->is_empty;
        leave(parse, length);
    }
    node->is_empty = is_empty;

    const ShAvroField **sorted = allocate(parse, (count + 1) * sizeof *sorted);
    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &node->fields[i];
    qsort(sorted, count, sizeof *sorted, compare_fields);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return refuse(parse, "record \"%.200s\" has two fields \"%.200s\"", node->name,
                          sorted[i]->name) != NULL;
    node->sorted_fields = sorted;
    return true;
}

static bool parse_field(Parse *parse, ShAvroNode *node, size_t place, const json_t *json, const char *space)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const json_t *type = json_object_get(json, "type");
    const json_t *order = json_object_get(json, "order");
    if (name == NULL || !is_name(name, false))
        return refuse(parse, "\"%.200s\" is no name for a field: letters, digits and '_', not a digit first",
                      name == NULL ? "" : name) != NULL;
    if (type == NULL)
        return refuse(parse, "field \"%.200s\" has no type", name) != NULL;
    if (order != NULL) {
        const char *word = json_string_value(order);
        if (word == NULL || (strcmp(word, "ascending") != 0 && strcmp(word, "descending") != 0 &&
                             strcmp(word, "ignore") != 0))
            return refuse(parse, "the order of field \"%.200s\" is not ascending, descending or ignore",
                          name) != NULL;
    }
    ShAvroField *field = &node->fields[place];
    *field = (ShAvroField){.name = name, .json = json, .standard = json_object_get(json, "default")};
    size_t length = enter(parse, "/type");
    field->node = parse_type(parse, type, space);
    leave(parse, length);
    node->field_count = place + 1;
    if (field->node == NULL)
        return false;
    field->aliases = parse_aliases(parse, json, NULL, &field->alias_count);
    const char *why;
    if (parse->status == SH_OK && field->standard != NULL &&
        !sh_avro_default_fits(field->node, field->standard, parse->budget, &why))
        return refuse(parse, "the default of field \"%.200s\" is not %s", name, why) != NULL;
    return parse->status == SH_OK;
}

static bool parse_symbols(Parse *parse, ShAvroNode *node, const json_t *json)
{
    const json_t *symbols = json_object_get(json, "symbols");
    size_t count = json_array_size(symbols);
    if (!json_is_array(symbols))
        return refuse(parse, "enum \"%.200s\" has no list of symbols", node->name) != NULL;
    node->symbols = allocate(parse, (count + 1) * sizeof *node->symbols);
    node->sorted = allocate(parse, (count + 1) * sizeof *node->sorted);
    if (node->symbols == NULL || node->sorted == NULL)
        return false;
    for (size_t i = 0; i < count && sh_budget_spend(parse->budget, 1); i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));
        if (symbol == NULL || !is_name(symbol, false))
            return refuse(parse, "\"%.200s\" is no symbol: letters, digits and '_', not a digit first",
                          symbol == NULL ? "" : symbol) != NULL;
        node->symbols[i] = node->sorted[i] = symbol;
    }
    node->symbol_count = count;
    qsort(node->sorted, count, sizeof *node->sorted, sh_names_compare);
    for (size_t i = 1; i < count; i++)
        if (strcmp(node->sorted[i - 1], node->sorted[i]) == 0)
            return refuse(parse, "enum \"%.200s\" has symbol \"%.200s\" twice", node->name,
                          node->sorted[i]) != NULL;
    const json_t *standard = json_object_get(json, "default");
    if (standard == NULL)
        return true;
    node->standard = json_string_value(standard);
    if (node->standard == NULL || !sh_avro_has_symbol(node, node->standard))
        return refuse(parse, "the default of enum \"%.200s\" is none of its symbols", node->name) != NULL;
    return true;
}

static bool parse_size(Parse *parse, ShAvroNode *node, const json_t *json)
{
    const json_t *size = json_object_get(json, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > FIXED_BYTES_MAX)
        return refuse(parse, "the size of fixed \"%.200s\" is no number from 0 to %u", node->name,
                      FIXED_BYTES_MAX) != NULL;
    node->size = (uint64_t)json_integer_value(size);
    node->is_empty = node->size == 0;
    return true;
}

static const ShAvroNode *parse_container(Parse *parse, ShAvroType type, const json_t *json, const char *space)
{
    const char *attribute = type == SH_AVRO_ARRAY ? "items" : "values";
    const json_t *items = json_object_get(json, attribute);
    ShAvroNode *node = new_node(parse, type, json);
    if (node == NULL)
        return NULL;
    if (items == NULL)
        return refuse(parse, "the %s has no \"%s\"", sh_avro_type_name(type), attribute);
    size_t length = enter(parse, "/%s", attribute);
    node->items = parse_type(parse, items, space);
    leave(parse, length);
    return node->items == NULL ? NULL : node;
}

/* Of a named type relative to its namespace; of a field (no namespace) as they are. */
static const char **parse_aliases(Parse *parse, const json_t *json, const char *space, size_t *count)
{
    const json_t *list = json_object_get(json, "aliases");
    if (list == NULL)
        return NULL;
    if (!json_is_array(list))
        return refuse(parse, "the aliases are no list");
    const char **aliases = allocate(parse, (json_array_size(list) + 1) * sizeof *aliases);
    for (size_t i = 0; i < json_array_size(list) && aliases != NULL && sh_budget_spend(parse->budget, 1);
         i++) {
        const char *alias = json_string_value(json_array_get(list, i));
        if (alias == NULL || !is_name(alias, space != NULL))
            return refuse(parse, "\"%.200s\" is no alias", alias == NULL ? "" : alias);
        aliases[i] = space == NULL ? alias : full_name(parse, alias, space);
        if (aliases[i] == NULL)
            return NULL;
        *count = i + 1;
    }
    return aliases;
}

static const char *full_name(Parse *parse, const char *name, const char *space)
{
    size_t bytes = strlen(name) + strlen(space) + 2;
    if (bytes > NAME_BYTES_MAX)
        return refuse(parse, "the name \"%.60s...\" is longer than %d bytes", name, NAME_BYTES_MAX);
    if (strchr(name, '.') != NULL || space[0] == '\0')
        return name;
    char *full = allocate(parse, bytes);
    if (full != NULL)
        snprintf(full, bytes, "%s.%s", space, name);
    return full;
}

static bool is_name(const char *name, bool may_have_dots)
{
    bool is_start = true;
    for (const char *at = name; *at != '\0'; at++) {
        bool is_letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_';
        if (*at == '.' && may_have_dots && !is_start) {
            is_start = true;
            continue;
        }
        if (!is_letter && (is_start || *at < '0' || *at > '9'))
            return false;
        is_start = false;
    }
    return !is_start;
}

static ShAvroNode *new_node(Parse *parse, ShAvroType type, const json_t *json)
{
    ShAvroNode *node = allocate(parse, sizeof *node);
    if (node != NULL)
        *node = (ShAvroNode){
            .type = type, .json = json, .is_foreign = parse->is_foreign, .is_empty = type == SH_AVRO_NULL};
    return node;
}

static void *allocate(Parse *parse, size_t bytes)
{
    void *memory = sh_schema_arena_alloc(parse->schema->arena, bytes);
    return memory != NULL ? memory : lack_memory(parse);
}

/* NULL. */
static void *lack_memory(Parse *parse)
{
    if (parse->status == SH_OK)
        parse->status = sh_fail(parse->err, SH_NO_MEMORY, "no memory to parse a schema");
    return NULL;
}

/* NULL; the first complaint is kept. */
static void *refuse(Parse *parse, const char *fmt, ...)
{
    if (parse->status != SH_OK)
        return NULL;
    char words[SH_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    parse->status = sh_fail(parse->err, SH_INVALID, "%s: %s", parse->path_length == 0 ? "/" : parse->path,
                            words);
    return NULL;
}

/* Go down in the path; the length before it is for `leave`. */
static size_t enter(Parse *parse, const char *fmt, ...)
{
    size_t before = parse->path_length;
    va_list args;
    va_start(args, fmt);
    int added = vsnprintf(parse->path + before, sizeof parse->path - before, fmt, args);
    va_end(args);
    parse->path_length = strlen(parse->path);
    (void)added;
    return before;
}

static void leave(Parse *parse, size_t length)
{
    parse->path_length = length;
    parse->path[length] = '\0';
}
