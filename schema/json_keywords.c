/* json_keywords.c - what the keywords of a JSON schema say, into its node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_fill.h"
#include "schema/sorted_names.h"

#define PATH_BYTES_MAX 2048
#define NODE_STEPS     16 /* what a subschema takes, whatever stands in it */

/* The node that is filled, with what its keywords need. */
typedef struct Fill {
    ShJsonParse *parse;
    ShJsonNode *node;
} Fill;

static void fill_references(Fill *fill);
static void fill_types(Fill *fill);
static void fill_values(Fill *fill);
static void fill_numbers(Fill *fill);
static void fill_combinations(Fill *fill);
static void fill_object(Fill *fill);
static void fill_dependencies(Fill *fill);
static void fill_array(Fill *fill);
static const ShJsonNode *child(Fill *fill, const char *keyword);
static const ShJsonNode *child_of(Fill *fill, const json_t *json, const char *keyword, const char *name);
static ShJsonList children(Fill *fill, const char *keyword);
static int64_t limit(Fill *fill, const char *keyword, int64_t otherwise);
static bool number(Fill *fill, const char *keyword, double *out);
static void *compile_pattern(Fill *fill, const char *pattern);
static bool check(Fill *fill, bool holds, const char *keyword, const char *expected);

static void no_memory(Fill *fill)
{
    sh_json_stop(fill->parse, sh_fail(fill->parse->err, SH_NO_MEMORY, "no memory to parse a JSON schema"));
}

static const json_t *get(const Fill *fill, const char *keyword)
{
    return json_object_get(fill->node->json, keyword);
}

/* The keywords that say nothing about what is accepted. */
static bool is_annotation(const char *keyword)
{
    static const char *const names[] = {"$schema",
                                        "$id",
                                        "id",
                                        "$comment",
                                        "$defs",
                                        "definitions",
                                        "title",
                                        "$anchor",
                                        "description",
                                        "default",
                                        "examples",
                                        "readOnly",
                                        "writeOnly",
                                        "deprecated",
                                        "$vocabulary",
                                        "$dynamicAnchor",
                                        "$recursiveAnchor",
                                        "format",
                                        "contentEncoding",
                                        "contentMediaType",
                                        "contentSchema",
                                        NULL};
    for (size_t i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], keyword) == 0)
            return true;
    return false;
}

void sh_json_fill(ShJsonParse *parse, ShJsonNode *node)
{
    Fill work = {.parse = parse, .node = node};
    if (!sh_budget_spend(parse->budget, NODE_STEPS + 4 * json_object_size(node->json))) {
        sh_json_stop(parse, parse->budget->ended);
        return;
    }
    node->types = SH_JSON_ANY;
    node->min_length = node->max_length = node->min_properties = node->max_properties = SH_JSON_NO_LIMIT;
    node->min_items = node->max_items = node->min_contains = node->max_contains = SH_JSON_NO_LIMIT;
    node->has = SH_JSON_IS_EMPTY;
    void *at = json_object_iter((json_t *)(uintptr_t)node->json);
    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)node->json, at))
        if (!is_annotation(json_object_iter_key(at)))
            node->has = 0;
    if (get(&work, "default") != NULL)
        node->has |= SH_JSON_HAS_DEFAULT;
    fill_references(&work);
    if (node->ref != NULL && node->draft <= SH_JSON_DRAFT_7)
        return; /* nothing counts beside a $ref */
    fill_types(&work);
    fill_values(&work);
    fill_numbers(&work);
    fill_combinations(&work);
    fill_object(&work);
    fill_dependencies(&work);
    fill_array(&work);
}

static void fill_references(Fill *work)
{
    ShJsonNode *node = work->node;
    ShJsonIndex *index = work->parse->schema->index;
    bool is_2019 = node->draft == SH_JSON_DRAFT_2019;
    const char *ref = json_string_value(get(work, "$ref"));
    const char *dynamic = node->draft == SH_JSON_DRAFT_2020 ? json_string_value(get(work, "$dynamicRef"))
                          : is_2019                         ? json_string_value(get(work, "$recursiveRef"))
                                                            : NULL;
    if (!check(work, get(work, "$ref") == NULL || ref != NULL, "$ref", "a string"))
        return;
    const char *both[] = {ref, dynamic};
    ShJsonList also = {0};
    for (size_t i = 0; i < 2; i++) {
        ShJsonPlace place;
        if (both[i] == NULL)
            continue;
        ShStatus status = sh_json_index_find(index, node->base, both[i], &place, work->parse->err);
        if (status != SH_OK) {
            sh_json_stop(work->parse, sh_fail_prefix(work->parse->err, status, "%s", node->path));
            return;
        }
        const ShJsonNode *target = sh_json_node_of(work->parse, &place);
        const char *fragment = strchr(both[i], '#');
        ShJsonPlace first;
        if (i == 1 && is_2019 && sh_json_index_dynamic(index, place.base, "", &first) &&
            first.json == place.json)
            node->dynamic_anchor = "";
        if (i == 1 && !is_2019 && fragment != NULL &&
            sh_json_index_dynamic(index, place.base, fragment + 1, &first) && first.json == place.json)
            node->dynamic_anchor = fragment + 1;
        const void *cursor = NULL; /* whatever it may lead to is needed */
        while (node->dynamic_anchor != NULL && !sh_budget_has_ended(work->parse->budget) &&
               sh_json_index_next_dynamic(index, node->dynamic_anchor, &cursor, &first))
            (void)sh_json_node_of(work->parse, &first);
        if (node->ref == NULL) {
            node->ref = target;
        } else { /* both stand here: the second goes to allOf */
            also.nodes = sh_json_room(work->parse, sizeof *also.nodes);
            if (also.nodes == NULL)
                return;
            also.nodes[also.count++] = target;
            node->all_of = also;
        }
    }
}

static void fill_types(Fill *work)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {{"null", SH_JSON_NULL},    {"boolean", SH_JSON_BOOLEAN}, {"object", SH_JSON_OBJECT},
                 {"array", SH_JSON_ARRAY},  {"string", SH_JSON_STRING},   {"integer", SH_JSON_INTEGER},
                 {"number", SH_JSON_NUMBER}};
    const json_t *type = get(work, "type");
    if (type == NULL)
        return;
    work->node->types = 0;
    size_t count = json_is_array(type) ? json_array_size(type) : 1;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
        unsigned bit = 0;
        for (size_t j = 0; name != NULL && j < sizeof names / sizeof *names; j++)
            if (strcmp(names[j].name, name) == 0)
                bit = names[j].bit;
        if (!check(work, bit != 0, "type",
                   "null, boolean, object, array, number, string or integer, or a list of these"))
            return;
        work->node->types |= bit;
    }
}

/* A string that C has, too: one without NUL. */
static bool is_text(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static void fill_listed(Fill *work)
{
    ShJsonNode *node = work->node;
    node->listed = sh_json_set_of(work->parse->schema->arena, node->enumeration, work->parse->budget);
    if (node->listed == NULL)
        no_memory(work);
    for (size_t i = 0; i < json_array_size(node->enumeration); i++)
        node->listed_types |= sh_json_type_of(json_array_get(node->enumeration, i), node->draft);
}

static void fill_values(Fill *work)
{
    ShJsonNode *node = work->node;
    node->enumeration = get(work, "enum");
    if (check(work, node->enumeration == NULL || json_is_array(node->enumeration), "enum", "a list") &&
        node->enumeration != NULL)
        fill_listed(work);
    node->constant = node->draft == SH_JSON_DRAFT_4 ? NULL : get(work, "const");
    node->min_length = limit(work, "minLength", SH_JSON_NO_LIMIT);
    node->max_length = limit(work, "maxLength", SH_JSON_NO_LIMIT);
    const json_t *pattern = get(work, "pattern");
    if (!check(work, pattern == NULL || is_text(pattern), "pattern", "a string without NUL") ||
        pattern == NULL)
        return;
    node->pattern = json_string_value(pattern);
    node->pattern_code = compile_pattern(work, node->pattern);
}

/* Draft 4 says with a boolean that `minimum` and `maximum` are exclusive. */
static void fill_numbers(Fill *work)
{
    ShJsonNode *node = work->node;
    if (number(work, "minimum", &node->minimum))
        node->has |= SH_JSON_HAS_MINIMUM;
    if (number(work, "maximum", &node->maximum))
        node->has |= SH_JSON_HAS_MAXIMUM;
    if (json_is_boolean(get(work, "exclusiveMinimum")) && node->draft == SH_JSON_DRAFT_4) {
        if (json_is_true(get(work, "exclusiveMinimum")) && node->has & SH_JSON_HAS_MINIMUM) {
            node->has = (node->has & ~(unsigned)SH_JSON_HAS_MINIMUM) | SH_JSON_HAS_EXCLUSIVE_MINIMUM;
            node->exclusive_minimum = node->minimum;
        }
    } else if (number(work, "exclusiveMinimum", &node->exclusive_minimum)) {
        node->has |= SH_JSON_HAS_EXCLUSIVE_MINIMUM;
    }
    if (json_is_boolean(get(work, "exclusiveMaximum")) && node->draft == SH_JSON_DRAFT_4) {
        if (json_is_true(get(work, "exclusiveMaximum")) && node->has & SH_JSON_HAS_MAXIMUM) {
            node->has = (node->has & ~(unsigned)SH_JSON_HAS_MAXIMUM) | SH_JSON_HAS_EXCLUSIVE_MAXIMUM;
            node->exclusive_maximum = node->maximum;
        }
    } else if (number(work, "exclusiveMaximum", &node->exclusive_maximum)) {
        node->has |= SH_JSON_HAS_EXCLUSIVE_MAXIMUM;
    }
    if (number(work, "multipleOf", &node->multiple_of)) {
        check(work, node->multiple_of > 0, "multipleOf", "a number above 0");
        node->has |= SH_JSON_HAS_MULTIPLE_OF;
    }
}

static void fill_combinations(Fill *work)
{
    ShJsonNode *node = work->node;
    ShJsonList all_of = children(work, "allOf");
    if (node->all_of.count > 0) { /* a second reference */
        const ShJsonNode **both = sh_json_room(work->parse, (all_of.count + 1) * sizeof *both);
        if (both == NULL)
            return;
        both[0] = node->all_of.nodes[0];
        for (size_t i = 0; i < all_of.count; i++)
            both[i + 1] = all_of.nodes[i];
        all_of = (ShJsonList){.nodes = both, .count = all_of.count + 1};
    }
    node->all_of = all_of;
    node->any_of = children(work, "anyOf");
    node->one_of = children(work, "oneOf");
    node->not_node = child(work, "not");
    if (node->draft >= SH_JSON_DRAFT_7 && get(work, "if") != NULL) {
        node->if_node = child(work, "if");
        node->then_node = child(work, "then");
        node->else_node = child(work, "else");
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ShJsonProperty *)a)->name, ((const ShJsonProperty *)b)->name);
}

static ShJsonProperty *named_children(Fill *work, const char *keyword, const json_t *map, size_t *count)
{
    ShJsonProperty *list = sh_json_room(work->parse, (json_object_size(map) + 1) * sizeof *list);
    *count = 0;
    json_t *iterated = (json_t *)(uintptr_t)map;
    for (void *at = json_object_iter(iterated); list != NULL && at != NULL;
         at = json_object_iter_next(iterated, at)) {
        const json_t *value = json_object_iter_value(at);
        if (json_is_array(value))
            continue; /* names that depend on it: fill_dependencies */
        const char *name = json_object_iter_key(at);
        list[(*count)++] = (ShJsonProperty){.name = name, .node = child_of(work, value, keyword, name)};
    }
    if (list != NULL)
        qsort(list, *count, sizeof *list, by_name);
    return list;
}

static int by_pattern(const void *a, const void *b)
{
    return strcmp((*(const ShJsonPattern *const *)a)->pattern, (*(const ShJsonPattern *const *)b)->pattern);
}

static void sort_patterns(Fill *work)
{
    ShJsonNode *node = work->node;
    node->sorted_patterns = sh_json_room(work->parse,
                                         (node->pattern_count + 1) * sizeof *node->sorted_patterns);
    if (node->sorted_patterns == NULL)
        return;
    for (size_t i = 0; i < node->pattern_count; i++)
        node->sorted_patterns[i] = &node->patterns[i];
    qsort(node->sorted_patterns, node->pattern_count, sizeof *node->sorted_patterns, by_pattern);
}

static void fill_object(Fill *work)
{
    ShJsonNode *node = work->node;
    const json_t *properties = get(work, "properties");
    if (check(work, properties == NULL || json_is_object(properties), "properties", "an object") &&
        properties != NULL)
        node->properties = named_children(work, "properties", properties, &node->property_count);
    json_t *patterns = (json_t *)(uintptr_t)get(work, "patternProperties");
    if (check(work, patterns == NULL || json_is_object(patterns), "patternProperties", "an object") &&
        patterns != NULL) {
        node->patterns = sh_json_room(work->parse, (json_object_size(patterns) + 1) * sizeof *node->patterns);
        void *at = node->patterns == NULL ? NULL : json_object_iter(patterns);
        for (; at != NULL; at = json_object_iter_next(patterns, at)) {
            const char *pattern = json_object_iter_key(at);
            node->patterns[node->pattern_count++] = (ShJsonPattern){
                .pattern = pattern,
                .code = compile_pattern(work, pattern),
                .node = child_of(work, json_object_iter_value(at), "patternProperties", pattern)};
        }
        sort_patterns(work);
    }
    node->additional = child(work, "additionalProperties");
    if (node->draft != SH_JSON_DRAFT_4)
        node->property_names = child(work, "propertyNames");
    node->min_properties = limit(work, "minProperties", SH_JSON_NO_LIMIT);
    node->max_properties = limit(work, "maxProperties", SH_JSON_NO_LIMIT);
    const json_t *required = get(work, "required");
    if (!check(work, required == NULL || json_is_array(required), "required", "a list of names") ||
        required == NULL)
        return;
    node->required = sh_json_room(work->parse, (json_array_size(required) + 1) * sizeof *node->required);
    for (size_t i = 0; node->required != NULL && i < json_array_size(required); i++) {
        const json_t *name = json_array_get(required, i);
        if (!check(work, is_text(name), "required", "a list of names") ||
            !sh_budget_spend(work->parse->budget, 1))
            return;
        node->required[node->required_count++] = json_string_value(name);
    }
    if (node->required != NULL)
        qsort(node->required, node->required_count, sizeof *node->required, sh_names_compare);
}

/* `dependencies` holds lists of names and schemas; from 2019-09 on the two are apart. */
static void fill_dependencies(Fill *work)
{
    ShJsonNode *node = work->node;
    bool is_new = node->draft >= SH_JSON_DRAFT_2019;
    const char *names = is_new ? "dependentRequired" : "dependencies";
    const char *schemas = is_new ? "dependentSchemas" : "dependencies";
    node->dependent_required = get(work, names);
    const json_t *map = get(work, schemas);
    if (map != NULL && check(work, json_is_object(map), schemas, "an object"))
        node->dependent_schemas = named_children(work, schemas, map, &node->dependent_schema_count);
    if (is_new && get(work, "unevaluatedProperties") != NULL) {
        node->unevaluated_properties = child(work, "unevaluatedProperties");
        work->parse->schema->tracks_evaluation = true;
    }
}

static void fill_array(Fill *work)
{
    ShJsonNode *node = work->node;
    const json_t *items = get(work, "items");
    if (node->draft == SH_JSON_DRAFT_2020) {
        node->tuple = children(work, "prefixItems");
        node->rest = child(work, "items");
    } else if (json_is_array(items)) {
        node->tuple = children(work, "items");
        node->rest = child(work, "additionalItems");
    } else {
        node->rest = child(work, "items");
    }
    node->min_items = limit(work, "minItems", SH_JSON_NO_LIMIT);
    node->max_items = limit(work, "maxItems", SH_JSON_NO_LIMIT);
    if (json_is_true(get(work, "uniqueItems")))
        node->has |= SH_JSON_HAS_UNIQUE_ITEMS;
    if (node->draft != SH_JSON_DRAFT_4)
        node->contains = child(work, "contains");
    if (node->draft < SH_JSON_DRAFT_2019)
        return;
    node->min_contains = limit(work, "minContains", SH_JSON_NO_LIMIT);
    node->max_contains = limit(work, "maxContains", SH_JSON_NO_LIMIT);
    if (get(work, "unevaluatedItems") != NULL) {
        node->unevaluated_items = child(work, "unevaluatedItems");
        work->parse->schema->tracks_evaluation = true;
    }
}

/* --- parts of keywords
 * ----------------------------------------------------------------------------------------- */

static const ShJsonNode *child(Fill *work, const char *keyword)
{
    const json_t *json = get(work, keyword);
    return json == NULL ? NULL : child_of(work, json, keyword, "");
}

static const ShJsonNode *child_of(Fill *work, const json_t *json, const char *keyword, const char *name)
{
    const ShJsonNode *node = work->node;
    size_t bytes = strlen(node->path) + strlen(keyword) + strlen(name) + 3;
    char *path = bytes > PATH_BYTES_MAX ? NULL : sh_json_room(work->parse, bytes);
    if (path != NULL)
        snprintf(path, bytes, "%s/%s%s%s", node->path, keyword, *name == '\0' ? "" : "/", name);
    const char *base = sh_json_index_base(work->parse->schema->index, json, node->base, node->draft);
    if (base == NULL)
        no_memory(work);
    ShJsonPlace place = {
        .json = json, .base = base, .path = path == NULL ? node->path : path, .draft = node->draft};
    return sh_json_node_of(work->parse, &place);
}

static ShJsonList children(Fill *work, const char *keyword)
{
    ShJsonList list = {0};
    const json_t *array = get(work, keyword);
    if (!check(work, array == NULL || json_is_array(array), keyword, "a list of schemas") || array == NULL)
        return list;
    list.nodes = sh_json_room(work->parse, (json_array_size(array) + 1) * sizeof *list.nodes);
    for (size_t i = 0; list.nodes != NULL && i < json_array_size(array); i++) {
        char place[24];
        snprintf(place, sizeof place, "%zu", i);
        list.nodes[list.count++] = child_of(work, json_array_get(array, i), keyword, place);
    }
    return list;
}

static int64_t limit(Fill *work, const char *keyword, int64_t otherwise)
{
    double value = 0;
    if (!number(work, keyword, &value))
        return otherwise;
    check(work, value >= 0, keyword, "a number of 0 or more");
    return value > 9e15 ? (int64_t)9e15 : (int64_t)value;
}

static bool number(Fill *work, const char *keyword, double *out)
{
    const json_t *value = get(work, keyword);
    if (value == NULL || !check(work, json_is_number(value), keyword, "a number"))
        return false;
    *out = json_number_value(value);
    return true;
}

/* NULL after an error. */
static void *compile_pattern(Fill *work, const char *pattern)
{
    ShJsonSchema *schema = work->parse->schema;
    void *code = sh_json_pattern_new(pattern, strlen(pattern), work->parse->budget);
    if (code == NULL) {
        sh_json_stop(work->parse,
                     sh_fail(work->parse->err, SH_INVALID, "%s: \"%.60s\" is no regular expression",
                             work->node->path, pattern));
        return NULL;
    }
    if ((schema->code_count & (schema->code_count + 1)) == 0) {
        void **more = realloc(schema->codes, (2 * schema->code_count + 1) * sizeof *more);
        if (more == NULL) {
            sh_json_pattern_free(code);
            no_memory(work);
            return NULL;
        }
        schema->codes = more;
    }
    schema->codes[schema->code_count++] = code;
    return code;
}

static bool check(Fill *work, bool holds, const char *keyword, const char *expected)
{
    if (!holds)
        sh_json_stop(work->parse, sh_fail(work->parse->err, SH_INVALID, "%s/%s: it must be %s",
                                          work->node->path, keyword, expected));
    return holds;
}
