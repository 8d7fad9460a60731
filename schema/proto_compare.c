/*
 * proto_compare.c - can what was written with one Protobuf schema be read with another?
 *
 * The rules are those that the Confluent registry documents for Protobuf, which follow "Updating A Message
 * Type" of the language guide (protobuf.dev): messages are matched by name within their scope, fields by
 * number. Types of one wire format that keep their values may replace each other: the varint types and enums,
 * sint32 and sint64, fixed32 and sfixed32, fixed64 and sfixed64, string and bytes. One field may become
 * repeated or the other way round unless it is a number. Stricter than that registry in one point: a field
 * that becomes required is reported, since what was written without it cannot be read.
 *
 * Messages that fields name are compared once for each pair, from a list: recursion ends and a long chain of
 * types needs no stack. A field whose type turned out not to fit is reported after that.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "schema/proto_internal.h"

#define PAIR_STEPS    16
#define FIELD_STEPS   2
#define FINDING_STEPS 16

typedef struct PairKey {
    const ShProtoMessage *reader;
    const ShProtoMessage *writer;
} PairKey;

typedef struct Pair {
    PairKey key;
    bool differs;      /* a finding was made in it */
    struct Use *named; /* the fields whose type it is, as they were met */
    struct Use *last_named;
    struct Pair *next;
    struct Pair *next_unfit; /* whose uses are to be reported */
    UT_hash_handle hh;
} Pair;

/* A field in `of` whose type is a pair. */
typedef struct Use {
    Pair *of;
    const ShProtoField *field; /* the reader's */
    struct Use *next;          /* of the same pair */
} Use;

typedef struct Comparison {
    ShSchemaFindings *findings;
    ShSchemaBudget *budget;
    ShSchemaArena *scratch; /* for as long as the comparison */
    Pair *pairs;            /* by key */
    Pair *first;            /* in the order in which they were met */
    Pair *last;
    Pair *first_unfit;
    Pair *last_unfit;
    bool no_memory;
} Comparison;

static bool goes_on(Comparison *work, size_t steps);
static void compare_scope(Comparison *work, const ShProtoMessage *const *reader, size_t reader_count,
                          const ShProtoMessage *const *writer, size_t writer_count);
static void compare_messages(Comparison *work, Pair *pair);
static void compare_oneofs(Comparison *work, Pair *pair);
struct Oneof;
static void report_moves(Comparison *work, Pair *pair, const struct Oneof *oneofs);
static void report_removals(Comparison *work, Pair *pair, const struct Oneof **sorted);
static void compare_fields(Comparison *work, Pair *pair);
static void compare_field(Comparison *work, Pair *pair, const ShProtoField *reader,
                          const ShProtoField *writer);
static void compare_map_part(Comparison *work, Pair *pair, const ShProtoField *field,
                             const ShProtoField *reader, const ShProtoField *writer);
static void compare_named(Comparison *work, Pair *pair, const ShProtoField *field,
                          const ShProtoMessage *reader, const ShProtoMessage *writer);
static void report_uses(Comparison *work);
static Pair *pair_of(Comparison *work, const ShProtoMessage *reader, const ShProtoMessage *writer);
static void find(Comparison *work, Pair *pair, const char *kind, const ShProtoMessage *message,
                 const char *part, const char *fmt, ...) SH_PRINTF(6, 7);
static void find_field(Comparison *work, Pair *pair, const char *kind, const ShProtoField *field,
                       const char *words);

ShStatus sh_proto_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                          ShSchemaFindings *out, ShError *err)
{
    const ShProtoModel *reads = &((const ShProtoSchema *)reader)->model;
    const ShProtoModel *writes = &((const ShProtoSchema *)writer)->model;
    Comparison work = {.findings = out, .budget = budget, .scratch = sh_schema_arena_new(budget)};
    work.no_memory = work.scratch == NULL;
    if (!work.no_memory)
        compare_scope(&work, reads->messages, reads->message_count, writes->messages, writes->message_count);
    for (Pair *pair = work.first; pair != NULL && goes_on(&work, PAIR_STEPS); pair = pair->next)
        compare_messages(&work, pair);
    report_uses(&work);
    HASH_CLEAR(hh, work.pairs); /* they stand in the arena */
    sh_schema_arena_free(work.scratch);
    return work.no_memory ? sh_fail(err, SH_NO_MEMORY, "no memory to compare two Protobuf schemas") : SH_OK;
}

static bool goes_on(Comparison *work, size_t steps)
{
    return sh_budget_spend(work->budget, steps) && !work->no_memory;
}

/* NULL when memory is short, which is noted. */
static void *room_for(Comparison *work, size_t bytes)
{
    void *room = sh_schema_arena_alloc(work->scratch, bytes);
    work->no_memory |= room == NULL;
    return room;
}

static int by_short_name(const void *a, const void *b)
{
    return strcmp((*(const ShProtoMessage *const *)a)->short_name,
                  (*(const ShProtoMessage *const *)b)->short_name);
}

/* Match the messages that stand beside each other, at the top or in a message. */
static void compare_scope(Comparison *work, const ShProtoMessage *const *reader, size_t reader_count,
                          const ShProtoMessage *const *writer, size_t writer_count)
{
    const ShProtoMessage **sorted = malloc((reader_count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        work->no_memory = true;
        return;
    }
    if (reader_count > 0)
        memcpy(sorted, reader, reader_count * sizeof *sorted);
    qsort(sorted, reader_count, sizeof *sorted, by_short_name);
    for (size_t i = 0; i < writer_count && goes_on(work, FIELD_STEPS); i++) {
        const ShProtoMessage **same = bsearch(&writer[i], sorted, reader_count, sizeof *sorted,
                                              by_short_name);
        if (same != NULL)
            pair_of(work, *same, writer[i]);
        else
            find(work, NULL, "MESSAGE_REMOVED", writer[i], NULL,
                 "the message \"%s\" is gone: keep it, as written records may be of this type",
                 writer[i]->name);
    }
    free(sorted);
}

static void compare_messages(Comparison *work, Pair *pair)
{
    compare_oneofs(work, pair);
    compare_fields(work, pair);
    compare_scope(work, pair->key.reader->nested, pair->key.reader->nested_count, pair->key.writer->nested,
                  pair->key.writer->nested_count);
}

/* What became of a oneof of the reader. */
typedef struct Oneof {
    const char *name;
    size_t moved;      /* fields that stood in none before */
    size_t from_oneof; /* fields that stood in one */
} Oneof;

static int by_oneof_name(const void *a, const void *b)
{
    return strcmp((*(const Oneof *const *)a)->name, (*(const Oneof *const *)b)->name);
}

/* A oneof keeps one of its members: what held several values at once must not be pressed into one. */
static void compare_oneofs(Comparison *work, Pair *pair)
{
    const ShProtoMessage *reader = pair->key.reader;
    const ShProtoMessage *writer = pair->key.writer;
    if (reader->oneof_count == 0)
        return;
    Oneof *oneofs = room_for(work, reader->oneof_count * sizeof *oneofs);
    const Oneof **sorted = room_for(work, reader->oneof_count * sizeof *sorted);
    if (oneofs == NULL || sorted == NULL)
        return;
    for (size_t o = 0; o < reader->oneof_count; o++) {
        oneofs[o].name = reader->oneofs[o];
        sorted[o] = &oneofs[o];
    }
    qsort(sorted, reader->oneof_count, sizeof *sorted, by_oneof_name);
    for (size_t i = 0; i < reader->field_count && goes_on(work, FIELD_STEPS); i++) {
        const ShProtoField *now = &reader->fields[i];
        const ShProtoField *was = now->oneof < 0 ? NULL : sh_proto_field(writer, (uint32_t)now->number);
        if (was != NULL && was->oneof < 0)
            oneofs[now->oneof].moved++;
        else if (was != NULL)
            oneofs[now->oneof].from_oneof++;
    }
    report_moves(work, pair, oneofs);
    report_removals(work, pair, sorted);
}

static void report_moves(Comparison *work, Pair *pair, const Oneof *oneofs)
{
    const ShProtoMessage *reader = pair->key.reader;
    for (size_t o = 0; o < reader->oneof_count; o++) {
        if (oneofs[o].moved > 1)
            find(work, pair, "MULTIPLE_FIELDS_MOVED_TO_ONEOF", reader, reader->oneofs[o],
                 "%zu fields that could be set together are now in one oneof: move one at most",
                 oneofs[o].moved);
        else if (oneofs[o].moved == 1 && oneofs[o].from_oneof > 0)
            find(work, pair, "FIELD_MOVED_TO_EXISTING_ONEOF", reader, reader->oneofs[o],
                 "a field moved into a oneof that has members already: they could be set together; make a "
                 "oneof "
                 "of its own, or keep it outside");
    }
}

static void report_removals(Comparison *work, Pair *pair, const Oneof **sorted)
{
    const ShProtoMessage *reader = pair->key.reader;
    const ShProtoMessage *writer = pair->key.writer;
    for (size_t i = 0; i < writer->field_count && goes_on(work, FIELD_STEPS); i++) {
        const ShProtoField *was = &writer->fields[i];
        if (was->oneof < 0 || sh_proto_field(reader, (uint32_t)was->number) != NULL)
            continue;
        const Oneof wanted = {.name = writer->oneofs[was->oneof]};
        const Oneof *key = &wanted;
        const Oneof **same = bsearch(&key, sorted, reader->oneof_count, sizeof *sorted, by_oneof_name);
        if (same == NULL)
            continue;
        char part[300];
        snprintf(part, sizeof part, "%s/%d", (*same)->name, was->number);
        find(work, pair, "ONEOF_FIELD_REMOVED", reader, part,
             "the member \"%s\" is gone from the oneof: readers would see none set; keep it", was->name);
    }
}

static void compare_fields(Comparison *work, Pair *pair)
{
    const ShProtoMessage *reader = pair->key.reader;
    const ShProtoMessage *writer = pair->key.writer;
    for (size_t i = 0; i < writer->field_count && goes_on(work, FIELD_STEPS); i++) {
        const ShProtoField *was = &writer->fields[i];
        const ShProtoField *now = sh_proto_field(reader, (uint32_t)was->number);
        if (now != NULL)
            compare_field(work, pair, now, was);
        else if (was->label == SH_PROTO_REQUIRED)
            find_field(work, pair, "REQUIRED_FIELD_REMOVED", was,
                       "is required and is gone: keep it, or make it optional first");
    }
    for (size_t i = 0; i < reader->field_count && goes_on(work, FIELD_STEPS); i++) {
        const ShProtoField *now = &reader->fields[i];
        const ShProtoField *was = sh_proto_field(writer, (uint32_t)now->number);
        if (now->label == SH_PROTO_REQUIRED && (was == NULL || was->label != SH_PROTO_REQUIRED))
            find_field(work, pair, "REQUIRED_FIELD_ADDED", now,
                       "is required, and what was written may lack it: make it optional");
    }
}

typedef enum Kind { SCALAR, MAP, NAMED } Kind;

static Kind kind_of(const ShProtoField *field)
{
    if (field->message == NULL)
        return SCALAR;
    return field->message->is_map_entry ? MAP : NAMED;
}

/* Scalars of one group have one wire format and keep their values. */
static int group_of(uint8_t type)
{
    switch (type) {
    case SH_PROTO_SINT32:
    case SH_PROTO_SINT64:
        return SH_PROTO_SINT32;
    case SH_PROTO_STRING:
    case SH_PROTO_BYTES:
        return SH_PROTO_STRING;
    case SH_PROTO_FIXED32:
    case SH_PROTO_SFIXED32:
        return SH_PROTO_FIXED32;
    case SH_PROTO_FIXED64:
    case SH_PROTO_SFIXED64:
        return SH_PROTO_FIXED64;
    case SH_PROTO_FLOAT:
    case SH_PROTO_DOUBLE:
        return type;
    default: /* int32, int64, uint32, uint64, bool, enum */
        return SH_PROTO_INT32;
    }
}

static void compare_field(Comparison *work, Pair *pair, const ShProtoField *reader,
                          const ShProtoField *writer)
{
    Kind kind = kind_of(reader);
    if (kind != kind_of(writer)) {
        find_field(work, pair, "FIELD_KIND_CHANGED", reader,
                   "changes between number or string, message and map: give the new one a number of its own");
        return;
    }
    if (kind == NAMED) {
        if ((reader->type == SH_PROTO_GROUP) != (writer->type == SH_PROTO_GROUP))
            find_field(work, pair, "FIELD_KIND_CHANGED", reader,
                       "changes between group and message, which are written otherwise: keep it");
        else
            compare_named(work, pair, reader, reader->message, writer->message);
        return;
    }
    if (kind == MAP) {
        compare_map_part(work, pair, reader, &reader->message->fields[0], &writer->message->fields[0]);
        compare_map_part(work, pair, reader, &reader->message->fields[1], &writer->message->fields[1]);
        return;
    }
    int group = group_of(reader->type);
    bool one_repeats = (reader->label == SH_PROTO_REPEATED) != (writer->label == SH_PROTO_REPEATED);
    if (group != group_of(writer->type))
        find_field(work, pair, "FIELD_SCALAR_KIND_CHANGED", reader,
                   "changes to a type that is written otherwise: give the new one a number of its own");
    else if (one_repeats && group != SH_PROTO_STRING)
        find_field(work, pair, "FIELD_NUMERIC_LABEL_CHANGED", reader,
                   "changes between one number and a list, which may be packed: keep it");
}

static void compare_map_part(Comparison *work, Pair *pair, const ShProtoField *field,
                             const ShProtoField *reader, const ShProtoField *writer)
{
    if (kind_of(reader) != kind_of(writer))
        find_field(
            work, pair, "FIELD_KIND_CHANGED", field,
            "is a map whose values change between scalar and message: give the new one a number of its own");
    else if (reader->message != NULL)
        compare_named(work, pair, field, reader->message, writer->message);
    else if (group_of(reader->type) != group_of(writer->type))
        find_field(
            work, pair, "FIELD_SCALAR_KIND_CHANGED", field,
            "is a map whose keys or values change to a type that is written otherwise: give the new one a "
            "number of its own");
}

/* A message that a field names: its name within its package must stay, and what it holds must fit. */
static void compare_named(Comparison *work, Pair *pair, const ShProtoField *field,
                          const ShProtoMessage *reader, const ShProtoMessage *writer)
{
    if (strcmp(reader->name, writer->name) != 0) {
        find_field(work, pair, "FIELD_NAMED_TYPE_CHANGED", field,
                   "names another message: keep the type, or give the new one a number of its own");
        return;
    }
    Pair *named = pair_of(work, reader, writer);
    Use *use = named == NULL ? NULL : room_for(work, sizeof *use);
    if (use == NULL)
        return;
    *use = (Use){.of = pair, .field = field};
    *(named->last_named == NULL ? &named->named : &named->last_named->next) = use;
    named->last_named = use;
}

/* Fields whose message type does not fit make the messages that have them unfit in turn. */
static void report_uses(Comparison *work)
{
    for (Pair *pair = work->first_unfit; pair != NULL; pair = pair->next_unfit)
        for (Use *use = pair->named; use != NULL && goes_on(work, FIELD_STEPS); use = use->next)
            find_field(work, use->of, "FIELD_NAMED_TYPE_CHANGED", use->field,
                       "is of a message that does not fit what was written");
}

/* The pair, put on the list when it is new; NULL when memory is short. */
static Pair *pair_of(Comparison *work, const ShProtoMessage *reader, const ShProtoMessage *writer)
{
    PairKey key = {.reader = reader, .writer = writer};
    Pair *pair;
    HASH_FIND(hh, work->pairs, &key, sizeof key, pair);
    if (pair != NULL)
        return pair;
    pair = room_for(work, sizeof *pair);
    if (pair == NULL)
        return NULL;
    pair->key = key;
    HASH_ADD(hh, work->pairs, key, sizeof pair->key, pair);
    if (pair->hh.tbl == NULL) {
        work->no_memory = true;
        return NULL;
    }
    if (work->last == NULL)
        work->first = pair;
    else
        work->last->next = pair;
    work->last = pair;
    return pair;
}

/* `part` is what stands below the message in the path: a field's number, a oneof's name; NULL: nothing. */
static void find(Comparison *work, Pair *pair, const char *kind, const ShProtoMessage *message,
                 const char *part, const char *fmt, ...)
{
    if (!goes_on(work, FINDING_STEPS))
        return;
    char path[SH_ERROR_MESSAGE_BYTES];
    size_t used = (size_t)snprintf(path, sizeof path, "#/%s", message->name);
    for (char *dot = path; used < sizeof path && (dot = strchr(dot, '.')) != NULL;)
        *dot = '/';
    if (part != NULL && used < sizeof path)
        snprintf(path + used, sizeof path - used, "/%s", part);
    char words[SH_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    if (!sh_schema_findings_add(work->findings, kind, path, "%s", words))
        work->no_memory = true;
    if (pair == NULL || pair->differs)
        return;
    pair->differs = true;
    if (work->last_unfit == NULL)
        work->first_unfit = pair;
    else
        work->last_unfit->next_unfit = pair;
    work->last_unfit = pair;
}

static void find_field(Comparison *work, Pair *pair, const char *kind, const ShProtoField *field,
                       const char *words)
{
    char number[16];
    snprintf(number, sizeof number, "%d", field->number);
    find(work, pair, kind, pair->key.reader, number, "the field \"%s\" %s", field->name, words);
}
