/*
 * bench_machine.c - what the machine's disk can do, measured where the WAL and the store will be: the
 * reference that the other benchmarks' figures are read against.
 *
 *   bench_machine DIRECTORY
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/json_line.h"

#define SYNCS            500
#define SMALL_BYTES      4096
#define LARGE_BYTES      (1024 * 1024)
#define SEQUENTIAL_BYTES (512ll * 1024 * 1024)
#define SYNC_EVERY_BYTES (8ll * 1024 * 1024)

static void die(const char *what)
{
    fprintf(stderr, "bench_machine: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* A preallocated file, as the WAL's are, so that a sync writes no metadata. */
static int open_file(const char *directory, off_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench_machine.XXXXXX", directory);
    int fd = mkstemp(path);
    if (fd < 0)
        die(path);
    unlink(path);
    if (posix_fallocate(fd, 0, bytes) != 0)
        die("posix_fallocate");
    return fd;
}

static void write_at(int fd, const char *buffer, size_t length, off_t position)
{
    if (pwrite(fd, buffer, length, position) != (ssize_t)length)
        die("pwrite");
}

static void measure_syncs(const char *directory, const char *buffer)
{
    static int64_t samples[SYNCS];
    int fd = open_file(directory, SYNCS * SMALL_BYTES);
    for (int i = 0; i < SYNCS; i++) {
        int64_t begun = sh_bench_now_us();
        write_at(fd, buffer, SMALL_BYTES, (off_t)i * SMALL_BYTES);
        if (fdatasync(fd) != 0)
            die("fdatasync");
        samples[i] = sh_bench_now_us() - begun;
    }
    close(fd);
    double p50_ms = (double)sh_bench_percentile(samples, SYNCS, 50) / 1e3;
    double p99_ms = (double)sh_bench_percentile(samples, SYNCS, 99) / 1e3;
    sh_bench_line("machine", "fdatasync 4 KiB p50", p50_ms, "ms");
    sh_bench_line("machine", "fdatasync 4 KiB p99", p99_ms, "ms");
}

static void measure_sequential(const char *directory, const char *buffer)
{
    int fd = open_file(directory, SEQUENTIAL_BYTES);
    int64_t begun = sh_bench_now_us();
    for (off_t at = 0; at < SEQUENTIAL_BYTES; at += LARGE_BYTES) {
        write_at(fd, buffer, LARGE_BYTES, at);
        if ((at + LARGE_BYTES) % SYNC_EVERY_BYTES == 0 && fdatasync(fd) != 0)
            die("fdatasync");
    }
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    close(fd);
    sh_bench_line("machine", "sequential writes, synced every 8 MiB", SEQUENTIAL_BYTES / seconds / 1e6,
                  "MB/s");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_machine DIRECTORY\n");
        return 2;
    }
    char *buffer = malloc(LARGE_BYTES);
    if (buffer == NULL)
        die("malloc");
    memset(buffer, 'x', LARGE_BYTES);
    sh_bench_line("machine", "cores", (double)sysconf(_SC_NPROCESSORS_ONLN), "cores");
    measure_syncs(argv[1], buffer);
    measure_sequential(argv[1], buffer);
    free(buffer);
    return 0;
}
