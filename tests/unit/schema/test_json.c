/* JSON schemas: the rules of compatibility, bad input, bounds, references, the keywords of the latest drafts.
 */
#define LANGUAGE SH_SCHEMA_JSON
#include "tests/unit/schema/schema_fixture.h"
#include "tests/unit/schema/json_cases.h"

static void test_rules(void **state)
{
    (void)state;
    check_rules(json_cases, JSON_CASES);
}

static void test_bad_schemas_are_refused(void **state)
{
    (void)state;
    refused("", SH_INVALID, "no JSON");
    refused("{\"type\": ", SH_INVALID, "line 1");
    refused("[]", SH_INVALID, "neither an object");
    refused("3", SH_INVALID, "neither an object");
    refused("{\"type\": \"string\", \"type\": \"integer\"}", SH_INVALID, "duplicate object key");
    refused("{\"properties\": {\"a\": {}, \"b\": {\"enum\": [{\"c\": 1, \"c\": 2}]}}}", SH_INVALID,
            "duplicate");
    refused("{\"required\": [\"a\\u0000b\"]}", SH_INVALID, "#/required");
    refused("{\"pattern\": \"a\\u0000b\"}", SH_INVALID, "#/pattern");
    refused("{\"type\": \"strin\"}", SH_INVALID, "#/type: it must be null, boolean");
    refused("{\"type\": 3}", SH_INVALID, "#/type");
    refused("{\"properties\": []}", SH_INVALID, "#/properties: it must be an object");
    refused("{\"properties\": {\"a\": 3}}", SH_INVALID, "#/properties/a: a schema must be");
    refused("{\"required\": \"a\"}", SH_INVALID, "#/required");
    refused("{\"required\": [3]}", SH_INVALID, "#/required");
    refused("{\"anyOf\": {}}", SH_INVALID, "#/anyOf");
    refused("{\"maximum\": \"3\"}", SH_INVALID, "#/maximum: it must be a number");
    refused("{\"maxLength\": -1}", SH_INVALID, "#/maxLength");
    refused("{\"multipleOf\": 0}", SH_INVALID, "above 0");
    refused("{\"pattern\": \"(\"}", SH_INVALID, "no regular expression");
    refused("{\"patternProperties\": {\"[\": {}}}", SH_INVALID, "no regular expression");
    refused("{\"$ref\": 3}", SH_INVALID, "#/$ref");
    refused("{\"$ref\": \"#/definitions/a\"}", SH_INVALID, "leads nowhere");
    refused("{\"items\": {\"$ref\": \"other.json\"}}", SH_INVALID,
            "#/items: nothing is known at \"other.json\"");
    refused("{\"$ref\": \"#nowhere\"}", SH_INVALID, "nothing is known");
}

static char *repeat(const char *piece, size_t times, const char *middle, const char *back)
{
    size_t front = strlen(piece);
    size_t behind = strlen(back);
    char *text = malloc(times * (front + behind) + strlen(middle) + 1);
    assert_non_null(text);
    char *at = text;
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, piece);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, back);
    return text;
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char *deep = repeat("{\"items\": ", 101, "{}", "}");
    refused(deep, SH_TOO_LARGE, "100 levels");
    free(deep);
    deep = repeat("{\"items\": ", 100000, "{}", "}");
    refused(deep, SH_INVALID, "depth");
    free(deep);
    deep = repeat("[", 100000, "", "]");
    refused(deep, SH_INVALID, "depth");
    free(deep);
}

static void test_endless_references_end(void **state)
{
    (void)state;
    ShSchema *schema = parse(
        "{\"$ref\": \"#/definitions/a\", \"definitions\": {\"a\": {\"$ref\": \"#/definitions/b\"}, "
        "\"b\": {\"$ref\": \"#/definitions/a\"}}}");
    ShError err = {0};
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)"1", 1, NULL, &err), SH_TOO_LARGE);
    assert_non_null(strstr(err.message, "more work"));
    ShSchemaFindings found;
    assert_int_equal(sh_schema_compare(schema, schema, NULL, &found, &err), SH_OK);
    sh_schema_findings_free(&found);
    sh_schema_free(schema);
}

static void test_work_is_bounded(void **state)
{
    (void)state;
    /* Each level applies the next one twice, to the same value. */
    char text[20000];
    char *at = text + sprintf(text, "{\"$ref\": \"#/definitions/d0\", \"definitions\": {");
    for (int i = 0; i < 60; i++)
        at += sprintf(
            at,
            "\"d%d\": {\"allOf\": [{\"$ref\": \"#/definitions/d%d\"}, {\"$ref\": \"#/definitions/d%d\"}]}, ",
            i, i + 1, i + 1);
    strcpy(at, "\"d60\": {\"type\": \"integer\"}}}");
    ShSchema *schema = parse(text);
    ShError err = {0};
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)"1", 1, NULL, &err), SH_TOO_LARGE);
    assert_non_null(strstr(err.message, "more work"));
    ShSchema *other = parse(text);
    ShSchemaFindings found = {0};
    ShStatus status = sh_schema_compare(schema, other, NULL, &found, &err); /* ends */
    assert_true(status == SH_OK || status == SH_EXHAUSTED);
    sh_schema_findings_free(&found);
    sh_schema_free(other);
    sh_schema_free(schema);
}

static void test_references(void **state)
{
    (void)state;
    const char *address = "{\"type\": \"object\", \"properties\": {\"zip\": {\"$ref\": \"zip.json\"}}}";
    const char *zip = "{\"$id\": \"http://x.org/zip.json\", \"type\": \"string\", \"maxLength\": 5}";
    const ShSchemaReference references[] = {
        {.name = "zip.json", .text = zip, .text_bytes = strlen(zip)},
        {.name = "address.json", .text = address, .text_bytes = strlen(address)},
    };
    ShSchema *schema = parse_with(
        "{\"$id\": \"http://y.org/person.json\", \"properties\": {\"home\": {\"$ref\": "
        "\"address.json\"}, \"zip\": {\"$ref\": \"http://x.org/zip.json#\"}}}",
        references, 2);
    ShError err = {0};
    const char *good = "{\"home\": {\"zip\": \"12345\"}, \"zip\": \"1\"}";
    const char *bad = "{\"home\": {\"zip\": \"123456\"}}";
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)good, strlen(good), NULL, &err), SH_OK);
    assert_int_equal(sh_schema_validate(schema, (const uint8_t *)bad, strlen(bad), NULL, &err), SH_INVALID);
    assert_string_equal(err.message, "$.home.zip: 6 characters, more than 5");
    sh_schema_free(schema);
}

static void test_texts_and_names(void **state)
{
    (void)state;
    ShSchema *schema = parse("{ \"type\": \"string\",\n \"title\": \"Order\" }");
    char *text = NULL;
    assert_int_equal(sh_schema_text(schema, SH_SCHEMA_FORM_CANONICAL, NULL, &text, NULL), SH_OK);
    assert_string_equal(text, "{\"type\":\"string\",\"title\":\"Order\"}");
    free(text);
    assert_int_equal(sh_schema_text(schema, SH_SCHEMA_FORM_NORMALIZED, NULL, &text, NULL), SH_OK);
    assert_string_equal(text, "{\"title\":\"Order\",\"type\":\"string\"}");
    free(text);
    assert_string_equal(sh_schema_record_name(schema, NULL, 0), "Order");
    sh_schema_free(schema);
    schema = parse("true");
    assert_null(sh_schema_record_name(schema, NULL, 0));
    sh_schema_free(schema);
}

#define D2019(text) "{\"$schema\": \"https://json-schema.org/draft/2019-09/schema\", " text "}"

/* What the official suite in Debian does not reach: drafts 2019-09 and 2020-12, by the sections of their
 * core. */
static const struct {
    const char *schema;
    const char *value;
    bool fits;
} late_cases[] = {
    {D2020("\"prefixItems\": [{\"type\": \"integer\"}], \"items\": {\"type\": \"string\"}"), "[1, \"a\"]",
     true},
    {D2020("\"prefixItems\": [{\"type\": \"integer\"}], \"items\": {\"type\": \"string\"}"), "[1, 2]", false},
    {D2020("\"prefixItems\": [{\"type\": \"integer\"}], \"items\": false"), "[1, 2]", false},
    {D2020("\"prefixItems\": [{\"type\": \"integer\"}]"), "[\"a\"]", false},
    {D2020("\"$ref\": \"#/$defs/a\", \"maximum\": 3, \"$defs\": {\"a\": {\"type\": \"integer\"}}"), "4",
     false},
    {D2020("\"$ref\": \"#/$defs/a\", \"maximum\": 3, \"$defs\": {\"a\": {\"type\": \"integer\"}}"), "\"a\"",
     false},
    {D2020("\"$ref\": \"#here\", \"$defs\": {\"a\": {\"$anchor\": \"here\", \"type\": \"integer\"}}"), "4",
     true},
    {D2020("\"$ref\": \"#here\", \"$defs\": {\"a\": {\"$anchor\": \"here\", \"type\": \"integer\"}}"), "\"\"",
     false},
    {D2020("\"dependentRequired\": {\"a\": [\"b\"]}"), "{\"a\": 1}", false},
    {D2020("\"dependentRequired\": {\"a\": [\"b\"]}"), "{\"a\": 1, \"b\": 1}", true},
    {D2020("\"dependentSchemas\": {\"a\": {\"minProperties\": 2}}"), "{\"a\": 1}", false},
    {D2020("\"contains\": {\"type\": \"null\"}, \"minContains\": 2"), "[null]", false},
    {D2020("\"contains\": {\"type\": \"null\"}, \"minContains\": 0"), "[]", true},
    {D2020("\"contains\": {\"type\": \"null\"}, \"maxContains\": 1"), "[null, null]", false},
    {D2020("\"properties\": {\"a\": {}}, \"unevaluatedProperties\": false"), "{\"a\": 1}", true},
    {D2020("\"properties\": {\"a\": {}}, \"unevaluatedProperties\": false"), "{\"b\": 1}", false},
    {D2020("\"allOf\": [{\"properties\": {\"a\": {}}}], \"unevaluatedProperties\": false"), "{\"a\": 1}",
     true},
    {D2020("\"allOf\": [{\"properties\": {\"a\": {}}}], \"additionalProperties\": false"), "{\"a\": 1}",
     false},
    {D2020("\"anyOf\": [{\"properties\": {\"a\": {\"const\": 1}}}, {\"properties\": {\"b\": {}}}], "
           "\"unevaluatedProperties\": false"),
     "{\"a\": 2, \"b\": 1}", false},
    {D2020("\"anyOf\": [{\"properties\": {\"a\": {\"const\": 1}}}, {\"properties\": {\"b\": {}}}], "
           "\"unevaluatedProperties\": false"),
     "{\"a\": 1, \"b\": 1}", true},
    {D2020("\"if\": {\"properties\": {\"a\": {\"const\": 1}}, \"required\": [\"a\"]}, \"then\": "
           "{\"properties\": {\"b\": {}}}, "
           "\"unevaluatedProperties\": false"),
     "{\"a\": 1, \"b\": 1}", true},
    {D2020("\"if\": {\"properties\": {\"a\": {\"const\": 1}}, \"required\": [\"a\"]}, \"then\": "
           "{\"properties\": {\"b\": {}}}, "
           "\"unevaluatedProperties\": false"),
     "{\"a\": 2, \"b\": 1}", false},
    {D2020("\"not\": {\"properties\": {\"a\": {}}, \"required\": [\"z\"]}, \"unevaluatedProperties\": false"),
     "{\"a\": 1}", false},
    {D2020("\"$ref\": \"#/$defs/a\", \"unevaluatedProperties\": false, \"$defs\": {\"a\": {\"properties\": "
           "{\"a\": {}}}}"),
     "{\"a\": 1}", true},
    {D2020("\"prefixItems\": [{}], \"unevaluatedItems\": false"), "[1, 2]", false},
    {D2020("\"prefixItems\": [{}], \"contains\": {\"type\": \"null\"}, \"unevaluatedItems\": false"),
     "[1, null]", true},
    {D2019("\"items\": [{}], \"contains\": {\"type\": \"null\"}, \"unevaluatedItems\": false"), "[1, null]",
     false},
    {D2019("\"items\": [{\"type\": \"integer\"}], \"additionalItems\": false"), "[1, 2]", false},
    {D2019("\"$recursiveAnchor\": true, \"properties\": {\"next\": {\"$recursiveRef\": \"#\"}}, "
           "\"required\": [\"a\"]"),
     "{\"a\": 1, \"next\": {}}", false},
    {D2019("\"$id\": \"http://x/strict\", \"$recursiveAnchor\": true, \"$ref\": \"tree\", "
           "\"unevaluatedProperties\": false, "
           "\"$defs\": {\"t\": {\"$id\": \"tree\", \"$recursiveAnchor\": true, \"properties\": {\"v\": {}, "
           "\"c\": {\"items\": "
           "{\"$recursiveRef\": \"#\"}}}}}"),
     "{\"c\": [{\"w\": 1}]}", false},
    {D2020("\"$id\": \"http://x/strict\", \"$dynamicAnchor\": \"node\", \"$ref\": \"tree\", "
           "\"unevaluatedProperties\": false, "
           "\"$defs\": {\"t\": {\"$id\": \"tree\", \"$dynamicAnchor\": \"node\", \"properties\": {\"v\": {}, "
           "\"c\": {\"items\": "
           "{\"$dynamicRef\": \"#node\"}}}}}"),
     "{\"c\": [{\"w\": 1}]}", false},
    {D2020("\"$id\": \"http://x/strict\", \"$dynamicAnchor\": \"node\", \"$ref\": \"tree\", "
           "\"unevaluatedProperties\": false, "
           "\"$defs\": {\"t\": {\"$id\": \"tree\", \"$dynamicAnchor\": \"node\", \"properties\": {\"v\": {}, "
           "\"c\": {\"items\": "
           "{\"$dynamicRef\": \"#node\"}}}}}"),
     "{\"c\": [{\"v\": 1}]}", true},
    {D2020("\"type\": \"integer\""), "100000000000000000000000", true},
    {D2020("\"type\": \"integer\""), "1.0", true},
    {D4("\"type\": \"integer\""), "1.0", false},
};

static void test_the_latest_drafts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof late_cases / sizeof *late_cases; i++) {
        ShSchema *schema = parse(late_cases[i].schema);
        ShError err = {0};
        const char *value = late_cases[i].value;
        ShStatus status = sh_schema_validate(schema, (const uint8_t *)value, strlen(value), NULL, &err);
        if ((status == SH_OK) != late_cases[i].fits)
            fail_msg("%s: %s: %s", late_cases[i].schema, value, status == SH_OK ? "accepted" : err.message);
        sh_schema_free(schema);
    }
}

static void test_payloads_that_are_no_json(void **state)
{
    (void)state;
    ShSchema *schema = parse("{}");
    static const char *const texts[] = {"", "{", "nul", "\"\xff\"", "[1,]", "1 2"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ShError err = {0};
        assert_int_equal(sh_schema_validate(schema, (const uint8_t *)texts[i], strlen(texts[i]), NULL, &err),
                         SH_INVALID);
        assert_non_null(strstr(err.message, "no JSON"));
    }
    sh_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_bad_schemas_are_refused),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_endless_references_end),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_texts_and_names),
        cmocka_unit_test(test_the_latest_drafts),
        cmocka_unit_test(test_payloads_that_are_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
