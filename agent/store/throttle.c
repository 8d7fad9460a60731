#include "agent/store/throttle.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/log.h"
#include "agent/base/metrics.h"

typedef struct Gate {
    const char *name;
    ShRateLimit limit;
    ShBreaker breaker;
    ShMetric *decisions[SH_THROTTLE_DECISION_COUNT];
    ShMetric *rate;
    ShMetric *states[SH_BREAKER_STATE_COUNT];
    ShMetric *transitions[SH_BREAKER_STATE_COUNT]; /* by the state that was entered */
} Gate;

struct ShThrottle {
    Gate gates[SH_THROTTLE_KIND_COUNT];
};

static void init_gate(Gate *gate, const char *name, int64_t rate, const ShConfig *config);
static void register_metrics(Gate *gate);
static void refresh_metrics(void *arg);
static void on_change(void *arg, ShBreakerState from, ShBreakerState to);

ShThrottle *sh_throttle_new(const ShConfig *config)
{
    ShThrottle *throttle = calloc(1, sizeof *throttle);
    if (throttle == NULL)
        return NULL;
    init_gate(&throttle->gates[SH_THROTTLE_PUT], "put", config->throttle_put_rate, config);
    init_gate(&throttle->gates[SH_THROTTLE_GET], "get", config->throttle_get_rate, config);
    init_gate(&throttle->gates[SH_THROTTLE_DELETE], "delete", config->throttle_delete_rate, config);
    init_gate(&throttle->gates[SH_THROTTLE_LIST], "list", config->throttle_list_rate, config);
    sh_metrics_on_print(refresh_metrics, throttle);
    return throttle;
}

void sh_throttle_free(ShThrottle *throttle)
{
    if (throttle == NULL)
        return;
    sh_metrics_forget_on_print(refresh_metrics, throttle);
    for (int i = 0; i < SH_THROTTLE_KIND_COUNT; i++) {
        sh_breaker_destroy(&throttle->gates[i].breaker);
        sh_rate_limit_destroy(&throttle->gates[i].limit);
    }
    free(throttle);
}

ShThrottleDecision sh_throttle_ask(ShThrottle *throttle, ShThrottleKind kind, int64_t now_us,
                                   ShThrottleTicket *ticket, int64_t *wait_us)
{
    Gate *gate = &throttle->gates[kind];
    ShThrottleDecision decision = SH_THROTTLE_ALLOWED;
    int64_t wait_ms = 0;
    ticket->allowed_us = now_us;
    if (!sh_breaker_enter(&gate->breaker, now_us / 1000, &ticket->breaker, &wait_ms)) {
        decision = SH_THROTTLE_CIRCUIT_OPEN;
        *wait_us = wait_ms * 1000;
    } else {
        int64_t wait_ns = sh_rate_limit_take(&gate->limit, now_us * 1000);
        if (wait_ns > 0) {
            decision = SH_THROTTLE_RATE_LIMITED;
            *wait_us = (wait_ns + 999) / 1000;
            sh_breaker_take_back(&gate->breaker, ticket->breaker, now_us / 1000);
        }
    }
    sh_metric_add(gate->decisions[decision], 1);
    return decision;
}

void sh_throttle_report(ShThrottle *throttle, ShThrottleKind kind, const ShThrottleTicket *ticket,
                        ShThrottleResult result, int64_t pause_us, int64_t now_us)
{
    Gate *gate = &throttle->gates[kind];
    /* Who refuses everything at the lowest rate too has not too much to do: it is down. */
    bool failed = result == SH_THROTTLE_FAILED ||
                  (result == SH_THROTTLE_SLOW_DOWN && sh_rate_limit_is_lowest(&gate->limit));
    if (result == SH_THROTTLE_ANSWERED)
        sh_rate_limit_succeeded(&gate->limit, now_us * 1000);
    else if (result == SH_THROTTLE_SLOW_DOWN &&
             sh_rate_limit_refused(&gate->limit, ticket->allowed_us * 1000, now_us * 1000, pause_us * 1000))
        sh_log_warn("rate_halved",
                    "operation=%s rate=%lld pause_ms=%lld reason=\"S3 refuses so many requests\"", gate->name,
                    (long long)sh_rate_limit_rate(&gate->limit), (long long)pause_us / 1000);
    sh_breaker_report(&gate->breaker, ticket->breaker, !failed, now_us / 1000);
}

bool sh_throttle_is_open(ShThrottle *throttle, ShThrottleKind kind, int64_t now_us, int64_t *wait_us)
{
    int64_t wait_ms = 0;
    bool open = sh_breaker_is_open(&throttle->gates[kind].breaker, now_us / 1000, &wait_ms);
    if (open)
        *wait_us = wait_ms * 1000;
    return open;
}

int64_t sh_throttle_rate(const ShThrottle *throttle, ShThrottleKind kind)
{
    return sh_rate_limit_rate(&throttle->gates[kind].limit);
}

ShBreakerState sh_throttle_state(const ShThrottle *throttle, ShThrottleKind kind)
{
    return sh_breaker_state(&throttle->gates[kind].breaker);
}

static void init_gate(Gate *gate, const char *name, int64_t rate, const ShConfig *config)
{
    const ShBreakerOptions options = {.failures_max = config->breaker_failures_max,
                                      .failure_percent = config->breaker_failure_percent,
                                      .window_ms = config->breaker_window_ms,
                                      .open_ms = config->breaker_open_ms,
                                      .changed = on_change,
                                      .arg = gate};
    gate->name = name;
    sh_rate_limit_init(&gate->limit, rate);
    sh_breaker_init(&gate->breaker, &options);
    register_metrics(gate);
}

static void register_metrics(Gate *gate)
{
    static const char *const decisions[SH_THROTTLE_DECISION_COUNT] = {
        [SH_THROTTLE_ALLOWED] = "allowed",
        [SH_THROTTLE_RATE_LIMITED] = "rate_limited",
        [SH_THROTTLE_CIRCUIT_OPEN] = "circuit_open"};
    char labels[80];
    for (int i = 0; i < SH_THROTTLE_DECISION_COUNT; i++) {
        snprintf(labels, sizeof labels, "operation=\"%s\",decision=\"%s\"", gate->name, decisions[i]);
        gate->decisions[i] = sh_metric_counter("streamhouse_throttle_decisions_total", labels,
                                               "What requests to S3 were told at the gate.");
    }
    for (int i = 0; i < SH_BREAKER_STATE_COUNT; i++) {
        const char *state = sh_breaker_state_name((ShBreakerState)i);
        snprintf(labels, sizeof labels, "operation=\"%s\",state=\"%s\"", gate->name, state);
        gate->states[i] = sh_metric_gauge("streamhouse_circuit_breaker_state", labels,
                                          "1 for the state that the circuit breaker is in.");
        snprintf(labels, sizeof labels, "operation=\"%s\",to=\"%s\"", gate->name, state);
        gate->transitions[i] = sh_metric_counter("streamhouse_circuit_breaker_transitions_total", labels,
                                                 "Changes of a circuit breaker's state.");
    }
    snprintf(labels, sizeof labels, "operation=\"%s\"", gate->name);
    gate->rate = sh_metric_gauge("streamhouse_throttle_rate_current", labels,
                                 "Requests a second that the gate lets through.");
}

static void refresh_metrics(void *arg)
{
    ShThrottle *throttle = arg;
    for (int kind = 0; kind < SH_THROTTLE_KIND_COUNT; kind++) {
        Gate *gate = &throttle->gates[kind];
        ShBreakerState state = sh_breaker_state(&gate->breaker);
        sh_metric_set(gate->rate, sh_rate_limit_rate(&gate->limit));
        for (int i = 0; i < SH_BREAKER_STATE_COUNT; i++)
            sh_metric_set(gate->states[i], (int)state == i);
    }
}

static void on_change(void *arg, ShBreakerState from, ShBreakerState to)
{
    const Gate *gate = arg;
    sh_metric_add(gate->transitions[to], 1);
    if (to == SH_BREAKER_OPEN)
        sh_log_warn("circuit_opened", "operation=%s from=%s open_ms=%lld reason=\"S3 does not answer\"",
                    gate->name, sh_breaker_state_name(from), (long long)gate->breaker.options.open_ms);
    else
        sh_log_info(to == SH_BREAKER_CLOSED ? "circuit_closed" : "circuit_half_open", "operation=%s from=%s",
                    gate->name, sh_breaker_state_name(from));
}
