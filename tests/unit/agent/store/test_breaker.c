/* The circuit breaker: every way from state to state, and what does not lead to one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/store/breaker.h"

#define START 1000000

typedef struct Changes {
    int count;
    ShBreakerState from;
    ShBreakerState to;
} Changes;

static Changes changes;

static void note_change(void *arg, ShBreakerState from, ShBreakerState to)
{
    Changes *noted = arg;
    noted->count++;
    noted->from = from;
    noted->to = to;
}

static const ShBreakerOptions options = {.failures_max = 3,
                                         .failure_percent = 50,
                                         .window_ms = 10000,
                                         .open_ms = 30000,
                                         .changed = note_change,
                                         .arg = &changes};

static ShBreakerTicket enter(ShBreaker *breaker, int64_t now_ms)
{
    ShBreakerTicket ticket;
    int64_t wait_ms = 0;
    assert_true(sh_breaker_enter(breaker, now_ms, &ticket, &wait_ms));
    return ticket;
}

static int64_t refused(ShBreaker *breaker, int64_t now_ms)
{
    ShBreakerTicket ticket;
    int64_t wait_ms = 0;
    int64_t told_ms = 0;
    assert_false(sh_breaker_enter(breaker, now_ms, &ticket, &wait_ms));
    assert_true(sh_breaker_is_open(breaker, now_ms, &told_ms));
    assert_int_equal(wait_ms, told_ms);
    return wait_ms;
}

static void request(ShBreaker *breaker, bool succeeds, int64_t now_ms)
{
    sh_breaker_report(breaker, enter(breaker, now_ms), succeeds, now_ms);
}

static void start_open(ShBreaker *breaker)
{
    changes = (Changes){0};
    sh_breaker_init(breaker, &options);
    for (int i = 0; i < 3; i++)
        request(breaker, false, START);
    assert_int_equal(sh_breaker_state(breaker), SH_BREAKER_OPEN);
}

static void test_failures_in_a_row_open(void **state)
{
    (void)state;
    ShBreaker breaker;
    changes = (Changes){0};
    sh_breaker_init(&breaker, &options);
    for (int round = 0; round < 5; round++) { /* a success in between starts the count anew */
        request(&breaker, false, START);
        request(&breaker, false, START);
        request(&breaker, true, START);
    }
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    for (int i = 0; i < 3; i++)
        request(&breaker, false, START);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_OPEN);
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.from, SH_BREAKER_CLOSED);
    assert_int_equal(changes.to, SH_BREAKER_OPEN);
    assert_int_equal(refused(&breaker, START + 1), 29999);
    sh_breaker_destroy(&breaker);
}

static void test_share_of_failures_opens(void **state)
{
    (void)state;
    ShBreaker breaker;
    sh_breaker_init(&breaker, &options);
    for (int i = 0; i < 19; i++)
        request(&breaker, i % 2 == 0, START + i);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED); /* too few to tell */
    request(&breaker, false, START + 20);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_OPEN);
    sh_breaker_destroy(&breaker);
}

static void test_share_counts_one_window(void **state)
{
    (void)state;
    ShBreaker breaker;
    sh_breaker_init(&breaker, &options);
    for (int i = 0; i < 100; i++) /* every second one fails, 11 in each window */
        request(&breaker, i % 2 == 0, START + i * 950);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    sh_breaker_destroy(&breaker);
}

static void test_probe_closes(void **state)
{
    (void)state;
    ShBreaker breaker;
    start_open(&breaker);
    assert_int_equal(refused(&breaker, START - 6), 30000); /* a clock that was read before it opened */
    assert_int_equal(refused(&breaker, START + 29999), 1);
    int64_t wait_ms = -1;
    assert_true(sh_breaker_is_open(&breaker, START + 30000, &wait_ms));
    assert_int_equal(wait_ms, 0); /* the next one is the probe */
    ShBreakerTicket probe = enter(&breaker, START + 30000);
    assert_int_equal(changes.to, SH_BREAKER_HALF_OPEN);
    assert_int_equal(refused(&breaker, START + 30001), SH_BREAKER_PROBE_WAIT_MS); /* one probe at a time */
    sh_breaker_report(&breaker, probe, true, START + 30100);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    assert_int_equal(changes.count, 3);
    assert_false(sh_breaker_is_open(&breaker, START + 30100, &wait_ms));
    /* Nothing is held against it. */
    request(&breaker, false, START + 30101);
    request(&breaker, false, START + 30101);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    sh_breaker_destroy(&breaker);
}

static void test_probe_opens_again(void **state)
{
    (void)state;
    ShBreaker breaker;
    start_open(&breaker);
    sh_breaker_report(&breaker, enter(&breaker, START + 30000), false, START + 31000);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_OPEN);
    assert_int_equal(refused(&breaker, START + 31000), 30000);
    sh_breaker_destroy(&breaker);
}

static void test_probe_that_was_not_made(void **state)
{
    (void)state;
    ShBreaker breaker;
    start_open(&breaker);
    sh_breaker_take_back(&breaker, enter(&breaker, START + 30000), START + 30000);
    ShBreakerTicket probe = enter(&breaker, START + 30000);
    sh_breaker_report(&breaker, probe, true, START + 30001);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    sh_breaker_destroy(&breaker);
}

static void test_lost_probe_is_replaced(void **state)
{
    (void)state;
    ShBreaker breaker;
    start_open(&breaker);
    ShBreakerTicket lost = enter(&breaker, START + 30000);
    ShBreakerTicket probe = enter(&breaker, START + 60000);
    assert_int_equal(changes.count, 2); /* half-open it was before */
    sh_breaker_report(&breaker, lost, false, START + 60001);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_HALF_OPEN);
    sh_breaker_report(&breaker, probe, true, START + 60002);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    sh_breaker_destroy(&breaker);
}

static void test_late_reports_say_nothing(void **state)
{
    (void)state;
    ShBreaker breaker;
    changes = (Changes){0};
    sh_breaker_init(&breaker, &options);
    ShBreakerTicket early[8];
    for (int i = 0; i < 8; i++)
        early[i] = enter(&breaker, START);
    for (int i = 0; i < 3; i++)
        sh_breaker_report(&breaker, early[i], false, START + 10000);
    sh_breaker_report(&breaker, early[3], false, START + 20000);
    sh_breaker_report(&breaker, early[4], true, START + 20000);
    assert_int_equal(refused(&breaker, START + 20000), 20000); /* neither longer nor over */
    ShBreakerTicket probe = enter(&breaker, START + 40000);
    sh_breaker_report(&breaker, early[5], true, START + 40001);
    sh_breaker_report(&breaker, early[6], false, START + 40001);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_HALF_OPEN);
    sh_breaker_report(&breaker, probe, true, START + 40002);
    for (int i = 0; i < 5; i++)
        sh_breaker_report(&breaker, early[7], false, START + 40003);
    assert_int_equal(sh_breaker_state(&breaker), SH_BREAKER_CLOSED);
    sh_breaker_destroy(&breaker);
}

typedef struct Crowd {
    ShBreaker *breaker;
    int passed;
} Crowd;

static void *enter_once(void *arg)
{
    Crowd *crowd = arg;
    ShBreakerTicket ticket;
    int64_t wait_ms;
    crowd->passed = sh_breaker_enter(crowd->breaker, START + 30000, &ticket, &wait_ms);
    return NULL;
}

static void test_one_of_many_threads_probes(void **state)
{
    (void)state;
    enum { THREADS = 8 };
    ShBreaker breaker;
    start_open(&breaker);
    pthread_t threads[THREADS];
    Crowd crowd[THREADS];
    for (int i = 0; i < THREADS; i++) {
        crowd[i].breaker = &breaker;
        assert_int_equal(pthread_create(&threads[i], NULL, enter_once, &crowd[i]), 0);
    }
    int passed = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        passed += crowd[i].passed;
    }
    assert_int_equal(passed, 1);
    sh_breaker_destroy(&breaker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_in_a_row_open),     cmocka_unit_test(test_share_of_failures_opens),
        cmocka_unit_test(test_share_counts_one_window),    cmocka_unit_test(test_probe_closes),
        cmocka_unit_test(test_probe_opens_again),          cmocka_unit_test(test_probe_that_was_not_made),
        cmocka_unit_test(test_lost_probe_is_replaced),     cmocka_unit_test(test_late_reports_say_nothing),
        cmocka_unit_test(test_one_of_many_threads_probes),
    };
    return cmocka_run_group_tests_name("circuit breaker", tests, NULL, NULL);
}
