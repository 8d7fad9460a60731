/* The token bucket: what it grants, how its rate follows the server, and that two threads get no more than
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/store/rate_limit.h"

#define SECOND 1000000000ll
#define START  (1000 * SECOND)

static int64_t take_until_empty(ShRateLimit *limit, int64_t now_ns)
{
    int64_t count = 0;
    while (sh_rate_limit_take(limit, now_ns) == 0)
        count++;
    return count;
}

static void succeed(ShRateLimit *limit, int64_t count, int64_t now_ns)
{
    for (int64_t i = 0; i < count; i++)
        sh_rate_limit_succeeded(limit, now_ns);
}

static void test_burst_then_rate(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 1000);
    assert_int_equal(take_until_empty(&limit, START), 101); /* a tenth of a second's, and one */
    assert_int_equal(sh_rate_limit_take(&limit, START), SECOND / 1000);
    assert_int_equal(sh_rate_limit_take(&limit, START + SECOND / 1000), 0);
    assert_int_equal(sh_rate_limit_take(&limit, START + SECOND / 1000), SECOND / 1000);
    assert_int_equal(take_until_empty(&limit, START + 1001 * (SECOND / 1000)),
                     101); /* what is saved is bounded */
    sh_rate_limit_destroy(&limit);
}

static void test_one_a_second(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 0); /* as little as there can be */
    assert_int_equal(sh_rate_limit_rate(&limit), 1);
    assert_true(sh_rate_limit_is_lowest(&limit));
    assert_int_equal(take_until_empty(&limit, START), 1);
    int64_t wait_ns = sh_rate_limit_take(&limit, START);
    assert_in_range(wait_ns, SECOND - SH_RATE_BURST_NS, SECOND);
    assert_int_equal(take_until_empty(&limit, START + wait_ns), 1);
    sh_rate_limit_destroy(&limit);
}

static void test_refusals_of_one_moment_halve_once(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 3000);
    assert_true(sh_rate_limit_refused(&limit, START, START + 1, 0));
    for (int i = 0; i < 10; i++)
        assert_false(sh_rate_limit_refused(&limit, START + i, START + 5 * SECOND, 0));
    assert_int_equal(sh_rate_limit_rate(&limit), 1500);
    /* Let through within a second of the cut: the server may be counting the time before it still. */
    assert_false(sh_rate_limit_refused(&limit, START + SECOND, START + SECOND, 0));
    assert_true(sh_rate_limit_refused(&limit, START + 1 + SECOND, START + 1 + SECOND, 0));
    assert_int_equal(sh_rate_limit_rate(&limit), 750);
    sh_rate_limit_destroy(&limit);
}

static void test_rate_has_a_floor(void **state)
{
    (void)state;
    ShRateLimit limit;
    int64_t now_ns = START;
    sh_rate_limit_init(&limit, 5);
    for (int i = 0; i < 10; i++, now_ns += 2 * SECOND)
        assert_true(sh_rate_limit_refused(&limit, now_ns, now_ns, 0));
    assert_int_equal(sh_rate_limit_rate(&limit), 1);
    assert_true(sh_rate_limit_is_lowest(&limit));
    sh_rate_limit_destroy(&limit);
}

static void test_refusal_empties_the_bucket_and_pauses(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 1000);
    (void)sh_rate_limit_refused(&limit, START, START, 3 * SECOND);
    assert_int_equal(sh_rate_limit_take(&limit, START), 3 * SECOND);
    assert_int_equal(sh_rate_limit_take(&limit, START + 3 * SECOND - 1), 1);
    assert_int_equal(take_until_empty(&limit, START + 3 * SECOND), 1); /* nothing is saved */
    /* A shorter pause does not shorten the one there is. */
    (void)sh_rate_limit_refused(&limit, START, START + 4 * SECOND, 3 * SECOND);
    (void)sh_rate_limit_refused(&limit, START, START + 4 * SECOND, 1 * SECOND);
    assert_int_equal(sh_rate_limit_take(&limit, START + 4 * SECOND), 3 * SECOND);
    sh_rate_limit_destroy(&limit);
}

static void test_growth(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 4000);
    succeed(&limit, 1000, START); /* nothing is above the configured rate */
    assert_int_equal(sh_rate_limit_rate(&limit), 4000);

    assert_true(sh_rate_limit_refused(&limit, START, START, 0));
    succeed(&limit, 99, START);
    assert_int_equal(sh_rate_limit_rate(&limit), 2000);
    succeed(&limit, 1, START);
    assert_int_equal(sh_rate_limit_rate(&limit), 2100);
    succeed(&limit, 100, START);
    assert_int_equal(sh_rate_limit_rate(&limit), 2205);

    /* Up to below the rate that was refused, and no further for a while. */
    succeed(&limit, 100000, START + SH_RATE_HOLD_NS - 1);
    assert_in_range(sh_rate_limit_rate(&limit), 3400, 3600);
    succeed(&limit, 301, START + SH_RATE_HOLD_NS);
    assert_int_equal(sh_rate_limit_rate(&limit), 4000);
    sh_rate_limit_destroy(&limit);
}

/* Take what there is until the rate is reached; the time at which it is. */
static int64_t grow_to(ShRateLimit *limit, int64_t rate, int64_t now_ns)
{
    while (sh_rate_limit_rate(limit) < rate) {
        int64_t wait_ns;
        while ((wait_ns = sh_rate_limit_take(limit, now_ns)) > 0)
            now_ns += wait_ns;
        sh_rate_limit_succeeded(limit, now_ns);
    }
    return now_ns;
}

/* At a low rate, 100 successes would be minutes. */
static void test_growth_below_a_hundred(void **state)
{
    (void)state;
    ShRateLimit limit;
    int64_t now_ns = START;
    sh_rate_limit_init(&limit, 3000);
    for (int i = 0; i < 8; i++, now_ns += 2 * SECOND)
        (void)sh_rate_limit_refused(&limit, now_ns, now_ns, 0);
    assert_int_equal(sh_rate_limit_rate(&limit), 11);
    int64_t begun_ns = now_ns += SH_RATE_HOLD_NS;
    now_ns = grow_to(&limit, 22, now_ns);
    assert_in_range((now_ns - begun_ns) / SECOND, 12, 20); /* 14 steps up to what was refused */
    sh_rate_limit_destroy(&limit);
}

/* A server that was down, and is not slow: the whole rate is back within a minute of its return. */
static void test_the_lowest_rate_is_left_soon(void **state)
{
    (void)state;
    ShRateLimit limit;
    int64_t now_ns = START;
    sh_rate_limit_init(&limit, 3000);
    for (int i = 0; i < 30; i++, now_ns += 2 * SECOND)
        (void)sh_rate_limit_refused(&limit, now_ns, now_ns, 0);
    assert_true(sh_rate_limit_is_lowest(&limit));
    int64_t begun_ns = now_ns;
    now_ns = grow_to(&limit, 3000, now_ns);
    assert_in_range((now_ns - begun_ns) / SECOND, 10, 60);

    /* A refusal on the way: small steps again. */
    (void)sh_rate_limit_refused(&limit, now_ns, now_ns, 0);
    assert_int_equal(sh_rate_limit_rate(&limit), 1500);
    succeed(&limit, 100, now_ns);
    assert_int_equal(sh_rate_limit_rate(&limit), 1575);
    sh_rate_limit_destroy(&limit);
}

static void test_success_count_starts_anew_at_a_cut(void **state)
{
    (void)state;
    ShRateLimit limit;
    sh_rate_limit_init(&limit, 4000);
    (void)sh_rate_limit_refused(&limit, START, START, 0);
    succeed(&limit, 99, START);
    (void)sh_rate_limit_refused(&limit, START + 2 * SECOND, START + 2 * SECOND, 0);
    succeed(&limit, 99, START + 2 * SECOND);
    assert_int_equal(sh_rate_limit_rate(&limit), 1000);
    sh_rate_limit_destroy(&limit);
}

/* Two threads against a clock that both move on. */
typedef struct Race {
    ShRateLimit limit;
    atomic_int_fast64_t now_ns;
    int64_t end_ns;
    int64_t granted[2];
} Race;

typedef struct Racer {
    Race *race;
    int number;
} Racer;

static void *run_racer(void *arg)
{
    const Racer *racer = arg;
    Race *race = racer->race;
    int64_t granted = 0;
    int64_t now_ns;
    while ((now_ns = atomic_fetch_add(&race->now_ns, 1000)) < race->end_ns)
        granted += sh_rate_limit_take(&race->limit, now_ns) == 0;
    race->granted[racer->number] = granted;
    return NULL;
}

static void test_two_threads_get_no_more_than_the_rate(void **state)
{
    (void)state;
    static Race race;
    pthread_t threads[2];
    Racer racers[2] = {{&race, 0}, {&race, 1}};
    sh_rate_limit_init(&race.limit, 100000);
    atomic_init(&race.now_ns, START);
    race.end_ns = START + SECOND / 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_racer, &racers[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    int64_t granted = race.granted[0] + race.granted[1];
    assert_in_range(granted, 50000, 50000 + 10001); /* rate * time, and the burst; no token was lost either */
    sh_rate_limit_destroy(&race.limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_one_a_second),
        cmocka_unit_test(test_refusals_of_one_moment_halve_once),
        cmocka_unit_test(test_rate_has_a_floor),
        cmocka_unit_test(test_refusal_empties_the_bucket_and_pauses),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_growth_below_a_hundred),
        cmocka_unit_test(test_the_lowest_rate_is_left_soon),
        cmocka_unit_test(test_success_count_starts_anew_at_a_cut),
        cmocka_unit_test(test_two_threads_get_no_more_than_the_rate),
    };
    return cmocka_run_group_tests_name("rate limit", tests, NULL, NULL);
}
