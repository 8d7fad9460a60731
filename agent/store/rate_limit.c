#include "agent/store/rate_limit.h"

#define SCALE      1000ll /* rates are kept in thousandths, so that 5 % of 1 is something */
#define STEP_MIN   50     /* of a thousand: 5 % */
#define STEP_MAX   1000
#define HOLD_SHARE 10 /* how far below a refused rate the rate is held */

static void set_rate(ShRateLimit *limit, int64_t rate_per_1000_s);
static int64_t hold_ns(const ShRateLimit *limit);
static void empty(ShRateLimit *limit, int64_t next_ns);

void sh_rate_limit_init(ShRateLimit *limit, int64_t rate_max)
{
    *limit = (ShRateLimit){.rate_max_per_1000_s = (rate_max < SH_RATE_MIN ? SH_RATE_MIN : rate_max) * SCALE,
                           .cut_ns = INT64_MIN / 2,
                           .refused_rate_per_1000_s = INT64_MAX,
                           .step_per_1000 = STEP_MIN};
    atomic_init(&limit->next_ns, INT64_MIN / 2);
    pthread_mutex_init(&limit->lock, NULL);
    set_rate(limit, limit->rate_max_per_1000_s);
}

void sh_rate_limit_destroy(ShRateLimit *limit)
{
    pthread_mutex_destroy(&limit->lock);
}

int64_t sh_rate_limit_take(ShRateLimit *limit, int64_t now_ns)
{
    int64_t interval_ns = atomic_load_explicit(&limit->interval_ns, memory_order_relaxed);
    int_fast64_t next_ns = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
    for (;;) {
        int64_t ahead_ns = next_ns - now_ns;
        if (ahead_ns > SH_RATE_BURST_NS)
            return ahead_ns - SH_RATE_BURST_NS;
        int64_t after_ns = (ahead_ns > 0 ? next_ns : now_ns) + interval_ns;
        /* No data is handed over with a token: only the word itself must not be lost. */
        if (atomic_compare_exchange_weak_explicit(&limit->next_ns, &next_ns, after_ns, memory_order_relaxed,
                                                  memory_order_relaxed))
            return 0;
    }
}

void sh_rate_limit_succeeded(ShRateLimit *limit, int64_t now_ns)
{
    if (atomic_load_explicit(&limit->rate_per_1000_s, memory_order_relaxed) == limit->rate_max_per_1000_s)
        return;
    pthread_mutex_lock(&limit->lock);
    int64_t rate = atomic_load_explicit(&limit->rate_per_1000_s, memory_order_relaxed);
    int64_t grown = rate + rate * limit->step_per_1000 / 1000;
    int64_t near = limit->refused_rate_per_1000_s - limit->refused_rate_per_1000_s / HOLD_SHARE;
    bool is_held = grown > near && now_ns < limit->cut_ns + hold_ns(limit);
    int64_t second = rate / SCALE;
    int64_t wanted = second < SH_RATE_GROW_SUCCESSES ? second : SH_RATE_GROW_SUCCESSES;
    if (++limit->successes >= wanted && !is_held) {
        limit->successes = 0;
        if (rate > limit->refused_rate_per_1000_s && limit->step_per_1000 < STEP_MAX)
            limit->step_per_1000 += limit->step_per_1000 / 2;
        set_rate(limit, grown < limit->rate_max_per_1000_s ? grown : limit->rate_max_per_1000_s);
    }
    pthread_mutex_unlock(&limit->lock);
}

bool sh_rate_limit_refused(ShRateLimit *limit, int64_t taken_ns, int64_t now_ns, int64_t pause_ns)
{
    pthread_mutex_lock(&limit->lock);
    bool cut = taken_ns >= limit->cut_ns + SH_RATE_CUT_INTERVAL_NS;
    if (cut) {
        int64_t rate = atomic_load_explicit(&limit->rate_per_1000_s, memory_order_relaxed);
        limit->refused_rate_per_1000_s = rate;
        limit->cut_ns = now_ns;
        limit->successes = 0;
        limit->step_per_1000 = STEP_MIN;
        set_rate(limit, rate / 2 > SH_RATE_MIN * SCALE ? rate / 2 : SH_RATE_MIN * SCALE);
    }
    pthread_mutex_unlock(&limit->lock);
    empty(limit, now_ns + pause_ns + SH_RATE_BURST_NS);
    return cut;
}

int64_t sh_rate_limit_rate(const ShRateLimit *limit)
{
    return atomic_load_explicit(&limit->rate_per_1000_s, memory_order_relaxed) / SCALE;
}

bool sh_rate_limit_is_lowest(const ShRateLimit *limit)
{
    return atomic_load_explicit(&limit->rate_per_1000_s, memory_order_relaxed) <= SH_RATE_MIN * SCALE;
}

static int64_t hold_ns(const ShRateLimit *limit)
{
    int64_t tokens = limit->refused_rate_per_1000_s / SCALE;
    return tokens < SH_RATE_HOLD_NS / SH_RATE_HOLD_SHARE_NS ? tokens * SH_RATE_HOLD_SHARE_NS
                                                            : SH_RATE_HOLD_NS;
}

static void set_rate(ShRateLimit *limit, int64_t rate_per_1000_s)
{
    atomic_store_explicit(&limit->rate_per_1000_s, rate_per_1000_s, memory_order_relaxed);
    atomic_store_explicit(&limit->interval_ns, 1000000000ll * SCALE / rate_per_1000_s, memory_order_relaxed);
}

/* Move the bucket on to `next_ns` at least. */
static void empty(ShRateLimit *limit, int64_t next_ns)
{
    int_fast64_t seen_ns = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);
    while (seen_ns < next_ns &&
           !atomic_compare_exchange_weak_explicit(&limit->next_ns, &seen_ns, next_ns, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}
