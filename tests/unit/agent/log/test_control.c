/* When an owner that PostgreSQL does not answer stops acknowledging. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/control.h"

static int64_t now_ms;

static int64_t get_now_ms(void)
{
    return now_ms;
}

/* Before others may go on without it: by a tenth of the topic's orphan_timeout, 100 ms at least, 5 s at most.
 */
static void test_an_owner_stops_a_margin_before_the_orphan_timeout(void **state)
{
    (void)state;
    static const struct {
        int64_t timeout_ms;
        int64_t last_ms; /* the last moment at which it still acknowledges */
    } cases[] = {
        {500, 400}, {1000, 900}, {20000, 18000}, {50000, 45000}, {600000, 595000},
    };
    ShEngine *engine = calloc(1, sizeof *engine);
    ShPartition partition = {0};
    sh_clock_set_for_test(get_now_ms);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        partition.orphan_timeout_ms = cases[i].timeout_ms;
        atomic_store(&engine->control.confirmed_ms, 1000);
        now_ms = 1000 + cases[i].last_ms;
        assert_false(sh_control_is_overdue(engine, &partition));
        now_ms++;
        assert_true(sh_control_is_overdue(engine, &partition));
    }
    partition.orphan_timeout_ms = 0; /* none: nobody goes on without it */
    now_ms = INT64_MAX;
    assert_false(sh_control_is_overdue(engine, &partition));
    sh_clock_set_for_test(NULL);
    free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_owner_stops_a_margin_before_the_orphan_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
