#include "schema/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES     ((size_t)4 << 10) /* the first; each further one is twice as large */
#define BLOCK_BYTES_MAX ((size_t)1 << 20)

typedef struct Block {
    struct Block *next;
    size_t used;
    size_t room;
    alignas(max_align_t) char bytes[];
} Block;

struct ShSchemaArena {
    Block *blocks;
    size_t next_bytes;
    ShSchemaBudget *budget; /* NULL: sealed */
};

ShSchemaArena *sh_schema_arena_new(ShSchemaBudget *budget)
{
    ShSchemaArena *arena = calloc(1, sizeof *arena);
    if (arena != NULL)
        *arena = (ShSchemaArena){.next_bytes = BLOCK_BYTES, .budget = budget};
    return arena;
}

void sh_schema_arena_seal(ShSchemaArena *arena)
{
    if (arena != NULL)
        arena->budget = NULL;
}

void *sh_schema_arena_alloc(ShSchemaArena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    Block *block = arena->blocks;
    if (block == NULL || block->room - block->used < rounded) {
        size_t room = rounded > arena->next_bytes ? rounded : arena->next_bytes;
        if (arena->budget == NULL || !sh_budget_hold(arena->budget, sizeof *block + room))
            return NULL;
        if (arena->next_bytes < BLOCK_BYTES_MAX)
            arena->next_bytes *= 2;
        block = calloc(1, sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->room = room;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *out = block->bytes + block->used;
    block->used += rounded;
    return out;
}

void sh_schema_arena_free(ShSchemaArena *arena)
{
    if (arena == NULL)
        return;
    for (Block *block = arena->blocks; block != NULL;) {
        Block *next = block->next;
        free(block);
        block = next;
    }
    free(arena);
}
