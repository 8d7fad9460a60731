/*
 * json_compare_parts.c - the comparison of what schemas say about objects and arrays.
 *
 * The content model of an object is open (anything may stand beside its properties), closed (nothing may) or
 * partly open (what does must fit a schema, by its name's pattern or by additionalProperties). A property may
 * be added where it could not have been written before with another meaning, and removed where it is still
 * accepted. The same goes for the items of arrays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_compare.h"
#include "schema/sorted_names.h"

#define PROPERTY_STEPS 4

static bool accepts_required(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path);
static bool accepts_properties(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path);
static bool removed_property(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonProperty *was,
                             const char *path);
static bool added_property(ShJsonComparison *work, const ShJsonNode *writer, const ShJsonProperty *now,
                           const char *path);
static bool accepts_patterns(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path);
static bool accepts_additional(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path);
static bool accepts_dependencies(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                                 const char *path);
static bool accepts_items(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                          const char *path);
static bool accepts_rest(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         const char *path);

static bool is_false(const ShJsonNode *node)
{
    return node != NULL && node->has & SH_JSON_IS_FALSE;
}

/* NULL, true and {} say the same: anything. */
static bool is_anything(const ShJsonNode *node)
{
    return node == NULL || node->has & SH_JSON_IS_EMPTY;
}

/* --- objects
 * --------------------------------------------------------------------------------------------------- */

bool sh_json_accepts_objects(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path)
{
    bool fits = accepts_required(work, reader, writer, path);
    fits &= accepts_properties(work, reader, writer, path);
    fits &= accepts_patterns(work, reader, writer, path);
    fits &= accepts_additional(work, reader, writer, path);
    fits &= accepts_dependencies(work, reader, writer, path);
    fits &= sh_json_bound(work, reader->max_properties, writer->max_properties, true, "MAX_PROPERTIES_ADDED",
                          "MAX_PROPERTIES_DECREASED", path, "maxProperties");
    fits &= sh_json_bound(work, reader->min_properties, writer->min_properties, false, "MIN_PROPERTIES_ADDED",
                          "MIN_PROPERTIES_INCREASED", path, "minProperties");
    fits &= sh_json_must_stay(work, reader->property_names, writer->property_names, path, "propertyNames");
    return sh_json_must_stay(work, reader->unevaluated_properties, writer->unevaluated_properties, path,
                             "unevaluatedProperties") &&
           fits;
}

/* A default makes up for what was not written. */
static bool has_default(const ShJsonNode *node, const char *name)
{
    const ShJsonNode *own = sh_json_property(node->properties, node->property_count, name);
    return own != NULL && own->has & SH_JSON_HAS_DEFAULT;
}

static bool is_open(const ShJsonNode *node)
{
    return node->pattern_count == 0 && is_anything(node->additional);
}

static bool accepts_required(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path)
{
    bool fits = true;
    char below[SH_JSON_PATH_BYTES];
    sh_json_below(below, path, "required");
    for (size_t i = 0; i < reader->required_count && sh_budget_spend(work->budget, 2); i++) {
        const char *name = reader->required[i];
        if (sh_names_hold(writer->required, writer->required_count, name) || has_default(reader, name))
            continue;
        bool is_known = sh_json_property(writer->properties, writer->property_count, name) != NULL;
        bool is_own = sh_json_property(reader->properties, reader->property_count, name) != NULL;
        fits = !is_known && is_own && !is_open(writer)
                   ? sh_json_differs(
                         work, "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", path, name,
                         "the new property is required, and what was written lacks it: give it a default, "
                         "or make it optional")
                   : sh_json_differs(
                         work, "REQUIRED_ATTRIBUTE_ADDED", below, name,
                         "it is required now, and what was written may lack it: give it a default, or "
                         "make it optional");
    }
    return fits;
}

static bool accepts_properties(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path)
{
    bool fits = true;
    char properties[SH_JSON_PATH_BYTES];
    sh_json_below(properties, path, "properties");
    for (size_t i = 0; i < writer->property_count && sh_budget_spend(work->budget, PROPERTY_STEPS); i++) {
        const ShJsonProperty *was = &writer->properties[i];
        char below[SH_JSON_PATH_BYTES];
        sh_json_below(below, properties, was->name);
        const ShJsonNode *now = sh_json_property(reader->properties, reader->property_count, was->name);
        fits &= now != NULL ? sh_json_accepts(work, now, was->node, SH_JSON_ANY, below)
                            : removed_property(work, reader, was, below);
    }
    for (size_t i = 0; i < reader->property_count && sh_budget_spend(work->budget, PROPERTY_STEPS); i++) {
        const ShJsonProperty *now = &reader->properties[i];
        char below[SH_JSON_PATH_BYTES];
        sh_json_below(below, properties, now->name);
        if (sh_json_property(writer->properties, writer->property_count, now->name) == NULL)
            fits &= added_property(work, writer, now, below);
    }
    return fits;
}

/* The schema that a partly open model has for a name; NULL: none. */
static const ShJsonNode *partial(ShJsonComparison *work, const ShJsonNode *node, const char *name)
{
    for (size_t i = 0; i < node->pattern_count && !sh_json_has_failed(work); i++)
        if (sh_json_matches(&work->matcher, node->patterns[i].code, name, strlen(name), work->budget))
            return node->patterns[i].node;
    return node->additional;
}

static bool removed_property(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonProperty *was,
                             const char *path)
{
    const ShJsonNode *covers = partial(work, reader, was->name);
    if (is_anything(covers) || is_false(was->node))
        return true;
    if (is_false(covers))
        return sh_json_differs(
            work, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", path, NULL,
            "the property is gone, and nothing else is allowed: keep it, or allow additional "
            "properties");
    if (sh_json_accepts(work, covers, was->node, SH_JSON_ANY, path))
        return true;
    return sh_json_differs(
        work, "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", path, NULL,
        "the property is gone, and what is allowed beside properties does not take it: keep it");
}

static bool added_property(ShJsonComparison *work, const ShJsonNode *writer, const ShJsonProperty *now,
                           const char *path)
{
    const ShJsonNode *covers = partial(work, writer, now->name);
    if (is_false(covers) || is_anything(now->node))
        return true; /* it cannot have been written, or anything will do */
    if (is_anything(covers))
        return sh_json_differs(
            work, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", path, NULL,
            "anything may have been written under this name: close the content model first "
            "(additionalProperties: false), or let the property be anything");
    if (sh_json_accepts(work, now->node, covers, SH_JSON_ANY, path))
        return true;
    return sh_json_differs(work, "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", path, NULL,
                           "what may have been written under this name does not fit: widen the property");
}

static int by_pattern(const void *a, const void *b)
{
    return strcmp((*(const ShJsonPattern *const *)a)->pattern, (*(const ShJsonPattern *const *)b)->pattern);
}

static bool accepts_patterns(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             const char *path)
{
    bool fits = true;
    char patterns[SH_JSON_PATH_BYTES];
    sh_json_below(patterns, path, "patternProperties");
    for (size_t i = 0; i < reader->pattern_count && sh_budget_spend(work->budget, PROPERTY_STEPS); i++) {
        const ShJsonPattern *now = &reader->patterns[i];
        char below[SH_JSON_PATH_BYTES];
        sh_json_below(below, patterns, now->pattern);
        const ShJsonPattern **same = writer->pattern_count == 0
                                         ? NULL
                                         : bsearch(&now, writer->sorted_patterns, writer->pattern_count,
                                                   sizeof *writer->sorted_patterns, by_pattern);
        const ShJsonNode *was = same != NULL ? (*same)->node : writer->additional;
        if (is_false(was) || is_anything(now->node))
            continue;
        if (is_anything(was))
            fits = sh_json_differs(
                work, "PATTERN_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", below, NULL,
                "anything may have been written under such names: close the content model first");
        else
            fits &= sh_json_accepts(work, now->node, was, SH_JSON_ANY, below);
    }
    return fits;
}

static bool accepts_additional(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path)
{
    const ShJsonNode *now = reader->additional;
    const ShJsonNode *was = writer->additional;
    if (is_anything(now) || is_false(was))
        return true;
    if (is_false(now))
        return sh_json_differs(work, "ADDITIONAL_PROPERTIES_REMOVED", path, "additionalProperties",
                               "other properties may have been written: keep allowing them");
    if (is_anything(was))
        return sh_json_differs(work, "ADDITIONAL_PROPERTIES_NARROWED", path, "additionalProperties",
                               "other properties may have been written with any value: keep allowing that");
    char below[SH_JSON_PATH_BYTES];
    return sh_json_accepts(work, now, was, SH_JSON_ANY, sh_json_below(below, path, "additionalProperties"));
}

static bool lacks_any(ShJsonComparison *work, const json_t *among, const json_t *names)
{
    const ShJsonSet *set = sh_json_set_of(work->scratch, among, work->budget);
    if (set == NULL) {
        work->no_memory = true;
        return false;
    }
    for (size_t i = 0; i < json_array_size(names); i++)
        if (!sh_json_set_has(set, json_array_get(names, i), work->budget))
            return true;
    return false;
}

static bool accepts_dependencies(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                                 const char *path)
{
    bool fits = true;
    char below[SH_JSON_PATH_BYTES];
    sh_json_below(below, path, reader->draft >= SH_JSON_DRAFT_2019 ? "dependentRequired" : "dependencies");
    json_t *map = (json_t *)(uintptr_t)reader->dependent_required;
    for (void *at = json_object_iter(map); at != NULL && sh_budget_spend(work->budget, PROPERTY_STEPS);
         at = json_object_iter_next(map, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *now = json_object_iter_value(at);
        const json_t *was = json_object_get(writer->dependent_required, name);
        if (!json_is_array(now) || json_array_size(now) == 0)
            continue;
        if (!json_is_array(was))
            fits = sh_json_differs(
                work, "DEPENDENCY_ARRAY_ADDED", below, name,
                "properties are required beside it now, and may be missing: leave this out");
        else if (lacks_any(work, was, now))
            fits = sh_json_differs(
                work, lacks_any(work, now, was) ? "DEPENDENCY_ARRAY_CHANGED" : "DEPENDENCY_ARRAY_EXTENDED",
                below, name, "more properties are required beside it than before: only fewer may be");
    }
    sh_json_below(below, path, reader->draft >= SH_JSON_DRAFT_2019 ? "dependentSchemas" : "dependencies");
    for (size_t i = 0; i < reader->dependent_schema_count && sh_budget_spend(work->budget, PROPERTY_STEPS);
         i++) {
        const ShJsonProperty *now = &reader->dependent_schemas[i];
        const ShJsonNode *was = sh_json_property(writer->dependent_schemas, writer->dependent_schema_count,
                                                 now->name);
        char place[SH_JSON_PATH_BYTES];
        if (is_anything(now->node))
            continue;
        fits &= was != NULL
                    ? sh_json_accepts(work, now->node, was, SH_JSON_ANY,
                                      sh_json_below(place, below, now->name))
                    : sh_json_differs(work, "DEPENDENCY_SCHEMA_ADDED", below, now->name,
                                      "a schema has to fit beside it now, and may not: leave this out");
    }
    return fits;
}

/* --- arrays
 * ---------------------------------------------------------------------------------------------------- */

bool sh_json_accepts_arrays(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path)
{
    bool fits = accepts_items(work, reader, writer, path);
    fits &= accepts_rest(work, reader, writer, path);
    fits &= sh_json_bound(work, reader->max_items, writer->max_items, true, "MAX_ITEMS_ADDED",
                          "MAX_ITEMS_DECREASED", path, "maxItems");
    fits &= sh_json_bound(work, reader->min_items, writer->min_items, false, "MIN_ITEMS_ADDED",
                          "MIN_ITEMS_INCREASED", path, "minItems");
    if (reader->has & SH_JSON_HAS_UNIQUE_ITEMS && !(writer->has & SH_JSON_HAS_UNIQUE_ITEMS))
        fits = sh_json_differs(work, "UNIQUE_ITEMS_ADDED", path, "uniqueItems",
                               "equal items may have been written: leave it out");
    fits &= sh_json_must_stay(work, reader->contains, writer->contains, path, "contains");
    if (reader->contains != NULL && writer->contains != NULL) {
        fits &= sh_json_bound(work, reader->max_contains, writer->max_contains, true, "MAX_CONTAINS_ADDED",
                              "MAX_CONTAINS_DECREASED", path, "maxContains");
        fits &= sh_json_bound(work, reader->min_contains == SH_JSON_NO_LIMIT ? 1 : reader->min_contains,
                              writer->min_contains == SH_JSON_NO_LIMIT ? 1 : writer->min_contains, false,
                              "MIN_CONTAINS_ADDED", "MIN_CONTAINS_INCREASED", path, "minContains");
    }
    return sh_json_must_stay(work, reader->unevaluated_items, writer->unevaluated_items, path,
                             "unevaluatedItems") &&
           fits;
}

static bool accepts_items(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                          const char *path)
{
    bool fits = true;
    size_t count = reader->tuple.count > writer->tuple.count ? reader->tuple.count : writer->tuple.count;
    for (size_t i = 0; i < count && sh_budget_spend(work->budget, PROPERTY_STEPS); i++) {
        char part[40];
        char below[SH_JSON_PATH_BYTES];
        snprintf(part, sizeof part, "%s/%zu", reader->draft == SH_JSON_DRAFT_2020 ? "prefixItems" : "items",
                 i);
        sh_json_below(below, path, part);
        const ShJsonNode *now = i < reader->tuple.count ? reader->tuple.nodes[i] : reader->rest;
        const ShJsonNode *was = i < writer->tuple.count ? writer->tuple.nodes[i] : writer->rest;
        if (is_anything(now) || is_false(was))
            continue;
        if (i >= reader->tuple.count && is_false(now))
            fits = sh_json_differs(work, "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", below, NULL,
                                   "the item is gone, and nothing else is allowed: keep it");
        else if (i >= writer->tuple.count && is_anything(was))
            fits = sh_json_differs(
                work, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", below, NULL,
                "anything may have been written here: close the list first, or let the item be "
                "anything");
        else if (!sh_json_accepts(work, now, was, SH_JSON_ANY, below)) {
            fits = false;
            if (i >= reader->tuple.count)
                (void)sh_json_differs(
                    work, "ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", below, NULL,
                    "the item is gone, and what is allowed behind the list does not take it");
            else if (i >= writer->tuple.count)
                (void)sh_json_differs(work, "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", below,
                                      NULL, "what may have been written here does not fit: widen the item");
        }
    }
    return fits;
}

static bool accepts_rest(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         const char *path)
{
    const ShJsonNode *now = reader->rest;
    const ShJsonNode *was = writer->rest;
    bool is_list = reader->tuple.count == 0 && writer->tuple.count == 0;
    const char *part = is_list || reader->draft == SH_JSON_DRAFT_2020 ? "items" : "additionalItems";
    if (is_anything(now) || is_false(was))
        return true;
    if (is_anything(was) && is_list)
        return sh_json_differs(work, "SCHEMA_ADDED", path, part,
                               "items of any kind may have been written: allow them");
    if (is_false(now))
        return sh_json_differs(work, "ADDITIONAL_ITEMS_REMOVED", path, part,
                               "further items may have been written: keep allowing them");
    if (is_anything(was))
        return sh_json_differs(work, "ADDITIONAL_ITEMS_NARROWED", path, part,
                               "further items of any kind may have been written: keep allowing them");
    char below[SH_JSON_PATH_BYTES];
    return sh_json_accepts(work, now, was, SH_JSON_ANY, sh_json_below(below, path, part));
}
