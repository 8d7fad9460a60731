#include "agent/log/results.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"

void sh_results_init(ShResults *results)
{
    *results = (ShResults){0};
    pthread_mutex_init(&results->lock, NULL);
}

void sh_results_destroy(ShResults *results)
{
    free(results->list);
    pthread_mutex_destroy(&results->lock);
}

ShStatus sh_results_add(ShResults *results, const ShSegmentResult *added, size_t count, ShError *err)
{
    ShStatus status = SH_OK;
    if (count == 0)
        return SH_OK;
    pthread_mutex_lock(&results->lock);
    if (results->count + count > results->capacity) {
        size_t capacity = 2 * (results->count + count);
        ShSegmentResult *list = realloc(results->list, capacity * sizeof *list);
        if (list == NULL) {
            status = sh_fail(err, SH_NO_MEMORY, "no memory for %zu publish results", capacity);
            goto done;
        }
        results->list = list;
        results->capacity = capacity;
    }
    if (results->count == 0)
        results->oldest_ms = sh_clock_now_ms();
    memcpy(results->list + results->count, added, count * sizeof *added);
    results->count += count;
done:
    pthread_mutex_unlock(&results->lock);
    return status;
}

void sh_results_take(ShResults *results, ShSegmentResult **out, size_t *count)
{
    pthread_mutex_lock(&results->lock);
    *out = results->list;
    *count = results->count;
    results->list = NULL;
    results->count = results->capacity = 0;
    pthread_mutex_unlock(&results->lock);
}

int64_t sh_results_due_ms(ShResults *results)
{
    pthread_mutex_lock(&results->lock);
    int64_t due_ms = results->count == 0 ? INT64_MAX : results->oldest_ms + SH_RESULTS_AGE_MS;
    pthread_mutex_unlock(&results->lock);
    return due_ms;
}
