/* arena.h - memory that lives and goes with one parsed schema. One thread at a time. */
#ifndef SH_SCHEMA_ARENA_H
#define SH_SCHEMA_ARENA_H

#include <stddef.h>

typedef struct ShSchemaArena ShSchemaArena;

/* NULL when memory is short. */
ShSchemaArena *sh_schema_arena_new(void);
/* Zeroed bytes, aligned for anything; NULL when memory is short. */
void *sh_schema_arena_alloc(ShSchemaArena *arena, size_t bytes);
/* NULL is fine. */
void sh_schema_arena_free(ShSchemaArena *arena);

#endif
