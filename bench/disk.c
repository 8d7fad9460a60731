#include "bench/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/json_line.h"

#define SYNCS            500
#define SYNCS_MIN        100 /* when they take longer than SYNCS_US */
#define SYNCS_US         3000000
#define SYNC_FILE_BYTES  (64ll * 1024 * 1024)
#define SMALL_BYTES      4096
#define LARGE_BYTES      (8u * 1024 * 1024)
#define BUFFER_BYTES     (32u * 1024 * 1024)
#define SEQUENTIAL_BYTES (512ll * 1024 * 1024)
#define SYNC_EVERY_BYTES (8ll * 1024 * 1024)

typedef struct Neighbour {
    pthread_t thread;
    const char *directory;
    char *buffer;
    atomic_bool stopping;
    _Atomic int64_t bytes;
} Neighbour;

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_file(const char *directory, off_t bytes);
static void write_at(int fd, const char *buffer, size_t length, off_t position);
static void *store_objects(void *arg);
static void begin(Neighbour *beside, const char *directory, bool neighbour);
static void end(Neighbour *beside, bool neighbour);
static void measure_syncs(const char *directory, const char *buffer, size_t write_bytes, ShBenchDisk *out);
static void measure_writes(const char *directory, const char *buffer, size_t write_bytes,
                           const Neighbour *neighbour, ShBenchDisk *out);

void sh_bench_disk_measure(const char *directory, size_t write_bytes, bool neighbour, ShBenchDisk *out)
{
    Neighbour beside;
    begin(&beside, directory, neighbour);
    measure_syncs(directory, beside.buffer, SMALL_BYTES, out);
    measure_writes(directory, beside.buffer, write_bytes, &beside, out);
    end(&beside, neighbour);
}

void sh_bench_disk_syncs(const char *directory, size_t write_bytes, bool neighbour, ShBenchDisk *out)
{
    Neighbour beside;
    begin(&beside, directory, neighbour);
    measure_syncs(directory, beside.buffer, write_bytes < BUFFER_BYTES ? write_bytes : BUFFER_BYTES, out);
    end(&beside, neighbour);
}

void sh_bench_disk_lines(const char *bench, const char *when, const ShBenchDisk *disk)
{
    char figure[96];
    snprintf(figure, sizeof figure, "disk %s: fdatasync 4 KiB p50", when);
    sh_bench_line(bench, figure, disk->sync_p50_ms, "ms");
    snprintf(figure, sizeof figure, "disk %s: fdatasync 4 KiB p99", when);
    sh_bench_line(bench, figure, disk->sync_p99_ms, "ms");
    snprintf(figure, sizeof figure, "disk %s: sequential writes, synced every 8 MiB", when);
    sh_bench_line(bench, figure, disk->write_mb_s, "MB/s");
    if (disk->total_mb_s > disk->write_mb_s) {
        snprintf(figure, sizeof figure, "disk %s: the same and objects of 8 MiB beside it", when);
        sh_bench_line(bench, figure, disk->total_mb_s, "MB/s");
    }
}

static int open_file(const char *directory, off_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/disk.XXXXXX", directory);
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

static void *store_objects(void *arg)
{
    Neighbour *neighbour = arg;
    char path[4096];
    while (!atomic_load(&neighbour->stopping)) {
        snprintf(path, sizeof path, "%s/object.XXXXXX", neighbour->directory);
        int fd = mkstemp(path);
        if (fd < 0)
            die(path);
        unlink(path);
        write_at(fd, neighbour->buffer, LARGE_BYTES, 0);
        if (fsync(fd) != 0)
            die("fsync");
        close(fd);
        atomic_fetch_add(&neighbour->bytes, LARGE_BYTES);
    }
    return NULL;
}

static void begin(Neighbour *beside, const char *directory, bool neighbour)
{
    char *buffer = malloc(BUFFER_BYTES);
    if (buffer == NULL)
        die("memory");
    memset(buffer, 'x', BUFFER_BYTES);
    *beside = (Neighbour){.directory = directory, .buffer = buffer};
    if (!neighbour)
        return;
    if (pthread_create(&beside->thread, NULL, store_objects, beside) != 0)
        die("thread");
    pthread_setname_np(beside->thread, "bench-objects");
}

static void end(Neighbour *beside, bool neighbour)
{
    atomic_store(&beside->stopping, true);
    if (neighbour)
        pthread_join(beside->thread, NULL);
    free(beside->buffer);
}

/* Over blocks that are data already, as the WAL's are, so that a sync writes no metadata. */
static void measure_syncs(const char *directory, const char *buffer, size_t write_bytes, ShBenchDisk *out)
{
    int64_t samples[SYNCS];
    int fd = open_file(directory, SYNC_FILE_BYTES);
    for (off_t at = 0; at < SYNC_FILE_BYTES; at += LARGE_BYTES)
        write_at(fd, buffer, LARGE_BYTES, at);
    if (fsync(fd) != 0)
        die("fsync");
    int count = 0;
    off_t at = 0;
    int64_t first = sh_bench_now_us();
    while (count < SYNCS && (count < SYNCS_MIN || sh_bench_now_us() - first < SYNCS_US)) {
        int64_t begun = sh_bench_now_us();
        write_at(fd, buffer, write_bytes, at);
        if (fdatasync(fd) != 0)
            die("fdatasync");
        samples[count++] = sh_bench_now_us() - begun;
        at += (off_t)write_bytes;
        at = at + (off_t)write_bytes <= SYNC_FILE_BYTES ? at : 0;
    }
    close(fd);
    out->sync_p50_ms = (double)sh_bench_percentile(samples, count, 50) / 1e3;
    out->sync_p99_ms = (double)sh_bench_percentile(samples, count, 99) / 1e3;
}

static void measure_writes(const char *directory, const char *buffer, size_t write_bytes,
                           const Neighbour *neighbour, ShBenchDisk *out)
{
    int fd = open_file(directory, SEQUENTIAL_BYTES);
    int64_t beside = atomic_load(&neighbour->bytes);
    int64_t begun = sh_bench_now_us();
    off_t unsynced = 0;
    for (off_t at = 0; at + (off_t)write_bytes <= SEQUENTIAL_BYTES; at += (off_t)write_bytes) {
        write_at(fd, buffer, write_bytes, at);
        unsynced += (off_t)write_bytes;
        if (unsynced >= SYNC_EVERY_BYTES && fdatasync(fd) != 0)
            die("fdatasync");
        unsynced = unsynced >= SYNC_EVERY_BYTES ? 0 : unsynced;
    }
    if (fdatasync(fd) != 0)
        die("fdatasync");
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    beside = atomic_load(&neighbour->bytes) - beside;
    close(fd);
    out->write_mb_s = SEQUENTIAL_BYTES / seconds / 1e6;
    out->total_mb_s = (double)(SEQUENTIAL_BYTES + beside) / seconds / 1e6;
}
