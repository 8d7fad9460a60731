/* Which store is the cluster's: told by its first agent, and another one is refused before it registers. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/store_identity.h"

#define ONE "00000000-0000-0000-0000-000000000001"
#define TWO "00000000-0000-0000-0000-000000000002"

static ShStore *open_store(Fixture *fixture)
{
    static ShConfig config;
    static char dir[96];
    snprintf(dir, sizeof dir, "%s/store", fixture->dir);
    config = (ShConfig){.store_dir = dir};
    ShStore *store = NULL;
    assert_ok(sh_store_open(&config, &store, err));
    return store;
}

static void put(ShStore *store, const char *text)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    assert_ok(sh_store_put(store, "store/identity", &piece, 1, piece.iov_len, err));
}

static void know(const char *id)
{
    assert_ok(sh_uuid_parse(id, &fake_store.known.id, err));
    snprintf(fake_store.known.place, sizeof fake_store.known.place, "bucket b");
}

static void assert_known(const char *id)
{
    char text[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&fake_store.known.id, text);
    assert_string_equal(text, id);
}

static void test_the_first_agent_says_which(void **state)
{
    ShStore *store = open_store(*state);
    assert_ok(sh_store_identity_check(store, NULL, err));
    assert_true(sh_uuid_is_zero(&fake_store.known.id));
    assert_int_equal(sh_store_size(store, "store/identity", &(uint64_t){0}, NULL), SH_NOT_FOUND);
    assert_ok(sh_store_identity_settle(store, NULL, err));
    ShUuid first = fake_store.known.id;
    assert_false(sh_uuid_is_zero(&first));
    assert_non_null(strstr(fake_store.known.place, "/store"));
    /* Nothing is told again, and a cluster made anew finds the same number. */
    assert_ok(sh_store_identity_settle(store, NULL, err));
    assert_true(fake_store.asked_only);
    fake_store.known = (ShPgStore){0};
    assert_ok(sh_store_identity_settle(store, NULL, err));
    assert_true(sh_uuid_equal(&fake_store.known.id, &first));
    sh_store_close(store);
}

static void test_what_is_there_is_taken(void **state)
{
    ShStore *store = open_store(*state);
    put(store, "streamhouse store " ONE "\n");
    assert_ok(sh_store_identity_settle(store, NULL, err));
    assert_known(ONE);
    sh_store_close(store);
}

static void test_another_store_is_refused(void **state)
{
    ShStore *store = open_store(*state);
    ShError err = {0};
    know(TWO);
    assert_int_equal(sh_store_identity_settle(store, NULL, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "without a number"));
    assert_non_null(strstr(err.message, TWO ", first seen as bucket b"));
    assert_int_equal(sh_store_size(store, "store/identity", &(uint64_t){0}, NULL), SH_NOT_FOUND);
    put(store, "streamhouse store " ONE "\n");
    assert_int_equal(sh_store_identity_settle(store, NULL, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "it is " ONE));
    assert_int_equal(sh_store_identity_check(store, NULL, &err), SH_INVALID);
    assert_known(TWO);
    assert_true(fake_store.asked_only);
    sh_store_close(store);
}

static void test_what_is_no_number_is_an_error(void **state)
{
    ShStore *store = open_store(*state);
    ShError err = {0};
    put(store, "<html>streamhouse store " ONE "</html>");
    assert_int_equal(sh_store_identity_settle(store, NULL, &err), SH_CORRUPT);
    assert_int_equal(sh_store_identity_check(store, NULL, &err), SH_CORRUPT);
    assert_true(sh_uuid_is_zero(&fake_store.known.id));
    sh_store_close(store);
}

static void test_an_agent_with_another_store_does_not_start(void **state)
{
    Fixture *fixture = *state;
    ShError err = {0};
    know(TWO);
    assert_int_equal(try_start(fixture, &err), SH_INVALID);
    sh_config_free(fixture->config);
    fixture->config = NULL;
    fake_store.known = (ShPgStore){0};
    start(fixture);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_agent_says_which),
        TEST(test_what_is_there_is_taken),
        TEST(test_another_store_is_refused),
        TEST(test_what_is_no_number_is_an_error),
        TEST(test_an_agent_with_another_store_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
