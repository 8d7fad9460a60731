/*
 * json_validate.c - does a JSON text fit a schema?
 *
 * Assertions are those of the schema's draft. `format` and the content keywords are annotations, as the
 * drafts from 2019-09 on have it by default. The work is bounded by depth, and by a share of the caller's
 * budget: a schema's branches multiply, names are held against patterns, and patterns against themselves.
 * Once that is spent nothing that is returned means anything.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_load.h"
#include "schema/json_node.h"

#define DEPTH_MAX      400 /* subschemas within subschemas, applied to one place or below it */
#define VALIDATE_STEPS 8   /* of a record, whatever is in it */
#define FEW_ITEMS      8   /* that are compared each with each */

/* The resources that were entered on the way: a dynamic reference looks for the outermost of them. */
typedef struct Scope {
    const struct Scope *outer;
    const char *base;
} Scope;

/* Which properties or items of one value some subschema has seen. */
typedef struct Seen {
    const json_t *value;
    uint8_t *flags; /* NULL: nobody asks */
    size_t count;
} Seen;

typedef struct Check {
    const ShJsonSchema *schema;
    ShSchemaBudget *budget;
    ShJsonMatcher matcher;
    int depth;
    bool is_loud; /* the first reason goes to err */
    ShError *err;
} Check;

/* Where in the payload, for words; made only when something is wrong. */
typedef struct Path {
    const struct Path *outer;
    const char *name; /* NULL: an index */
    size_t index;
} Path;

static bool apply(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                  const Scope *scope, Seen *seen);
static bool apply_here(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                       const Scope *scope, Seen *seen);
static bool apply_reference(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                            const Scope *scope, Seen *seen);
static bool check_value(Check *work, const ShJsonNode *node, const json_t *value, const Path *path);
static bool check_string(Check *work, const ShJsonNode *node, const json_t *value, const Path *path);
static bool check_number(Check *work, const ShJsonNode *node, const json_t *value, const Path *path);
static bool check_combinations(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                               const Scope *scope, Seen *seen);
static bool check_object(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                         const Scope *scope, Seen *seen);
static bool check_property(Check *work, const ShJsonNode *node, const char *name, const json_t *value,
                           const Path *path, const Scope *scope, bool *evaluated);
static bool check_dependencies(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                               const Scope *scope, Seen *seen);
static bool check_array(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                        const Scope *scope, Seen *seen);
static bool check_contains(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                           const Scope *scope, Seen *seen);
static bool check_unevaluated(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                              const Scope *scope, Seen *seen);
static bool quietly(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                    const Scope *scope, Seen *seen);
static bool wrong(Check *work, const Path *path, const char *fmt, ...) SH_PRINTF(3, 4);

ShStatus sh_json_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                          ShSchemaBudget *budget, ShError *err)
{
    ShSchemaBudget own;
    if (budget == NULL) {
        sh_budget_init(&own, SH_BUDGET_CALL_STEPS, SH_BUDGET_RECORD_BYTES);
        budget = &own;
    }
    sh_budget_begin_share(budget, SH_BUDGET_RECORD_STEPS + (int64_t)payload_bytes);
    (void)sh_budget_spend(budget, VALIDATE_STEPS);
    json_error_t fault;
    json_t *value = sh_json_load((const char *)payload, payload_bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                                 budget, &fault);
    Check work = {.schema = (const ShJsonSchema *)schema, .budget = budget, .is_loud = true, .err = err};
    bool fits = value != NULL && apply(&work, work.schema->root, value, NULL, NULL, NULL);
    bool is_json = value != NULL;
    json_decref(value);
    sh_json_matcher_free(&work.matcher);
    switch (sh_budget_end_share(budget)) {
    case SH_OK:
        break;
    case SH_TOO_LARGE:
        return sh_fail(err, SH_TOO_LARGE,
                       "it asks for more work, or more memory, than is spent on one record: make the record "
                       "smaller or its schema simpler");
    default:
        return sh_budget_fail(budget, err);
    }
    if (!is_json)
        return sh_fail(err, SH_INVALID, "it is no JSON: line %d, column %d: %s", fault.line, fault.column,
                       fault.text);
    return fits ? SH_OK : SH_INVALID;
}

/* --- subschemas
 * ------------------------------------------------------------------------------------------------ */

/* `seen` gets what this subschema has seen when it fits. */
static bool apply(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                  const Scope *scope, Seen *seen)
{
    if (node->has & SH_JSON_IS_EMPTY)
        return true;
    if (node->has & SH_JSON_IS_FALSE)
        return wrong(work, path, "nothing is allowed here");
    if (!sh_budget_spend(work->budget, 1))
        return false;
    if (work->depth == DEPTH_MAX) {
        sh_budget_end(work->budget, SH_TOO_LARGE);
        return false;
    }
    work->depth++;
    Scope here = {.outer = scope, .base = node->base};
    const Scope *inner = scope != NULL && strcmp(scope->base, node->base) == 0 ? scope : &here;
    bool fits;
    if (!work->schema->tracks_evaluation || !(json_is_object(value) || json_is_array(value))) {
        fits = apply_here(work, node, value, path, inner, NULL);
    } else {
        size_t count = json_is_object(value) ? json_object_size(value) : json_array_size(value);
        (void)sh_budget_spend(work->budget, 2 + count / 64);
        Seen own = {.value = value, .flags = calloc(count + 1, 1), .count = count};
        if (own.flags == NULL)
            sh_budget_end(work->budget, SH_TOO_LARGE);
        fits = own.flags != NULL && apply_here(work, node, value, path, inner, &own) &&
               check_unevaluated(work, node, value, path, inner, &own);
        for (size_t i = 0; fits && seen != NULL && i < count; i++)
            seen->flags[i] |= own.flags[i];
        free(own.flags);
    }
    work->depth--;
    return fits;
}

static bool apply_here(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                       const Scope *scope, Seen *seen)
{
    if (node->ref != NULL && !apply_reference(work, node, value, path, scope, seen))
        return false;
    if (node->ref != NULL && node->draft <= SH_JSON_DRAFT_7)
        return true;
    if (!check_value(work, node, value, path))
        return false;
    if (json_is_string(value) && !check_string(work, node, value, path))
        return false;
    if (json_is_number(value) && !check_number(work, node, value, path))
        return false;
    if (json_is_object(value) && !check_object(work, node, value, path, scope, seen))
        return false;
    if (json_is_array(value) && !check_array(work, node, value, path, scope, seen))
        return false;
    return check_combinations(work, node, value, path, scope, seen);
}

static bool apply_reference(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                            const Scope *scope, Seen *seen)
{
    const ShJsonNode *target = node->ref;
    for (const Scope *at = scope; node->dynamic_anchor != NULL && at != NULL; at = at->outer) {
        ShJsonPlace place;
        if (!sh_budget_spend(work->budget, 4))
            return false;
        if (!sh_json_index_dynamic(work->schema->index, at->base, node->dynamic_anchor, &place))
            continue;
        const ShJsonNode *found = sh_json_node_at(work->schema, place.json);
        if (found != NULL)
            target = found; /* the outermost counts: go on */
    }
    return apply(work, target, value, path, scope, seen);
}

/* As apply(), without words. */
static bool quietly(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                    const Scope *scope, Seen *seen)
{
    bool was_loud = work->is_loud;
    work->is_loud = false;
    bool fits = apply(work, node, value, path, scope, seen);
    work->is_loud = was_loud;
    return fits;
}

/* --- values
 * ---------------------------------------------------------------------------------------------------- */

static bool check_value(Check *work, const ShJsonNode *node, const json_t *value, const Path *path)
{
    if ((sh_json_type_of(value, node->draft) & node->types) == 0)
        return wrong(work, path, "the type is not one that %s/type allows", node->path);
    if (node->constant != NULL && !sh_json_same(value, node->constant, work->budget))
        return wrong(work, path, "it is not the value of %s/const", node->path);
    return node->listed == NULL || sh_json_set_has(node->listed, value, work->budget) ||
           wrong(work, path, "it is none of the values of %s/enum", node->path);
}

static int64_t count_characters(const char *text, size_t bytes)
{
    int64_t count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += (text[i] & 0xc0) != 0x80;
    return count;
}

static bool check_string(Check *work, const ShJsonNode *node, const json_t *value, const Path *path)
{
    const char *text = json_string_value(value);
    size_t bytes = json_string_length(value);
    if (node->min_length > 0 || node->max_length != SH_JSON_NO_LIMIT) {
        (void)sh_budget_spend(work->budget, bytes / 64);
        int64_t length = count_characters(text, bytes);
        if (length < node->min_length)
            return wrong(work, path, "%" PRId64 " characters, fewer than %" PRId64, length, node->min_length);
        if (node->max_length != SH_JSON_NO_LIMIT && length > node->max_length)
            return wrong(work, path, "%" PRId64 " characters, more than %" PRId64, length, node->max_length);
    }
    return node->pattern_code == NULL ||
           sh_json_matches(&work->matcher, node->pattern_code, text, bytes, work->budget) ||
           wrong(work, path, "it does not match the pattern \"%.60s\"", node->pattern);
}

static bool is_multiple(const json_t *value, double of)
{
    double number = json_number_value(value);
    if (json_is_integer(value) && of == trunc(of) && of < 9e15)
        return json_integer_value(value) % (json_int_t)of == 0;
    double times = number / of;
    return isfinite(times) && fabs(times - round(times)) <= 1e-9 * fmax(1, fabs(times));
}

static bool check_number(Check *work, const ShJsonNode *node, const json_t *value, const Path *path)
{
    double number = json_number_value(value);
    if (node->has & SH_JSON_HAS_MINIMUM && number < node->minimum)
        return wrong(work, path, "it is less than %g", node->minimum);
    if (node->has & SH_JSON_HAS_MAXIMUM && number > node->maximum)
        return wrong(work, path, "it is more than %g", node->maximum);
    if (node->has & SH_JSON_HAS_EXCLUSIVE_MINIMUM && number <= node->exclusive_minimum)
        return wrong(work, path, "it is not more than %g", node->exclusive_minimum);
    if (node->has & SH_JSON_HAS_EXCLUSIVE_MAXIMUM && number >= node->exclusive_maximum)
        return wrong(work, path, "it is not less than %g", node->exclusive_maximum);
    return !(node->has & SH_JSON_HAS_MULTIPLE_OF) || is_multiple(value, node->multiple_of) ||
           wrong(work, path, "it is no multiple of %g", node->multiple_of);
}

static bool check_combinations(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                               const Scope *scope, Seen *seen)
{
    for (size_t i = 0; i < node->all_of.count; i++)
        if (!apply(work, node->all_of.nodes[i], value, path, scope, seen))
            return false;
    bool any = node->any_of.count == 0;
    for (size_t i = 0; i < node->any_of.count && (!any || seen != NULL); i++)
        any |= quietly(work, node->any_of.nodes[i], value, path, scope, seen);
    if (!any)
        return wrong(work, path, "it fits none of %s/anyOf", node->path);
    size_t fitting = 0;
    for (size_t i = 0; i < node->one_of.count && fitting < 2; i++)
        fitting += quietly(work, node->one_of.nodes[i], value, path, scope, seen);
    if (node->one_of.count > 0 && fitting != 1)
        return wrong(work, path, "it fits %s of %s/oneOf", fitting == 0 ? "none" : "more than one",
                     node->path);
    if (node->not_node != NULL && quietly(work, node->not_node, value, path, scope, NULL))
        return wrong(work, path, "it fits what %s/not excludes", node->path);
    if (node->if_node == NULL)
        return true;
    const ShJsonNode *next = quietly(work, node->if_node, value, path, scope, seen) ? node->then_node
                                                                                    : node->else_node;
    return next == NULL || apply(work, next, value, path, scope, seen);
}

/* --- objects
 * --------------------------------------------------------------------------------------------------- */

static bool check_object(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                         const Scope *scope, Seen *seen)
{
    int64_t size = (int64_t)json_object_size(value);
    if (size < node->min_properties)
        return wrong(work, path, "%" PRId64 " properties, fewer than %" PRId64, size, node->min_properties);
    if (node->max_properties != SH_JSON_NO_LIMIT && size > node->max_properties)
        return wrong(work, path, "%" PRId64 " properties, more than %" PRId64, size, node->max_properties);
    if (!sh_budget_spend(work->budget, node->required_count + (size_t)size))
        return false;
    for (size_t i = 0; i < node->required_count; i++)
        if (json_object_get(value, node->required[i]) == NULL)
            return wrong(work, path, "the required property \"%s\" is missing", node->required[i]);
    json_t *object = (json_t *)(uintptr_t)value;
    size_t place = 0;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at), place++) {
        const char *name = json_object_iter_key(at);
        Path below = {.outer = path, .name = name};
        bool evaluated = false;
        if (!check_property(work, node, name, json_object_iter_value(at), &below, scope, &evaluated))
            return false;
        if (seen != NULL && evaluated)
            seen->flags[place] = 1;
        if (node->property_names != NULL) {
            json_t *text = json_string_nocheck(name);
            bool fits = text != NULL && apply(work, node->property_names, text, &below, scope, NULL);
            if (text == NULL)
                sh_budget_end(work->budget, SH_TOO_LARGE);
            json_decref(text);
            if (!fits)
                return false;
        }
    }
    return check_dependencies(work, node, value, path, scope, seen);
}

static bool check_property(Check *work, const ShJsonNode *node, const char *name, const json_t *value,
                           const Path *path, const Scope *scope, bool *evaluated)
{
    const ShJsonNode *own = sh_json_property(node->properties, node->property_count, name);
    *evaluated = own != NULL;
    if (own != NULL && !apply(work, own, value, path, scope, NULL))
        return false;
    for (size_t i = 0; i < node->pattern_count; i++) {
        if (!sh_json_matches(&work->matcher, node->patterns[i].code, name, strlen(name), work->budget)) {
            if (sh_budget_has_ended(work->budget))
                return false;
            continue;
        }
        *evaluated = true;
        if (!apply(work, node->patterns[i].node, value, path, scope, NULL))
            return false;
    }
    if (*evaluated || node->additional == NULL)
        return true;
    *evaluated = true;
    return apply(work, node->additional, value, path, scope, NULL);
}

static bool check_dependencies(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                               const Scope *scope, Seen *seen)
{
    json_t *map = (json_t *)(uintptr_t)node->dependent_required;
    for (void *at = json_object_iter(map); at != NULL; at = json_object_iter_next(map, at)) {
        const json_t *names = json_object_iter_value(at);
        if (!sh_budget_spend(work->budget, 1))
            return false;
        if (json_object_get(value, json_object_iter_key(at)) == NULL)
            continue;
        if (!sh_budget_spend(work->budget, json_array_size(names)))
            return false;
        for (size_t i = 0; i < json_array_size(names); i++) {
            const char *name = json_string_value(json_array_get(names, i));
            if (name != NULL && json_object_get(value, name) == NULL)
                return wrong(work, path, "with the property \"%s\", \"%s\" is required",
                             json_object_iter_key(at), name);
        }
    }
    (void)sh_budget_spend(work->budget, node->dependent_schema_count);
    for (size_t i = 0; i < node->dependent_schema_count; i++)
        if (json_object_get(value, node->dependent_schemas[i].name) != NULL &&
            !apply(work, node->dependent_schemas[i].node, value, path, scope, seen))
            return false;
    return true;
}

/* --- arrays
 * ---------------------------------------------------------------------------------------------------- */

static bool has_equal_among_many(Check *work, const json_t *value, size_t count)
{
    ShSchemaArena *arena = sh_schema_arena_new(work->budget);
    ShJsonSet *set = arena == NULL ? NULL : sh_json_set_new(arena, count);
    if (set == NULL)
        sh_budget_end(work->budget, SH_TOO_LARGE);
    bool is_new = true;
    for (size_t i = 0; set != NULL && is_new && i < count; i++)
        is_new = sh_json_set_add(set, json_array_get(value, i), work->budget);
    sh_schema_arena_free(arena);
    return !is_new;
}

static bool has_equal_items(Check *work, const json_t *value)
{
    size_t count = json_array_size(value);
    if (count > FEW_ITEMS)
        return has_equal_among_many(work, value, count);
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (sh_json_same(json_array_get(value, i), json_array_get(value, j), work->budget))
                return true;
    return false;
}

static bool check_array(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                        const Scope *scope, Seen *seen)
{
    int64_t size = (int64_t)json_array_size(value);
    if (size < node->min_items)
        return wrong(work, path, "%" PRId64 " items, fewer than %" PRId64, size, node->min_items);
    if (node->max_items != SH_JSON_NO_LIMIT && size > node->max_items)
        return wrong(work, path, "%" PRId64 " items, more than %" PRId64, size, node->max_items);
    if (!sh_budget_spend(work->budget, (size_t)size / 8))
        return false;
    if (node->has & SH_JSON_HAS_UNIQUE_ITEMS && has_equal_items(work, value))
        return wrong(work, path, "two items are the same");
    for (size_t i = 0; i < (size_t)size; i++) {
        const ShJsonNode *item = i < node->tuple.count ? node->tuple.nodes[i] : node->rest;
        Path below = {.outer = path, .index = i};
        if (item != NULL && !apply(work, item, json_array_get(value, i), &below, scope, NULL))
            return false;
        if (item != NULL && seen != NULL)
            seen->flags[i] = 1;
    }
    return node->contains == NULL || check_contains(work, node, value, path, scope, seen);
}

static bool check_contains(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                           const Scope *scope, Seen *seen)
{
    int64_t found = 0;
    for (size_t i = 0; i < json_array_size(value) && !sh_budget_has_ended(work->budget); i++) {
        Path below = {.outer = path, .index = i};
        bool fits = quietly(work, node->contains, json_array_get(value, i), &below, scope, NULL);
        found += fits;
        if (fits && seen != NULL && node->draft >= SH_JSON_DRAFT_2020)
            seen->flags[i] = 1;
    }
    int64_t least = node->min_contains == SH_JSON_NO_LIMIT ? 1 : node->min_contains;
    if (found < least)
        return wrong(work, path, "%" PRId64 " items fit %s/contains, fewer than %" PRId64, found, node->path,
                     least);
    return node->max_contains == SH_JSON_NO_LIMIT || found <= node->max_contains ||
           wrong(work, path, "%" PRId64 " items fit %s/contains, more than %" PRId64, found, node->path,
                 node->max_contains);
}

/* What no other keyword of the subschema, nor one that it applies to the same value, has seen. */
static bool check_unevaluated(Check *work, const ShJsonNode *node, const json_t *value, const Path *path,
                              const Scope *scope, Seen *seen)
{
    if (json_is_array(value) && node->unevaluated_items != NULL) {
        for (size_t i = 0; i < seen->count; i++) {
            Path below = {.outer = path, .index = i};
            if (!seen->flags[i] &&
                !apply(work, node->unevaluated_items, json_array_get(value, i), &below, scope, NULL))
                return false;
            seen->flags[i] = 1;
        }
    }
    if (!json_is_object(value) || node->unevaluated_properties == NULL)
        return true;
    json_t *object = (json_t *)(uintptr_t)value;
    size_t place = 0;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at), place++) {
        Path below = {.outer = path, .name = json_object_iter_key(at)};
        if (!seen->flags[place] &&
            !apply(work, node->unevaluated_properties, json_object_iter_value(at), &below, scope, NULL))
            return false;
        seen->flags[place] = 1;
    }
    return true;
}

/* --- words
 * ----------------------------------------------------------------------------------------------------- */

static size_t write_path(const Path *path, char *out, size_t room)
{
    if (path == NULL)
        return (size_t)snprintf(out, room, "$");
    size_t used = write_path(path->outer, out, room);
    size_t left = used < room ? room - used : 0;
    int more = path->name != NULL ? snprintf(out + (left > 0 ? used : 0), left, ".%s", path->name)
                                  : snprintf(out + (left > 0 ? used : 0), left, "[%zu]", path->index);
    return used + (size_t)more;
}

/* Always false. */
static bool wrong(Check *work, const Path *path, const char *fmt, ...)
{
    if (!work->is_loud || work->err == NULL)
        return false;
    work->is_loud = false;
    char where[200];
    char words[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    write_path(path, where, sizeof where);
    (void)sh_fail(work->err, SH_INVALID, "%s: %s", where, words);
    return false;
}
