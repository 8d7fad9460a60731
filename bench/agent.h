/*
 * agent.h - an agent of the benchmark's own: started with settings of its choice, asked for its metrics,
 * stopped. All functions exit with a word on failure.
 *
 * SH_BENCH_AGENT names the program and SH_BENCH_POSTGRES the libpq connection string of a database with the
 * extension, as bench/run.sh sets them; SH_BENCH_DIRECTORY is a directory on the disk that is measured.
 */
#ifndef SH_BENCH_AGENT_H
#define SH_BENCH_AGENT_H

#include <stdint.h>
#include <sys/types.h>

#define SH_BENCH_PATH_BYTES 512

typedef struct ShBenchAgent {
    pid_t pid;
    char directory[SH_BENCH_PATH_BYTES]; /* holds wal/ and store/ */
    char address[64];                    /* of gRPC */
    char http_address[64];
    char registry_address[64]; /* of the schema registry */
    double start_seconds;      /* from exec to ready */
} ShBenchAgent;

/* Where the disk is measured; `name` is a folder in it. */
void sh_bench_directory(const char *name, char path[SH_BENCH_PATH_BYTES]);

/* Start an agent over `directory`, made when missing, with more lines of settings ("name: value\n") and wait
 * until it is ready. `faults` is its STREAMHOUSE_FAULTS, or NULL. */
void sh_bench_agent_start(ShBenchAgent *agent, const char *directory, const char *settings,
                          const char *faults);

/* Let it drain and end. Its data stays. */
void sh_bench_agent_stop(ShBenchAgent *agent);
/* The same, and remove its data. */
void sh_bench_agent_discard(ShBenchAgent *agent);

/* The sum of a metric over its labels; `name` may hold the labels. */
double sh_bench_agent_metric(const ShBenchAgent *agent, const char *name);

/* Wait until all that was accepted is published. */
void sh_bench_agent_settle(const ShBenchAgent *agent);

/* Bytes of the objects in its store, and their number. */
int64_t sh_bench_agent_store_bytes(const ShBenchAgent *agent, int64_t *objects);

/* A whole variable of the environment; exits when it is not set. */
const char *sh_bench_environment(const char *name);

#endif
