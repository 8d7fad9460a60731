/* Protobuf schemas: the rules of compatibility, parsing with references and bounds, texts, names, payloads.
 */
#define LANGUAGE SH_SCHEMA_PROTOBUF
#include "tests/unit/schema/schema_fixture.h"
#include "tests/unit/schema/proto_cases.h"

static void test_rules(void **state)
{
    (void)state;
    check_rules(proto_cases, PROTO_CASES);
}

static void test_a_type_that_does_not_fit_taints_its_users(void **state)
{
    (void)state;
    ShSchema *writer = parse(P3("message M { N n = 1; } message N { O o = 2; } message O { int32 a = 3; }"));
    ShSchema *reader = parse(P3("message M { N n = 1; } message N { O o = 2; } message O { string a = 3; }"));
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(reader, writer, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 3);
    assert_string_equal(found.items[0].path, "#/O/3");
    assert_string_equal(found.items[1].path, "#/N/2");
    assert_string_equal(found.items[2].path, "#/M/1");
    assert_string_equal(found.items[2].kind, "FIELD_NAMED_TYPE_CHANGED");
    sh_schema_findings_free(&found);
    sh_schema_free(writer);
    sh_schema_free(reader);
}

static ShSchemaReference reference(const char *name, const char *text)
{
    return (ShSchemaReference){.name = name, .text = text, .text_bytes = strlen(text)};
}

static void test_references_are_compared(void **state)
{
    (void)state;
    const ShSchemaReference old = reference("d.proto", P3("package d; message D { int32 a = 1; }"));
    const ShSchemaReference new = reference("d.proto", P3("package d; message D { bytes a = 1; }"));
    const char *text = P3("import \"d.proto\"; message M { d.D d = 1; }");
    ShSchema *writer = parse_with(text, &old, 1);
    ShSchema *reader = parse_with(text, &new, 1);
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(reader, writer, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[0].path, "#/D/1");
    assert_string_equal(found.items[1].path, "#/M/1");
    sh_schema_findings_free(&found);
    sh_schema_free(writer);
    sh_schema_free(reader);
}

static void test_references_of_references(void **state)
{
    (void)state;
    const ShSchemaReference references[] = {
        reference("a.proto", P3("package a; message A { int32 x = 1; }")),
        reference("dir/b.proto", P3("package b; import \"a.proto\"; message B { a.A a = 1; }")),
        reference("google/protobuf/timestamp.proto", "what the library has is not parsed again"),
    };
    ShSchema *schema = parse_with(P3("import \"dir/b.proto\"; import \"google/protobuf/timestamp.proto\"; "
                                     "message M { b.B b = 1; google.protobuf.Timestamp at = 2; }"),
                                  references, 3);
    sh_schema_free(schema);
}

static void test_bad_schemas_are_refused(void **state)
{
    (void)state;
    refused("", SH_INVALID, "no message");
    refused("message", SH_INVALID, "neither a .proto text nor a FileDescriptorProto");
    refused(P3("message M { int32 a = }"), SH_INVALID, "line 1, column 42");
    refused(P3("\nmessage M { Unknown a = 1; }"), SH_INVALID, "\"Unknown\" is not defined");
    refused(P3("message M { int32 a = 1; int32 b = 1; }"), SH_INVALID, "already been used");
    refused(P3("message M {} message M {}"), SH_INVALID, "already defined");
    refused(P3("import \"nowhere.proto\"; message M {}"), SH_INVALID, "nowhere.proto");
    refused(P3("import \"default.proto\"; message M {}"), SH_INVALID, "default.proto");
    refused(P3("message M { required int32 a = 1; }"), SH_INVALID, "Required");
    refused(P3("message M { int32 a = 0; }"), SH_INVALID, "positive");
    refused(P3("message M { int32 a = 19000; }"), SH_INVALID, "reserved");
    refused(P3("enum E { X = 0; }"), SH_INVALID, "no message");
    refused("syntax = \"proto9\"; message M {}", SH_INVALID, "proto9");
    refused("AAAA", SH_INVALID, "neither");
}

static char *repeat(const char *front, const char *piece, size_t times, const char *back)
{
    size_t length = strlen(piece);
    char *text = malloc(strlen(front) + times * length + strlen(back) + 1);
    assert_non_null(text);
    char *at = stpcpy(text, front);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, piece);
    strcpy(at, back);
    return text;
}

static void test_depth_and_size_are_bounded(void **state)
{
    (void)state;
    char *deep = repeat(P3(""), "message M {", 100000, "");
    refused(deep, SH_TOO_LARGE, "100 levels");
    free(deep);
    char *comment = repeat(P3("message M { /*"), "{{{{", 100, "*/ string a = 1 [json_name = \"}}\"]; }");
    sh_schema_free(parse(comment));
    free(comment);
    char *options = repeat(P3("message M { option (x) = "), "{a: ", 100000, "");
    refused(options, SH_TOO_LARGE, "100 levels");
    free(options);
    char *ranges = malloc(400000);
    char *at = ranges + sprintf(ranges, P3("message M { reserved 1"));
    for (int i = 2; i < 20000; i++)
        at += sprintf(at, ", %d", 2 * i);
    strcpy(at, "; }");
    refused(ranges, SH_TOO_LARGE, "reserved ranges");
    free(ranges);
    char *large = repeat("", " ", SH_SCHEMA_BYTES_MAX + 1, "");
    refused(large, SH_TOO_LARGE, "references");
    free(large);
}

static void test_a_long_chain_of_types_is_compared(void **state)
{
    (void)state;
    char *text = malloc(2000000);
    char *at = text + sprintf(text, P3(""));
    for (int i = 0; i < 19000; i++)
        at += sprintf(at, "message M%d { M%d m = 1; } ", i, i + 1);
    strcpy(at, "message M19000 { int32 a = 1; }");
    ShSchema *schema = parse(text);
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(schema, schema, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 0);
    sh_schema_free(schema);
    free(text);
}

static char *text_of(const ShSchema *schema, ShSchemaForm form)
{
    char *text = NULL;
    assert_int_equal(sh_schema_text(schema, form, NULL, &text, NULL), SH_OK);
    return text;
}

static void test_texts(void **state)
{
    (void)state;
    ShSchema *one = parse("syntax=\"proto3\"; // a comment\npackage p;message M{N n=1;} message N{}");
    ShSchema *other = parse(P3("package p; message M { .p.N n = 1; /* another */ } message N { }"));
    char *text = text_of(one, SH_SCHEMA_FORM_CANONICAL);
    char *same = text_of(other, SH_SCHEMA_FORM_NORMALIZED);
    assert_string_equal(text, same);
    ShSchema *again = parse(text);
    char *unchanged = text_of(again, SH_SCHEMA_FORM_CANONICAL);
    assert_string_equal(unchanged, text);
    free(unchanged);
    sh_schema_free(again);

    char *serialized = text_of(one, SH_SCHEMA_FORM_SERIALIZED);
    ShSchema *from_bytes = parse(serialized);
    char *written = text_of(from_bytes, SH_SCHEMA_FORM_CANONICAL);
    assert_string_equal(written, text);
    free(written);
    free(serialized);
    sh_schema_free(from_bytes);
    free(same);
    free(text);
    sh_schema_free(other);
    sh_schema_free(one);
}

#define NAMES                                                                                                \
    P3("package p; message A { map<int32, B> m = 1; message B {} message C {} } message D { int32 i = 1; }")

static void test_names_of_records(void **state)
{
    (void)state;
    ShSchema *schema = parse(NAMES);
    static const struct {
        const char *name;
        size_t length;
        uint8_t payload[4];
    } cases[] = {
        {"p.A", 1, {0}},         {"p.A", 2, {2, 0}}, {"p.D", 2, {2, 2}},      {"p.A.B", 3, {4, 0, 0}},
        {"p.A.C", 3, {4, 0, 2}}, {NULL, 2, {2, 4}},  {NULL, 3, {4, 0, 4}},    {NULL, 1, {4}},
        {NULL, 2, {2, 1}},       {NULL, 0, {0}},     {NULL, 2, {0x80, 0x80}},
    };
    assert_string_equal(sh_schema_record_name(schema, NULL, 0), "p.A");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = sh_schema_record_name(schema, cases[i].payload, cases[i].length);
        if (cases[i].name == NULL)
            assert_null(name);
        else
            assert_string_equal(name, cases[i].name);
    }
    sh_schema_free(schema);
}

static void check_payloads(const char *text, const char *payload, size_t bytes, const char *words)
{
    ShSchema *schema = parse(text);
    uint8_t *exact = malloc(bytes + 1); /* so that a read beyond the end is seen */
    memcpy(exact, payload, bytes);
    exact = realloc(exact, bytes == 0 ? 1 : bytes);
    ShError err = {0};
    ShStatus status = sh_schema_validate(schema, exact, bytes, NULL, &err);
    if (words == NULL && status != SH_OK)
        fail_msg("%s: %s", text, err.message);
    if (words != NULL) {
        assert_int_equal(status, SH_INVALID);
        if (strstr(err.message, words) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    }
    free(exact);
    sh_schema_free(schema);
}
#define FITS(text, payload)           check_payloads(text, payload, sizeof payload - 1, NULL)
#define REFUSED(text, payload, words) check_payloads(text, payload, sizeof payload - 1, words)

static void test_payloads(void **state)
{
    (void)state;
    FITS(M("int32 a = 1;"), "\0");
    FITS(M("int32 a = 1;"), "\0\x08\x96\x01");
    FITS(M("int32 a = 1;"), "\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    FITS(M("int32 a = 1;"), "\0\x10\x01\x1a\x02zz"); /* fields that are not known */
    FITS(M("string a = 1;"), "\0\x0a\x03\xe2\x82\xac");
    FITS(M("bytes a = 1;"), "\0\x0a\x01\xff");
    FITS(M2("optional string a = 1;"), "\0\x0a\x01\xff"); /* proto2 does not say UTF-8 */
    FITS(M("repeated int32 a = 1;"), "\0\x0a\x02\x01\x02\x08\x03");
    FITS(M("repeated fixed32 a = 1;"), "\0\x0a\x08\0\0\0\0\0\0\0\0");
    FITS(M("double a = 1; float b = 2;"), "\0\x09\0\0\0\0\0\0\0\0\x15\0\0\0\0");
    FITS(M("message N { int32 a = 1; } N n = 1;"), "\0\x0a\x02\x08\x05");
    FITS(M("map<string, int32> a = 1;"), "\0\x0a\x05\x0a\x01k\x10\x01");
    FITS(M2("optional group G = 1 { optional int32 a = 1; }"), "\0\x0b\x08\x01\x0c");
    FITS(M2("required int32 a = 1;"), "\0\x08\x01");
    FITS(P3("message A { int32 a = 1; } message B { string b = 1; }"), "\x02\x02\x0a\x01x");

    REFUSED(M("int32 a = 1;"), "", "list of message indexes");
    REFUSED(M("int32 a = 1;"), "\x02\x02", "names message 1 of 1");
    REFUSED(M("int32 a = 1;"), "\0\x08", "cut or damaged at byte 2");
    REFUSED(M("int32 a = 1;"), "\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut or damaged");
    REFUSED(M("int32 a = 1;"), "\0\x0a\x01x", "the field \"a\" has wire type 2");
    REFUSED(M("string a = 1;"), "\0\x08\x01", "the field \"a\" has wire type 0");
    REFUSED(M("string a = 1;"), "\0\x0a\x05xx", "cut or damaged");
    REFUSED(M("string a = 1;"), "\0\x0a\x01\xff", "the string \"a\" at byte 3 is not UTF-8");
    REFUSED(M("string a = 1;"), "\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut or damaged");
    REFUSED(M("repeated fixed32 a = 1;"), "\0\x0a\x07\0\0\0\0\0\0\0", "packed values of \"a\" are cut");
    REFUSED(M("message N { int32 a = 1; } N n = 1;"), "\0\x0a\x02\x0a\x05", "M.N: the field \"a\"");
    REFUSED(M2("required int32 a = 1; optional int32 b = 2;"), "\0\x10\x01",
            "required field \"a\" is missing");
    REFUSED(M2("message N { required int32 a = 1; } optional N n = 1;"), "\0\x0a\0",
            "M.N: the required field");
    REFUSED(M2("optional group G = 1 { }"), "\0\x0b", "cut or damaged");
    REFUSED(M2("optional group G = 1 { }"), "\0\x0b\x14", "a group ends");
    REFUSED(M("int32 a = 1;"), "\0\x0c", "a group ends");
    REFUSED(M("int32 a = 1;"), "\0\0\0", "no field begins");
    REFUSED(M("int32 a = 1;"), "\0\x0f", "no field begins");
}

static void test_deep_payloads_are_refused(void **state)
{
    (void)state;
    char groups[1001] = {0}; /* of a number that is not known */
    memset(groups + 1, 0x13, 1000);
    check_payloads(M("int32 a = 1;"), groups, sizeof groups, "levels deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_a_type_that_does_not_fit_taints_its_users),
        cmocka_unit_test(test_references_are_compared),
        cmocka_unit_test(test_references_of_references),
        cmocka_unit_test(test_bad_schemas_are_refused),
        cmocka_unit_test(test_depth_and_size_are_bounded),
        cmocka_unit_test(test_a_long_chain_of_types_is_compared),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_names_of_records),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_deep_payloads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
