/*
 * bench_machine.c - what the machine can do: its disk where WAL and store will be, alone and with the
 * neighbour that an agent's uploads are, and what gRPC carries over loopback. The other benchmarks measure
 * their own reference again, in their own run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/agent.h"
#include "bench/disk.h"
#include "bench/echo.h"
#include "bench/json_line.h"

#define ECHO_BYTES   (1024ll * 1024 * 1024)
#define ECHO_STREAMS 4

static void measure_disk(void)
{
    static const size_t sizes[] = {64 * 1024, 1024 * 1024};
    char directory[SH_BENCH_PATH_BYTES];
    char when[64];
    sh_bench_directory("machine", directory);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int neighbour = 0; neighbour < 2; neighbour++) {
            ShBenchDisk disk;
            sh_bench_disk_measure(directory, sizes[i], neighbour != 0, &disk);
            snprintf(when, sizeof when, "by %zu KiB%s", sizes[i] / 1024, neighbour ? ", neighbour" : "");
            sh_bench_disk_lines("machine", when, &disk);
        }
    }
}

static void measure_grpc(void)
{
    static const size_t sizes[] = {100, 16 * 1024, 128 * 1024, 1024 * 1024};
    char figure[96];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t count = ECHO_BYTES / (int64_t)sizes[i];
        count = count > 50000 ? 50000 : count;
        double both = sh_bench_echo_both_ways(sizes[i], ECHO_STREAMS, count);
        snprintf(figure, sizeof figure, "gRPC echo of %zu bytes, %d streams, each way", sizes[i],
                 ECHO_STREAMS);
        sh_bench_line("machine", figure, both * (double)sizes[i] / 1e6, "MB/s");
        snprintf(figure, sizeof figure, "gRPC echo of %zu bytes, %d streams", sizes[i], ECHO_STREAMS);
        sh_bench_line("machine", figure, both, "messages/s");
        double one = sh_bench_echo_one_way(sizes[i], count);
        snprintf(figure, sizeof figure, "gRPC one-way stream of %zu bytes", sizes[i]);
        sh_bench_line("machine", figure, one * (double)sizes[i] / 1e6, "MB/s");
    }
}

int main(void)
{
    sh_bench_echo_start();
    sh_bench_line("machine", "cores", (double)sysconf(_SC_NPROCESSORS_ONLN), "cores");
    double load[1] = {0};
    if (getloadavg(load, 1) == 1)
        sh_bench_line("machine", "load average before", load[0], "processes");
    measure_disk();
    measure_grpc();
    return 0;
}
