/*
 * histogram.h - how long things took, to within 3 %, in constant room. Pure.
 */
#ifndef SH_CLI_HISTOGRAM_H
#define SH_CLI_HISTOGRAM_H

#include <stdint.h>

#define SH_HISTOGRAM_SLOTS (64 * 32)

/* Zero-initialise it. */
typedef struct ShHistogram {
    int64_t count;
    int64_t max;
    int64_t slots[SH_HISTOGRAM_SLOTS]; /* 32 to each power of two */
} ShHistogram;

/* Negative values count as 0. */
void sh_histogram_add(ShHistogram *histogram, int64_t value);
/* The value that `percent` of all do not exceed; 0 when there is none. */
int64_t sh_histogram_percentile(const ShHistogram *histogram, double percent);

#endif
