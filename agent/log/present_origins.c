#include "agent/log/present_origins.h"

#include <stdlib.h>
#include <string.h>

static size_t count_before(const ShPresentOrigins *origins, const ShPgRun *run);
static int compare_runs(const void *a, const void *b);
static int compare_epochs(const ShPgRun *a, const ShPgRun *b);

ShStatus sh_present_origins_add(ShPresentOrigins *origins, const ShPresentRuns *object, ShError *err)
{
    size_t needed = origins->count + object->count;
    if (needed > origins->capacity) {
        ShPgRun *grown = realloc(origins->runs, 2 * needed * sizeof *grown);
        if (grown == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for %zu runs", needed);
        origins->runs = grown;
        origins->capacity = 2 * needed;
    }
    for (size_t i = 0; i < object->count; i++)
        origins->runs[origins->count++] = object->runs[i];
    origins->is_sorted = false;
    return SH_OK;
}

void sh_present_origins_give(ShPresentOrigins *origins, ShPresentRuns *object)
{
    if (!origins->is_sorted && origins->count > 1)
        qsort(origins->runs, origins->count, sizeof *origins->runs, compare_runs);
    origins->is_sorted = true;
    for (size_t i = 0; i < object->count; i++) {
        size_t first = count_before(origins, &object->runs[i]);
        object->origins[i].start_offset = origins->runs[first].first_offset;
    }
}

void sh_present_origins_free(ShPresentOrigins *origins)
{
    free(origins->runs);
    *origins = (ShPresentOrigins){0};
}

/* How many are of epochs before that of `run`. */
static size_t count_before(const ShPresentOrigins *origins, const ShPgRun *run)
{
    size_t low = 0;
    size_t high = origins->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_epochs(&origins->runs[middle], run) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Runs whose offsets nobody knows (-1) come last in their epoch. */
static int compare_runs(const void *a, const void *b)
{
    const ShPgRun *x = a;
    const ShPgRun *y = b;
    uint64_t x_first = (uint64_t)x->first_offset;
    uint64_t y_first = (uint64_t)y->first_offset;
    int order = compare_epochs(x, y);
    return order != 0 ? order : (x_first > y_first) - (x_first < y_first);
}

static int compare_epochs(const ShPgRun *a, const ShPgRun *b)
{
    int order = memcmp(&a->topic_id, &b->topic_id, sizeof a->topic_id);
    if (order == 0)
        order = (a->partition > b->partition) - (a->partition < b->partition);
    return order != 0 ? order : (a->epoch > b->epoch) - (a->epoch < b->epoch);
}
