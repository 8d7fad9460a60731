/*
 * bench_snapshot.c - what a transaction that keeps its snapshot costs publishing: the time of a call for an
 * object of 100 partitions, without and beside one that was opened before it and stays open. PostgreSQL can
 * remove no dead row meanwhile, so whatever reads through dead versions grows with every call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/json_line.h"
#include "bench/owner.h"
#include "bench/session.h"

#define PARTITIONS 100
#define CALLS      1200
#define HEARTBEATS 4

/* A session that holds a snapshot, in a process of its own; it ends with the pipe. */
static FILE *hold_snapshot(void)
{
    char ready[256];
    snprintf(ready, sizeof ready, "%s/snapshot-is-held", getenv("SH_BENCH_DIRECTORY"));
    FILE *psql = popen("psql -XAtq -d \"$SH_BENCH_POSTGRES\" >/dev/null", "w");
    if (psql == NULL) {
        fprintf(stderr, "bench: psql does not start\n");
        exit(1);
    }
    fprintf(psql,
            "BEGIN ISOLATION LEVEL REPEATABLE READ;\n"
            "SELECT count(*) FROM streamhouse.topics;\n"
            "\\! touch '%s'\n",
            ready);
    fflush(psql);
    int64_t begun = sh_bench_now_us();
    while (remove(ready) != 0) {
        if (sh_bench_now_us() - begun > 10000000) {
            fprintf(stderr, "bench: no snapshot was taken\n");
            exit(1);
        }
    }
    return psql;
}

static void publish_many(ShBenchOwner *owner, int64_t *samples)
{
    for (int i = 0; i < CALLS; i++) {
        for (int beat = 0; beat < HEARTBEATS; beat++)
            sh_bench_owner_heartbeat(owner);
        samples[i] = sh_bench_owner_publish(owner, 0, PARTITIONS);
    }
}

static void tell(const char *which, int64_t *alone, int64_t *beside, int percentile)
{
    char figure[96];
    snprintf(figure, sizeof figure, "publish of %d partitions, %d calls beside an open snapshot: %s",
             PARTITIONS, CALLS, which);
    sh_bench_line_against("snapshot", figure, (double)sh_bench_percentile(beside, CALLS, percentile) / 1e3,
                          "ms", "without", (double)sh_bench_percentile(alone, CALLS, percentile) / 1e3);
}

int main(void)
{
    static int64_t alone[CALLS], beside[CALLS];
    int64_t last[CALLS / 10];
    ShBenchOwner owner;
    ShError err;
    sh_bench_owner_start(&owner, "bench-snapshot");
    sh_bench_owner_own(&owner, "alone", PARTITIONS);
    publish_many(&owner, alone);
    sh_bench_check(sh_pg_drop_topic(owner.pg, "alone", &err), &err, "drop topic");

    sh_bench_owner_own(&owner, "beside", PARTITIONS);
    FILE *snapshot = hold_snapshot();
    publish_many(&owner, beside);
    memcpy(last, beside + CALLS - CALLS / 10, sizeof last);
    tell("p50", alone, beside, 50);
    tell("p99", alone, beside, 99);
    sh_bench_line_against("snapshot", "the last tenth of these calls: p50",
                          (double)sh_bench_percentile(last, CALLS / 10, 50) / 1e3, "ms", "without",
                          (double)sh_bench_percentile(alone, CALLS, 50) / 1e3);
    pclose(snapshot);
    sh_bench_owner_end(&owner);
    return 0;
}
