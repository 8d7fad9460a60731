/* Avro schemas: the rules of resolution, what is refused, the forms, references, and the binary form. */
#define LANGUAGE SH_SCHEMA_AVRO
#include "schema/avro_fingerprint.h"
#include "tests/unit/schema/schema_fixture.h"
#include "tests/unit/schema/avro_cases.h"

static void test_rules(void **state)
{
    (void)state;
    check_rules(avro_cases, AVRO_CASES);
    assert_true(AVRO_CASES >= 140);
}

/* A pair that is assumed to fit while it is compared must not leave that behind when it does not. */
static void test_what_was_found_under_an_assumption_is_forgotten(void **state)
{
    (void)state;
    /* Branch A fails by its last field, after B was found to fit under the assumption that A does. B is asked
     * again. */
#define TWO(last, more)                                                                                      \
    "[{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"b\",\"type\":[\"null\",{\"type\":"         \
    "\"record\",\"name\":"                                                                                   \
    "\"B\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"A\"]}]}]},{\"name\":\"last\",\"type\":\"" last   \
    "\"}]}," more "]"
    ShSchema *writer = parse(TWO("string", "\"B\""));
    ShSchema *reader = parse(TWO("int", "\"B\""));
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(reader, writer, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.items[0].path, "/0");
    assert_string_equal(found.items[1].path, "/1");
    sh_schema_findings_free(&found);
    sh_schema_free(writer);
    sh_schema_free(reader);
}

static void test_all_findings_are_told(void **state)
{
    (void)state;
    ShSchema *writer = parse(REC(FLD("a", S) "," FLD("e", ENUM("E", "\"A\"]"))));
    ShSchema *reader = parse(REC(FLD("a", I) "," FLD("b", I) "," FLD("e", ENUM("F", "\"B\"]"))));
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(reader, writer, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 4);
    assert_string_equal(found.items[0].message,
                        "string cannot be read as int: keep the type, or read a union of both");
    assert_string_equal(found.items[1].kind, "READER_FIELD_MISSING_DEFAULT_VALUE");
    assert_string_equal(found.items[2].kind, "NAME_MISMATCH");
    assert_string_equal(found.items[3].kind, "MISSING_ENUM_SYMBOLS");
    sh_schema_findings_free(&found);
    sh_schema_free(writer);
    sh_schema_free(reader);
}

static const struct {
    const char *text;
    const char *words; /* of the message */
} bad[] = {
    {"", "no JSON"},
    {"nonsense", "no JSON"},
    {"{\"type\":\"int\"", "no JSON"},
    {"{\"type\":\"int\",\"type\":\"int\"}", "duplicate"},
    {"\"int\" \"int\"", "no JSON"},
    {"1", "a type is a name"},
    {"null", "a type is a name"},
    {"{}", "no \"type\""},
    {"\"integer\"", "no type \"integer\""},
    {"{\"type\":\"recrod\"}", "no type \"recrod\""},
    {"{\"type\":\"record\"}", "no name"},
    {"{\"type\":\"record\",\"name\":\"R\"}", "no list of fields"},
    {"{\"type\":\"record\",\"name\":\"\",\"fields\":[]}", "no name for a type"},
    {"{\"type\":\"record\",\"name\":\"1R\",\"fields\":[]}", "no name for a type"},
    {"{\"type\":\"record\",\"name\":\"a..R\",\"fields\":[]}", "no name for a type"},
    {"{\"type\":\"record\",\"name\":\"a-b\",\"fields\":[]}", "no name for a type"},
    {"{\"type\":\"record\",\"name\":\"x.int\",\"fields\":[]}", "no name for a type"},
    {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"1\",\"fields\":[]}", "no namespace"},
    {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":7,\"fields\":[]}", "namespace"},
    {"{\"type\":\"record\",\"name\":\"R\",\"aliases\":\"x\",\"fields\":[]}", "aliases"},
    {"{\"type\":\"record\",\"name\":\"R\",\"aliases\":[\"1\"],\"fields\":[]}", "no alias"},
    {REC("1"), "/fields/0: "},
    {REC("{\"type\":\"int\"}"), "no name for a field"},
    {REC("{\"name\":\"a\"}"), "no type"},
    {REC("{\"name\":\"a.b\",\"type\":\"int\"}"), "no name for a field"},
    {REC(FLD("a", I) "," FLD("a", I)), "two fields \"a\""},
    {REC("{\"name\":\"a\",\"type\":\"int\",\"order\":\"up\"}"), "order"},
    {REC(DEF("a", I, "\"x\"")), "default of field \"a\" is not int"},
    {REC(DEF("a", I, "2147483648")), "not int"},
    {REC(DEF("a", J, "1.5")), "not long"},
    {REC(DEF("a", O, "0")), "not boolean"},
    {REC(DEF("a", N, "0")), "not null"},
    {REC(DEF("a", S, "1")), "not string"},
    {REC(DEF("a", H, "\"1\"")), "not double"},
    {REC(DEF("a", B, "\"\\u0100\"")), "not bytes"},
    {REC(DEF("a", FIX("F", "2"), "\"abc\"")), "fixed of its size"},
    {REC(DEF("a", ENUM("E", "\"A\"]"), "\"B\"")), "one of the enum's symbols"},
    {REC(DEF("a", ARR(I), "[\"x\"]")), "not int"},
    {REC(DEF("a", ARR(I), "{}")), "not array"},
    {REC(DEF("a", MAP(I), "{\"k\":true}")), "not int"},
    {REC(DEF("a", "[\"null\",\"int\"]", "1")), "not null"},
    {REC(DEF("a", NAMED("Q", "\"fields\":[" FLD("x", I) "]"), "{}")), "a value for each field"},
    {ENUM("E", "\"A\",\"A\"]"), "twice"},
    {ENUM("E", "\"A-B\"]"), "no symbol"},
    {ENUM("E", "1]"), "no symbol"},
    {ENUM("E", "\"A\"],\"default\":\"B\""), "none of its symbols"},
    {"{\"type\":\"enum\",\"name\":\"E\"}", "no list of symbols"},
    {FIX("F", "-1"), "size"},
    {FIX("F", "\"4\""), "size"},
    {FIX("F", "99999999999"), "size"},
    {"{\"type\":\"fixed\",\"name\":\"F\"}", "size"},
    {"{\"type\":\"array\"}", "no \"items\""},
    {"{\"type\":\"map\"}", "no \"values\""},
    {"[\"int\",\"int\"]", "two branches of type int"},
    {"[\"int\",{\"type\":\"int\",\"logicalType\":\"date\"}]", "two branches of type int"},
    {"[[\"int\"]]", "right in a union"},
    {"[" ARR(I) "," ARR(S) "]", "two branches of type array"},
    {"[" REC("") ",\"R\"]", "two branches \"R\""},
    {REC(FLD("a", REC(""))), "defined twice"},
    {REC(FLD("a", "\"x.R\"")), "no type \"x.R\""},
};

static void test_bad_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ShSchema *schema = NULL;
        ShError err = {0};
        ShStatus status = sh_schema_parse(SH_SCHEMA_AVRO, bad[i].text, strlen(bad[i].text), NULL, 0, NULL,
                                          &schema, &err);
        if (status != SH_INVALID || strstr(err.message, bad[i].words) == NULL)
            fail_msg("%s: %s: \"%s\" does not say \"%s\"", bad[i].text, sh_status_name(status), err.message,
                     bad[i].words);
        assert_null(schema);
    }
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    char text[20000] = "";
    for (int depth = 98; depth <= 200; depth += 102) {
        size_t length = 0;
        for (int i = 0; i < depth; i++)
            length += (size_t)sprintf(text + length, "{\"type\":\"array\",\"items\":");
        length += (size_t)sprintf(text + length, "\"int\"");
        for (int i = 0; i < depth; i++)
            text[length++] = '}';
        ShSchema *schema = NULL;
        ShError err = {0};
        assert_int_equal(sh_schema_parse(SH_SCHEMA_AVRO, text, length, NULL, 0, NULL, &schema, &err),
                         depth < 100 ? SH_OK : SH_INVALID);
        sh_schema_free(schema);
    }
}

static const struct {
    const char *text;
    const char *parsing;
    const char *normalized; /* NULL: not looked at */
} forms[] = {
    {" \"int\" ", "\"int\"", "\"int\""},
    {"{\"type\":\"int\"}", "\"int\"", "\"int\""},
    {"{\"type\":\"int\",\"logicalType\":\"date\"}", "\"int\"", "{\"type\":\"int\",\"logicalType\":\"date\"}"},
    {"{\"logicalType\":\"date\",\"type\":\"int\"}", "\"int\"", "{\"type\":\"int\",\"logicalType\":\"date\"}"},
    {"[ \"null\", {\"type\":\"string\"} ]", "[\"null\",\"string\"]", "[\"null\",\"string\"]"},
    {"{\"items\":\"int\",\"type\":\"array\",\"x\":1}", "{\"type\":\"array\",\"items\":\"int\"}",
     "{\"type\":\"array\",\"items\":\"int\",\"x\":1}"},
    {"{\"type\":\"map\",\"values\":{\"type\":\"bytes\"}}", "{\"type\":\"map\",\"values\":\"bytes\"}", NULL},
    {"{\"fields\":[{\"type\":\"int\",\"default\":1,\"doc\":\"d\",\"name\":\"a\",\"order\":\"ascending\"}],"
     "\"doc\":\"x\","
     "\"namespace\":\"n.m\",\"name\":\"R\",\"type\":\"record\",\"aliases\":[\"Q\"]}",
     "{\"name\":\"n.m.R\",\"type\":\"record\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}",
     "{\"type\":\"record\",\"name\":\"n.m.R\",\"aliases\":[\"n.m.Q\"],\"fields\":[{\"name\":\"a\",\"type\":"
     "\"int\","
     "\"default\":1,\"doc\":\"d\"}],\"doc\":\"x\"}"},
    {"{\"type\":\"enum\",\"name\":\"E\",\"namespace\":\"n\",\"symbols\":[\"B\",\"A\"],\"default\":\"A\"}",
     "{\"name\":\"n.E\",\"type\":\"enum\",\"symbols\":[\"B\",\"A\"]}",
     "{\"type\":\"enum\",\"name\":\"n.E\",\"symbols\":[\"B\",\"A\"],\"default\":\"A\"}"},
    {"{\"type\":\"fixed\",\"size\":16,\"name\":\"F\"}", "{\"name\":\"F\",\"type\":\"fixed\",\"size\":16}",
     NULL},
    {"{\"type\":\"record\",\"name\":\"n.L\",\"fields\":[{\"name\":\"v\",\"type\":{\"type\":\"fixed\","
     "\"name\":\"F\",\"size\":2}},"
     "{\"name\":\"w\",\"type\":\"F\"},{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}",
     "{\"name\":\"n.L\",\"type\":\"record\",\"fields\":[{\"name\":\"v\",\"type\":{\"name\":\"n.F\",\"type\":"
     "\"fixed\",\"size\":2}},"
     "{\"name\":\"w\",\"type\":\"n.F\"},{\"name\":\"next\",\"type\":[\"null\",\"n.L\"]}]}",
     NULL},
    {"{\"type\":{\"type\":\"string\"}}", "\"string\"", "\"string\""},
    /* Attributes that a primitive type cannot have are not kept, and are not a reason for an object. */
    {"{\"type\":\"string\",\"name\":\"R\",\"fields\":[]}", "\"string\"", "\"string\""},
};

static void check_form(const ShSchema *schema, ShSchemaForm form, const char *expected)
{
    char *text = NULL;
    ShError err = {0};
    assert_int_equal(sh_schema_text(schema, form, NULL, &text, &err), SH_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        ShSchema *schema = parse(forms[i].text);
        check_form(schema, SH_SCHEMA_FORM_PARSING, forms[i].parsing);
        if (forms[i].normalized != NULL)
            check_form(schema, SH_SCHEMA_FORM_NORMALIZED, forms[i].normalized);
        /* The forms of a form are itself. */
        for (ShSchemaForm form = SH_SCHEMA_FORM_CANONICAL; form <= SH_SCHEMA_FORM_PARSING; form++) {
            char *text = NULL;
            ShError err = {0};
            assert_int_equal(sh_schema_text(schema, form, NULL, &text, &err), SH_OK);
            ShSchema *again = parse(text);
            check_form(again, form, text);
            check_form(again, SH_SCHEMA_FORM_PARSING, forms[i].parsing);
            sh_schema_free(again);
            free(text);
        }
        sh_schema_free(schema);
    }
}

/* The values that Avro's own test data (schema-tests.txt) has for these canonical forms. */
static void test_fingerprints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t fingerprint;
    } cases[] = {
        {"\"null\"", UINT64_C(7195948357588979594)},
        {"\"boolean\"", (uint64_t)INT64_C(-6970731678124411036)},
        {"\"int\"", UINT64_C(8247732601305521295)},
        {"\"long\"", (uint64_t)INT64_C(-3434872931120570953)},
        {"\"float\"", UINT64_C(5583340709985441680)},
        {"\"double\"", (uint64_t)INT64_C(-8181574048448539266)},
        {"\"bytes\"", UINT64_C(5746618253357095269)},
        {"\"string\"", (uint64_t)INT64_C(-8142146995180207161)},
        {"[]", (uint64_t)INT64_C(-1241056759729112623)},
        {"[\"int\"]", (uint64_t)INT64_C(-5232228896498058493)},
        {"[\"int\",\"boolean\"]", UINT64_C(5392556393470105090)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sh_avro_fingerprint(cases[i].text, strlen(cases[i].text)), cases[i].fingerprint);
}

static ShSchemaReference reference(const char *name, const char *text)
{
    return (ShSchemaReference){.name = name, .text = text, .text_bytes = strlen(text)};
}

static void test_references(void **state)
{
    (void)state;
    const char *pair =
        "{\"type\":\"record\",\"name\":\"x.Pair\",\"fields\":[{\"name\":\"a\",\"type\":\"x.One\"},"
        "{\"name\":\"b\",\"type\":\"One\"}]}";
    ShSchemaReference both[] = {
        reference("x.One", "{\"type\":\"record\",\"name\":\"x.One\",\"fields\":[" FLD("v", I) "]}"),
        reference("x.Pair", pair)};
    ShSchema *schema = parse_with(ARR("\"x.Pair\""), both, 2);
    check_form(schema, SH_SCHEMA_FORM_CANONICAL, "{\"type\":\"array\",\"items\":\"x.Pair\"}");
    check_form(schema, SH_SCHEMA_FORM_PARSING, "{\"type\":\"array\",\"items\":\"x.Pair\"}");
    both[0].text = "{\"type\":\"record\",\"name\":\"x.One\",\"fields\":[" FLD("v", S) "]}";
    both[0].text_bytes = strlen(both[0].text);
    ShSchema *other = parse_with(ARR("\"x.Pair\""), both, 2);
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(schema, other, NULL, &found, NULL), SH_OK);
    assert_int_equal(found.count, 1); /* the pair of records is told once */
    assert_string_equal(found.items[0].path, "/items/fields/0/type/fields/0/type");
    sh_schema_findings_free(&found);
    sh_schema_free(schema);
    sh_schema_free(other);

    ShError err = {0};
    ShSchemaReference missing = reference("x.Pair", pair);
    assert_int_equal(sh_schema_parse(SH_SCHEMA_AVRO, I, strlen(I), &missing, 1, NULL, &schema, &err),
                     SH_INVALID);
    assert_non_null(strstr(err.message, "x.Pair:/fields/0/type"));
    ShSchemaReference twice = reference("R", REC(""));
    assert_int_equal(
        sh_schema_parse(SH_SCHEMA_AVRO, REC(""), strlen(REC("")), &twice, 1, NULL, &schema, &err),
        SH_INVALID);
    assert_non_null(strstr(err.message, "defined twice"));
}

static void test_record_names(void **state)
{
    (void)state;
    ShSchema *schema = parse(NAMED("R", "\"namespace\":\"n\",\"fields\":[]"));
    assert_string_equal(sh_schema_record_name(schema, NULL, 0), "n.R");
    sh_schema_free(schema);
    schema = parse(I);
    assert_null(sh_schema_record_name(schema, NULL, 0));
    sh_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_what_was_found_under_an_assumption_is_forgotten),
        cmocka_unit_test(test_all_findings_are_told),
        cmocka_unit_test(test_bad_schemas),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_record_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
