/* Uploads, over a store that turns them away. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/store/store_internal.h"

#define HOUR_MS 3600000

/* What the store's puts go through. */
static struct {
    const ShStoreOps *real;
    ShStoreOps ops;
    atomic_int turn_away; /* so many more are */
    atomic_int turned_away;
} gate;

static ShStatus gated_put(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                          uint64_t total_bytes, ShError *err)
{
    if (atomic_fetch_sub(&gate.turn_away, 1) <= 0)
        return gate.real->put(store, key, pieces, piece_count, total_bytes, err);
    atomic_fetch_add(&gate.turned_away, 1);
    (void)sh_fail(err, SH_UNAVAILABLE, "the test turns this put away");
    err->retry_after_ms = HOUR_MS;
    return SH_UNAVAILABLE;
}

static void start_turning_away(Fixture *fixture, int puts)
{
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=10ms");
    start(fixture);
    ShStore *store = fixture->engine->store;
    gate.real = store->ops;
    gate.ops = *store->ops;
    gate.ops.put = gated_put;
    atomic_store(&gate.turned_away, 0);
    atomic_store(&gate.turn_away, puts);
    store->ops = &gate.ops;
}

static void test_one_that_gets_through_takes_those_turned_away_along(void **state)
{
    Fixture *fixture = *state;
    start_turning_away(fixture, 1);
    assert_int_equal(append_to(fixture, "t", 1, 10), 0);
    wait_until(atomic_load(&gate.turned_away) == 1);
    assert_int_equal(append_to(fixture, "t", 1, 10), 1);
    wait_until(fake_published(0) == 2);
}

static void test_a_stop_does_not_wait_for_the_store(void **state)
{
    Fixture *fixture = *state;
    start_turning_away(fixture, 1000);
    assert_int_equal(append_to(fixture, "t", 1, 10), 0);
    wait_until(atomic_load(&gate.turned_away) == 1);
    int64_t begun_ms = sh_clock_now_ms();
    stop(fixture);
    assert_true(sh_clock_now_ms() - begun_ms < DEADLINE_MS);
    assert_int_equal(fake_published(0), 0);
    start(fixture);
    assert_int_equal(fake_published(0), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_that_gets_through_takes_those_turned_away_along),
        TEST(test_a_stop_does_not_wait_for_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
