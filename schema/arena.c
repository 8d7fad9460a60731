#include "schema/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES 16384u

typedef struct Block {
    struct Block *next;
    size_t used;
    size_t room;
    alignas(max_align_t) char bytes[];
} Block;

struct ShSchemaArena {
    Block *blocks;
};

ShSchemaArena *sh_schema_arena_new(void)
{
    return calloc(1, sizeof(ShSchemaArena));
}

void *sh_schema_arena_alloc(ShSchemaArena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    Block *block = arena->blocks;
    if (block == NULL || block->room - block->used < rounded) {
        size_t room = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
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
