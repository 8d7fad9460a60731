#include "agent/store/breaker.h"

#define STATE_BITS 2

/* A change of state that is still to be told. */
typedef struct Change {
    bool changed;
    ShBreakerState from;
    ShBreakerState to;
} Change;

static ShBreakerState state_of(uint64_t word);
static Change set_state(ShBreaker *breaker, ShBreakerState to);
static void tell(const ShBreaker *breaker, Change change);
static int64_t wait_of(const ShBreaker *breaker, int64_t now_ms);
static bool is_too_much(ShBreaker *breaker, bool succeeded, int64_t now_ms);
static void forget_counts(ShBreaker *breaker, int64_t now_ms);

void sh_breaker_init(ShBreaker *breaker, const ShBreakerOptions *options)
{
    *breaker = (ShBreaker){.options = *options, .window_start_ms = INT64_MIN / 2};
    atomic_init(&breaker->word, SH_BREAKER_CLOSED);
    pthread_mutex_init(&breaker->lock, NULL);
}

void sh_breaker_destroy(ShBreaker *breaker)
{
    pthread_mutex_destroy(&breaker->lock);
}

bool sh_breaker_enter(ShBreaker *breaker, int64_t now_ms, ShBreakerTicket *ticket, int64_t *wait_ms)
{
    Change change = {0};
    *ticket = atomic_load(&breaker->word);
    if (state_of(*ticket) == SH_BREAKER_CLOSED)
        return true;

    pthread_mutex_lock(&breaker->lock);
    bool passes = state_of(atomic_load(&breaker->word)) == SH_BREAKER_CLOSED;
    if (!passes && now_ms >= breaker->until_ms) {
        change = set_state(breaker, SH_BREAKER_HALF_OPEN);
        breaker->until_ms = now_ms + breaker->options.open_ms;
        passes = true;
    }
    *ticket = atomic_load(&breaker->word);
    if (!passes)
        *wait_ms = wait_of(breaker, now_ms);
    pthread_mutex_unlock(&breaker->lock);
    tell(breaker, change);
    return passes;
}

void sh_breaker_take_back(ShBreaker *breaker, ShBreakerTicket ticket, int64_t now_ms)
{
    if (state_of(ticket) == SH_BREAKER_CLOSED)
        return;
    pthread_mutex_lock(&breaker->lock);
    if (ticket == atomic_load(&breaker->word))
        breaker->until_ms = now_ms; /* the next one is the probe */
    pthread_mutex_unlock(&breaker->lock);
}

void sh_breaker_report(ShBreaker *breaker, ShBreakerTicket ticket, bool succeeded, int64_t now_ms)
{
    Change change = {0};
    pthread_mutex_lock(&breaker->lock);
    if (ticket != atomic_load(&breaker->word))
        goto done;
    if (state_of(ticket) == SH_BREAKER_HALF_OPEN && succeeded) {
        forget_counts(breaker, now_ms);
        change = set_state(breaker, SH_BREAKER_CLOSED);
    } else if (state_of(ticket) == SH_BREAKER_HALF_OPEN || is_too_much(breaker, succeeded, now_ms)) {
        breaker->until_ms = now_ms + breaker->options.open_ms;
        change = set_state(breaker, SH_BREAKER_OPEN);
    }
done:
    pthread_mutex_unlock(&breaker->lock);
    tell(breaker, change);
}

ShBreakerState sh_breaker_state(const ShBreaker *breaker)
{
    return state_of(atomic_load(&breaker->word));
}

bool sh_breaker_is_open(ShBreaker *breaker, int64_t now_ms, int64_t *wait_ms)
{
    if (sh_breaker_state(breaker) == SH_BREAKER_CLOSED)
        return false;
    pthread_mutex_lock(&breaker->lock);
    bool is_open = sh_breaker_state(breaker) != SH_BREAKER_CLOSED;
    if (is_open)
        *wait_ms = now_ms < breaker->until_ms ? wait_of(breaker, now_ms) : 0;
    pthread_mutex_unlock(&breaker->lock);
    return is_open;
}

const char *sh_breaker_state_name(ShBreakerState state)
{
    static const char *const names[SH_BREAKER_STATE_COUNT] = {
        [SH_BREAKER_CLOSED] = "closed", [SH_BREAKER_OPEN] = "open", [SH_BREAKER_HALF_OPEN] = "half_open"};
    return names[state];
}

static ShBreakerState state_of(uint64_t word)
{
    return (ShBreakerState)(word & ((1u << STATE_BITS) - 1));
}

/* With the lock held. A probe that follows a lost one changes the word, and with it the valid ticket, only.
 */
static Change set_state(ShBreaker *breaker, ShBreakerState to)
{
    uint64_t word = atomic_load(&breaker->word);
    atomic_store(&breaker->word, (((word >> STATE_BITS) + 1) << STATE_BITS) | to);
    return (Change){.changed = state_of(word) != to, .from = state_of(word), .to = to};
}

static void tell(const ShBreaker *breaker, Change change)
{
    if (change.changed && breaker->options.changed != NULL)
        breaker->options.changed(breaker->options.arg, change.from, change.to);
}

/* With the lock held, not closed. A probe may be over at any moment. */
static int64_t wait_of(const ShBreaker *breaker, int64_t now_ms)
{
    int64_t left_ms = breaker->until_ms - now_ms;
    if (left_ms > breaker->options.open_ms) /* opened after the caller had read its clock */
        left_ms = breaker->options.open_ms;
    bool probing = sh_breaker_state(breaker) == SH_BREAKER_HALF_OPEN;
    return probing && left_ms > SH_BREAKER_PROBE_WAIT_MS ? SH_BREAKER_PROBE_WAIT_MS : left_ms;
}

/* With the lock held: count a request of the closed state. Was this one too many? */
static bool is_too_much(ShBreaker *breaker, bool succeeded, int64_t now_ms)
{
    if (now_ms - breaker->window_start_ms >= breaker->options.window_ms) {
        breaker->window_start_ms = now_ms;
        breaker->window_requests = 0;
        breaker->window_failures = 0;
    }
    breaker->window_requests++;
    breaker->window_failures += !succeeded;
    breaker->failures_in_row = succeeded ? 0 : breaker->failures_in_row + 1;
    if (succeeded)
        return false;
    return breaker->failures_in_row >= breaker->options.failures_max ||
           (breaker->window_requests >= SH_BREAKER_WINDOW_REQUESTS_MIN &&
            breaker->window_failures * 100 >= breaker->window_requests * breaker->options.failure_percent);
}

/* With the lock held. */
static void forget_counts(ShBreaker *breaker, int64_t now_ms)
{
    breaker->window_start_ms = now_ms;
    breaker->window_requests = 0;
    breaker->window_failures = 0;
    breaker->failures_in_row = 0;
}
