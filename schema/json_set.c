#include "schema/json_set.h"

#include <stdint.h>
#include <string.h>

#include "schema/hash.h"

#define BYTES_A_STEP 32

typedef struct Slot {
    uint64_t hash;
    const json_t *value; /* NULL: free */
} Slot;

/* Slots are a power of two, at most half of them taken: who looks for a value goes on to the first free one.
 */
struct ShJsonSet {
    size_t mask;
    Slot slots[];
};

static uint64_t hash_of(const json_t *value, ShSchemaBudget *budget);
static Slot *find(const ShJsonSet *set, const json_t *value, uint64_t hash, ShSchemaBudget *budget);

bool sh_json_same(const json_t *a, const json_t *b, ShSchemaBudget *budget)
{
    if (!sh_budget_spend(budget, 1))
        return false;
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        size_t count = json_array_size(a);
        bool same = count == json_array_size(b);
        for (size_t i = 0; same && i < count; i++)
            same = sh_json_same(json_array_get(a, i), json_array_get(b, i), budget);
        return same;
    }
    if (!json_is_object(a))
        return sh_budget_spend(budget, json_string_length(a) / BYTES_A_STEP) && json_equal(a, b);
    bool same = json_object_size(a) == json_object_size(b);
    json_t *object = (json_t *)(uintptr_t)a;
    for (void *at = json_object_iter(object); same && at != NULL; at = json_object_iter_next(object, at)) {
        const json_t *other = json_object_get(b, json_object_iter_key(at));
        same = other != NULL && sh_json_same(json_object_iter_value(at), other, budget);
    }
    return same;
}

ShJsonSet *sh_json_set_new(ShSchemaArena *arena, size_t count)
{
    size_t room = 16;
    while (room < 2 * count)
        room *= 2;
    ShJsonSet *set = sh_schema_arena_alloc(arena, sizeof *set + room * sizeof set->slots[0]);
    if (set != NULL)
        set->mask = room - 1;
    return set;
}

bool sh_json_set_add(ShJsonSet *set, const json_t *value, ShSchemaBudget *budget)
{
    uint64_t hash = hash_of(value, budget);
    Slot *slot = find(set, value, hash, budget);
    if (slot->value != NULL)
        return false;
    *slot = (Slot){.hash = hash, .value = value};
    return true;
}

ShJsonSet *sh_json_set_of(ShSchemaArena *arena, const json_t *array, ShSchemaBudget *budget)
{
    ShJsonSet *set = sh_json_set_new(arena, json_array_size(array));
    for (size_t i = 0; set != NULL && i < json_array_size(array); i++)
        (void)sh_json_set_add(set, json_array_get(array, i), budget);
    return set;
}

bool sh_json_set_has(const ShJsonSet *set, const json_t *value, ShSchemaBudget *budget)
{
    return find(set, value, hash_of(value, budget), budget)->value != NULL;
}

/* Its slot, or the free one where it belongs. When the budget has ended, any: who asks for it looks there. */
static Slot *find(const ShJsonSet *set, const json_t *value, uint64_t hash, ShSchemaBudget *budget)
{
    size_t at = hash & set->mask;
    for (;; at = (at + 1) & set->mask) {
        const Slot *slot = &set->slots[at];
        if (slot->value == NULL || !sh_budget_spend(budget, 1) ||
            (slot->hash == hash && sh_json_same(slot->value, value, budget)))
            return (Slot *)(uintptr_t)slot;
    }
}

/* Equal values have equal hashes: numbers by their value as a fraction, objects whatever their order. */
static uint64_t hash_of(const json_t *value, ShSchemaBudget *budget)
{
    uint64_t hash = json_is_integer(value) ? (uint64_t)JSON_REAL : (uint64_t)json_typeof(value);
    if (!sh_budget_spend(budget, 1))
        return hash;
    if (json_is_number(value)) {
        double number = json_number_value(value) + 0.0; /* -0 is 0 */
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        return sh_schema_hash_pair(hash, bits);
    }
    if (json_is_string(value)) {
        (void)sh_budget_spend(budget, json_string_length(value) / BYTES_A_STEP);
        return sh_schema_hash(json_string_value(value), json_string_length(value));
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        hash = sh_schema_hash_pair(hash, hash_of(json_array_get(value, i), budget));
    json_t *object = (json_t *)(uintptr_t)value;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        hash += sh_schema_hash_pair(sh_schema_hash(key, strlen(key)),
                                    hash_of(json_object_iter_value(at), budget));
    }
    return hash;
}
