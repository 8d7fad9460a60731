/* schema_diff.c - schemas for people: one member a line, and what differs between the lines of two texts. */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(sh_schema_pretty);
PG_FUNCTION_INFO_V1(sh_text_diff);

/* Above so many pairs of lines, what lies between the common beginning and end is one change. */
#define PAIRS_MAX (16u << 20)

typedef struct Line {
    const char *text;
    int bytes;
} Line;

typedef struct Lines {
    Line *items;
    int count;
} Lines;

static void new_line(StringInfo out, int depth)
{
    appendStringInfoChar(out, '\n');
    appendStringInfoSpaces(out, 2 * depth);
}

/* The end of the string that begins at c. */
static const char *skip_string(const char *c)
{
    for (c++; *c != '\0' && *c != '"'; c++)
        if (*c == '\\' && c[1] != '\0')
            c++;
    return *c == '"' ? c + 1 : c;
}

/* JSON without white space, as the canonical form is, gets a line for each member. Lists and objects that
 * hold nothing stay on theirs. */
static void append_json_lines(StringInfo out, const char *json)
{
    int depth = 0;
    for (const char *c = json; *c != '\0';) {
        if (*c == '"') {
            const char *end = skip_string(c);
            appendBinaryStringInfo(out, c, (int)(end - c));
            c = end;
            continue;
        }
        bool opens = *c == '{' || *c == '[', closes = *c == '}' || *c == ']';
        if (opens && (c[1] == '}' || c[1] == ']')) {
            appendBinaryStringInfo(out, c, 2);
            c += 2;
            continue;
        }
        if (closes)
            new_line(out, depth = Max(depth - 1, 0));
        appendStringInfoChar(out, *c);
        if (*c == ':')
            appendStringInfoChar(out, ' ');
        if (opens)
            depth++;
        if (opens || *c == ',')
            new_line(out, depth);
        c++;
    }
}

/* (type, schema) -> text */
Datum sh_schema_pretty(PG_FUNCTION_ARGS)
{
    char *type = text_to_cstring(PG_GETARG_TEXT_PP(0));
    if (pg_strcasecmp(type, "PROTOBUF") == 0)
        PG_RETURN_TEXT_P(PG_GETARG_TEXT_P_COPY(1));
    StringInfoData lines;
    initStringInfo(&lines);
    append_json_lines(&lines, text_to_cstring(PG_GETARG_TEXT_PP(1)));
    PG_RETURN_TEXT_P(cstring_to_text_with_len(lines.data, lines.len));
}

static Lines lines_of(const char *text)
{
    Lines lines = {.items = NULL};
    size_t room = 1;
    for (const char *c = text; *c != '\0'; c++)
        room += *c == '\n';
    lines.items = MemoryContextAllocHuge(CurrentMemoryContext, room * sizeof *lines.items);
    while (*text != '\0') {
        const char *end = strchrnul(text, '\n');
        lines.items[lines.count++] = (Line){.text = text, .bytes = (int)(end - text)};
        text = *end == '\0' ? end : end + 1;
    }
    return lines;
}

static bool is_same(const Line *a, const Line *b)
{
    return a->bytes == b->bytes && memcmp(a->text, b->text, (size_t)a->bytes) == 0;
}

static void put_lines(ReturnSetInfo *result, char change, const Line *lines, int count)
{
    for (int i = 0; i < count; i++) {
        text *line = cstring_to_text_with_len(lines[i].text, lines[i].bytes);
        Datum values[2] = {CharGetDatum(change), PointerGetDatum(line)};
        bool nulls[2] = {false};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
        pfree(line);
    }
}

/* Between the common beginning and end, by the longest common subsequence: longest[i][j] is its length for
 * what follows line i of the one and line j of the other. */
static void put_middle(ReturnSetInfo *result, const Line *a, int a_count, const Line *b, int b_count)
{
    size_t width = (size_t)b_count + 1;
    if ((uint64)a_count * (uint64)b_count > PAIRS_MAX) {
        put_lines(result, '-', a, a_count);
        put_lines(result, '+', b, b_count);
        return;
    }
    int32 *longest = MemoryContextAllocHuge(CurrentMemoryContext,
                                            ((size_t)a_count + 1) * width * sizeof *longest);
    memset(longest + (size_t)a_count * width, 0, width * sizeof *longest);
    for (int i = a_count - 1; i >= 0; i--) {
        CHECK_FOR_INTERRUPTS();
        int32 *row = longest + (size_t)i * width, *below = row + width;
        row[b_count] = 0;
        for (int j = b_count - 1; j >= 0; j--)
            row[j] = is_same(&a[i], &b[j]) ? below[j + 1] + 1 : Max(below[j], row[j + 1]);
    }
    int i = 0, j = 0;
    while (i < a_count || j < b_count) {
        const int32 *row = longest + (size_t)i * width;
        if (i < a_count && j < b_count && is_same(&a[i], &b[j])) {
            put_lines(result, ' ', &a[i++], 1);
            j++;
        } else if (i < a_count && (j == b_count || row[width + (size_t)j] >= row[j + 1])) {
            put_lines(result, '-', &a[i++], 1);
        } else {
            put_lines(result, '+', &b[j++], 1);
        }
    }
    pfree(longest);
}

/* (text, text) -> set of (change, line) */
Datum sh_text_diff(PG_FUNCTION_ARGS)
{
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo *result = (ReturnSetInfo *)fcinfo->resultinfo;
    Lines a = lines_of(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    Lines b = lines_of(text_to_cstring(PG_GETARG_TEXT_PP(1)));
    int first = 0, last = 0, shorter = Min(a.count, b.count);
    while (first < shorter && is_same(&a.items[first], &b.items[first]))
        first++;
    while (last < shorter - first && is_same(&a.items[a.count - 1 - last], &b.items[b.count - 1 - last]))
        last++;
    put_lines(result, ' ', a.items, first);
    put_middle(result, a.items + first, a.count - first - last, b.items + first, b.count - first - last);
    put_lines(result, ' ', a.items + a.count - last, last);
    PG_RETURN_NULL();
}
