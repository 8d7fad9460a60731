#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/schema/topic_schemas.h"

static int32_t value_ids[] = {3, 7, 0x01020304};
static const ShUuid topic = {{9}};

typedef struct Case {
    const char *value; /* NULL: a tombstone */
    size_t length;
    ShStatus expected;
} Case;

static ShSchemaTable *make_table(ShValidation validation, ShSubjectStrategy strategy)
{
    ShPgTopicSchema row = {.topic_id = topic, .validation = validation, .strategy = strategy};
    row.ids = value_ids;
    row.id_count = 3;
    ShPgTopicSchemas schemas = {.changed = true, .version = 1, .rows = &row, .row_count = 1};
    ShSchemaTable *table = sh_schema_table_new(&schemas);
    assert_non_null(table);
    return table;
}

/* A good record, and then the one of the case. */
static ShStatus check(const ShSchemaTable *table, const Case *one, ShError *err)
{
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    assert_non_null(builder);
    ShRecord records[] = {
        {.timestamp_ms = 1, .value = (const uint8_t *)"\0\0\0\0\7x", .value_length = 6},
        {.timestamp_ms = 1, .value = (const uint8_t *)one->value, .value_length = one->length},
    };
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(sh_batch_builder_add(builder, &records[i], NULL, 0, err), SH_OK);
    ShBuf *batch = NULL;
    assert_int_equal(sh_batch_builder_finish(builder, &batch, err), SH_OK);
    ShScratch scratch = {0};
    int32_t unknown_id;
    ShStatus status = sh_topic_schemas_check(sh_schema_table_find(table, &topic), batch->data, batch->length,
                                             1 << 20, 40, &scratch, &unknown_id, err);
    sh_scratch_free(&scratch);
    sh_buf_unref(batch);
    sh_batch_builder_free(builder);
    return status;
}

static void test_wire_headers(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"\0\0\0\0\7", 5, SH_OK},      {"\0\0\0\0\3y", 6, SH_OK},
        {"\0\1\2\3\4", 5, SH_OK},      {NULL, 0, SH_OK},
        {"", 0, SH_INVALID},           {"\0\0\0\0", 4, SH_INVALID},
        {"\1\0\0\0\7", 5, SH_INVALID}, {"\0\0\0\0\0", 5, SH_INVALID},
        {"\0\0\0\0\4", 5, SH_INVALID}, {"\0\377\0\0\7", 5, SH_INVALID},
    };
    ShSchemaTable *table = make_table(SH_VALIDATION_ID, SH_SUBJECT_TOPIC);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShError err = {0};
        assert_int_equal(check(table, &cases[i], &err), cases[i].expected);
        if (cases[i].expected != SH_OK)
            assert_non_null(strstr(err.message, "record 41"));
    }
    sh_schema_table_unref(table);
}

static void test_what_cannot_be_checked(void **state)
{
    (void)state;
    const Case good = {"\0\0\0\0\7", 5, SH_OK};
    ShError err = {0};
    ShSchemaTable *table = make_table(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC);
    assert_int_equal(check(table, &good, &err), SH_UNSUPPORTED);
    sh_schema_table_unref(table);
    table = make_table(SH_VALIDATION_ID, SH_SUBJECT_TOPIC_RECORD);
    assert_int_equal(check(table, &good, &err), SH_UNSUPPORTED);
    const ShUuid other = {{8}};
    assert_null(sh_schema_table_find(table, &other));
    sh_schema_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_headers),
        cmocka_unit_test(test_what_cannot_be_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
