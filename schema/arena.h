/* arena.h - memory that lives and goes with one parsed schema. One thread at a time. */
#ifndef SH_SCHEMA_ARENA_H
#define SH_SCHEMA_ARENA_H

#include <stddef.h>

#include "schema/budget.h"

typedef struct ShSchemaArena ShSchemaArena;

/* What it takes is held of the budget, until sh_schema_arena_seal. NULL when memory is short. */
ShSchemaArena *sh_schema_arena_new(ShSchemaBudget *budget);
/* Zeroed bytes, aligned for anything; NULL when memory is short, or the budget's. */
void *sh_schema_arena_alloc(ShSchemaArena *arena, size_t bytes);
/* Nothing more is taken: the budget is not needed any longer. NULL is fine. */
void sh_schema_arena_seal(ShSchemaArena *arena);
/* NULL is fine. */
void sh_schema_arena_free(ShSchemaArena *arena);

#endif
