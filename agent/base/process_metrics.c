#include "agent/base/process_metrics.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/metrics.h"

typedef struct ProcessMetrics {
    ShMetric *memory_bytes;
    ShMetric *cpu_seconds;
    ShMetric *start_time_seconds;
} ProcessMetrics;

static ProcessMetrics process;

static void refresh(void *arg);
static int64_t microseconds(struct timeval time);

void sh_process_metrics_start(void)
{
    process.memory_bytes = sh_metric_gauge("streamhouse_agent_memory_bytes", NULL,
                                           "Resident memory of the agent's process.");
    process.cpu_seconds = sh_metric_counter_seconds("streamhouse_agent_cpu_seconds_total", NULL,
                                                    "Processor time that the agent's process has used.");
    process.start_time_seconds = sh_metric_gauge("streamhouse_agent_start_time_seconds", NULL,
                                                 "When the agent's process started, since the Unix epoch.");
    sh_metric_set(process.start_time_seconds, sh_clock_wall_ms() / 1000);
    sh_metrics_on_print(refresh, &process);
}

int64_t sh_process_resident_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL)
        return 0;
    long long pages = 0;
    int fields = fscanf(statm, "%*s %lld", &pages);
    fclose(statm);
    return fields == 1 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

static void refresh(void *arg)
{
    const ProcessMetrics *metrics = arg;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        sh_metric_set(metrics->cpu_seconds, microseconds(usage.ru_utime) + microseconds(usage.ru_stime));
    int64_t bytes = sh_process_resident_bytes();
    if (bytes > 0)
        sh_metric_set(metrics->memory_bytes, bytes);
}

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}
