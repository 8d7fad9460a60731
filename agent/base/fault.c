#include "agent/base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POINTS_MAX       32
#define POINT_NAME_BYTES 64
#define CRASH_EXIT_CODE  137

typedef enum FaultAction { FAULT_ERROR, FAULT_CRASH, FAULT_STALL } FaultAction;

typedef struct Fault {
    char point[POINT_NAME_BYTES];
    FaultAction action;
    int64_t passes_left; /* of FAULT_ERROR; -1: every pass */
    int64_t stall_ms;
} Fault;

/* Read without the lock, so that an unarmed process pays one load. */
static atomic_int armed_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Fault armed[POINTS_MAX]; /* under lock, as the count's changes */

static ShStatus parse_fault(const char *text, size_t length, Fault *out, ShError *err);
static ShStatus parse_number(const char *text, const char *item, int64_t *out, ShError *err);
static void stall(int64_t ms);

ShStatus sh_fault_arm(const char *spec, ShError *err)
{
    Fault parsed[POINTS_MAX];
    int count = 0;
    const char *rest = spec != NULL ? spec : "";
    while (*rest != '\0') {
        size_t length = strcspn(rest, ",");
        if (count == POINTS_MAX)
            return sh_fail(err, SH_INVALID, "more than %d fault points are armed", POINTS_MAX);
        ShStatus status = parse_fault(rest, length, &parsed[count], err);
        if (status != SH_OK)
            return status;
        count++;
        rest += length;
        if (*rest == ',')
            rest++;
    }

    pthread_mutex_lock(&lock);
    memcpy(armed, parsed, (size_t)count * sizeof parsed[0]);
    atomic_store(&armed_count, count);
    pthread_mutex_unlock(&lock);
    return SH_OK;
}

bool sh_fault_hit(const char *point)
{
    if (atomic_load_explicit(&armed_count, memory_order_relaxed) == 0)
        return false;

    bool fails = false;
    int64_t stall_ms = 0;
    pthread_mutex_lock(&lock);
    int count = atomic_load(&armed_count);
    for (int i = 0; i < count; i++) {
        Fault *fault = &armed[i];
        if (strcmp(fault->point, point) != 0)
            continue;
        if (fault->action == FAULT_CRASH)
            _exit(CRASH_EXIT_CODE);
        if (fault->action == FAULT_STALL)
            stall_ms += fault->stall_ms;
        else if (fault->passes_left != 0) {
            fails = true;
            if (fault->passes_left > 0)
                fault->passes_left--;
        }
    }
    pthread_mutex_unlock(&lock);

    if (stall_ms > 0)
        stall(stall_ms);
    return fails;
}

/* One item, "point=action" or "point=action:number". */
static ShStatus parse_fault(const char *text, size_t length, Fault *out, ShError *err)
{
    char item[2 * POINT_NAME_BYTES];
    if (length >= sizeof item)
        return sh_fail(err, SH_INVALID, "a fault of %zu characters is too long", length);
    memcpy(item, text, length);
    item[length] = '\0';

    char *action = strchr(item, '=');
    if (action == NULL || action == item || (size_t)(action - item) >= sizeof out->point)
        return sh_fail(err, SH_INVALID, "fault \"%s\" is not point=action", item);
    *action++ = '\0';
    char *number = strchr(action, ':');
    if (number != NULL)
        *number++ = '\0';

    *out = (Fault){.passes_left = -1};
    strcpy(out->point, item);
    if (strcmp(action, "error") == 0) {
        out->action = FAULT_ERROR;
        return number == NULL ? SH_OK : parse_number(number, item, &out->passes_left, err);
    }
    if (strcmp(action, "crash") == 0 && number == NULL) {
        out->action = FAULT_CRASH;
        return SH_OK;
    }
    if (strcmp(action, "stall") == 0 && number != NULL) {
        out->action = FAULT_STALL;
        return parse_number(number, item, &out->stall_ms, err);
    }
    return sh_fail(err, SH_INVALID, "fault %s: the action is error, error:N, crash or stall:MS", item);
}

static ShStatus parse_number(const char *text, const char *item, int64_t *out, ShError *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < 0 || value > INT32_MAX)
        return sh_fail(err, SH_INVALID, "fault %s: \"%s\" is not a number", item, text);
    *out = value;
    return SH_OK;
}

static void stall(int64_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}
