/*
 * pace.h - how often a question is asked again: after a delay that doubles while nobody answers.
 */
#ifndef SH_CLIENT_PACE_H
#define SH_CLIENT_PACE_H

#include <stdint.h>

#define SH_PACE_MIN_MS 50
#define SH_PACE_MAX_MS 1000

/* All zero: ask at once. */
typedef struct ShPace {
    int64_t not_before_ms;
    int delay_ms;
} ShPace;

/* The question is asked now. */
static inline void sh_pace_ask(ShPace *pace, int64_t now_ms)
{
    pace->delay_ms = pace->delay_ms == 0 ? SH_PACE_MIN_MS : pace->delay_ms * 2;
    if (pace->delay_ms > SH_PACE_MAX_MS)
        pace->delay_ms = SH_PACE_MAX_MS;
    pace->not_before_ms = now_ms + pace->delay_ms;
}

/* It was answered: the next delay is a short one again. */
static inline void sh_pace_answered(ShPace *pace)
{
    pace->delay_ms = 0;
}

#endif
