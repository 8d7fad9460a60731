/* The number of a new term: taken in the store before the engine does anything else. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/term.h"

#define NONCE "00000000-0000-0000-0000-00000000000%d"

static int setup_term(void **state)
{
    int status = setup(state);
    memset(&fake_term, 0, sizeof fake_term);
    fake_term.others = -1;
    return status;
}

static void fake_term_begin(int number, int nonce)
{
    char text[SH_UUID_TEXT_BYTES];
    snprintf(text, sizeof text, NONCE, nonce);
    fake_term.term.number = number;
    assert_ok(sh_uuid_parse(text, &fake_term.term.nonce, err));
    snprintf(fake_term.term.body, sizeof fake_term.term.body, "streamhouse term %d\n", number);
}

/* As if somebody had begun it before. */
static void leave(Fixture *fixture, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/store/term", fixture->dir);
    if (mkdir(path, 0700) != 0)
        assert_int_equal(access(path, W_OK), 0);
    snprintf(path, sizeof path, "%s/store/term/%s", fixture->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static bool is_there(Fixture *fixture, const char *key)
{
    char path[256];
    snprintf(path, sizeof path, "%s/store/%s", fixture->dir, key);
    return access(path, R_OK) == 0;
}

static void test_the_first_term_takes_nothing(void **state)
{
    Fixture *fixture = *state;
    start(fixture);
    assert_int_equal(fake_term.others, -1);
    assert_false(is_there(fixture, "term"));
}

static void test_a_number_that_is_free(void **state)
{
    Fixture *fixture = *state;
    fake_term_begin(3, 5);
    leave(fixture, "0000002-00000000-0000-0000-0000-000000000001");
    start(fixture);
    assert_int_equal(fake_term.others, 2);
    assert_true(is_there(fixture, "term/0000003-00000000-0000-0000-0000-000000000005"));
}

/* An answer was lost, or the agent was killed: what is there is its own. */
static void test_a_number_that_is_taken_again(void **state)
{
    Fixture *fixture = *state;
    fake_term_begin(3, 5);
    start(fixture);
    stop(fixture);
    start(fixture);
    assert_int_equal(fake_term.others, 0);
}

static void test_a_number_that_was_in_use(void **state)
{
    Fixture *fixture = *state;
    ShError err = {0};
    fake_term_begin(3, 5);
    leave(fixture, "0000003-00000000-0000-0000-0000-000000000001");
    leave(fixture, "0000007-00000000-0000-0000-0000-000000000001");
    assert_int_equal(try_start(fixture, &err), SH_OUTDATED);
    assert_int_equal(fake_term.others, 7);
    sh_config_free(fixture->config);
    fixture->config = NULL;
    /* It was told so: the term that began then is above. */
    fake_term_begin(8, 6);
    start(fixture);
    assert_int_equal(fake_term.others, 7);
    assert_true(is_there(fixture, "term/0000008-00000000-0000-0000-0000-000000000006"));
}

static void test_keys(void **state)
{
    (void)state;
    ShUuid nonce;
    assert_int_equal(sh_term_of_key("term/0000002-00000000-0000-0000-0000-000000000009", &nonce), 2);
    assert_int_equal(nonce.bytes[15], 9);
    static const char *const others[] = {
        "term/0000002",
        "term/0000002-",
        "term/0000002-x",
        "term/0000000-00000000-0000-0000-0000-000000000009",
        "term/-000001-00000000-0000-0000-0000-000000000009",
        "term/9999999-00000000-0000-0000-0000-000000000009",
        "terms/000002-00000000-0000-0000-0000-000000000009",
        "00/a1/1/1-00000000-0000-0000-0000-000000000009.seg",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(sh_term_of_key(others[i], &nonce), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_term, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_term_takes_nothing),
        TEST(test_a_number_that_is_free),
        TEST(test_a_number_that_is_taken_again),
        TEST(test_a_number_that_was_in_use),
        TEST(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
