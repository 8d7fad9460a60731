/*
 * bench_snapshot.c - what a transaction that keeps its snapshot costs publishing: the time of a call for an
 * object of 100 partitions, without and beside one that was opened before it and stays open. PostgreSQL can
 * remove no dead row meanwhile, so whatever reads through dead versions grows with every call.
 *
 * SH_BENCH_MINUTES=10 makes four calls a second for so long, as an agent with objects of 250 ms does, and a
 * quarter of the time without; else they follow each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/json_line.h"
#include "bench/owner.h"
#include "bench/session.h"

#define PARTITIONS 100
#define CALLS      1200
#define HEARTBEATS 4
#define PACE_US    250000

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

static void publish_many(ShBenchOwner *owner, int64_t *samples, int calls, bool paced)
{
    for (int i = 0; i < calls; i++) {
        int64_t begun = sh_bench_now_us();
        for (int beat = 0; beat < HEARTBEATS; beat++)
            sh_bench_owner_heartbeat(owner);
        samples[i] = sh_bench_owner_publish(owner, 0, PARTITIONS);
        int64_t left = PACE_US - (sh_bench_now_us() - begun);
        if (paced && left > 0)
            nanosleep(&(struct timespec){.tv_nsec = left * 1000}, NULL);
    }
}

static void tell(const char *figure, int64_t *alone, int alone_calls, int64_t *beside, int calls,
                 int percentile)
{
    sh_bench_line_against("snapshot", figure, (double)sh_bench_percentile(beside, calls, percentile) / 1e3,
                          "ms", "without", (double)sh_bench_percentile(alone, alone_calls, percentile) / 1e3);
}

int main(void)
{
    const char *minutes = getenv("SH_BENCH_MINUTES");
    bool paced = minutes != NULL && atoi(minutes) > 0;
    int calls = paced ? (int)(atoi(minutes) * (60000000 / PACE_US)) : CALLS;
    int alone_calls = paced ? calls / 4 : CALLS;
    int last_calls = calls / 10;
    int64_t *alone = calloc((size_t)alone_calls, sizeof *alone);
    int64_t *beside = calloc((size_t)calls, sizeof *beside);
    int64_t *last = calloc((size_t)last_calls, sizeof *last);
    if (alone == NULL || beside == NULL || last == NULL)
        return 1;
    ShBenchOwner owner;
    ShError err;
    char figure[96];
    sh_bench_owner_start(&owner, "bench-snapshot");
    sh_bench_owner_own(&owner, "alone", PARTITIONS);
    publish_many(&owner, alone, alone_calls, paced);
    sh_bench_check(sh_pg_drop_topic(owner.pg, "alone", &err), &err, "drop topic");

    sh_bench_owner_own(&owner, "beside", PARTITIONS);
    FILE *snapshot = hold_snapshot();
    publish_many(&owner, beside, calls, paced);
    memcpy(last, beside + calls - last_calls, (size_t)last_calls * sizeof *last);
    snprintf(figure, sizeof figure,
             "publish of %d partitions, %d calls beside an open snapshot: ", PARTITIONS, calls);
    size_t length = strlen(figure);
    memcpy(figure + length, "p50", 4);
    tell(figure, alone, alone_calls, beside, calls, 50);
    memcpy(figure + length, "p99", 4);
    tell(figure, alone, alone_calls, beside, calls, 99);
    tell("the last tenth of these calls: p50", alone, alone_calls, last, last_calls, 50);
    pclose(snapshot);
    sh_bench_owner_end(&owner);
    free(last);
    free(beside);
    free(alone);
    return 0;
}
