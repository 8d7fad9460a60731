/* Parameters as text, without a server. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include "agent/pg/pg_internal.h"

static void test_arrays_are_in_postgresqls_text_form(void **state)
{
    (void)state;
    ShError err;
    ShPgArray arrays[4] = {0};
    const char *values[4];
    ShUuid uuid;
    assert_ok(sh_uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &uuid, &err));
    sh_pg_array_add_number(&arrays[1], INT64_MIN);
    sh_pg_array_add_null(&arrays[1]);
    sh_pg_array_add_number(&arrays[1], 7);
    sh_pg_array_add_text(&arrays[2], "a,b} \"c\\");
    sh_pg_array_add_text(&arrays[2], "");
    sh_pg_array_add_uuid(&arrays[3], &uuid);
    sh_pg_array_add_bool(&arrays[3], true);
    sh_pg_array_add_bool(&arrays[3], false);
    assert_ok(sh_pg_arrays_end(arrays, 4, values, &err));
    assert_string_equal(values[0], "{}");
    assert_string_equal(values[1], "{-9223372036854775808,NULL,7}");
    assert_string_equal(values[2], "{\"a,b} \\\"c\\\\\",\"\"}");
    assert_string_equal(values[3], "{00112233-4455-6677-8899-aabbccddeeff,t,f}");
    sh_pg_arrays_free(arrays, 4);
}

static void test_large_arrays_grow(void **state)
{
    (void)state;
    ShError err;
    ShPgArray array = {0};
    const char *value;
    for (int i = 0; i < 100000; i++)
        sh_pg_array_add_number(&array, i % 10);
    assert_ok(sh_pg_arrays_end(&array, 1, &value, &err));
    assert_int_equal(strlen(value), 200001);
    sh_pg_arrays_free(&array, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays_are_in_postgresqls_text_form),
        cmocka_unit_test(test_large_arrays_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
