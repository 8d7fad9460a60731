#include "schema/avro_program.h"

#include <stdlib.h>

#define NOWHERE  UINT32_MAX
#define SKIP_MAX (UINT32_MAX / 2)

typedef struct Writer {
    ShAvroOp *ops;
    size_t count;
    size_t capacity;
    ShSchemaBudget *budget;
    bool failed;
    size_t label;               /* the last place that something jumps to */
    uint32_t *starts;           /* of the records' routines, by index; NOWHERE: not written yet */
    const ShAvroNode **pending; /* records that are called and not written yet */
    size_t pending_count;
} Writer;

static uint32_t put(Writer *writer, ShAvroOpKind kind, uint32_t arg);
static void write_node(Writer *writer, const ShAvroNode *node);
static void write_call(Writer *writer, const ShAvroNode *record);
static void write_union(Writer *writer, const ShAvroNode *node);
static void write_items(Writer *writer, const ShAvroNode *node);
static void write_routine(Writer *writer, const ShAvroNode *record);
static void skip(Writer *writer, uint64_t bytes);

ShAvroOp *sh_avro_program(const ShAvroSchema *schema, ShSchemaBudget *budget)
{
    Writer writer = {.budget = budget,
                     .starts = malloc((schema->record_count + 1) * sizeof(uint32_t)),
                     .pending = malloc((schema->record_count + 1) * sizeof(ShAvroNode *))};
    writer.failed = writer.starts == NULL || writer.pending == NULL;
    for (uint32_t i = 0; i < schema->record_count && !writer.failed; i++)
        writer.starts[i] = NOWHERE;
    if (!writer.failed && schema->root->type == SH_AVRO_RECORD) {
        write_routine(&writer, schema->root);
    } else if (!writer.failed) {
        write_node(&writer, schema->root);
        put(&writer, SH_AVRO_OP_RETURN, 0);
    }
    while (writer.pending_count > 0 && !writer.failed)
        write_routine(&writer, writer.pending[--writer.pending_count]);
    /* Only now is it known where the routines begin. */
    for (size_t i = 0; i < writer.count && !writer.failed; i++)
        if (writer.ops[i].kind == SH_AVRO_OP_CALL)
            writer.ops[i].arg = writer.starts[writer.ops[i].arg];
    free(writer.starts);
    free(writer.pending);
    if (!writer.failed) {
        sh_avro_link(writer.ops, writer.count);
        return writer.ops;
    }
    free(writer.ops);
    return NULL;
}

/* Returns its place. */
static uint32_t put(Writer *writer, ShAvroOpKind kind, uint32_t arg)
{
    if (writer->count == writer->capacity) {
        size_t capacity = 2 * writer->capacity + 16;
        ShAvroOp *ops = !sh_budget_hold(writer->budget, (capacity - writer->capacity) * sizeof *ops)
                            ? NULL
                            : realloc(writer->ops, capacity * sizeof *ops);
        if (ops == NULL) {
            writer->failed = true;
            return 0;
        }
        writer->ops = ops;
        writer->capacity = capacity;
    }
    writer->ops[writer->count] = (ShAvroOp){.kind = kind, .arg = arg};
    return (uint32_t)writer->count++;
}

static void write_node(Writer *writer, const ShAvroNode *node)
{
    if (node->is_empty || writer->failed)
        return;
    if (!sh_budget_spend(writer->budget, 1)) {
        writer->failed = true;
        return;
    }
    switch (node->type) {
    case SH_AVRO_NULL:
        return;
    case SH_AVRO_BOOLEAN:
        put(writer, SH_AVRO_OP_BOOLEAN, 0);
        return;
    case SH_AVRO_INT:
        put(writer, SH_AVRO_OP_INT, 0);
        return;
    case SH_AVRO_LONG:
        put(writer, SH_AVRO_OP_LONG, 0);
        return;
    case SH_AVRO_FLOAT:
        skip(writer, 4);
        return;
    case SH_AVRO_DOUBLE:
        skip(writer, 8);
        return;
    case SH_AVRO_FIXED:
        skip(writer, node->size);
        return;
    case SH_AVRO_BYTES:
        put(writer, SH_AVRO_OP_BYTES, 0);
        return;
    case SH_AVRO_STRING:
        put(writer, SH_AVRO_OP_STRING, 0);
        return;
    case SH_AVRO_ENUM:
        put(writer, SH_AVRO_OP_ENUM, (uint32_t)node->symbol_count);
        return;
    case SH_AVRO_RECORD:
        write_call(writer, node);
        return;
    case SH_AVRO_UNION:
        write_union(writer, node);
        return;
    case SH_AVRO_ARRAY:
    case SH_AVRO_MAP:
        write_items(writer, node);
        return;
    }
}

/* For now the argument is the record's index. */
static void write_call(Writer *writer, const ShAvroNode *record)
{
    if (writer->starts[record->index] == NOWHERE) {
        writer->starts[record->index] = 0; /* it is pending */
        writer->pending[writer->pending_count++] = record;
    }
    put(writer, SH_AVRO_OP_CALL, record->index);
}

static void write_routine(Writer *writer, const ShAvroNode *record)
{
    writer->starts[record->index] = (uint32_t)writer->count;
    writer->label = writer->count;
    for (size_t i = 0; i < record->field_count; i++)
        write_node(writer, record->fields[i].node);
    put(writer, SH_AVRO_OP_RETURN, 0);
}

/* The branches in a row, each but the last with a jump behind all of them. */
static void write_union(Writer *writer, const ShAvroNode *node)
{
    put(writer, SH_AVRO_OP_UNION, (uint32_t)node->branch_count);
    size_t table = writer->count;
    for (size_t i = 0; i < node->branch_count; i++)
        put(writer, SH_AVRO_OP_BRANCH, 0);
    uint32_t last_jump = NOWHERE; /* a chain of jumps whose target is not known yet */
    for (size_t i = 0; i < node->branch_count && !writer->failed; i++) {
        writer->ops[table + i].arg = (uint32_t)writer->count;
        writer->label = writer->count;
        write_node(writer, node->branches[i]);
        if (i + 1 < node->branch_count)
            last_jump = put(writer, SH_AVRO_OP_JUMP, last_jump);
    }
    writer->label = writer->count;
    while (last_jump != NOWHERE && !writer->failed) {
        ShAvroOp *jump = &writer->ops[last_jump];
        last_jump = jump->arg;
        jump->arg = (uint32_t)writer->count;
    }
}

static void write_items(Writer *writer, const ShAvroNode *node)
{
    bool has_keys = node->type == SH_AVRO_MAP;
    if (!has_keys && node->items->is_empty) {
        put(writer, SH_AVRO_OP_UNSURE, 0);
        return;
    }
    uint32_t start = put(writer, SH_AVRO_OP_ITEMS, 0);
    if (has_keys)
        put(writer, SH_AVRO_OP_STRING, 0);
    write_node(writer, node->items);
    put(writer, SH_AVRO_OP_NEXT, 0);
    if (!writer->failed)
        writer->ops[start].arg = (uint32_t)writer->count;
    writer->label = writer->count;
}

/* What is skipped one after the other is skipped at once. */
static void skip(Writer *writer, uint64_t bytes)
{
    ShAvroOp *last = writer->count > writer->label ? &writer->ops[writer->count - 1] : NULL;
    if (bytes > SKIP_MAX)
        put(writer, SH_AVRO_OP_UNSURE, 0);
    else if (last != NULL && last->kind == SH_AVRO_OP_SKIP && last->arg <= SKIP_MAX)
        last->arg += (uint32_t)bytes;
    else
        put(writer, SH_AVRO_OP_SKIP, (uint32_t)bytes);
}
