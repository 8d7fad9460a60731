/* Work and memory are bounded in all three languages: what is large but plain is done, in a time that grows
 * with its size; what has no bound of its own ends with an error that says so, never with a verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "schema/json_set.h"
#include "schema/schema.h"

/* A text that grows. */
typedef struct Text {
    char *chars;
    size_t length;
    size_t room;
} Text;

static void add(Text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(Text *text, const char *fmt, ...)
{
    char piece[4096];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    assert_in_range(length, 0, sizeof piece - 1);
    if (text->room - text->length <= (size_t)length) {
        text->room = 2 * text->room + sizeof piece;
        text->chars = realloc(text->chars, text->room);
        assert_non_null(text->chars);
    }
    memcpy(text->chars + text->length, piece, (size_t)length + 1);
    text->length += (size_t)length;
}

/* Pieces made of their number, from one to another, with commas between. */
static void add_each(Text *text, const char *fmt, int from, int to)
{
    for (int i = from; i < to; i++) {
        char piece[2048];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(piece, sizeof piece, fmt, i, i, i);
#pragma GCC diagnostic pop
        add(text, "%s%s", i > from ? ", " : "", piece);
    }
}

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static ShSchema *parse_text(ShSchemaType type, const Text *text)
{
    ShSchema *schema = NULL;
    ShError err = {0};
    if (sh_schema_parse(type, text->chars, text->length, NULL, 0, NULL, &schema, &err) != SH_OK)
        fail_msg("%.100s: %s", text->chars, err.message);
    return schema;
}

static ShSchema *parse_json(const char *text)
{
    Text whole = {.chars = (char *)(uintptr_t)text, .length = strlen(text)};
    return parse_text(SH_SCHEMA_JSON, &whole);
}

/* The texts are freed. What a quadratic comparison of them takes is minutes; the bound leaves room for a slow
 * machine under a sanitizer. */
#define PLAIN_SECONDS_MAX 20.0

static void compares(ShSchemaType type, Text *reader, Text *writer, size_t finding_count)
{
    double begun = cpu_s();
    ShSchema *reads = parse_text(type, reader);
    ShSchema *writes = parse_text(type, writer);
    ShSchemaFindings found;
    ShError err = {0};
    ShStatus status = sh_schema_compare(reads, writes, NULL, &found, &err);
    if (status != SH_OK)
        fail_msg("%.60s: %s", reader->chars, err.message);
    assert_int_equal(found.count, finding_count);
    assert_true(cpu_s() - begun < PLAIN_SECONDS_MAX);
    sh_schema_findings_free(&found);
    sh_schema_free(reads);
    sh_schema_free(writes);
    free(reader->chars);
    free(writer->chars);
}

/* `text` with pieces of each side in the place of its one %s. */
static void compares_pieces(ShSchemaType type, const char *front, const char *piece, const char *back,
                            int from, int to, int writer_from, int writer_to, size_t finding_count)
{
    Text reader = {0};
    Text writer = {0};
    add(&reader, "%s", front);
    add_each(&reader, piece, from, to);
    add(&reader, "%s", back);
    add(&writer, "%s", front);
    add_each(&writer, piece, writer_from, writer_to);
    add(&writer, "%s", back);
    compares(type, &reader, &writer, finding_count);
}

static void test_large_json_schemas_are_compared(void **state)
{
    (void)state;
    compares_pieces(SH_SCHEMA_JSON, "{\"enum\": [", "\"v%d\"", "]}", 0, 100000, 50000, 150000, 1);
    compares_pieces(SH_SCHEMA_JSON, "{\"enum\": [", "\"v%d\"", "]}", 0, 100000, 0, 100000, 0);
    compares_pieces(SH_SCHEMA_JSON, "{\"required\": [", "\"v%d\"", "]}", 0, 100000, 0, 99999, 1);
    compares_pieces(SH_SCHEMA_JSON,
                    "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", "
                    "\"dependentRequired\": {\"a\": [",
                    "\"v%d\"", "]}}", 0, 50000, 0, 49999, 1);
    compares_pieces(SH_SCHEMA_JSON, "{\"additionalProperties\": false, \"patternProperties\": {",
                    "\"^v%d\": {\"type\": \"string\"}", "}}", 0, 30000, 0, 30000, 0);
    compares_pieces(SH_SCHEMA_JSON, "{\"properties\": {", "\"v%d\": {\"type\": \"string\"}", "}}", 0, 50000,
                    0, 50000, 0);
}

static void test_large_avro_schemas_are_compared(void **state)
{
    (void)state;
    const char *record = "{\"type\": \"record\", \"name\": \"R\", \"fields\": [";
    compares_pieces(SH_SCHEMA_AVRO, record, "{\"name\": \"f%d\", \"type\": \"int\"}", "]}", 0, 50000, 0,
                    50000, 0);
    compares_pieces(SH_SCHEMA_AVRO, record,
                    "{\"name\": \"f%d\", \"type\": \"int\", \"aliases\": [\"a%d\", \"b%d\"]}", "]}", 0, 20000,
                    20000, 40000, 1000);
    compares_pieces(SH_SCHEMA_AVRO, "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [", "\"S%d\"", "]}",
                    0, 100000, 0, 100000, 0);
    compares_pieces(SH_SCHEMA_AVRO, "[", "{\"type\": \"fixed\", \"size\": 4, \"name\": \"F%d\"}", "]", 0,
                    3000, 0, 3000, 0);
}

static void test_large_protobuf_schemas_are_compared(void **state)
{
    (void)state;
    /* A chain: the last message makes all before it unfit. */
    Text reader = {0};
    Text writer = {0};
    for (int side = 0; side < 2; side++) {
        Text *text = side == 0 ? &reader : &writer;
        add(text, "syntax = \"proto3\";\n");
        for (int i = 0; i < 8000; i++)
            add(text, "message M%d { M%d next = 1; }\n", i, i + 1);
        add(text, "message M8000 { %s last = 1; }\n", side == 0 ? "string" : "int32");
    }
    compares(SH_SCHEMA_PROTOBUF, &reader, &writer, SH_SCHEMA_FINDINGS_MAX);

    reader = writer = (Text){0};
    for (int side = 0; side < 2; side++) {
        Text *text = side == 0 ? &reader : &writer;
        add(text, "syntax = \"proto3\";\nmessage M {\n");
        for (int i = 1; i <= 4000; i++)
            add(text, "oneof o%d { int32 a%d = %d; }\n", i, i, i);
        add(text, "}\n");
    }
    compares(SH_SCHEMA_PROTOBUF, &reader, &writer, 0);
}

/* Branches that are compared each with each are work that cannot be spared, and is bounded. */
static void test_branches_end_or_are_told(void **state)
{
    (void)state;
    Text reader = {0};
    for (int b = 0; b < 50; b++) {
        add(&reader, "%s{\"enum\": [", b == 0 ? "{\"anyOf\": [" : ", ");
        add_each(&reader, "\"v%d\"", 1000 * b, 1000 * b + 2000);
        add(&reader, "]}");
    }
    add(&reader, "]}");
    Text writer = {.chars = strdup(reader.chars), .length = reader.length};
    compares(SH_SCHEMA_JSON, &reader, &writer, 0);
}

static bool says_stop(void *arg)
{
    ++*(int *)arg;
    return true;
}

/* A budget that is too small, and one that is interrupted, end parsing and comparing alike. */
static void test_budgets_end_the_work(void **state)
{
    (void)state;
    static const struct {
        ShSchemaType type;
        const char *front, *piece, *back;
    } cases[] = {
        {SH_SCHEMA_JSON, "{\"properties\": {", "\"v%d\": {\"type\": \"string\"}", "}}"},
        {SH_SCHEMA_AVRO, "{\"type\": \"record\", \"name\": \"R\", \"fields\": [",
         "{\"name\": \"f%d\", \"type\": \"int\"}", "]}"},
        {SH_SCHEMA_PROTOBUF, "syntax = \"proto3\"; message M {", "int64 f%d = %d;", "}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Text text = {0};
        add(&text, "%s", cases[i].front);
        add_each(&text, cases[i].piece, 1, 900);
        add(&text, "%s", cases[i].back);
        for (char *c = text.chars; cases[i].type == SH_SCHEMA_PROTOBUF && (c = strstr(c, ";, ")) != NULL;)
            c[1] = ' ';
        ShSchema *schema = parse_text(cases[i].type, &text);
        ShSchema *none = NULL;
        ShSchemaFindings found;
        ShSchemaBudget budget;
        ShError err = {0};

        sh_budget_init(&budget, 1000, SH_BUDGET_SCHEMA_BYTES);
        assert_int_equal(
            sh_schema_parse(cases[i].type, text.chars, text.length, NULL, 0, &budget, &none, &err),
            SH_EXHAUSTED);
        assert_null(none);
        assert_non_null(strstr(err.message, "more work"));
        sh_budget_init(&budget, 1000, SH_BUDGET_SCHEMA_BYTES);
        assert_int_equal(sh_schema_compare(schema, schema, &budget, &found, &err),
                         cases[i].type == SH_SCHEMA_JSON ? SH_OK : SH_EXHAUSTED); /* it sees that it is one */
        assert_int_equal(found.count, 0);

        sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, SH_BUDGET_SCHEMA_BYTES);
        int asked = 0;
        budget.stop = says_stop;
        budget.arg = &asked;
        budget.mark = INT64_MAX; /* it is asked at once */
        assert_int_equal(
            sh_schema_parse(cases[i].type, text.chars, text.length, NULL, 0, &budget, &none, &err),
            SH_CANCELLED);
        assert_int_equal(asked, 1);

        sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, 10000);
        assert_int_equal(
            sh_schema_parse(cases[i].type, text.chars, text.length, NULL, 0, &budget, &none, &err),
            SH_TOO_LARGE);
        assert_non_null(strstr(err.message, "memory"));
        assert_true(sh_schema_bytes(schema) > text.length);
        sh_schema_free(schema);
        free(text.chars);
    }
}

/* Asked some milliseconds apart, so that a query ends soon after it is cancelled. */
static void test_a_long_comparison_asks(void **state)
{
    (void)state;
    Text text = {0};
    add(&text, "{\"enum\": [");
    add_each(&text, "\"v%d\"", 0, 100000);
    add(&text, "]}");
    ShSchema *reader = parse_text(SH_SCHEMA_JSON, &text);
    ShSchema *writer = parse_text(SH_SCHEMA_JSON, &text);
    ShSchemaBudget budget;
    ShSchemaFindings found;
    ShError err = {0};
    int asked = 0;
    sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, SH_BUDGET_SCHEMA_BYTES);
    budget.stop = says_stop;
    budget.arg = &asked;
    sh_budget_begin_share(&budget, SH_BUDGET_CALL_STEPS); /* a fresh mark, with somebody to be asked */
    assert_int_equal(sh_schema_compare(reader, writer, &budget, &found, &err), SH_CANCELLED);
    assert_int_equal(asked, 1);
    sh_schema_free(reader);
    sh_schema_free(writer);
    free(text.chars);
}

/* A few bytes of pattern compile to tens of thousands; they count. */
static void test_memory_of_patterns_is_bounded(void **state)
{
    (void)state;
    ShSchema *small = parse_json("{\"pattern\": \"a\"}");
    ShSchema *large = parse_json("{\"pattern\": \"((ab){60}){60}\"}");
    assert_true(sh_schema_bytes(large) > sh_schema_bytes(small) + 15000);
    sh_schema_free(small);
    sh_schema_free(large);

    Text text = {0};
    add(&text, "{\"patternProperties\": {");
    add_each(&text, "\"((ab){60}){60}%d\": {}", 0, 40000);
    add(&text, "}}");
    ShSchema *schema = NULL;
    ShError err = {0};
    ShStatus status = sh_schema_parse(SH_SCHEMA_JSON, text.chars, text.length, NULL, 0, NULL, &schema, &err);
    assert_true(status == SH_TOO_LARGE || status == SH_EXHAUSTED);
    free(text.chars);

    /* Long paths of many small subschemas. */
    text = (Text){0};
    add(&text, "{\"properties\": {\"%01000d\": {\"properties\": {", 7);
    add_each(&text, "\"%d\": {}", 0, 150000);
    add(&text, "}}}}");
    assert_int_equal(sh_schema_parse(SH_SCHEMA_JSON, text.chars, text.length, NULL, 0, NULL, &schema, &err),
                     SH_TOO_LARGE);
    assert_non_null(strstr(err.message, "256 MB"));
    free(text.chars);
}

#define EVIL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"

/* What a pattern's budget ends is no match and no mismatch: both would be a verdict. */
static void test_patterns_that_take_too_long_tell_nothing(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"pattern\": \"^(a+)+$\"}",
        "{\"not\": {\"pattern\": \"^(a+)+$\"}}",
        "{\"anyOf\": [{\"pattern\": \"^(a+)+$\"}, {\"type\": \"string\"}]}",
        "{\"oneOf\": [{\"type\": \"string\"}, {\"pattern\": \"^(a+)+$\"}]}",
        "{\"if\": {\"pattern\": \"^(a+)+$\"}, \"else\": false}",
    };
    const char *text = "\"" EVIL "\"";
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        ShSchema *schema = parse_json(schemas[i]);
        ShError err = {0};
        if (i != 2) { /* where the order of branches decides, it may be seen first */
            assert_int_equal(sh_schema_validate(schema, (const uint8_t *)text, strlen(text), NULL, &err),
                             SH_TOO_LARGE);
            assert_non_null(strstr(err.message, "more work"));
        }
        sh_schema_free(schema);
    }
    ShSchema *schema = parse_json("{\"patternProperties\": {\"^(a+)+$\": false}}");
    ShError err = {0};
    text = "{\"" EVIL "\": 1}";
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)text, strlen(text), NULL, &err),
                     SH_TOO_LARGE);
    sh_schema_free(schema);

    schema = parse_json("{\"properties\": {\"" EVIL "\": {\"type\": \"string\"}}}");
    ShSchema *other = parse_json(
        "{\"patternProperties\": {\"^(a+)+$\": {}}, \"additionalProperties\": false}");
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(schema, other, NULL, &found, &err), SH_EXHAUSTED);
    assert_int_equal(sh_schema_compare(other, schema, NULL, &found, &err), SH_EXHAUSTED);
    sh_schema_free(schema);
    sh_schema_free(other);
}

/* Patterns that only look long at their text: at each start anew. */
static void test_long_texts_cost_more(void **state)
{
    (void)state;
    enum { LENGTH = 400000 };
    ShSchema *schema = parse_json("{\"pattern\": \"(?:a|c)*+[bd]\"}");
    char *text = malloc(LENGTH + 3);
    assert_non_null(text);
    memset(text, 'a', LENGTH + 2);
    text[0] = text[LENGTH + 1] = '"';
    ShError err = {0};
    double begun = cpu_s();
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)text, LENGTH + 2, NULL, &err), SH_TOO_LARGE);
    assert_true(cpu_s() - begun < PLAIN_SECONDS_MAX);
    free(text);
    sh_schema_free(schema);
}

/* Many records spend one budget; each has its share. */
static void test_records_share_a_budget(void **state)
{
    (void)state;
    ShSchema *evil = parse_json("{\"pattern\": \"^(a+)+$\"}");
    ShSchema *plain = parse_json("{\"type\": \"object\", \"required\": [\"a\"]}");
    ShSchemaBudget budget;
    ShError err = {0};
    const char *text = "\"" EVIL "\"";
    sh_budget_init(&budget, 4 * SH_BUDGET_RECORD_STEPS, SH_BUDGET_RECORD_BYTES);
    int refused = 0;
    double begun = cpu_s();
    while (sh_schema_validate(evil, (const uint8_t *)text, strlen(text), &budget, &err) == SH_TOO_LARGE) {
        refused++;
        if (refused == 1) /* the next one has a share of its own */
            assert_int_equal(sh_schema_validate(plain, (const uint8_t *)"{\"a\": 1}", 8, &budget, &err),
                             SH_OK);
    }
    assert_in_range(refused, 3, 8);
    assert_int_equal(sh_schema_validate(evil, (const uint8_t *)text, strlen(text), &budget, &err),
                     SH_EXHAUSTED);
    assert_int_equal(sh_schema_validate(plain, (const uint8_t *)"{}", 2, &budget, &err), SH_EXHAUSTED);
    assert_true(cpu_s() - begun < PLAIN_SECONDS_MAX);
    sh_schema_free(evil);
    sh_schema_free(plain);
}

/* A normalized text is made of attributes that nobody knows, too, in an order of their own. */
static void test_memory_of_a_text_is_bounded(void **state)
{
    (void)state;
    Text text = {0};
    add(&text, "{\"type\": \"string\", \"x\": [{}");
    for (int i = 0; i < 10000; i++)
        add(&text, ",{}");
    add(&text, "]}");
    ShSchema *schema = parse_text(SH_SCHEMA_AVRO, &text);
    for (int is_enough = 0; is_enough < 2; is_enough++) {
        ShSchemaBudget budget;
        ShError err = {0};
        char *form = NULL;
        sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, (size_t)(is_enough ? 4 : 1) << 20);
        assert_int_equal(sh_schema_text(schema, SH_SCHEMA_FORM_NORMALIZED, &budget, &form, &err),
                         is_enough ? SH_OK : SH_TOO_LARGE);
        free(form);
    }
    free(text.chars);
    sh_schema_free(schema);
}

static void test_memory_of_a_record_is_bounded(void **state)
{
    (void)state;
    ShSchema *schema = parse_json("{\"type\": \"array\"}");
    Text text = {0};
    add(&text, "[{}");
    for (int i = 0; i < 500000; i++)
        add(&text, ",{}");
    add(&text, "]");
    ShError err = {0};
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)text.chars, text.length, NULL, &err),
                     SH_TOO_LARGE);
    free(text.chars);
    sh_schema_free(schema);
}

/* The keywords that name many: each in the time of what it names. */
static void test_large_records_are_told(void **state)
{
    (void)state;
    double begun = cpu_s();
    Text schema_text = {0};
    Text record = {0};
    add(&schema_text, "{\"enum\": [");
    add_each(&schema_text, "{\"a\": [%d, \"%d\"]}", 0, 50000);
    add(&schema_text, "]}");
    ShSchema *schema = parse_text(SH_SCHEMA_JSON, &schema_text);
    for (int i = 0; i < 100000; i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "{\"a\": [%d.0, \"%d\"]}", i, i);
        ShError err = {0};
        assert_int_equal(sh_schema_validate(schema, (const uint8_t *)text, (size_t)length, NULL, &err),
                         i < 50000 ? SH_OK : SH_INVALID);
    }
    sh_schema_free(schema);
    free(schema_text.chars);

    schema = parse_json("{\"uniqueItems\": true}");
    for (int twice = 0; twice < 2; twice++) {
        add(&record, "[");
        add_each(&record, "{\"i\": %d}", 0, 100000);
        add(&record, ", {\"i\": %s}]", twice ? "99999.0" : "-1");
        ShError err = {0};
        assert_int_equal(sh_schema_validate(schema, (const uint8_t *)record.chars, record.length, NULL, &err),
                         twice ? SH_INVALID : SH_OK);
        free(record.chars);
        record = (Text){0};
    }
    sh_schema_free(schema);

    /* Many small messages of a type with many fields, one of them required. */
    schema_text = (Text){0};
    add(&schema_text, "syntax = \"proto2\"; message Outer { repeated Inner i = 1; } message Inner {");
    for (int i = 2; i < 8000; i++)
        add(&schema_text, "optional int32 f%d = %d;", i, i);
    add(&schema_text, "required int32 r = 9000; }");
    schema = parse_text(SH_SCHEMA_PROTOBUF, &schema_text);
    enum { INNER = 6, COUNT = 200000 };
    uint8_t *payload = malloc(1 + (size_t)INNER * COUNT);
    assert_non_null(payload);
    payload[0] = 0;
    for (size_t i = 0; i < COUNT; i++)
        memcpy(payload + 1 + INNER * i, "\x0a\x04\xc0\xb2\x04\x01", INNER);
    ShError err = {0};
    if (sh_schema_validate(schema, payload, 1 + (size_t)INNER * COUNT, NULL, &err) != SH_OK)
        fail_msg("%s", err.message);
    free(payload);
    sh_schema_free(schema);
    free(schema_text.chars);
    assert_true(cpu_s() - begun < PLAIN_SECONDS_MAX);
}

static void test_values_in_sets(void **state)
{
    (void)state;
    ShSchemaBudget budget;
    sh_budget_init(&budget, 100000, 1 << 20);
    ShSchemaArena *arena = sh_schema_arena_new(&budget);
    json_t *array = json_loads("[1, 2.5, \"a\", \"\", null, true, [1, 2], {\"a\": 1, \"b\": [0]}, 0]", 0,
                               NULL);
    const ShJsonSet *set = sh_json_set_of(arena, array, &budget);
    static const struct {
        const char *text;
        bool is_in;
    } cases[] = {
        {"1", true},           {"1.0", true},    {"2.5", true},    {"2", false},
        {"\"a\"", true},       {"\"1\"", false}, {"\"\"", true},   {"null", true},
        {"true", true},        {"false", false}, {"[1, 2]", true}, {"[1.0, 2e0]", true},
        {"[2, 1]", false},     {"[]", false},    {"{}", false},    {"{\"b\": [0.0], \"a\": 1.0}", true},
        {"{\"a\": 1}", false}, {"-0.0", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value = json_loads(cases[i].text, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        if (sh_json_set_has(set, value, &budget) != cases[i].is_in)
            fail_msg("%s", cases[i].text);
        json_decref(value);
    }
    json_decref(array);
    sh_schema_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_json_schemas_are_compared),
        cmocka_unit_test(test_large_avro_schemas_are_compared),
        cmocka_unit_test(test_large_protobuf_schemas_are_compared),
        cmocka_unit_test(test_branches_end_or_are_told),
        cmocka_unit_test(test_budgets_end_the_work),
        cmocka_unit_test(test_a_long_comparison_asks),
        cmocka_unit_test(test_memory_of_patterns_is_bounded),
        cmocka_unit_test(test_patterns_that_take_too_long_tell_nothing),
        cmocka_unit_test(test_long_texts_cost_more),
        cmocka_unit_test(test_records_share_a_budget),
        cmocka_unit_test(test_memory_of_a_text_is_bounded),
        cmocka_unit_test(test_memory_of_a_record_is_bounded),
        cmocka_unit_test(test_large_records_are_told),
        cmocka_unit_test(test_values_in_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
