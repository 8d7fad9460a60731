/*
 * json_line.h - how a benchmark says a figure: one JSON object a line on stdout.
 */
#ifndef SH_BENCH_JSON_LINE_H
#define SH_BENCH_JSON_LINE_H

#include <stdint.h>

/* {"bench":..., "figure":..., "value":..., "unit":...} */
void sh_bench_line(const char *bench, const char *figure, double value, const char *unit);

/* The same with the reference it is compared to in this run: "reference" names it, "reference_value" and
 * "ratio" (value / reference_value) follow. */
void sh_bench_line_against(const char *bench, const char *figure, double value, const char *unit,
                           const char *reference, double reference_value);

/* Microseconds of the monotonic clock. */
int64_t sh_bench_now_us(void);

/* CPU time of this process so far: where the machine is shared with others, it says more than the clock. */
double sh_bench_cpu_seconds(void);

/* Sort `samples` and return the one at `percent` (0 to 100); 0 when there are none. */
int64_t sh_bench_percentile(int64_t *samples, int64_t count, double percent);

#endif
