/*
 * avro_program.h - an Avro schema as a program that steps over its data, in a few instructions a field.
 *
 * It only tells whether data fits, and may say no to data that is rare: avro_validate.c then has the last
 * word, and the reason. What it says yes to fits.
 *
 * A record is a routine; what stands in it is written out in its place, but for other records, which are
 * called. So the program is no longer than the schema's text, however often types name each other.
 */
#ifndef SH_SCHEMA_AVRO_PROGRAM_H
#define SH_SCHEMA_AVRO_PROGRAM_H

#include "schema/avro_node.h"

typedef enum ShAvroOpKind {
    SH_AVRO_OP_RETURN, /* of a routine; of the first one: the end */
    SH_AVRO_OP_BOOLEAN,
    SH_AVRO_OP_INT,
    SH_AVRO_OP_LONG,
    SH_AVRO_OP_SKIP, /* arg: bytes */
    SH_AVRO_OP_BYTES,
    SH_AVRO_OP_STRING,
    SH_AVRO_OP_ENUM,   /* arg: number of symbols */
    SH_AVRO_OP_CALL,   /* arg: op where a routine begins */
    SH_AVRO_OP_UNION,  /* arg: number of branches; the ops behind it say where these begin */
    SH_AVRO_OP_BRANCH, /* arg: op where a branch begins; never run */
    SH_AVRO_OP_JUMP,   /* arg: op */
    SH_AVRO_OP_ITEMS,  /* of an array or a map; arg: op behind its items */
    SH_AVRO_OP_NEXT,   /* behind an item's ops */
    SH_AVRO_OP_UNSURE  /* left to avro_validate.c */
} ShAvroOpKind;

typedef struct ShAvroOp {
    const void *action; /* where sh_avro_fits goes for it */
    uint32_t kind;
    uint32_t arg;
} ShAvroOp;

/* Write the program of `schema->root`. NULL when memory is short, or the budget's; freed with free(). */
ShAvroOp *sh_avro_program(const ShAvroSchema *schema, ShSchemaBudget *budget);

/* Set the ops' actions. */
void sh_avro_link(ShAvroOp *ops, size_t count);

/* Does the data fit? False: it does not, or it cannot be told here. */
bool sh_avro_fits(const ShAvroOp *program, const uint8_t *data, size_t bytes);
/* The last word (avro_validate.c): SH_INVALID says where it does not fit, and why. */
ShStatus sh_avro_explain(const ShAvroNode *root, const uint8_t *data, size_t bytes,
                         ShError *err) SH_MUST_CHECK;

#endif
