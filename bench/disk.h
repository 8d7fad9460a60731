/*
 * disk.h - what the disk can do, measured where WAL and store will be: the reference of every figure that
 * ends on it. All functions exit with a word on failure.
 */
#ifndef SH_BENCH_DISK_H
#define SH_BENCH_DISK_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ShBenchDisk {
    double sync_p50_ms; /* of a write of 4 KiB and its fdatasync */
    double sync_p99_ms;
    double write_mb_s; /* sequential writes, synced every 8 MiB */
    double total_mb_s; /* the same, and the neighbour's */
} ShBenchDisk;

/* Measure in `directory`, writing `write_bytes` at a time; with the neighbour, a thread that stores objects
 * of 8 MiB, each fsynced, as the agent's uploads do. Takes about two seconds. */
void sh_bench_disk_measure(const char *directory, size_t write_bytes, bool neighbour, ShBenchDisk *out);

/* The percentiles alone, of writes of `write_bytes` (up to 32 MiB) that are synced one by one: what a WAL
 * would take for groups of that size. Takes about three seconds. */
void sh_bench_disk_syncs(const char *directory, size_t write_bytes, bool neighbour, ShBenchDisk *out);

/* Print `disk` as lines of the benchmark `bench`; `when` says where in the run, such as "before". */
void sh_bench_disk_lines(const char *bench, const char *when, const ShBenchDisk *disk);

#endif
