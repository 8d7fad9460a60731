#include "tests/unit/agent/schema/schema_fixture.h"

#define AVRO_A "{\"type\":\"record\",\"name\":\"n.A\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}"
#define PROTO  "syntax = \"proto3\"; package p; message M { int32 a = 1; } message N { string b = 1; }"

/* Ids: 7 Avro n.A, 8 JSON titled T, 9 Protobuf p.M and p.N, 10 cannot be parsed, 11 has to be fetched. */
static int32_t all_ids[] = {7, 8, 9, 10, 11, 0};
static int32_t id_7[] = {7, 0};
static int32_t id_8[] = {8, 0};
static int32_t id_9[] = {9, 0};

typedef struct World {
    ShSchemaStore *store;
    ShSchemaTable *table;
    ShSchemaBudget budget;
    bool lacks; /* what PostgreSQL says of unknown ids */
} World;

typedef struct Case {
    const char *value; /* NULL: a tombstone */
    size_t length;
    ShStatus expected;
    const char *reason; /* words of it */
} Case;

#define BYTES(text) text, sizeof(text) - 1

static bool lacks(void *arg, int32_t id, int64_t as_of_ms)
{
    (void)id;
    (void)as_of_ms;
    return ((World *)arg)->lacks;
}

static void begin(World *world, ShPgTopicSchema *rows, size_t count)
{
    world->store = sh_schema_store_new();
    world->lacks = true;
    sh_record_check_budget(&world->budget, 1000);
    fixture_put(world->store, 7, "AVRO", AVRO_A);
    fixture_put(world->store, 8, "JSON", "{\"title\":\"T\",\"type\":\"object\",\"required\":[\"a\"]}");
    fixture_put(world->store, 9, "PROTOBUF", PROTO);
    fixture_put(world->store, 10, "AVRO", "{");
    world->table = fixture_table(rows, count);
}

static void end(World *world)
{
    sh_schema_table_unref(world->table);
    sh_schema_store_free(world->store);
}

static void start(World *world, ShRecordCheck *check)
{
    sh_schema_table_ref(world->table);
    sh_record_check_begin(check, world->table, sh_schema_table_find(world->table, &fixture_topic),
                          world->store, &world->budget);
    check->lacks = lacks;
    check->arg = world;
}

static bool show(ShRecordCheck *check, int32_t index, const char *key, size_t key_length, const char *value,
                 size_t value_length)
{
    ShRecord record = {.key = (const uint8_t *)key,
                       .key_length = key_length,
                       .value = (const uint8_t *)value,
                       .value_length = value_length};
    return sh_batch_watch(&check->watch, index, &record);
}

/* Each case is the third record of a part whose second batch it begins, between good ones. */
static void check_cases(World *world, const Case *good, const Case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Case *one = &cases[i];
        ShRecordCheck check;
        ShError err = {0};
        start(world, &check);
        assert_true(show(&check, 0, NULL, 0, good->value, good->length));
        assert_true(show(&check, 1, NULL, 0, good->value, good->length));
        sh_record_check_next_batch(&check, 2);
        bool fits = show(&check, 0, NULL, 0, one->value, one->length);
        assert_true(show(&check, 1, NULL, 0, good->value, good->length));
        ShStatus status = sh_record_check_end(&check, &err);
        if (one->expected == SH_UNAVAILABLE) {
            assert_int_equal(status, SH_UNAVAILABLE);
            assert_true(err.retry_after_ms > 0);
            assert_null(check.errors);
            continue;
        }
        assert_int_equal(status, SH_OK);
        if (fits != (one->expected == SH_OK))
            fail_msg("case %zu", i);
        assert_int_equal(check.errors != NULL, one->expected == SH_INVALID);
        if (check.errors != NULL) {
            assert_int_equal(check.errors->count, 1);
            assert_int_equal(check.errors->items[0].index, 2);
            if (strstr(check.errors->items[0].reason, one->reason) == NULL)
                fail_msg("case %zu: %s", i, check.errors->items[0].reason);
        }
        sh_record_errors_free(check.errors);
    }
}

static void test_wire_headers(void **state)
{
    (void)state;
    static const Case good = {BYTES("\0\0\0\0\7x"), SH_OK, NULL};
    static const Case cases[] = {
        {BYTES("\0\0\0\0\7"), SH_OK, NULL},
        {BYTES("\0\0\0\0\10y"), SH_OK, NULL},
        {NULL, 0, SH_OK, NULL},
        {BYTES(""), SH_INVALID, "does not begin"},
        {BYTES("\0\0\0\0"), SH_INVALID, "does not begin"},
        {BYTES("\1\0\0\0\7"), SH_INVALID, "does not begin"},
        {BYTES("\0\0\0\0\0"), SH_INVALID, "cannot be an id"},
        {BYTES("\0\0\0\0\4"), SH_INVALID, "schema 4, which is not registered"},
        {BYTES("\0\377\0\0\7"), SH_INVALID, "cannot be an id"},
        {BYTES("\377\377\377\377\377\377\377\377"), SH_INVALID, "does not begin"},
    };
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_TOPIC, NULL, all_ids)};
    begin(&world, rows, 1);
    check_cases(&world, &good, cases, sizeof cases / sizeof cases[0]);
    world.lacks = false;
    static const Case unknown = {BYTES("\0\0\0\0\4"), SH_UNAVAILABLE, NULL};
    check_cases(&world, &good, &unknown, 1);
    end(&world);
}

static void test_full(void **state)
{
    (void)state;
    static const Case good = {BYTES("\0\0\0\0\7\2x"), SH_OK, NULL};
    static const Case cases[] = {
        {BYTES("\0\0\0\0\7\4xy"), SH_OK, NULL},
        {NULL, 0, SH_OK, NULL},
        {BYTES("\0\0\0\0\7\4x"), SH_INVALID, "the value does not fit schema 7"},
        {BYTES("\0\0\0\0\7\2xy"), SH_INVALID, "does not fit schema 7"},
        {BYTES("\0\0\0\0\7"), SH_INVALID, "does not fit schema 7"},
        {BYTES("\0\0\0\0\10{\"a\":1}"), SH_OK, NULL},
        {BYTES("\0\0\0\0\10{\"b\":1}"), SH_INVALID, "does not fit schema 8"},
        {BYTES("\0\0\0\0\10{"), SH_INVALID, "does not fit schema 8"},
        {BYTES("\0\0\0\0\11\0\10\1"), SH_OK, NULL},
        {BYTES("\0\0\0\0\11\2\2\12\1b"), SH_OK, NULL},
        {BYTES("\0\0\0\0\11\0\12"), SH_INVALID, "does not fit schema 9"},
        {BYTES("\0\0\0\0\12\0"), SH_INVALID, "cannot be used"},
        {BYTES("\0\0\0\0\13\0"), SH_UNAVAILABLE, NULL},
    };
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC, NULL, all_ids)};
    begin(&world, rows, 1);
    check_cases(&world, &good, cases, sizeof cases / sizeof cases[0]);
    assert_true(sh_schema_store_has_wishes(world.store));
    end(&world);
}

static void test_record_names(void **state)
{
    (void)state;
    static const Case good = {BYTES("\0\0\0\0\7\2x"), SH_OK, NULL};
    static const Case cases[] = {
        {BYTES("\0\0\0\0\7"), SH_OK, NULL},                   /* the id alone is looked at */
        {BYTES("\0\0\0\0\10"), SH_INVALID, "not registered"}, /* under another name than its own */
        {BYTES("\0\0\0\0\11\0"), SH_OK, NULL},
        {BYTES("\0\0\0\0\11\2\2"), SH_INVALID, "not registered"}, /* p.N */
        {BYTES("\0\0\0\0\5"), SH_INVALID, "not registered"},
    };
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "X", id_8),
                              fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "n.A", id_7),
                              fixture_row(SH_VALIDATION_ID, SH_SUBJECT_RECORD, "p.M", id_9)};
    begin(&world, rows, 3);
    check_cases(&world, &good, cases, sizeof cases / sizeof cases[0]);

    /* One that was refused does not let the next one through. */
    ShRecordCheck check;
    ShError err = {0};
    start(&world, &check);
    for (int32_t i = 0; i < 2; i++)
        assert_false(show(&check, i, NULL, 0, BYTES("\0\0\0\0\10")));
    assert_int_equal(sh_record_check_end(&check, &err), SH_OK);
    assert_int_equal(check.errors->count, 2);
    sh_record_errors_free(check.errors);
    end(&world);
}

static void test_keys_and_values(void **state)
{
    (void)state;
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_ID, SH_SUBJECT_TOPIC, NULL, id_7),
                              fixture_row(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC, NULL, id_8)};
    rows[0].is_key = true;
    begin(&world, rows, 2);
    ShRecordCheck check;
    ShError err = {0};
    start(&world, &check);
    assert_true(show(&check, 0, BYTES("\0\0\0\0\7k"), BYTES("\0\0\0\0\10{\"a\":1}")));
    assert_true(show(&check, 1, NULL, 0, BYTES("\0\0\0\0\10{\"a\":1}")));
    assert_true(show(&check, 2, BYTES("\0\0\0\0\7k"), NULL, 0));
    assert_false(show(&check, 3, BYTES("\0\0\0\0\10k"), BYTES("\0\0\0\0\10{\"a\":1}")));
    assert_false(show(&check, 4, BYTES("\0\0\0\0\7k"), BYTES("\0\0\0\0\7k")));
    assert_int_equal(sh_record_check_end(&check, &err), SH_OK);
    assert_int_equal(check.errors->count, 2);
    assert_non_null(strstr(check.errors->items[0].reason, "the key names schema 8"));
    assert_non_null(strstr(check.errors->items[1].reason, "the value names schema 7"));
    ShError whole = {0};
    assert_int_equal(sh_record_errors_explain(check.errors, 5, &whole), SH_INVALID);
    assert_non_null(strstr(whole.message, "2 of 5 records do not fit, first of them record 3"));
    sh_record_errors_free(check.errors);
    end(&world);
}

#define EVIL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"

/* One record whose work has no end is refused for that; many of them end the request, with no verdict. */
static void test_work_is_bounded(void **state)
{
    (void)state;
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC, NULL, all_ids)};
    begin(&world, rows, 1);
    fixture_put(world.store, 8, "JSON", "{\"pattern\":\"^(a+)+$\"}");
    ShRecordCheck check;
    ShError err = {0};
    start(&world, &check);
    assert_true(show(&check, 0, NULL, 0, BYTES("\0\0\0\0\10\"aa\"")));
    assert_false(show(&check, 1, NULL, 0, BYTES("\0\0\0\0\10\"" EVIL "\"")));
    assert_true(show(&check, 2, NULL, 0, BYTES("\0\0\0\0\10\"aa\"")));
    assert_int_equal(sh_record_check_end(&check, &err), SH_OK);
    assert_int_equal(check.errors->count, 1);
    assert_int_equal(check.errors->items[0].index, 1);
    assert_non_null(
        strstr(check.errors->items[0].reason, "cannot be held against schema 8: it asks for more work"));
    sh_record_errors_free(check.errors);

    start(&world, &check); /* the next part of the same request */
    for (int32_t i = 0; i < 1000; i++)
        assert_false(show(&check, i, NULL, 0, BYTES("\0\0\0\0\10\"" EVIL "\"")));
    assert_int_equal(sh_record_check_end(&check, &err), SH_TOO_LARGE);
    assert_non_null(strstr(err.message, "send fewer at once"));
    assert_in_range(check.errors == NULL ? 0 : check.errors->count, 1, 20);
    sh_record_errors_free(check.errors);
    end(&world);
}

/* A record that does not fit spends what one that fits spends: it is looked at once. */
static void test_misfits_are_looked_at_once(void **state)
{
    (void)state;
    World world;
    ShPgTopicSchema rows[] = {fixture_row(SH_VALIDATION_FULL, SH_SUBJECT_TOPIC, NULL, all_ids)};
    begin(&world, rows, 1);
    ShRecordCheck check;
    ShError err = {0};
    int64_t spent[2];
    for (int fits = 0; fits < 2; fits++) {
        start(&world, &check);
        assert_true(show(&check, 0, NULL, 0, BYTES("\0\0\0\0\10{\"a\":1}"))); /* the schema is found */
        int64_t before = world.budget.steps_left;
        assert_int_equal(fits ? show(&check, 1, NULL, 0, BYTES("\0\0\0\0\10{\"a\":1}"))
                              : show(&check, 1, NULL, 0, BYTES("\0\0\0\0\10{\"b\":1}")),
                         fits);
        spent[fits] = before - world.budget.steps_left;
        assert_int_equal(sh_record_check_end(&check, &err), SH_OK);
        sh_record_errors_free(check.errors);
    }
    assert_true(spent[0] > 0);
    assert_true(spent[0] <= spent[1]);
    end(&world);
}

static void test_reasons_are_bounded(void **state)
{
    (void)state;
    ShRecordErrors *errors = NULL;
    char reason[1000];
    memset(reason, 'x', sizeof reason);
    reason[sizeof reason - 1] = '\0';
    for (size_t i = 0; i < 1000; i++)
        assert_true(sh_record_errors_add(&errors, 3 * i, reason));
    assert_int_equal(errors->count, 1000);
    assert_int_equal(strlen(errors->items[SH_RECORD_REASONS_MAX - 1].reason), SH_RECORD_REASON_LENGTH);
    assert_null(errors->items[SH_RECORD_REASONS_MAX].reason);
    assert_int_equal(errors->items[999].index, 2997);
    sh_record_errors_free(errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_headers),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_record_names),
        cmocka_unit_test(test_keys_and_values),
        cmocka_unit_test(test_reasons_are_bounded),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_misfits_are_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
