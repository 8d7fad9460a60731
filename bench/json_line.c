/*
 * json_line.c - figures as JSON lines, and the little arithmetic that all benchmarks share.
 */
#include "bench/json_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

void sh_bench_line(const char *bench, const char *figure, double value, const char *unit)
{
    printf("{\"bench\":\"%s\",\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", bench, figure, value,
           unit);
    fflush(stdout);
}

void sh_bench_line_against(const char *bench, const char *figure, double value, const char *unit,
                           const char *reference, double reference_value)
{
    printf("{\"bench\":\"%s\",\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"reference\":\"%s\","
           "\"reference_value\":%.6g,\"ratio\":%.4g}\n",
           bench, figure, value, unit, reference, reference_value,
           reference_value > 0 ? value / reference_value : 0);
    fflush(stdout);
}

int64_t sh_bench_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

double sh_bench_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int compare_samples(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int64_t sh_bench_percentile(int64_t *samples, int64_t count, double percent)
{
    if (count == 0)
        return 0;
    qsort(samples, (size_t)count, sizeof *samples, compare_samples);
    int64_t at = (int64_t)(percent / 100 * (double)count);
    return samples[at < count ? at : count - 1];
}
