/*
 * throttle.h - the gate before the store's server: for each kind of operation a rate limit and a circuit
 * breaker, asked before each request and told of each result.
 *
 * Time is an argument: microseconds of a clock that does not go back (sh_clock_now_us).
 */
#ifndef SH_AGENT_STORE_THROTTLE_H
#define SH_AGENT_STORE_THROTTLE_H

#include "agent/base/config.h"
#include "agent/store/breaker.h"
#include "agent/store/rate_limit.h"

typedef enum ShThrottleKind {
    SH_THROTTLE_PUT,
    SH_THROTTLE_GET,
    SH_THROTTLE_DELETE,
    SH_THROTTLE_LIST,
    SH_THROTTLE_KIND_COUNT
} ShThrottleKind;

typedef enum ShThrottleDecision {
    SH_THROTTLE_ALLOWED,
    SH_THROTTLE_RATE_LIMITED, /* ask again after the wait */
    SH_THROTTLE_CIRCUIT_OPEN, /* the server does not answer: give up for now */
    SH_THROTTLE_DECISION_COUNT
} ShThrottleDecision;

typedef enum ShThrottleResult {
    SH_THROTTLE_ANSWERED,
    SH_THROTTLE_SLOW_DOWN, /* refused for being asked too fast */
    SH_THROTTLE_FAILED     /* no answer, or none that is worth having */
} ShThrottleResult;

typedef struct ShThrottleTicket {
    ShBreakerTicket breaker;
    int64_t allowed_us;
} ShThrottleTicket;

typedef struct ShThrottle ShThrottle;

/* From the settings throttle_* and breaker_*; NULL when memory is short. Metrics are registered. */
ShThrottle *sh_throttle_new(const ShConfig *config);
void sh_throttle_free(ShThrottle *throttle);

/* May a request be made? ALLOWED: it must be reported with the ticket. Otherwise `*wait_us`, above 0, tells
 * when it is worth asking again. Never blocks. */
ShThrottleDecision sh_throttle_ask(ShThrottle *throttle, ShThrottleKind kind, int64_t now_us,
                                   ShThrottleTicket *ticket, int64_t *wait_us);

/* `pause_us`: what the server asks for with SLOW_DOWN; 0: nothing. */
void sh_throttle_report(ShThrottle *throttle, ShThrottleKind kind, const ShThrottleTicket *ticket,
                        ShThrottleResult result, int64_t pause_us, int64_t now_us);

/* Is the circuit not closed? Then `*wait_us` tells when the next request may pass; 0: now. */
bool sh_throttle_is_open(ShThrottle *throttle, ShThrottleKind kind, int64_t now_us, int64_t *wait_us);

/* For tests and benchmarks: the current rate, and the breaker's state. */
int64_t sh_throttle_rate(const ShThrottle *throttle, ShThrottleKind kind);
ShBreakerState sh_throttle_state(const ShThrottle *throttle, ShThrottleKind kind);

#endif
