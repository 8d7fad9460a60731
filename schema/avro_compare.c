/*
 * avro_compare.c - can a reader's Avro schema read what was written with another one? Apache Avro 1.11
 * specification, "Schema Resolution", with the words and places by which Avro's own check and the Confluent
 * registry name what does not fit.
 *
 * Pairs of records are compared once. One that is met again while it is being compared counts as fitting, so
 * that recursion ends; when it turns out not to fit, what was found to fit meanwhile is forgotten.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/avro_node.h"
#include "schema/sorted_names.h"

#define PAIR_STEPS     2
#define FINDING_STEPS  16
#define DEPTH_MAX      2000
#define PAIRS_MAX      (64u << 20)
#define PATH_BYTES_MAX 2048

enum { PAIR_UNKNOWN, PAIR_FITS, PAIR_FITS_NOT, PAIR_REPORTED };

typedef struct Comparison {
    ShSchemaFindings *findings;
    ShSchemaBudget *budget;
    uint8_t *pairs;  /* of records: reader's index * writer's count + writer's index */
    uint32_t *found; /* pairs that were found to fit, in that order */
    size_t found_count;
    size_t found_capacity;
    size_t writer_records;
    int silent; /* above 0: a branch of a union is tried */
    int depth;
    char path[PATH_BYTES_MAX];
    size_t path_length;
    ShStatus status;
    ShError *err;
} Comparison;

static bool compare(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_same(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_names(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_records(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_fields(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static const ShAvroField *writers_field(Comparison *work, const ShAvroNode *writer, const ShAvroField *field);
static bool compare_enums(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_fixed(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool compare_decimals(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool read_union(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool has_branch(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer);
static bool promotes(ShAvroType reader, ShAvroType writer);
static bool note_pair(Comparison *work, size_t pair, uint8_t state);
static bool report(Comparison *work, const char *kind, const char *place, const char *fmt, ...)
    SH_PRINTF(4, 5);
static const char *describe(const ShAvroNode *node);
static size_t enter(Comparison *work, const char *name, size_t number);
static void leave(Comparison *work, size_t length);

ShStatus sh_avro_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                         ShSchemaFindings *out, ShError *err)
{
    const ShAvroSchema *read = (const ShAvroSchema *)reader;
    const ShAvroSchema *written = (const ShAvroSchema *)writer;
    Comparison work = {
        .findings = out, .budget = budget, .writer_records = written->record_count, .err = err};
    uint64_t pairs = (uint64_t)read->record_count * written->record_count;
    if (pairs > PAIRS_MAX || !sh_budget_hold(budget, pairs))
        return sh_fail(err, SH_TOO_LARGE, "schemas of %u and %u records are too many to compare",
                       read->record_count, written->record_count);
    work.pairs = calloc(pairs + 1, 1);
    if (work.pairs == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to compare two schemas");
    (void)compare(&work, read->root, written->root);
    free(work.pairs);
    free(work.found);
    return work.status;
}

static bool compare(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    if (work->status != SH_OK)
        return false;
    if (work->depth > DEPTH_MAX)
        sh_budget_end(work->budget, SH_EXHAUSTED);
    if (!sh_budget_spend(work->budget, PAIR_STEPS)) {
        work->status = work->budget->ended;
        return false;
    }
    work->depth++;
    bool fits = true;
    if (writer->type == SH_AVRO_UNION) {
        for (size_t i = 0; i < writer->branch_count; i++) {
            if (reader->type == SH_AVRO_UNION) {
                size_t length = enter(work, NULL, i);
                fits &= read_union(work, reader, writer->branches[i]);
                leave(work, length);
            } else {
                fits &= compare(work, reader, writer->branches[i]);
            }
        }
    } else if (reader->type == SH_AVRO_UNION) {
        fits = read_union(work, reader, writer);
    } else if (reader->type == writer->type) {
        fits = compare_same(work, reader, writer);
    } else if (!promotes(reader->type, writer->type)) {
        fits = report(work, "TYPE_MISMATCH", "",
                      "%s cannot be read as %s: keep the type, or read a union of both", describe(writer),
                      describe(reader));
    }
    work->depth--;
    return fits;
}

static bool compare_same(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    size_t length;
    bool fits = true;
    switch (reader->type) {
    case SH_AVRO_RECORD:
        return compare_records(work, reader, writer);
    case SH_AVRO_ENUM:
        return compare_enums(work, reader, writer);
    case SH_AVRO_FIXED:
        fits = compare_fixed(work, reader, writer);
        return compare_decimals(work, reader, writer) && fits;
    case SH_AVRO_ARRAY:
    case SH_AVRO_MAP:
        length = enter(work, reader->type == SH_AVRO_ARRAY ? "items" : "values", 0);
        fits = compare(work, reader->items, writer->items);
        leave(work, length);
        return fits;
    default:
        return compare_decimals(work, reader, writer);
    }
}

/* "Both schemas are records (enums, fixed) with the same (unqualified) name"; an alias of the reader is
 * another name of it. */
static bool compare_names(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    if (strcmp(reader->simple, writer->simple) == 0)
        return true;
    if (sh_names_hold(reader->sorted_aliases, reader->alias_count, writer->name))
        return true;
    return report(work, "NAME_MISMATCH", "/name",
                  "the writer's %s is named %.200s, the reader's %.200s: keep the name, or give the reader's "
                  "the alias %.200s",
                  sh_avro_type_name(reader->type), writer->name, reader->name, writer->name);
}

static bool compare_records(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    size_t pair = reader->index * work->writer_records + writer->index;
    uint8_t known = work->pairs[pair];
    if (known == PAIR_FITS || known == PAIR_REPORTED || (known == PAIR_FITS_NOT && work->silent > 0))
        return known == PAIR_FITS;
    size_t found_before = work->found_count;
    if (!note_pair(work, pair, PAIR_FITS))
        return false;
    bool fits = compare_names(work, reader, writer);
    if (fits || work->silent == 0)
        fits = compare_fields(work, reader, writer) && fits;
    if (fits)
        return true;
    while (work->found_count > found_before)
        work->pairs[work->found[--work->found_count]] = PAIR_UNKNOWN;
    work->pairs[pair] = work->silent > 0 ? PAIR_FITS_NOT : PAIR_REPORTED;
    return false;
}

static bool compare_fields(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    bool fits = true;
    for (size_t i = 0; i < reader->field_count && work->status == SH_OK && (fits || work->silent == 0); i++) {
        const ShAvroField *field = &reader->fields[i];
        const ShAvroField *from = writers_field(work, writer, field);
        size_t length = enter(work, "fields", i);
        if (from != NULL) {
            size_t inner = enter(work, "type", 0);
            fits &= compare(work, field->node, from->node);
            leave(work, inner);
        } else if (field->standard == NULL) {
            fits &= report(
                work, "READER_FIELD_MISSING_DEFAULT_VALUE", "",
                "the writer has no field \"%.200s\", and the reader has no default for it: give it a default",
                field->name);
        }
        leave(work, length);
    }
    return fits;
}

/* By name, else by one of the reader's aliases. */
static const ShAvroField *writers_field(Comparison *work, const ShAvroNode *writer, const ShAvroField *field)
{
    (void)sh_budget_spend(work->budget, 4 + field->alias_count);
    const ShAvroField *found = sh_avro_field(writer, field->name);
    for (size_t a = 0; a < field->alias_count && found == NULL; a++)
        found = sh_avro_field(writer, field->aliases[a]);
    return found;
}

static bool compare_enums(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    bool fits = compare_names(work, reader, writer);
    if (reader->standard != NULL || (!fits && work->silent > 0))
        return fits;
    char missing[256] = "";
    size_t length = 0;
    for (size_t i = 0;
         i < writer->symbol_count && (length == 0 || work->silent == 0) && sh_budget_spend(work->budget, 1);
         i++)
        if (!sh_avro_has_symbol(reader, writer->symbols[i])) {
            int added = snprintf(missing + length, sizeof missing - length, "%s%.60s", length > 0 ? ", " : "",
                                 writer->symbols[i]);
            length = length + (size_t)added < sizeof missing ? length + (size_t)added : sizeof missing - 1;
        }
    if (length == 0)
        return fits;
    return report(
        work, "MISSING_ENUM_SYMBOLS", "/symbols",
        "the reader's enum has no symbol for the writer's %s: keep them, or give the reader's enum a default",
        missing);
}

static bool compare_fixed(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    bool fits = compare_names(work, reader, writer);
    if (reader->size == writer->size)
        return fits;
    return report(work, "FIXED_SIZE_MISMATCH", "/size",
                  "the writer's fixed has %llu bytes, the reader's %llu: keep the size",
                  (unsigned long long)writer->size, (unsigned long long)reader->size);
}

/* "Two schemas that are decimal logical types match if their scales and precisions match." */
static bool compare_decimals(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    bool both = reader->logical != NULL && writer->logical != NULL &&
                strcmp(reader->logical, "decimal") == 0 && strcmp(writer->logical, "decimal") == 0;
    if (!both || (reader->scale == writer->scale && reader->precision == writer->precision))
        return true;
    return report(
        work, "TYPE_MISMATCH", "",
        "the writer's decimal has precision %lld and scale %lld, the reader's %lld and %lld: keep both",
        (long long)writer->precision, (long long)writer->scale, (long long)reader->precision,
        (long long)reader->scale);
}

static bool read_union(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    if (has_branch(work, reader, writer))
        return true;
    return report(work, "MISSING_UNION_BRANCH", "", "no branch of the reader's union reads %s: add it",
                  describe(writer));
}

static bool has_branch(Comparison *work, const ShAvroNode *reader, const ShAvroNode *writer)
{
    bool fits = false;
    work->silent++;
    for (size_t i = 0; i < reader->branch_count && !fits; i++)
        fits = compare(work, reader->branches[i], writer);
    work->silent--;
    return fits;
}

/* "The writer's schema may be promoted to the reader's". */
static bool promotes(ShAvroType reader, ShAvroType writer)
{
    switch (reader) {
    case SH_AVRO_LONG:
        return writer == SH_AVRO_INT;
    case SH_AVRO_FLOAT:
        return writer == SH_AVRO_INT || writer == SH_AVRO_LONG;
    case SH_AVRO_DOUBLE:
        return writer == SH_AVRO_INT || writer == SH_AVRO_LONG || writer == SH_AVRO_FLOAT;
    case SH_AVRO_BYTES:
        return writer == SH_AVRO_STRING;
    case SH_AVRO_STRING:
        return writer == SH_AVRO_BYTES;
    default:
        return false;
    }
}

static bool note_pair(Comparison *work, size_t pair, uint8_t state)
{
    if (work->found_count == work->found_capacity) {
        size_t capacity = work->found_capacity == 0 ? 64 : 2 * work->found_capacity;
        uint32_t *grown = reallocarray(work->found, capacity, sizeof *grown);
        if (grown == NULL) {
            work->status = sh_fail(work->err, SH_NO_MEMORY, "no memory to compare two schemas");
            return false;
        }
        work->found = grown;
        work->found_capacity = capacity;
    }
    work->found[work->found_count++] = (uint32_t)pair;
    work->pairs[pair] = state;
    return true;
}

/* False. */
static bool report(Comparison *work, const char *kind, const char *place, const char *fmt, ...)
{
    if (work->silent > 0 || work->status != SH_OK || !sh_budget_spend(work->budget, FINDING_STEPS))
        return false;
    char message[1024];
    char path[PATH_BYTES_MAX + 16];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    snprintf(path, sizeof path, "%s%s", work->path, place);
    if (!sh_schema_findings_add(work->findings, kind, path[0] == '\0' ? "/" : path, "%s", message))
        work->status = sh_fail(work->err, SH_NO_MEMORY, "no memory to compare two schemas");
    return false;
}

static const char *describe(const ShAvroNode *node)
{
    return node->name != NULL ? node->name : sh_avro_type_name(node->type);
}

/* "/name" and, of lists, "/number"; what does not fit into the path is left out. */
static size_t enter(Comparison *work, const char *name, size_t number)
{
    size_t before = work->path_length;
    size_t room = sizeof work->path - before;
    bool is_list = name == NULL || strcmp(name, "fields") == 0;
    int added = is_list ? snprintf(work->path + before, room, "%s%s/%zu", name == NULL ? "" : "/",
                                   name == NULL ? "" : name, number)
                        : snprintf(work->path + before, room, "/%s", name);
    if (added > 0 && (size_t)added < room)
        work->path_length += (size_t)added;
    else
        work->path[before] = '\0';
    return before;
}

static void leave(Comparison *work, size_t length)
{
    work->path_length = length;
    work->path[length] = '\0';
}
