#include <stdio.h>

#include "tests/unit/agent/schema/schema_fixture.h"

/* What PostgreSQL answers. */
static int asked;
static ShStatus answer;

ShStatus sh_pg_schema_by_id(ShPg *pg, int32_t id, ShPgSchema *out, ShError *err)
{
    (void)pg;
    asked++;
    *out = (ShPgSchema){.type = "AVRO", .text = "\"int\""};
    return answer == SH_OK ? SH_OK : sh_fail(err, answer, "there is no schema %d", (int)id);
}

void sh_pg_schema_free(ShPgSchema *schema)
{
    *schema = (ShPgSchema){0};
}

static void fetch(ShSchemaStore *store, ShStatus expected)
{
    ShError err = {0};
    assert_int_equal(sh_schema_store_fetch(store, NULL, &err), expected);
}

static void test_wishes_are_granted_once(void **state)
{
    (void)state;
    ShSchemaStore *store = sh_schema_store_new();
    asked = 0;
    answer = SH_OK;
    assert_null(sh_schema_store_find(store, 7));
    assert_null(sh_schema_store_find(store, 7));
    fetch(store, SH_OK);
    fetch(store, SH_OK);
    assert_int_equal(asked, 1);
    const ShStoredSchema *found = sh_schema_store_find(store, 7);
    assert_non_null(found);
    assert_non_null(found->schema);
    assert_int_equal(found->id, 7);
    sh_schema_store_wish(store, 7);
    assert_false(sh_schema_store_has_wishes(store));
    sh_schema_store_free(store); /* what is held stays */
    assert_int_equal(sh_schema_type(found->schema), SH_SCHEMA_AVRO);
    sh_schema_store_release(found);
}

static void test_what_cannot_be_had(void **state)
{
    (void)state;
    ShSchemaStore *store = sh_schema_store_new();
    answer = SH_UNAVAILABLE; /* PostgreSQL is away: the wish may be made again */
    assert_null(sh_schema_store_find(store, 7));
    fetch(store, SH_UNAVAILABLE);
    assert_null(sh_schema_store_find(store, 7));
    answer = SH_NOT_FOUND;
    fetch(store, SH_OK);
    const ShStoredSchema *found = sh_schema_store_find(store, 7);
    assert_null(found->schema);
    assert_string_equal(found->problem, "there is no schema 7");
    sh_schema_store_release(found);

    fixture_put(store, 8, "AVRO", "{");
    found = sh_schema_store_find(store, 8);
    assert_null(found->schema);
    assert_non_null(found->problem);
    sh_schema_store_release(found);
    sh_schema_store_free(store);
}

static void test_bounds(void **state)
{
    (void)state;
    ShSchemaStore *store = sh_schema_store_new();
    for (int32_t id = 1; id <= SH_SCHEMA_STORE_MAX + 1; id++)
        fixture_put(store, id, "AVRO", "\"int\"");
    assert_null(sh_schema_store_find(store, 1)); /* it made room */
    for (int32_t id = 2; id <= SH_SCHEMA_STORE_MAX + 1; id++) {
        const ShStoredSchema *found = sh_schema_store_find(store, id);
        assert_non_null(found);
        sh_schema_store_release(found);
    }
    for (int32_t id = 10000; id < 10000 + 2 * SH_SCHEMA_WISHES_MAX; id++)
        assert_null(sh_schema_store_find(store, id));
    asked = 0;
    answer = SH_NOT_FOUND;
    fetch(store, SH_OK);
    assert_int_equal(asked, SH_SCHEMA_WISHES_MAX);
    sh_schema_store_free(store);
}

/* What counts is the memory that schemas take once they are parsed: of a pattern a thousand times its text.
 */
static void test_bytes_are_bounded(void **state)
{
    (void)state;
    enum { PATTERNS = 400 };
    ShSchemaStore *store = sh_schema_store_new();
    char *text = malloc(64 * PATTERNS);
    assert_non_null(text);
    char *at = stpcpy(text, "{\"patternProperties\": {");
    for (int i = 0; i < PATTERNS; i++)
        at += sprintf(at, "%s\"((ab){60}){60}%d\": {}", i == 0 ? "" : ", ", i);
    strcpy(at, "}}");
    fixture_put(store, 1, "JSON", text);
    const ShStoredSchema *found = sh_schema_store_find(store, 1);
    assert_non_null(found);
    assert_non_null(found->schema);
    size_t each = sh_schema_bytes(found->schema);
    assert_true(each > 16 * 1000 * 1000);
    sh_schema_store_release(found);
    int32_t fit = (int32_t)(SH_SCHEMA_STORE_BYTES_MAX / each);
    assert_in_range(fit, 2, 16);
    for (int32_t id = 2; id <= fit + 2; id++)
        fixture_put(store, id, "JSON", text);
    fixture_put(store, fit + 2, "JSON", text); /* in its own place */
    for (int32_t id = 1; id <= fit + 2; id++) {
        found = sh_schema_store_find(store, id);
        assert_int_equal(found != NULL, id > 2);
        sh_schema_store_release(found);
    }
    free(text);
    sh_schema_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wishes_are_granted_once),
        cmocka_unit_test(test_what_cannot_be_had),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
