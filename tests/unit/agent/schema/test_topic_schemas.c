#include "tests/unit/agent/schema/schema_fixture.h"

static int32_t some[] = {3, 7, 0x01020304, 0};
static int32_t one[] = {5, 0};

static void test_ids_of_a_topic(void **state)
{
    (void)state;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_TOPIC, NULL, some)};
    ShSchemaTable *table = fixture_table(rows, 1);
    const ShTopicSchemas *topic = sh_schema_table_find(table, &fixture_topic);
    assert_non_null(topic);
    assert_int_equal(topic->key.validation, SH_VALIDATION_NONE);
    for (size_t i = 0; i < 3; i++)
        assert_true(sh_part_schemas_has(&topic->value, NULL, some[i]));
    for (int32_t id = 4; id < 7; id++)
        assert_false(sh_part_schemas_has(&topic->value, NULL, id));
    assert_false(sh_part_schemas_needs_text(&topic->value));
    const ShUuid other = {{8}};
    assert_null(sh_schema_table_find(table, &other));
    sh_schema_table_unref(table);
}

static void test_ids_by_record_name(void **state)
{
    (void)state;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "a.A", one),
                              fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "b", some),
                              fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "c", NULL)};
    ShSchemaTable *table = fixture_table(rows, 3);
    const ShPartSchemas *value = &sh_schema_table_find(table, &fixture_topic)->value;
    assert_true(sh_part_schemas_needs_text(value));
    assert_true(sh_part_schemas_has(value, "a.A", 5));
    assert_false(sh_part_schemas_has(value, "b", 5));
    assert_true(sh_part_schemas_has(value, "b", 7));
    assert_false(sh_part_schemas_has(value, "c", 7));
    assert_false(sh_part_schemas_has(value, "bb", 7));
    assert_true(sh_part_schemas_has(value, SH_ANY_RECORD, 5));
    assert_false(sh_part_schemas_has(value, SH_ANY_RECORD, 6));
    sh_schema_table_unref(table);
}

static void test_a_topic_without_subjects_takes_nothing(void **state)
{
    (void)state;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC_RECORD, NULL, NULL)};
    ShSchemaTable *table = fixture_table(rows, 1);
    const ShPartSchemas *value = &sh_schema_table_find(table, &fixture_topic)->value;
    assert_int_equal(value->validation, SH_VALIDATION_FULL);
    assert_false(sh_part_schemas_has(value, SH_ANY_RECORD, 7));
    assert_false(sh_part_schemas_has(value, "r", 7));
    sh_schema_table_unref(table);
}

static void test_what_was_seen_is_told_once(void **state)
{
    (void)state;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_TOPIC, NULL, some)};
    ShSchemaTable *table = fixture_table(rows, 1);
    const ShPartSchemas *value = &sh_schema_table_find(table, &fixture_topic)->value;
    assert_true(sh_part_schemas_has(value, NULL, 7));
    assert_true(sh_part_schemas_has(value, NULL, 7));
    assert_true(sh_part_schemas_has(value, NULL, 3));
    ShPgSchemaSeen seen[4];
    assert_int_equal(sh_schema_table_take_seen(table, seen, 1), 1);
    assert_int_equal(seen[0].id, 3);
    assert_true(sh_uuid_equal(&seen[0].topic_id, &fixture_topic));
    assert_int_equal(sh_schema_table_take_seen(table, seen, 4), 1);
    assert_int_equal(seen[0].id, 7);
    assert_int_equal(sh_schema_table_take_seen(table, seen, 4), 0);
    sh_schema_table_unref(table);
}

static void test_newest_schemas_are_wished_for(void **state)
{
    (void)state;
    ShSchemaStore *store = sh_schema_store_new();
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_TOPIC, NULL, some)};
    ShSchemaTable *table = fixture_table(rows, 1);
    sh_schema_table_wish(table, store);
    assert_false(sh_schema_store_has_wishes(store)); /* ids are enough */
    sh_schema_table_unref(table);
    rows[0].validation = SH_VALIDATION_FULL;
    table = fixture_table(rows, 1);
    sh_schema_table_wish(table, store);
    assert_true(sh_schema_store_has_wishes(store));
    sh_schema_table_unref(table);
    sh_schema_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_a_topic),
        cmocka_unit_test(test_ids_by_record_name),
        cmocka_unit_test(test_a_topic_without_subjects_takes_nothing),
        cmocka_unit_test(test_what_was_seen_is_told_once),
        cmocka_unit_test(test_newest_schemas_are_wished_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
