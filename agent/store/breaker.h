/*
 * breaker.h - a circuit breaker: stops asking a server that does not answer, and finds out when it does
 * again.
 *
 *   closed     every request may pass; opens after so many failures in a row, or at such a share of them
 *   open       none may, until `open_ms` have passed
 *   half-open  one may, the probe: its success closes, its failure opens again
 *
 * A request that passes gets a ticket and reports with it; what was let through before the last change of
 * state says nothing about now and is passed over. Time is an argument: milliseconds of any clock that does
 * not go back.
 */
#ifndef SH_AGENT_STORE_BREAKER_H
#define SH_AGENT_STORE_BREAKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SH_BREAKER_WINDOW_REQUESTS_MIN 20  /* fewer tell no share */
#define SH_BREAKER_PROBE_WAIT_MS       500 /* when to ask again while a probe is under way */

typedef enum ShBreakerState {
    SH_BREAKER_CLOSED,
    SH_BREAKER_OPEN,
    SH_BREAKER_HALF_OPEN,
    SH_BREAKER_STATE_COUNT
} ShBreakerState;

/* Called after each change of state, without any lock, by the thread that brought it about. */
typedef void (*ShBreakerChangeFn)(void *arg, ShBreakerState from, ShBreakerState to);

typedef struct ShBreakerOptions {
    int64_t failures_max; /* in a row: the last of them opens */
    int64_t
        failure_percent; /* of the requests of a window, which are SH_BREAKER_WINDOW_REQUESTS_MIN at least */
    int64_t window_ms;
    int64_t open_ms;           /* a probe that has not reported after so long again is taken for lost */
    ShBreakerChangeFn changed; /* or NULL */
    void *arg;
} ShBreakerOptions;

typedef uint64_t ShBreakerTicket;

typedef struct ShBreaker {
    ShBreakerOptions options;
    atomic_uint_fast64_t word; /* the number of changes, and the state; changed with the lock held */
    pthread_mutex_t lock;
    /* guarded by lock */
    int64_t until_ms; /* open: when a probe may pass; half-open: when it is taken for lost */
    int64_t failures_in_row;
    int64_t window_start_ms;
    int64_t window_requests;
    int64_t window_failures;
} ShBreaker;

void sh_breaker_init(ShBreaker *breaker, const ShBreakerOptions *options);
void sh_breaker_destroy(ShBreaker *breaker);

/* May a request pass? If so, it must be reported, or taken back, with the ticket. If not, `*wait_ms` tells
 * when to ask again. One atomic load while closed. */
bool sh_breaker_enter(ShBreaker *breaker, int64_t now_ms, ShBreakerTicket *ticket, int64_t *wait_ms);
/* The request was not made after all. */
void sh_breaker_take_back(ShBreaker *breaker, ShBreakerTicket ticket, int64_t now_ms);
void sh_breaker_report(ShBreaker *breaker, ShBreakerTicket ticket, bool succeeded, int64_t now_ms);

ShBreakerState sh_breaker_state(const ShBreaker *breaker);
/* Is it not closed? Then `*wait_ms` tells when the next request may pass; 0: now, as the probe. */
bool sh_breaker_is_open(ShBreaker *breaker, int64_t now_ms, int64_t *wait_ms);
/* "closed", "open", "half_open". */
const char *sh_breaker_state_name(ShBreakerState state);

#endif
