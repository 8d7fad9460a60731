/*
 * schema_cache.h - parsed schemas of the registry, kept by each backend.
 *
 * The key is the schema's digest, over its text and all that it refers to: what is kept cannot grow stale.
 * Their number and the memory that they take are bounded; what was asked for longest ago goes first, and
 * what is very large is not kept.
 */
#ifndef SH_EXTENSION_SCHEMA_CACHE_H
#define SH_EXTENSION_SCHEMA_CACHE_H

#include "postgres.h"

#include "extension/schema_glue.h"

#define SH_SCHEMA_DIGEST_BYTES 32

/* The schema, or NULL. Valid until the next call of sh_schema_cache_add. */
const ShSchema *sh_schema_cache_get(const uint8 digest[SH_SCHEMA_DIGEST_BYTES]);

/* Parse a schema that is not there, and keep it. Valid until the next call, or with CurrentMemoryContext if
 * that ends sooner. Raises what sh_schema_of does. */
const ShSchema *sh_schema_cache_add(const uint8 digest[SH_SCHEMA_DIGEST_BYTES], const ShSchemaSource *source,
                                    ShSchemaBudget *budget);

#endif
