/*
 * rate_limit.h - a token bucket whose rate follows what the server takes.
 *
 * The bucket is one atomic word and takes no lock: the time at which the next token is due if none were saved
 * (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371). A token that is taken
 * moves it on by one interval; it may be ahead of now by SH_RATE_BURST_NS, so that after a rest a tenth of a
 * second's tokens may be taken at once, and one more.
 *
 * The rate is halved when the server refuses for being asked too fast, and grows by 5 % with every 100
 * successes up to the configured rate; below 100 a second, with every second's worth of them. For a while
 * after a refusal it stays a tenth below the rate that was refused: who grows back at once is refused at
 * once. That while is SH_RATE_HOLD_NS, and less where the rate is so low that being refused again costs
 * little. Once the rate has passed the refused one and more is taken, that was not the server's limit: from
 * then on each step is larger than the one before, up to doubling. Time is an argument: nanoseconds of any
 * clock that does not go back.
 */
#ifndef SH_AGENT_STORE_RATE_LIMIT_H
#define SH_AGENT_STORE_RATE_LIMIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SH_RATE_BURST_NS        100000000ll    /* what is saved at rest, in time */
#define SH_RATE_CUT_INTERVAL_NS 1000000000ll   /* refusals of one moment halve once */
#define SH_RATE_HOLD_NS         120000000000ll /* how long a rate that was refused is not tried again */
#define SH_RATE_HOLD_SHARE_NS   2000000000ll   /* ... for each token a second of that rate, if that is less */
#define SH_RATE_GROW_SUCCESSES  100
#define SH_RATE_MIN             1 /* tokens a second */

typedef struct ShRateLimit {
    atomic_int_fast64_t next_ns;
    atomic_int_fast64_t interval_ns;     /* between tokens, at the current rate */
    atomic_int_fast64_t rate_per_1000_s; /* the current rate: changed with the lock held */
    int64_t rate_max_per_1000_s;
    pthread_mutex_t lock;
    /* guarded by lock */
    int64_t successes;               /* since the last step */
    int64_t cut_ns;                  /* when the rate was halved last */
    int64_t refused_rate_per_1000_s; /* ... and from which rate */
    int64_t step_per_1000;           /* by how much the rate grows next */
} ShRateLimit;

/* `rate_max` tokens a second, at least SH_RATE_MIN; the bucket is full. */
void sh_rate_limit_init(ShRateLimit *limit, int64_t rate_max);
void sh_rate_limit_destroy(ShRateLimit *limit);

/* Take a token: 0, or the nanoseconds after which it is worth trying again. Lock-free, any thread. */
int64_t sh_rate_limit_take(ShRateLimit *limit, int64_t now_ns);

/* The server has taken a request. */
void sh_rate_limit_succeeded(ShRateLimit *limit, int64_t now_ns);

/* The server has refused a request that got its token at `taken_ns`. The rate is halved, unless the token is
 * older than SH_RATE_CUT_INTERVAL_NS after the last time: that one was asked for at a rate that is cut
 * already. In any case nothing saved is left, and no token comes for `pause_ns` (0: none asked for). Returns
 * whether the rate was halved. */
bool sh_rate_limit_refused(ShRateLimit *limit, int64_t taken_ns, int64_t now_ns, int64_t pause_ns);

/* Tokens a second, rounded down; and whether it can get no lower. */
int64_t sh_rate_limit_rate(const ShRateLimit *limit);
bool sh_rate_limit_is_lowest(const ShRateLimit *limit);

#endif
