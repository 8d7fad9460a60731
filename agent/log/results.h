/*
 * results.h - what became of earlier publishes, until an object carries it.
 *
 * The header of each object repeats the results that no object holds yet, so that the bucket alone can
 * rebuild the index. An agent with nothing else to write puts them into an object of their own within
 * SH_RESULTS_AGE_MS.
 */
#ifndef SH_AGENT_LOG_RESULTS_H
#define SH_AGENT_LOG_RESULTS_H

#include <pthread.h>
#include <stdint.h>

#include "core/segment.h"
#include "core/status.h"

#define SH_RESULTS_AGE_MS 10000

typedef struct ShResults {
    pthread_mutex_t lock;
    /* guarded by lock */
    ShSegmentResult *list;
    size_t count;
    size_t capacity;
    int64_t oldest_ms; /* when the oldest came */
} ShResults;

void sh_results_init(ShResults *results);
void sh_results_destroy(ShResults *results);

/* Add all or, without memory, none. What a publish said of an object's runs is told in the order of these, so
 * it comes at once: one object carries all of it. */
ShStatus sh_results_add(ShResults *results, const ShSegmentResult *added, size_t count,
                        ShError *err) SH_MUST_CHECK;

/* Take all; `*out` (NULL when there are none) is freed with free(). */
void sh_results_take(ShResults *results, ShSegmentResult **out, size_t *count);

/* When the oldest has to be written at the latest; INT64_MAX when there is none. */
int64_t sh_results_due_ms(ShResults *results);

#endif
