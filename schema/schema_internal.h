/*
 * schema_internal.h - what each schema language implements; schema.c calls it by type.
 */
#ifndef SH_SCHEMA_SCHEMA_INTERNAL_H
#define SH_SCHEMA_SCHEMA_INTERNAL_H

#include "schema/schema.h"

/* The functions of one language, with the contracts of their namesakes in schema.h. The budget is never NULL,
 * and when it has ended schema.c says so, whatever they return; but validate of those that take none. */
typedef struct ShSchemaLanguage {
    ShStatus (*parse)(const char *text, size_t text_bytes, const ShSchemaReference *references,
                      size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err);
    void (*free)(ShSchema *schema);
    ShStatus (*text)(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                     ShError *err);
    ShStatus (*compare)(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                        ShSchemaFindings *out, ShError *err);
    ShStatus (*validate)(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                         ShSchemaBudget *budget, ShError *err);
    const char *(*record_name)(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes);
} ShSchemaLanguage;

/* The first member of each language's own structure. */
struct ShSchema {
    ShSchemaType type;
    const ShSchemaLanguage *language;
    size_t bytes; /* of memory; set once it is parsed */
};

extern const ShSchemaLanguage sh_schema_avro;
extern const ShSchemaLanguage sh_schema_json;
extern const ShSchemaLanguage sh_schema_protobuf;

#endif
