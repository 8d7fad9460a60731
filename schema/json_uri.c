/*
 * json_uri.c - which subschema a $ref means: base URIs, $id, anchors and JSON pointers.
 *
 * Documents are walked along the keywords that hold subschemas, so that an "$id" inside of an `enum` is data.
 * URIs are resolved by uriparser (RFC 3986); JSON pointers are RFC 6901.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uriparser/Uri.h>

#include "schema/hash.h"
#include "schema/json_node.h"

/* Where documents without an $id stand. */
#define DEFAULT_BASE "schema:///"
#define URI_MAX      2048
#define URI_STEPS    32 /* to resolve one */
#define WALK_STEPS   16 /* to look through a subschema's keywords */

typedef struct Entry {
    char *uri; /* with "#anchor" for anchors, with "#!anchor" for dynamic ones */
    ShJsonPlace place;
    UT_hash_handle hh;
} Entry;

struct ShJsonIndex {
    Entry *entries; /* they stand in the arena */
    ShSchemaArena *arena;
    ShSchemaBudget *budget;
};

typedef struct Walk {
    ShJsonIndex *index;
    ShJsonDraft draft;
    ShError *err;
} Walk;

static ShStatus walk(Walk *walk, const json_t *json, const char *base, const char *path, int depth);
static ShStatus note_names(Walk *walk, const json_t *json, const char **base, const char *path);
static ShStatus add_entry(ShJsonIndex *index, const char *uri, const char *separator, const char *anchor,
                          const ShJsonPlace *place, ShError *err);
static ShStatus follow_pointer(ShJsonIndex *index, ShJsonPlace *place, const char *pointer, ShError *err);
static char *resolve(ShJsonIndex *index, const char *base, const char *ref);
static ShJsonDraft draft_of(const json_t *json, ShJsonDraft otherwise);
static char *keep(ShSchemaArena *arena, const char *text, size_t length);

static ShStatus no_memory(ShError *err)
{
    return sh_fail(err, SH_NO_MEMORY, "no memory to parse a JSON schema");
}

ShJsonIndex *sh_json_index_new(ShSchemaArena *arena, ShSchemaBudget *budget)
{
    ShJsonIndex *index = calloc(1, sizeof *index);
    if (index != NULL)
        *index = (ShJsonIndex){.arena = arena, .budget = budget};
    return index;
}

void sh_json_index_free(ShJsonIndex *index)
{
    if (index == NULL)
        return;
    HASH_CLEAR(hh, index->entries);
    free(index);
}

ShStatus sh_json_index_add(ShJsonIndex *index, const json_t *document, const char *name, ShJsonPlace *root,
                           ShError *err)
{
    ShJsonDraft draft = draft_of(document, SH_JSON_DRAFT_7);
    char *base = resolve(index, DEFAULT_BASE, name == NULL ? "" : name);
    if (base == NULL)
        return no_memory(err);
    *root = (ShJsonPlace){.json = document, .base = base, .path = "#", .draft = draft};
    ShStatus status = add_entry(index, base, "", "", root, err);
    if (status == SH_OK && name != NULL)
        status = add_entry(index, name, "", "", root, err);
    Walk work = {.index = index, .draft = draft, .err = err};
    if (status == SH_OK)
        status = walk(&work, document, base, "#", 0);
    const char *own = sh_json_index_base(index, document, base, draft);
    if (own == NULL)
        return no_memory(err);
    root->base = own;
    return status;
}

ShStatus sh_json_index_find(ShJsonIndex *index, const char *base, const char *ref, ShJsonPlace *out,
                            ShError *err)
{
    char *uri = resolve(index, base, ref);
    if (uri == NULL)
        return no_memory(err);
    const char *fragment = strchr(uri, '#');
    size_t bare = fragment == NULL ? strlen(uri) : (size_t)(fragment - uri);
    fragment = fragment == NULL ? "" : fragment + 1;
    Entry *found = NULL;
    if (*fragment != '\0' && *fragment != '/') { /* an anchor, or an $id that is a fragment */
        HASH_FIND_STR(index->entries, uri, found);
        fragment = "";
    } else {
        HASH_FIND(hh, index->entries, uri, bare, found);
        size_t named = strcspn(ref, "#"); /* as the reference is called, whatever the base */
        if (found == NULL && named > 0)
            HASH_FIND(hh, index->entries, ref, named, found);
    }
    if (found == NULL)
        return sh_fail(err, SH_INVALID,
                       "nothing is known at \"%s\" ($ref): define it, or add a reference of this name", ref);
    *out = found->place;
    return follow_pointer(index, out, fragment, err);
}

bool sh_json_index_dynamic(const ShJsonIndex *index, const char *base, const char *anchor, ShJsonPlace *out)
{
    char uri[URI_MAX];
    if ((size_t)snprintf(uri, sizeof uri, "%s#!%s", base, anchor) >= sizeof uri)
        return false;
    Entry *found;
    HASH_FIND_STR(index->entries, uri, found);
    if (found != NULL)
        *out = found->place;
    return found != NULL;
}

bool sh_json_index_next_dynamic(const ShJsonIndex *index, const char *anchor, const void **cursor,
                                ShJsonPlace *out)
{
    const Entry *entry = *cursor == NULL ? index->entries : ((const Entry *)*cursor)->hh.next;
    for (; entry != NULL; entry = entry->hh.next) {
        if (!sh_budget_spend(index->budget, 2))
            return false;
        const char *mark = strstr(entry->uri, "#!");
        if (mark == NULL || strcmp(mark + 2, anchor) != 0)
            continue;
        *cursor = entry;
        *out = entry->place;
        return true;
    }
    return false;
}

/* The $id of a subschema; NULL: none. To drafts 4 to 7 one beside a $ref is none, nor is a mere fragment. */
static const char *id_of(const json_t *json, ShJsonDraft draft)
{
    const char *id = json_string_value(json_object_get(json, draft == SH_JSON_DRAFT_4 ? "id" : "$id"));
    if (id == NULL || (draft <= SH_JSON_DRAFT_7 && json_object_get(json, "$ref") != NULL))
        return NULL;
    return id;
}

const char *sh_json_index_base(ShJsonIndex *index, const json_t *subschema, const char *base,
                               ShJsonDraft draft)
{
    const char *id = id_of(subschema, draft);
    if (id == NULL || *id == '#')
        return base;
    char *uri = resolve(index, base, id);
    if (uri != NULL)
        uri[strcspn(uri, "#")] = '\0';
    return uri;
}

/* The keywords that hold one subschema, a list of them, or an object of them. */
static const char *const ones[] = {"additionalItems",
                                   "additionalProperties",
                                   "contains",
                                   "contentSchema",
                                   "else",
                                   "if",
                                   "items",
                                   "not",
                                   "propertyNames",
                                   "then",
                                   "unevaluatedItems",
                                   "unevaluatedProperties",
                                   NULL};
static const char *const lists[] = {"allOf", "anyOf", "items", "oneOf", "prefixItems", NULL};
static const char *const maps[] = {
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties", NULL};

static ShStatus walk_child(Walk *work, const json_t *child, const char *base, const char *path,
                           const char *keyword, const char *name, int depth)
{
    if (!json_is_object(child))
        return SH_OK;
    char below[URI_MAX];
    snprintf(below, sizeof below, "%s/%s%s%s", path, keyword, *name == '\0' ? "" : "/", name);
    return walk(work, child, base, below, depth + 1);
}

static ShStatus walk(Walk *work, const json_t *json, const char *base, const char *path, int depth)
{
    if (!json_is_object(json))
        return SH_OK;
    if (!sh_budget_spend(work->index->budget, WALK_STEPS))
        return work->index->budget->ended;
    if (depth > SH_SCHEMA_NESTING_MAX)
        return sh_fail(work->err, SH_TOO_LARGE, "the schema nests more than %d levels deep: use $defs",
                       SH_SCHEMA_NESTING_MAX);
    ShJsonDraft outer = work->draft;
    work->draft = draft_of(json, work->draft);
    ShStatus status = note_names(work, json, &base, path);
    for (size_t i = 0; status == SH_OK && ones[i] != NULL; i++)
        status = walk_child(work, json_object_get(json, ones[i]), base, path, ones[i], "", depth);
    for (size_t i = 0; status == SH_OK && lists[i] != NULL; i++) {
        const json_t *list = json_object_get(json, lists[i]);
        for (size_t j = 0; status == SH_OK && j < json_array_size(list); j++) {
            char number[24];
            snprintf(number, sizeof number, "%zu", j);
            status = walk_child(work, json_array_get(list, j), base, path, lists[i], number, depth);
        }
    }
    for (size_t i = 0; status == SH_OK && maps[i] != NULL; i++) {
        json_t *map = json_object_get(json, maps[i]);
        for (void *at = json_object_iter(map); status == SH_OK && at != NULL;
             at = json_object_iter_next(map, at))
            status = walk_child(work, json_object_iter_value(at), base, path, maps[i],
                                json_object_iter_key(at), depth);
    }
    work->draft = outer;
    return status;
}

static ShStatus note_names(Walk *work, const json_t *json, const char **base, const char *path)
{
    ShJsonIndex *index = work->index;
    const char *below = sh_json_index_base(index, json, *base, work->draft);
    char *kept_path = keep(index->arena, path, strlen(path));
    if (below == NULL || kept_path == NULL)
        return no_memory(work->err);
    ShJsonPlace place = {.json = json, .base = below, .path = kept_path, .draft = work->draft};
    ShStatus status = SH_OK;
    const char *id = id_of(json, work->draft);
    if (id != NULL && *id == '#')
        status = add_entry(index, *base, "", id, &place, work->err);
    else if (id != NULL)
        status = add_entry(index, below, "", "", &place, work->err);
    const char *fragment = id == NULL ? NULL : strchr(id, '#');
    if (status == SH_OK && fragment != NULL && fragment != id && fragment[1] != '\0')
        status = add_entry(index, below, "", fragment, &place, work->err);
    *base = below;
    if (work->draft < SH_JSON_DRAFT_2019)
        return status;
    const char *anchor = json_string_value(json_object_get(json, "$anchor"));
    const char *dynamic = json_string_value(json_object_get(json, "$dynamicAnchor"));
    if (status == SH_OK && anchor != NULL)
        status = add_entry(index, below, "#", anchor, &place, work->err);
    if (status == SH_OK && dynamic != NULL)
        status = add_entry(index, below, "#", dynamic, &place, work->err);
    if (status == SH_OK && dynamic != NULL)
        status = add_entry(index, below, "#!", dynamic, &place, work->err);
    if (status == SH_OK && json_is_true(json_object_get(json, "$recursiveAnchor")))
        status = add_entry(index, below, "#!", "", &place, work->err);
    return status;
}

/* The first of a name stays. */
static ShStatus add_entry(ShJsonIndex *index, const char *uri, const char *separator, const char *anchor,
                          const ShJsonPlace *place, ShError *err)
{
    size_t room = strlen(uri) + strlen(separator) + strlen(anchor) + 1;
    char *name = room > URI_MAX ? NULL : sh_schema_arena_alloc(index->arena, room);
    Entry *entry = sh_schema_arena_alloc(index->arena, sizeof *entry);
    if (name == NULL || entry == NULL)
        return room > URI_MAX ? sh_fail(err, SH_INVALID, "an $id of more than %d bytes", URI_MAX)
                              : no_memory(err);
    snprintf(name, room, "%s%s%s", uri, separator, anchor);
    Entry *known;
    HASH_FIND_STR(index->entries, name, known);
    if (known != NULL)
        return SH_OK;
    entry->uri = name;
    entry->place = *place;
    HASH_ADD_KEYPTR(hh, index->entries, entry->uri, strlen(entry->uri), entry);
    return entry->hh.tbl != NULL ? SH_OK : no_memory(err);
}

/* One step of a JSON pointer, "~0", "~1" and %XX undone; returns its end. */
static const char *next_token(const char *at, char *out, size_t room)
{
    size_t used = 0;
    for (; *at != '\0' && *at != '/'; at++) {
        char c = *at;
        unsigned byte;
        if (c == '~' && (at[1] == '0' || at[1] == '1')) {
            c = *++at == '0' ? '~' : '/';
        } else if (c == '%' && at[1] != '\0' && at[2] != '\0' && sscanf(at + 1, "%2x", &byte) == 1) {
            c = (char)byte;
            at += 2;
            if (c == '~' && (at[1] == '0' || at[1] == '1'))
                c = *++at == '0' ? '~' : '/';
        }
        if (used + 1 < room)
            out[used++] = c;
    }
    out[used] = '\0';
    return at;
}

static ShStatus follow_pointer(ShJsonIndex *index, ShJsonPlace *place, const char *pointer, ShError *err)
{
    if (*pointer == '\0')
        return SH_OK;
    for (const char *at = pointer; *at == '/';) {
        char token[URI_MAX];
        if (!sh_budget_spend(index->budget, 4))
            return index->budget->ended;
        at = next_token(at + 1, token, sizeof token);
        const json_t *next = json_object_get(place->json, token);
        if (json_is_array(place->json) && *token != '\0' && strspn(token, "0123456789") == strlen(token))
            next = json_array_get(place->json, strtoul(token, NULL, 10));
        if (next == NULL)
            return sh_fail(err, SH_INVALID, "the $ref \"#%s\" leads nowhere: define it, e.g. below $defs",
                           pointer);
        place->json = next;
        place->draft = draft_of(next, place->draft);
        place->base = sh_json_index_base(index, next, place->base, place->draft);
        if (place->base == NULL)
            return no_memory(err);
    }
    size_t room = strlen(pointer) + 2;
    char *path = sh_schema_arena_alloc(index->arena, room);
    if (path == NULL)
        return no_memory(err);
    snprintf(path, room, "#%s", pointer);
    place->path = path;
    return SH_OK;
}

/* `ref` against `base`. What uriparser does not take (a name with blanks) stands for itself. */
static char *resolve(ShJsonIndex *index, const char *base, const char *ref)
{
    size_t bare = strcspn(base, "#");
    if (*ref == '#' || *ref == '\0') { /* also of a URN, which has no hierarchy */
        size_t length = strlen(ref);
        char *out = sh_schema_arena_alloc(index->arena, bare + length + 1);
        if (out != NULL) {
            memcpy(out, base, bare);
            memcpy(out + bare, ref, length);
        }
        return out;
    }
    char *out = NULL;
    if (!sh_budget_spend(index->budget, URI_STEPS + strlen(ref)))
        return NULL;
    UriUriA base_uri;
    UriUriA ref_uri;
    UriUriA whole;
    const char *error_at;
    char *base_text = keep(index->arena, base, bare);
    if (base_text == NULL)
        return NULL;
    bool has_base = uriParseSingleUriA(&base_uri, base_text, &error_at) == URI_SUCCESS;
    bool has_ref = uriParseSingleUriA(&ref_uri, ref, &error_at) == URI_SUCCESS;
    if (has_base && has_ref && uriAddBaseUriA(&whole, &ref_uri, &base_uri) == URI_SUCCESS) {
        int chars;
        if (uriToStringCharsRequiredA(&whole, &chars) == URI_SUCCESS && chars < URI_MAX) {
            out = sh_schema_arena_alloc(index->arena, (size_t)chars + 1);
            if (out != NULL)
                (void)uriToStringA(out, &whole, chars + 1, NULL);
        }
        uriFreeUriMembersA(&whole);
    }
    if (has_base)
        uriFreeUriMembersA(&base_uri);
    if (has_ref)
        uriFreeUriMembersA(&ref_uri);
    return out == NULL ? keep(index->arena, ref, strlen(ref)) : out;
}

static ShJsonDraft draft_of(const json_t *json, ShJsonDraft otherwise)
{
    static const struct {
        const char *mark;
        ShJsonDraft draft;
    } drafts[] = {{"draft-04", SH_JSON_DRAFT_4},
                  {"draft-06", SH_JSON_DRAFT_6},
                  {"draft-07", SH_JSON_DRAFT_7},
                  {"2019-09", SH_JSON_DRAFT_2019},
                  {"2020-12", SH_JSON_DRAFT_2020}};
    const char *uri = json_string_value(json_object_get(json, "$schema"));
    for (size_t i = 0; uri != NULL && i < sizeof drafts / sizeof *drafts; i++)
        if (strstr(uri, drafts[i].mark) != NULL)
            return drafts[i].draft;
    return otherwise;
}

static char *keep(ShSchemaArena *arena, const char *text, size_t length)
{
    char *out = sh_schema_arena_alloc(arena, length + 1);
    if (out != NULL)
        memcpy(out, text, length);
    return out;
}
