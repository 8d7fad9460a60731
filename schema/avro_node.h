/*
 * avro_node.h - an Avro schema as a graph of nodes, one for each type that is written down; names are
 * resolved to the nodes that they name. Constant once parsed.
 */
#ifndef SH_SCHEMA_AVRO_NODE_H
#define SH_SCHEMA_AVRO_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/arena.h"
#include "schema/schema_internal.h"

typedef enum ShAvroType {
    SH_AVRO_NULL,
    SH_AVRO_BOOLEAN,
    SH_AVRO_INT,
    SH_AVRO_LONG,
    SH_AVRO_FLOAT,
    SH_AVRO_DOUBLE,
    SH_AVRO_BYTES,
    SH_AVRO_STRING,
    SH_AVRO_RECORD,
    SH_AVRO_ENUM,
    SH_AVRO_FIXED,
    SH_AVRO_ARRAY,
    SH_AVRO_MAP,
    SH_AVRO_UNION
} ShAvroType;

struct ShAvroNode;

typedef struct ShAvroField {
    const char *name;
    const struct ShAvroNode *node;
    const json_t *json;     /* its object */
    const json_t *standard; /* its default; NULL: none */
    const char **aliases;
    size_t alias_count;
} ShAvroField;

typedef struct ShAvroNode {
    ShAvroType type;
    bool is_foreign; /* stands in a reference's text */
    bool is_empty;   /* its data has no bytes */
    uint32_t index;  /* of a record, among the schema's records */
    const json_t *json;

    /* of named types; aliases are full names */
    const char *name;
    const char *simple; /* without its namespace; part of `name` */
    const char **aliases;
    const char **sorted_aliases;
    size_t alias_count;

    ShAvroField *fields;
    const ShAvroField **sorted_fields; /* by name */
    size_t field_count;
    const char **symbols; /* as written */
    const char **sorted;  /* by name */
    size_t symbol_count;
    const char *standard;           /* symbol of an enum that readers take for unknown ones; NULL: none */
    uint64_t size;                  /* of a fixed */
    const struct ShAvroNode *items; /* of an array; of a map, its values */
    const struct ShAvroNode **branches;
    size_t branch_count;

    const char *logical; /* a logical type that fits its type; NULL: none */
    int64_t precision;
    int64_t scale;
} ShAvroNode;

typedef struct ShAvroSchema {
    ShSchema base;
    ShSchemaArena *arena;
    json_t **documents; /* the references' first, then the schema's own */
    size_t document_count;
    const ShAvroNode *root;
    uint32_t record_count;
    struct ShAvroOp *program; /* avro_program.h */
} ShAvroSchema;

/* "record", "int", ... */
const char *sh_avro_type_name(ShAvroType type);
/* The type of a primitive type's name; SH_AVRO_RECORD when it is none. */
ShAvroType sh_avro_primitive(const char *name);
static inline bool sh_avro_is_named(ShAvroType type)
{
    return type == SH_AVRO_RECORD || type == SH_AVRO_ENUM || type == SH_AVRO_FIXED;
}
/* Has the enum this symbol? */
bool sh_avro_has_symbol(const ShAvroNode *node, const char *symbol);
/* The record's field of this name; NULL: none. */
const ShAvroField *sh_avro_field(const ShAvroNode *node, const char *name);

/* avro_default.c: does a default fit its field's type? `*why` says in a few words what does not. */
bool sh_avro_default_fits(const ShAvroNode *node, const json_t *value, ShSchemaBudget *budget,
                          const char **why);
/* avro_default.c: note the logical type that an object names, if it fits; one that does not is none. */
void sh_avro_set_logical(ShAvroNode *node, const json_t *object);

ShStatus sh_avro_parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                       size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err);
void sh_avro_free(ShSchema *schema);
ShStatus sh_avro_text(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                      ShError *err);
ShStatus sh_avro_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                         ShSchemaFindings *out, ShError *err);
ShStatus sh_avro_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                          ShSchemaBudget *budget, ShError *err);

#endif
