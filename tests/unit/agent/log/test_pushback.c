/* What clients are told while the store does not answer. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/pushback.h"
#include "agent/store/store_internal.h"

static bool is_away;
static int away_ms;

static bool fake_is_away(ShStore *store, int *retry_after_ms)
{
    (void)store;
    *retry_after_ms = away_ms;
    return is_away;
}

static const ShStoreOps ops = {.is_away = fake_is_away};

static int setup_engine(void **state)
{
    ShEngine *engine = calloc(1, sizeof *engine);
    engine->store = calloc(1, sizeof *engine->store);
    engine->store->ops = &ops;
    pthread_mutex_init(&engine->pipeline.lock, NULL);
    *state = engine;
    return 0;
}

static int teardown_engine(void **state)
{
    ShEngine *engine = *state;
    pthread_mutex_destroy(&engine->pipeline.lock);
    free(engine->store);
    free(engine);
    return 0;
}

/* Nobody is let in while the store is away, but for one who finds out whether it still is, where no upload
 * does. */
static void test_object_records_wait_for_the_store(void **state)
{
    ShEngine *engine = *state;
    static const struct {
        bool is_away;
        int away_ms;
        bool uploads;
        int retry_after_ms; /* 0: it is taken */
    } cases[] = {
        {false, 0, false, 0},   {false, 0, true, 0},       {true, 0, false, 0},       {true, 0, true, 100},
        {true, 50, false, 100}, {true, 3000, false, 3000}, {true, 90000, true, 5000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ShError error = {0};
        is_away = cases[i].is_away;
        away_ms = cases[i].away_ms;
        engine->pipeline.first = cases[i].uploads ? (ShFlight *)engine : NULL;
        ShStatus status = sh_pushback_object(engine, &error);
        assert_int_equal(status, cases[i].retry_after_ms > 0 ? SH_UNAVAILABLE : SH_OK);
        assert_int_equal(error.retry_after_ms, cases[i].retry_after_ms);
        assert_int_equal(error.retriable, cases[i].retry_after_ms > 0);
    }
}

/* That memory or the WAL is full is the store's doing while it is away, and only then. */
static void test_a_bound_is_explained_by_a_store_that_is_away(void **state)
{
    ShEngine *engine = *state;
    ShError error = {0};
    is_away = true;
    away_ms = 700;
    (void)sh_fail(&error, SH_EXHAUSTED, "memory is full");
    assert_int_equal(sh_pushback_explain(engine, &error), SH_UNAVAILABLE);
    assert_string_equal(error.message, "the store does not answer: memory is full");
    assert_int_equal(error.retry_after_ms, 700);
    (void)sh_fail(&error, SH_NOT_FOUND, "no such topic");
    assert_int_equal(sh_pushback_explain(engine, &error), SH_NOT_FOUND);
    assert_string_equal(error.message, "no such topic");
    is_away = false;
    (void)sh_fail(&error, SH_EXHAUSTED, "memory is full");
    assert_int_equal(sh_pushback_explain(engine, &error), SH_EXHAUSTED);
}

/* A reader is told when to come again; what will not pass stays as it is. */
static void test_readers_are_told_when_to_come_again(void **state)
{
    (void)state;
    ShError error = {0};
    (void)sh_fail_retry_after(&error, sh_fail(&error, SH_TIMEOUT, "late"), 0);
    error.retriable = true;
    sh_pushback_read(&error);
    assert_int_equal(error.status, SH_UNAVAILABLE);
    assert_int_equal(error.retry_after_ms, 500);
    error.retry_after_ms = 70;
    sh_pushback_read(&error);
    assert_int_equal(error.retry_after_ms, 70);
    error = (ShError){.status = SH_TIMEOUT};
    sh_pushback_read(&error);
    assert_int_equal(error.status, SH_TIMEOUT);
    assert_int_equal(error.retry_after_ms, 0);
}

/* What is wrong between agent and store is no fault of the client's request. */
static void test_a_stores_refusal_is_no_fault_of_the_client(void **state)
{
    (void)state;
    static const ShStatus hidden[] = {SH_DENIED, SH_INVALID, SH_UNSUPPORTED, SH_TOO_LARGE};
    static const ShStatus told[] = {SH_OK, SH_NOT_FOUND, SH_CORRUPT, SH_TIMEOUT};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        ShError error = {.status = hidden[i]};
        assert_int_equal(sh_pushback_store(hidden[i], &error), SH_UNAVAILABLE);
        assert_int_equal(error.status, SH_UNAVAILABLE);
        assert_true(error.retriable);
        assert_int_equal(sh_pushback_store(hidden[i], NULL), SH_UNAVAILABLE);
    }
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_int_equal(sh_pushback_store(told[i], NULL), told[i]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_engine, teardown_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_object_records_wait_for_the_store),
        TEST(test_a_bound_is_explained_by_a_store_that_is_away),
        TEST(test_readers_are_told_when_to_come_again),
        TEST(test_a_stores_refusal_is_no_fault_of_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
