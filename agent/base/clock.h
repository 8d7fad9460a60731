/*
 * clock.h - time, injected so that tests need no sleeps, and the pieces that wait: threads with names and
 * deadlines on condition variables.
 */
#ifndef SH_AGENT_BASE_CLOCK_H
#define SH_AGENT_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* Milliseconds of CLOCK_BOOTTIME: for deadlines and ages. Tests may install a clock of their own. */
int64_t sh_clock_now_ms(void);
/* Microseconds of the same clock, for latencies. */
int64_t sh_clock_now_us(void);
/* Milliseconds since the Unix epoch: for record timestamps and the log only. */
int64_t sh_clock_wall_ms(void);
/* Replace sh_clock_now_ms and sh_clock_now_us (in milliseconds; NULL: the real clock again). */
void sh_clock_set_for_test(int64_t (*now_ms)(void));

/* The kernel's boot id, 36 characters and a NUL. */
ShStatus sh_boot_id(char out[37], ShError *err) SH_MUST_CHECK;

/* Start a joinable thread; `name` (at most 15 characters) shows in ps and debuggers. */
ShStatus sh_thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg,
                         ShError *err) SH_MUST_CHECK;

/* A condition variable on the monotonic clock. */
ShStatus sh_cond_init(pthread_cond_t *cond, ShError *err) SH_MUST_CHECK;
/* Wait until signalled or `timeout_ms` passed; false on time-out. The mutex is held before and after. */
bool sh_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_ms);

#endif
