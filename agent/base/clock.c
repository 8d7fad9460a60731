#include "agent/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int64_t (*NowFn)(void);

static _Atomic(NowFn) test_now_ms;

static int64_t clock_us(clockid_t clock);

int64_t sh_clock_now_ms(void)
{
    NowFn fake = atomic_load_explicit(&test_now_ms, memory_order_relaxed);
    return fake != NULL ? fake() : clock_us(CLOCK_BOOTTIME) / 1000;
}

int64_t sh_clock_now_us(void)
{
    NowFn fake = atomic_load_explicit(&test_now_ms, memory_order_relaxed);
    return fake != NULL ? fake() * 1000 : clock_us(CLOCK_BOOTTIME);
}

int64_t sh_clock_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

void sh_clock_set_for_test(int64_t (*now_ms)(void))
{
    atomic_store(&test_now_ms, now_ms);
}

ShStatus sh_boot_id(char out[37], ShError *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sh_fail(err, SH_IO, "cannot open %s: %s", path, strerror(errno));
    char id[36];
    ssize_t got = read(fd, id, sizeof id);
    close(fd);
    if (got != (ssize_t)sizeof id)
        return sh_fail(err, SH_IO, "cannot read the 36 characters of %s", path);
    memcpy(out, id, sizeof id);
    out[36] = '\0';
    return SH_OK;
}

ShStatus sh_thread_start(pthread_t *out, const char *name, void *(*run)(void *), void *arg, ShError *err)
{
    /* Signals belong to the main thread: the new one inherits a mask that blocks them all. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return sh_fail(err, SH_EXHAUSTED, "cannot start thread %s: %s", name, strerror(error));

    char short_name[16] = {0};
    strncpy(short_name, name, sizeof short_name - 1);
    pthread_setname_np(thread, short_name);
    *out = thread;
    return SH_OK;
}

ShStatus sh_cond_init(pthread_cond_t *cond, ShError *err)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error == 0) {
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        error = pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    if (error != 0)
        return sh_fail(err, SH_NO_MEMORY, "cannot make a condition variable: %s", strerror(error));
    return SH_OK;
}

bool sh_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t timeout_ms)
{
    /* A wait is bounded by a day, so that "for ever" cannot overflow the deadline. */
    const int64_t day_ms = 24LL * 3600 * 1000;
    int64_t wait_ms = timeout_ms < 0 ? 0 : timeout_ms > day_ms ? day_ms : timeout_ms;

    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += wait_ms / 1000;
    deadline.tv_nsec += wait_ms % 1000 * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(cond, mutex, &deadline) != ETIMEDOUT;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
