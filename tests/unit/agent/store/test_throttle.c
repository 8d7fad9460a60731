/* The gate: how rate and circuit work together, and what becomes of the share of refused requests over time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/metrics.h"
#include "agent/store/throttle.h"

#define MS     1000ll
#define SECOND (1000 * MS)
#define START  (1000 * SECOND)

static const ShConfig config = {.throttle_enabled = true,
                                .throttle_put_rate = 3000,
                                .throttle_get_rate = 5000,
                                .throttle_delete_rate = 10,
                                .throttle_list_rate = 1,
                                .breaker_failures_max = 5,
                                .breaker_failure_percent = 50,
                                .breaker_window_ms = 10000,
                                .breaker_open_ms = 30000};

static ShThrottleTicket allowed(ShThrottle *throttle, ShThrottleKind kind, int64_t now_us)
{
    ShThrottleTicket ticket;
    int64_t wait_us = 0;
    assert_int_equal(sh_throttle_ask(throttle, kind, now_us, &ticket, &wait_us), SH_THROTTLE_ALLOWED);
    return ticket;
}

static void request(ShThrottle *throttle, ShThrottleKind kind, ShThrottleResult result, int64_t now_us)
{
    ShThrottleTicket ticket = allowed(throttle, kind, now_us);
    sh_throttle_report(throttle, kind, &ticket, result, 0, now_us);
}

static int64_t decisions(const char *labels)
{
    return sh_metric_value(sh_metric_counter("streamhouse_throttle_decisions_total", labels, ""));
}

static void test_kinds_are_apart(void **state)
{
    (void)state;
    ShThrottle *throttle = sh_throttle_new(&config);
    ShThrottleTicket ticket;
    int64_t wait_us = 0;
    int64_t limited = decisions("operation=\"list\",decision=\"rate_limited\"");
    request(throttle, SH_THROTTLE_LIST, SH_THROTTLE_ANSWERED, START);
    assert_int_equal(sh_throttle_ask(throttle, SH_THROTTLE_LIST, START, &ticket, &wait_us),
                     SH_THROTTLE_RATE_LIMITED);
    assert_int_equal(wait_us, 900 * MS);
    assert_int_equal(decisions("operation=\"list\",decision=\"rate_limited\"") - limited, 1);
    for (int i = 0; i < 5; i++)
        request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_FAILED, START);
    assert_int_equal(sh_throttle_state(throttle, SH_THROTTLE_PUT), SH_BREAKER_OPEN);
    request(throttle, SH_THROTTLE_GET, SH_THROTTLE_SLOW_DOWN, START);
    assert_int_equal(sh_throttle_rate(throttle, SH_THROTTLE_GET), 2500);
    assert_int_equal(sh_throttle_rate(throttle, SH_THROTTLE_PUT), 3000);
    assert_int_equal(sh_throttle_state(throttle, SH_THROTTLE_GET), SH_BREAKER_CLOSED);
    sh_throttle_free(throttle);
}

static void test_open_circuit_refuses_and_heals(void **state)
{
    (void)state;
    ShThrottle *throttle = sh_throttle_new(&config);
    ShThrottleTicket ticket;
    int64_t wait_us = 0;
    int64_t refused = decisions("operation=\"put\",decision=\"circuit_open\"");
    for (int i = 0; i < 5; i++)
        request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_FAILED, START);
    assert_int_equal(sh_throttle_ask(throttle, SH_THROTTLE_PUT, START + SECOND, &ticket, &wait_us),
                     SH_THROTTLE_CIRCUIT_OPEN);
    assert_int_equal(wait_us, 29 * SECOND);
    assert_int_equal(decisions("operation=\"put\",decision=\"circuit_open\"") - refused, 1);
    wait_us = 0;
    assert_true(sh_throttle_is_open(throttle, SH_THROTTLE_PUT, START + SECOND, &wait_us));
    assert_int_equal(wait_us, 29 * SECOND);
    assert_true(sh_throttle_is_open(throttle, SH_THROTTLE_PUT, START + 30 * SECOND, &wait_us));
    assert_int_equal(wait_us, 0);
    request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_ANSWERED, START + 30 * SECOND);
    assert_false(sh_throttle_is_open(throttle, SH_THROTTLE_PUT, START + 30 * SECOND, &wait_us));
    assert_int_equal(sh_throttle_state(throttle, SH_THROTTLE_PUT), SH_BREAKER_CLOSED);
    sh_throttle_free(throttle);
}

/* A probe that must wait for its token leaves the place to whoever asks next. */
static void test_probe_waits_for_the_rate(void **state)
{
    (void)state;
    ShThrottle *throttle = sh_throttle_new(&config);
    ShThrottleTicket pausing = allowed(throttle, SH_THROTTLE_PUT, START);
    for (int i = 0; i < 5; i++)
        request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_FAILED, START);
    sh_throttle_report(throttle, SH_THROTTLE_PUT, &pausing, SH_THROTTLE_SLOW_DOWN, 40 * SECOND, START);
    ShThrottleTicket ticket;
    int64_t wait_us = 0;
    assert_int_equal(sh_throttle_ask(throttle, SH_THROTTLE_PUT, START + 30 * SECOND, &ticket, &wait_us),
                     SH_THROTTLE_RATE_LIMITED);
    assert_int_equal(wait_us, 10 * SECOND);
    request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_ANSWERED, START + 40 * SECOND);
    assert_int_equal(sh_throttle_state(throttle, SH_THROTTLE_PUT), SH_BREAKER_CLOSED);
    sh_throttle_free(throttle);
}

/* SlowDown is an answer, until the rate can get no lower. */
static void test_refusing_everything_is_a_failure_at_last(void **state)
{
    (void)state;
    ShThrottle *throttle = sh_throttle_new(&config);
    int64_t now_us = START;
    int requests = 0;
    while (sh_throttle_state(throttle, SH_THROTTLE_PUT) == SH_BREAKER_CLOSED && requests < 1000) {
        ShThrottleTicket ticket;
        int64_t wait_us = 0;
        while (sh_throttle_ask(throttle, SH_THROTTLE_PUT, now_us, &ticket, &wait_us) != SH_THROTTLE_ALLOWED)
            now_us += wait_us;
        sh_throttle_report(throttle, SH_THROTTLE_PUT, &ticket, SH_THROTTLE_SLOW_DOWN, 0, now_us);
        if (sh_throttle_rate(throttle, SH_THROTTLE_PUT) > 1)
            assert_int_equal(sh_throttle_state(throttle, SH_THROTTLE_PUT), SH_BREAKER_CLOSED);
        now_us += 1100 * MS;
        requests++;
    }
    assert_in_range(requests, 12 + 4, 12 + 5); /* 3000 halves twelve times, then five in a row */
    sh_throttle_free(throttle);
}

/* Four uploaders, one of which always wants to put, against a server that takes 50 a second: of what was
 * asked for in an interval, how much was refused? In a time of our own, in steps of a millisecond. */
typedef struct Simulation {
    ShThrottle *throttle;
    int64_t now_us;
    double tokens; /* the server's */
    int64_t sent;
    int64_t refused;
} Simulation;

static void simulate(Simulation *sim, double server_rate, int64_t seconds)
{
    int64_t end_us = sim->now_us + seconds * SECOND;
    sim->sent = sim->refused = 0;
    for (; sim->now_us < end_us; sim->now_us += MS) {
        sim->tokens += server_rate / 1000;
        if (sim->tokens > 1 + server_rate / 10)
            sim->tokens = 1 + server_rate / 10;
        ShThrottleTicket ticket;
        int64_t wait_us;
        /* At most one each millisecond: four uploaders whose puts take some milliseconds. */
        if (sh_throttle_ask(sim->throttle, SH_THROTTLE_PUT, sim->now_us, &ticket, &wait_us) !=
            SH_THROTTLE_ALLOWED)
            continue;
        bool taken = sim->tokens >= 1;
        sim->tokens -= taken;
        sim->sent++;
        sim->refused += !taken;
        sh_throttle_report(sim->throttle, SH_THROTTLE_PUT, &ticket,
                           taken ? SH_THROTTLE_ANSWERED : SH_THROTTLE_SLOW_DOWN, 0, sim->now_us);
    }
}

static void test_refused_share_after_adaptation(void **state)
{
    (void)state;
    Simulation sim = {.throttle = sh_throttle_new(&config), .now_us = START};
    simulate(&sim, 50, 10);
    assert_true(sim.refused > sim.sent / 2); /* it began far too fast */
    simulate(&sim, 50, 3600);
    print_message("50 a second: %lld of %lld refused in an hour\n", (long long)sim.refused,
                  (long long)sim.sent);
    assert_true(sim.refused > 0 && sim.refused * 1000 < sim.sent);
    assert_true(sim.sent > 3600 * 40); /* and little of what the server takes is left unused */
    /* The server takes all again: so does the gate. */
    simulate(&sim, 10000, 1800);
    assert_int_equal(sim.refused, 0);
    assert_int_equal(sh_throttle_rate(sim.throttle, SH_THROTTLE_PUT), 3000);
    sh_throttle_free(sim.throttle);
}

static void test_metrics_show_the_state(void **state)
{
    (void)state;
    ShThrottle *throttle = sh_throttle_new(&config);
    ShScratch text = {0};
    ShError err;
    request(throttle, SH_THROTTLE_GET, SH_THROTTLE_SLOW_DOWN, START);
    for (int i = 0; i < 5; i++)
        request(throttle, SH_THROTTLE_PUT, SH_THROTTLE_FAILED, START);
    assert_int_equal(sh_metrics_print(&text, &err), SH_OK);
    char *printed = strndup((const char *)text.data, text.length);
    assert_non_null(printed);
    assert_non_null(strstr(printed, "streamhouse_throttle_rate_current{operation=\"get\"} 2500\n"));
    assert_non_null(
        strstr(printed, "streamhouse_circuit_breaker_state{operation=\"put\",state=\"open\"} 1\n"));
    assert_non_null(
        strstr(printed, "streamhouse_circuit_breaker_state{operation=\"put\",state=\"closed\"} 0\n"));
    assert_non_null(
        strstr(printed, "streamhouse_circuit_breaker_transitions_total{operation=\"put\",to=\"open\"}"));
    free(printed);
    sh_scratch_free(&text);
    sh_throttle_free(throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_are_apart),
        cmocka_unit_test(test_open_circuit_refuses_and_heals),
        cmocka_unit_test(test_probe_waits_for_the_rate),
        cmocka_unit_test(test_refusing_everything_is_a_failure_at_last),
        cmocka_unit_test(test_refused_share_after_adaptation),
        cmocka_unit_test(test_metrics_show_the_state),
    };
    return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
