/* The everyday life of a WAL: append, acknowledge, close, recover, release. */
#include "tests/unit/agent/wal/wal_fixture.h"

static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};

static void test_what_was_appended_is_recovered_under_every_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Fixture fixture;
        fixture_init(&fixture, policies[i]);
        fixture_start(&fixture);
        for (int64_t id = 0; id < 1200; id++)
            fixture_append(&fixture, id, 1, 61 + (size_t)(id * 37 % 900));
        fixture_wait(&fixture, &fixture.written, 1200);
        assert_false(fixture.out_of_order);
        assert_int_equal(sh_wal_batches(fixture.wal), 1200);
        fixture_close(&fixture);

        fixture_open(&fixture);
        assert_false(fixture.identity.clean);
        assert_int_equal(fixture.identity.previous_sync, policies[i]);
        ShWalRecovery stats = fixture_recover(&fixture);
        assert_int_equal(stats.batches, 1200);
        assert_int_equal(stats.torn_bytes, 0);
        assert_true(stats.files > 1);
        for (int64_t id = 0; id < 1200; id++)
            assert_int_equal(fixture.recovered[id], id);
        fixture_free(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_appended_is_recovered_under_every_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
