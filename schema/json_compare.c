/*
 * json_compare.c - does one JSON schema accept all that another one accepts?
 *
 * The words and the rules are those that the Confluent registry documents for JSON Schema: whether a property
 * may be added or removed depends on whether the content model is open, closed or partly open; branches of
 * allOf, anyOf and oneOf are matched one to one. Where that registry only sees that a subschema's kind has
 * changed, this compares what is accepted: dropping an enum, or writing a list of types as anyOf, is no
 * break. Keywords that cannot be compared this way (not, if, contains, propertyNames, unevaluated...) have to
 * stay as they are, or go.
 *
 * A pair of subschemas is compared once; one that is met again while it is being compared counts as fitting,
 * so that recursion ends.
 */
#include "schema/json_compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PAIR_STEPS    16 /* what two subschemas take, whatever stands in them */
#define FINDING_STEPS 16
#define DEPTH_MAX     300
#define BRANCH_MAX    300 /* of one anyOf, oneOf or allOf that are matched */

typedef struct PairKey {
    const ShJsonNode *reader;
    const ShJsonNode *writer;
    uint64_t types;
} PairKey;

typedef struct ShJsonPair {
    PairKey key;
    bool fits;
    UT_hash_handle hh;
} Pair;

typedef enum Combination { ALL_OF, ANY_OF, ONE_OF } Combination;

static const char *const combination_names[] = {"allOf", "anyOf", "oneOf"};

static bool compare_pair(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         unsigned types, const char *path);
static const ShJsonNode *followed(const ShJsonNode *node);
static bool accepts_here(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         unsigned types, const char *path);
static bool accepts_types(ShJsonComparison *work, const ShJsonNode *reader, unsigned written,
                          const char *path);
static unsigned types_of(const ShJsonNode *writer, unsigned types);
static bool accepts_values(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                           const char *path);
static bool accepts_strings(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path);
static bool accepts_numbers(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path);
static bool accepts_combination(ShJsonComparison *work, Combination kind, const ShJsonNode *reader,
                                const ShJsonNode *writer, unsigned types, const char *path);
static bool match_branches(ShJsonComparison *work, Combination kind, const ShJsonList *reader,
                           const ShJsonList *writer, Combination writer_kind, unsigned types,
                           const char *path);
static bool accepts_conditions(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path);

ShStatus sh_json_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                         ShSchemaFindings *out, ShError *err)
{
    ShJsonComparison work = {.findings = out,
                             .budget = budget,
                             .scratch = sh_schema_arena_new(budget),
                             .reader = (const ShJsonSchema *)reader,
                             .writer = (const ShJsonSchema *)writer};
    work.no_memory = work.scratch == NULL;
    (void)sh_json_accepts(&work, work.reader->root, work.writer->root, SH_JSON_ANY, "#");
    HASH_CLEAR(hh, work.pairs); /* they stand in the arena */
    sh_schema_arena_free(work.scratch);
    sh_json_matcher_free(&work.matcher);
    return work.no_memory ? sh_fail(err, SH_NO_MEMORY, "no memory to compare two JSON schemas") : SH_OK;
}

bool sh_json_accepts_quietly(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                             unsigned types, const char *path)
{
    ShSchemaFindings *findings = work->findings;
    work->findings = NULL;
    bool fits = sh_json_accepts(work, reader, writer, types, path);
    work->findings = findings;
    return fits;
}

bool sh_json_accepts(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                     unsigned types, const char *path)
{
    reader = followed(reader);
    writer = followed(writer);
    PairKey key = {.reader = reader, .writer = writer, .types = types};
    Pair *pair;
    (void)sh_budget_spend(work->budget, 1);
    HASH_FIND(hh, work->pairs, &key, sizeof key, pair);
    if (pair != NULL && (pair->fits || work->findings == NULL))
        return pair->fits;
    if (work->depth > DEPTH_MAX)
        sh_budget_end(work->budget, SH_EXHAUSTED);
    if (!sh_budget_spend(work->budget, PAIR_STEPS) || work->no_memory)
        return false;
    if (pair == NULL) {
        pair = sh_schema_arena_alloc(work->scratch, sizeof *pair);
        if (pair == NULL) {
            work->no_memory = true;
            return false;
        }
        pair->key = key;
        HASH_ADD(hh, work->pairs, key, sizeof pair->key, pair);
        if (pair->hh.tbl == NULL) {
            work->no_memory = true;
            return false;
        }
    }
    pair->fits = true; /* until it is known */
    work->depth++;
    bool fits = compare_pair(work, reader, writer, types, path);
    work->depth--;
    pair->fits = fits;
    return fits;
}

/* A mere reference stands for what it leads to. */
static const ShJsonNode *followed(const ShJsonNode *node)
{
    for (int i = 0; i < 100; i++) {
        bool is_mere = node->ref != NULL &&
                       (node->draft <= SH_JSON_DRAFT_7 || json_object_size(node->json) == 1);
        if (!is_mere)
            return node;
        node = node->ref;
    }
    return node;
}

static bool compare_pair(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         unsigned types, const char *path)
{
    if (reader->has & SH_JSON_IS_EMPTY || writer->has & SH_JSON_IS_FALSE || reader == writer)
        return true;
    if (reader->has & SH_JSON_IS_FALSE)
        return sh_json_differs(work, "TYPE_CHANGED", path, NULL,
                               "nothing is accepted any more: allow what was written");
    /* What the reader says, once more beside its reference. */
    bool fits = reader->ref == NULL || sh_json_accepts(work, reader->ref, writer, types, path);
    if (!fits && work->findings == NULL)
        return false;
    /* The writer's own words may be enough, or those that it refers to, or some of its allOf; or all branches
     * of a choice are. */
    if (writer->ref != NULL || writer->all_of.count + writer->any_of.count + writer->one_of.count > 0) {
        ShSchemaFindings *findings = work->findings;
        work->findings = NULL;
        bool enough = accepts_here(work, reader, writer, types, path);
        if (!enough && writer->ref != NULL)
            enough = accepts_here(work, reader, followed(writer->ref), types, path);
        for (size_t i = 0; !enough && i < writer->all_of.count; i++)
            enough = sh_json_accepts(work, reader, writer->all_of.nodes[i], types, path);
        const ShJsonList *choices[] = {&writer->any_of, &writer->one_of};
        for (size_t c = 0; !enough && c < 2; c++) {
            /* What fits one of anyOf may fit several of oneOf. */
            enough = choices[c]->count > 0 && (c == 1 || reader->one_of.count <= 1);
            for (size_t i = 0; enough && i < choices[c]->count; i++)
                enough = sh_json_accepts(work, reader, choices[c]->nodes[i], types, path);
        }
        work->findings = findings;
        if (enough || sh_json_has_failed(work))
            return fits && enough;
    }
    return accepts_here(work, reader, writer, types, path) && fits;
}

/* Every keyword of the reader must follow from the writer's own. */
static bool accepts_here(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                         unsigned types, const char *path)
{
    unsigned written = types_of(writer, types);
    if (!accepts_types(work, reader, written, path))
        return false; /* what else differs follows from that */
    bool fits = accepts_values(work, reader, writer, path);
    if (writer->enumeration == NULL && writer->constant == NULL) {
        if (written & SH_JSON_STRING)
            fits &= accepts_strings(work, reader, writer, path);
        if (written & SH_JSON_NUMBER)
            fits &= accepts_numbers(work, reader, writer, path);
        if (written & SH_JSON_OBJECT)
            fits &= sh_json_accepts_objects(work, reader, writer, path);
        if (written & SH_JSON_ARRAY)
            fits &= sh_json_accepts_arrays(work, reader, writer, path);
    }
    for (Combination kind = ALL_OF; kind <= ONE_OF; kind++)
        fits &= accepts_combination(work, kind, reader, writer, written, path);
    return accepts_conditions(work, reader, writer, path) && fits;
}

/* --- types and values
 * ------------------------------------------------------------------------------------------ */

/* The types that the writer's own words allow. */
static unsigned types_of(const ShJsonNode *writer, unsigned types)
{
    types &= writer->types;
    if (writer->constant != NULL)
        return types & sh_json_type_of(writer->constant, writer->draft);
    return writer->enumeration == NULL ? types : types & writer->listed_types;
}

static bool is_power_of_two(unsigned bits)
{
    return (bits & (bits - 1)) == 0;
}

static bool accepts_types(ShJsonComparison *work, const ShJsonNode *reader, unsigned written,
                          const char *path)
{
    unsigned refused = written & ~reader->types;
    if (refused == 0)
        return true;
    if (refused == SH_JSON_FRACTION && reader->types & SH_JSON_INTEGER)
        return sh_json_differs(
            work, "TYPE_NARROWED", path, "type",
            "numbers have become integers, and fractions may have been written: keep number");
    bool is_choice = !is_power_of_two(written & ~(unsigned)SH_JSON_FRACTION) && written != SH_JSON_ANY;
    if (is_choice && (reader->types & written) != 0)
        return sh_json_differs(work, "SUM_TYPE_NARROWED", path, "type",
                               "one of several types is gone: keep it, as it may have been written");
    return sh_json_differs(work, "TYPE_CHANGED", path, "type",
                           "the type has changed: allow the former one too, as in [\"string\", \"null\"]");
}

static bool holds(ShJsonComparison *work, const ShJsonNode *reader, const json_t *value)
{
    return (reader->constant == NULL || sh_json_same(reader->constant, value, work->budget)) &&
           (reader->listed == NULL || sh_json_set_has(reader->listed, value, work->budget));
}

static bool accepts_values(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                           const char *path)
{
    if (reader->enumeration == NULL && reader->constant == NULL)
        return true;
    const char *part = reader->enumeration != NULL ? "enum" : "const";
    if (writer->enumeration == NULL && writer->constant == NULL)
        return sh_json_differs(work, "ENUM_ARRAY_NARROWED", path, part,
                               "only some values are allowed now, and others may have been written");
    size_t count = writer->constant != NULL ? 1 : json_array_size(writer->enumeration);
    size_t missing = 0;
    bool is_counted = work->findings != NULL; /* else one is enough */
    for (size_t i = 0; i < count && (missing == 0 || is_counted) && !sh_json_has_failed(work); i++)
        missing += !holds(work, reader,
                          writer->constant != NULL ? writer->constant
                                                   : json_array_get(writer->enumeration, i));
    if (missing == 0)
        return true;
    bool is_new = json_array_size(reader->enumeration) + missing > count;
    return sh_json_differs(work, is_new ? "ENUM_ARRAY_CHANGED" : "ENUM_ARRAY_NARROWED", path, part,
                           "%zu of the values that were allowed are not any more: keep them", missing);
}

/* --- strings and numbers
 * --------------------------------------------------------------------------------------- */

bool sh_json_bound(ShJsonComparison *work, int64_t reader, int64_t writer, bool is_upper,
                   const char *kind_added, const char *kind_changed, const char *path, const char *keyword)
{
    if (reader == SH_JSON_NO_LIMIT || (!is_upper && reader == 0))
        return true;
    if (writer == SH_JSON_NO_LIMIT)
        return sh_json_differs(
            work, kind_added, path, keyword,
            "a bound of %" PRId64 " is new, and what was written may exceed it: leave it out", reader);
    if (is_upper ? reader >= writer : reader <= writer)
        return true;
    return sh_json_differs(work, kind_changed, path, keyword,
                           "the bound was %" PRId64 " and is %" PRId64 ": it may only become wider", writer,
                           reader);
}

static bool accepts_strings(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path)
{
    bool fits = sh_json_bound(work, reader->max_length, writer->max_length, true, "MAX_LENGTH_ADDED",
                              "MAX_LENGTH_DECREASED", path, "maxLength");
    fits &= sh_json_bound(work, reader->min_length, writer->min_length, false, "MIN_LENGTH_ADDED",
                          "MIN_LENGTH_INCREASED", path, "minLength");
    if (reader->pattern == NULL || (writer->pattern != NULL && strcmp(reader->pattern, writer->pattern) == 0))
        return fits;
    return sh_json_differs(work, writer->pattern == NULL ? "PATTERN_ADDED" : "PATTERN_CHANGED", path,
                           "pattern",
                           "strings that were written may not match the pattern: keep it, or leave it out");
}

/* The four bounds of numbers, one after the other. */
static bool accepts_bound(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                          unsigned bit, unsigned other_bit, double reads, double writes, double other,
                          bool is_upper, const char *const kinds[2], const char *path, const char *keyword)
{
    if (!(reader->has & bit))
        return true;
    /* A writer's exclusive bound is as good as an inclusive one, not the other way round. */
    if (!(writer->has & bit)) {
        if (!(writer->has & other_bit))
            return sh_json_differs(work, kinds[0], path, keyword,
                                   "a bound of %g is new, and what was written may exceed it: leave it out",
                                   reads);
        bool is_exclusive = bit == SH_JSON_HAS_EXCLUSIVE_MINIMUM || bit == SH_JSON_HAS_EXCLUSIVE_MAXIMUM;
        bool fits = is_upper ? (is_exclusive ? other < reads : other <= reads)
                             : (is_exclusive ? other > reads : other >= reads);
        return fits || sh_json_differs(work, kinds[0], path, keyword,
                                       "the bound of %g is narrower than the former one of %g", reads, other);
    }
    if (is_upper ? reads >= writes : reads <= writes)
        return true;
    return sh_json_differs(work, kinds[1], path, keyword,
                           "the bound was %g and is %g: it may only become wider", writes, reads);
}

static bool accepts_numbers(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                            const char *path)
{
    static const char *const maximum[] = {"MAXIMUM_ADDED", "MAXIMUM_DECREASED"};
    static const char *const minimum[] = {"MINIMUM_ADDED", "MINIMUM_INCREASED"};
    static const char *const above[] = {"EXCLUSIVE_MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_DECREASED"};
    static const char *const below[] = {"EXCLUSIVE_MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_INCREASED"};
    bool fits = accepts_bound(work, reader, writer, SH_JSON_HAS_MAXIMUM, SH_JSON_HAS_EXCLUSIVE_MAXIMUM,
                              reader->maximum, writer->maximum, writer->exclusive_maximum, true, maximum,
                              path, "maximum");
    fits &= accepts_bound(work, reader, writer, SH_JSON_HAS_MINIMUM, SH_JSON_HAS_EXCLUSIVE_MINIMUM,
                          reader->minimum, writer->minimum, writer->exclusive_minimum, false, minimum, path,
                          "minimum");
    fits &= accepts_bound(work, reader, writer, SH_JSON_HAS_EXCLUSIVE_MAXIMUM, SH_JSON_HAS_MAXIMUM,
                          reader->exclusive_maximum, writer->exclusive_maximum, writer->maximum, true, above,
                          path, "exclusiveMaximum");
    fits &= accepts_bound(work, reader, writer, SH_JSON_HAS_EXCLUSIVE_MINIMUM, SH_JSON_HAS_MINIMUM,
                          reader->exclusive_minimum, writer->exclusive_minimum, writer->minimum, false, below,
                          path, "exclusiveMinimum");
    if (!(reader->has & SH_JSON_HAS_MULTIPLE_OF))
        return fits;
    if (!(writer->has & SH_JSON_HAS_MULTIPLE_OF))
        return sh_json_differs(work, "MULTIPLE_OF_ADDED", path, "multipleOf",
                               "only multiples of %g are allowed now, and others may have been written",
                               reader->multiple_of);
    double times = writer->multiple_of / reader->multiple_of;
    if (fabs(times - round(times)) < 1e-9 && times > 0.5)
        return fits;
    double inverse = reader->multiple_of / writer->multiple_of;
    bool is_expanded = fabs(inverse - round(inverse)) < 1e-9;
    return sh_json_differs(work, is_expanded ? "MULTIPLE_OF_EXPANDED" : "MULTIPLE_OF_CHANGED", path,
                           "multipleOf", "multiples of %g were allowed: only a divisor of it takes them all",
                           writer->multiple_of);
}

/* --- allOf, anyOf, oneOf
 * --------------------------------------------------------------------------------------- */

static const ShJsonList *branches(const ShJsonNode *node, Combination kind)
{
    return kind == ALL_OF ? &node->all_of : kind == ANY_OF ? &node->any_of : &node->one_of;
}

static bool accepts_combination(ShJsonComparison *work, Combination kind, const ShJsonNode *reader,
                                const ShJsonNode *writer, unsigned types, const char *path)
{
    const ShJsonList *reads = branches(reader, kind);
    if (reads->count == 0)
        return true;
    /* The same combination, or one that it may follow. */
    for (Combination from = ALL_OF; from <= ONE_OF; from++) {
        const ShJsonList *writes = branches(writer, from);
        bool may_follow = from == kind || kind == ANY_OF || writes->count == 1;
        if (writes->count > 0 && may_follow)
            return match_branches(work, kind, reads, writes, from, types, path);
    }
    bool has_other = writer->all_of.count + writer->any_of.count + writer->one_of.count > 0;
    if (has_other && reads->count > 1)
        return sh_json_differs(
            work, "COMBINED_TYPE_CHANGED", path, combination_names[kind],
            "the way in which subschemas are combined has changed: it may only become anyOf");
    char below[SH_JSON_PATH_BYTES];
    sh_json_below(below, path, combination_names[kind]);
    if (kind == ALL_OF || reads->count == 1) {
        bool fits = true;
        for (size_t i = 0; i < reads->count; i++)
            fits &= sh_json_accepts(work, reads->nodes[i], writer, types, below);
        return fits;
    }
    /* A choice accepts a writer when one of its branches does; of several types each may have a branch. */
    unsigned left = types;
    for (unsigned bit = 1; bit <= types; bit <<= 1) {
        unsigned part = bit == SH_JSON_INTEGER && types & SH_JSON_FRACTION ? SH_JSON_NUMBER : bit;
        for (size_t i = 0; left & bit && i < reads->count; i++)
            if (sh_json_accepts_quietly(work, reads->nodes[i], writer, part & types, below))
                left &= ~part;
    }
    return left == 0 ||
           sh_json_differs(work, left == types ? "TYPE_CHANGED" : "SUM_TYPE_NARROWED", path,
                           combination_names[kind], "no branch accepts all that was written: add one");
}

/* Kuhn's algorithm: an augmenting path from writer branch `w`. */
static bool augment(ShSchemaBudget *budget, const bool *fits, size_t reader_count, size_t w, bool *visited,
                    int64_t *taken_by)
{
    if (!sh_budget_spend(budget, 1 + reader_count / 16))
        return false;
    for (size_t r = 0; r < reader_count; r++) {
        if (!fits[w * reader_count + r] || visited[r])
            continue;
        visited[r] = true;
        if (taken_by[r] < 0 || augment(budget, fits, reader_count, (size_t)taken_by[r], visited, taken_by)) {
            taken_by[r] = (int64_t)w;
            return true;
        }
    }
    return false;
}

static size_t count_matches(ShJsonComparison *work, const bool *fits, size_t writer_count,
                            size_t reader_count)
{
    bool *visited = malloc(reader_count * sizeof *visited);
    int64_t *taken_by = malloc(reader_count * sizeof *taken_by);
    size_t matches = 0;
    if (visited == NULL || taken_by == NULL) {
        work->no_memory = true;
    } else {
        for (size_t r = 0; r < reader_count; r++)
            taken_by[r] = -1;
        for (size_t w = 0; w < writer_count; w++) {
            memset(visited, 0, reader_count * sizeof *visited);
            matches += augment(work->budget, fits, reader_count, w, visited, taken_by);
        }
    }
    free(taken_by);
    free(visited);
    return matches;
}

/* Each branch of the shorter list must have a partner of its own in the longer one. A choice may get
 * branches, a conjunction may lose some. */
static bool match_branches(ShJsonComparison *work, Combination kind, const ShJsonList *reader,
                           const ShJsonList *writer, Combination writer_kind, unsigned types,
                           const char *path)
{
    const char *part = combination_names[kind];
    bool is_sum = kind != ALL_OF && writer_kind != ALL_OF;
    if (reader->count > BRANCH_MAX || writer->count > BRANCH_MAX) {
        sh_budget_end(work->budget, SH_EXHAUSTED);
        return false;
    }
    if (kind == ALL_OF && reader->count > writer->count)
        return sh_json_differs(work, "PRODUCT_TYPE_EXTENDED", path, part,
                               "%zu subschemas have to fit instead of %zu: leave the new ones out",
                               reader->count, writer->count);
    if (is_sum && reader->count < writer->count)
        return sh_json_differs(work, "SUM_TYPE_NARROWED", path, part,
                               "%zu subschemas to choose from instead of %zu: keep those that were there",
                               reader->count, writer->count);
    char below[SH_JSON_PATH_BYTES];
    sh_json_below(below, path, part);
    if (reader->count == 1 && writer->count == 1)
        return sh_json_accepts(work, reader->nodes[0], writer->nodes[0], types, below);
    bool *fits = calloc(reader->count * writer->count, sizeof *fits);
    if (fits == NULL) {
        work->no_memory = true;
        return false;
    }
    for (size_t w = 0; w < writer->count; w++)
        for (size_t r = 0; r < reader->count; r++)
            fits[w * reader->count + r] = sh_json_accepts_quietly(work, reader->nodes[r], writer->nodes[w],
                                                                  types, below);
    size_t least = reader->count < writer->count ? reader->count : writer->count;
    size_t matches = count_matches(work, fits, writer->count, reader->count);
    free(fits);
    return matches >= least ||
           sh_json_differs(work, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", path, part,
                           "%zu of %zu subschemas have no partner that accepts what they accept",
                           least - matches, least);
}

/* --- what has to stay as it is
 * --------------------------------------------------------------------------------- */

bool sh_json_must_stay(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                       const char *path, const char *keyword)
{
    if (reader == NULL || reader->has & SH_JSON_IS_EMPTY)
        return true;
    if (writer != NULL &&
        (writer->has & SH_JSON_IS_FALSE || sh_json_same(reader->json, writer->json, work->budget)))
        return true;
    return sh_json_differs(
        work, writer == NULL ? "KEYWORD_ADDED" : "KEYWORD_CHANGED", path, keyword,
        "what \"%s\" now excludes may have been written: keep it as it was, or leave it out", keyword);
}

static bool accepts_conditions(ShJsonComparison *work, const ShJsonNode *reader, const ShJsonNode *writer,
                               const char *path)
{
    bool fits = true;
    if (reader->not_node != NULL) {
        char below[SH_JSON_PATH_BYTES];
        sh_json_below(below, path, "not");
        if (writer->not_node == NULL)
            fits = sh_json_differs(work, "NOT_TYPE_ADDED", path, "not",
                                   "what is now excluded may have been written: leave \"not\" out");
        else if (!sh_json_accepts_quietly(work, writer->not_node, reader->not_node, SH_JSON_ANY, below))
            fits = sh_json_differs(work, "NOT_TYPE_EXTENDED", path, "not",
                                   "more is excluded than before: it may only become less");
    }
    if (reader->if_node != NULL && !sh_json_must_stay(work, reader->if_node, writer->if_node, path, "if")) {
        fits = false;
    } else if (reader->if_node != NULL) {
        fits &= sh_json_must_stay(work, reader->then_node, writer->then_node, path, "then");
        fits &= sh_json_must_stay(work, reader->else_node, writer->else_node, path, "else");
    }
    return fits;
}

/* --- findings
 * -------------------------------------------------------------------------------------------------- */

bool sh_json_differs(ShJsonComparison *work, const char *kind, const char *path, const char *part,
                     const char *fmt, ...)
{
    if (work->findings == NULL || !sh_budget_spend(work->budget, FINDING_STEPS))
        return false;
    char where[SH_JSON_PATH_BYTES];
    char words[SH_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    sh_json_below(where, path, part);
    if (!sh_schema_findings_add(work->findings, kind, where, "%s", words))
        work->no_memory = true;
    return false;
}

const char *sh_json_below(char out[SH_JSON_PATH_BYTES], const char *path, const char *part)
{
    snprintf(out, SH_JSON_PATH_BYTES, "%s%s%s", path, part == NULL ? "" : "/", part == NULL ? "" : part);
    return out;
}
