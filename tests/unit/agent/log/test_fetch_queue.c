/* Which fetch gets a round next, and whose time is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/log/fetch_queue.h"

#define STATES 200

static ShFetcher fetcher;
static ShFetchState states[STATES];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATES; i++)
        states[i] = (ShFetchState){0};
    return sh_fetch_init(&fetcher, NULL) == SH_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sh_fetch_destroy(&fetcher);
    return 0;
}

static void test_rounds_come_in_turn_and_once(void **state)
{
    (void)state;
    sh_fetch_queue_push(&fetcher, &states[0]);
    sh_fetch_queue_push(&fetcher, &states[1]);
    sh_fetch_queue_push(&fetcher, &states[0]);
    assert_ptr_equal(sh_fetch_queue_pop(&fetcher), &states[0]);
    assert_true(states[0].running);
    assert_ptr_equal(sh_fetch_queue_pop(&fetcher), &states[1]);
    assert_null(sh_fetch_queue_pop(&fetcher));
}

static void test_who_waits_for_more_comes_after_those_who_take_what_comes(void **state)
{
    (void)state;
    states[0].bytes_enough = 100;
    states[2].bytes_enough = 100;
    states[1].bytes_enough = states[3].bytes_enough = 1;
    for (size_t i = 0; i < 4; i++)
        sh_fetch_queue_push(&fetcher, &states[i]);
    const size_t order[] = {1, 3, 0, 2};
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(sh_fetch_queue_pop(&fetcher), &states[order[i]]);
    assert_null(sh_fetch_queue_pop(&fetcher));
}

static void test_a_wake_during_a_round_is_not_lost(void **state)
{
    (void)state;
    states[0].running = true;
    sh_fetch_queue_push(&fetcher, &states[0]);
    assert_true(states[0].again);
    assert_null(sh_fetch_queue_pop(&fetcher));
}

static void test_deadlines_come_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATES; i++) {
        states[i].deadline_ms = (int64_t)(i * 7919 % STATES);
        assert_true(sh_fetch_heap_add(&fetcher, &states[i]));
    }
    for (size_t i = 0; i < STATES; i += 3)
        sh_fetch_heap_remove(&fetcher, &states[i]);
    sh_fetch_heap_remove(&fetcher, &states[0]); /* not in it any more */
    int64_t last = -1;
    size_t count = 0;
    while (fetcher.heap_count > 0) {
        ShFetchState *first = fetcher.heap[0];
        assert_true(first->deadline_ms > last);
        last = first->deadline_ms;
        sh_fetch_heap_remove(&fetcher, first);
        count++;
    }
    assert_int_equal(count, STATES - (STATES + 2) / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rounds_come_in_turn_and_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waits_for_more_comes_after_those_who_take_what_comes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_wake_during_a_round_is_not_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadlines_come_in_order, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
