/*
 * bench_garbage.c - what retention and compaction cost publishing: the time of a publish with 10,000
 * partitions and a million segments, alone, and while the retention worker removes half of them and
 * compaction swaps the rest, both as fast as they go by default.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/pg/pg_garbage.h"
#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/owner.h"
#include "bench/session.h"

#define PARTITIONS     10000
#define ROWS_EACH      100 /* a million segments */
#define RUNS           100 /* of a publish */
#define CALLS          500
#define CALL_PAUSE_NS  10000000
#define COMPACTION_MAX (64ll << 20)
#define TIMEOUT_MS     60000
#define NS_PER_BYTE    60 /* the default compaction_rate, 16 MB/s */
#define IDLE_NS        1000000

/* Compaction without the objects: claims, and swaps for one row. */
typedef struct Compactor {
    pthread_t thread;
    ShPg *pg;
    int64_t incarnation;
    atomic_bool stopping;
    int64_t swaps;
    int64_t segments;
} Compactor;

static void run_sql(const char *sql)
{
    FILE *psql = popen("psql -qXAt -v ON_ERROR_STOP=1 -d \"$SH_BENCH_POSTGRES\" >/dev/null", "w");
    if (psql == NULL || fputs(sql, psql) < 0 || pclose(psql) != 0) {
        fprintf(stderr, "bench: psql did not do: %.60s\n", sql);
        exit(1);
    }
}

static int64_t ask_number(const char *command)
{
    long long number = -1;
    FILE *psql = popen(command, "r");
    if (psql == NULL || fscanf(psql, "%lld", &number) != 1 || pclose(psql) != 0) {
        fprintf(stderr, "bench: psql does not answer\n");
        exit(1);
    }
    return number;
}

static int64_t count_segments(void)
{
    return ask_number("psql -XAtq -d \"$SH_BENCH_POSTGRES\" -c 'SELECT count(*) FROM streamhouse.segment'");
}

/* Below what the owner will publish: the older half of each partition is for retention, the rest is not. */
static void seed(void)
{
    char sql[4096];
    snprintf(sql, sizeof sql,
             "SET synchronous_commit = off;\n"
             "INSERT INTO streamhouse.object (object_id, object_key, bytes, live_rows, created_at)\n"
             "SELECT md5(n::text)::uuid, 'seed/' || n, 10000000, %d, now() - interval '1 day'\n"
             "FROM generate_series(0, %d) AS n;\n"
             "INSERT INTO streamhouse.segment (topic_id, partition, first_offset, base_offset, last_offset,\n"
             "    epoch, records, bytes, position, object_id, min_timestamp_ms, max_timestamp_ms,\n"
             "    timestamp_high_ms, arrived_ms)\n"
             "SELECT h.topic_id, h.partition, i * 100, i * 100, i * 100 + 99, h.epoch, 100, 10000, 64,\n"
             "    md5((i * 10 + h.partition / 1000)::text)::uuid, at.ms, at.ms, at.ms, at.ms\n"
             "FROM streamhouse.epoch_head AS h, generate_series(0, %d) AS i,\n"
             "    LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint\n"
             "                    - CASE WHEN i < %d THEN 86400000 ELSE 0 END AS ms) AS at;\n"
             "UPDATE streamhouse.epoch_head SET published_end = %d, records = %d, bytes = %d;\n"
             "ANALYZE streamhouse.segment; ANALYZE streamhouse.object; ANALYZE streamhouse.partition;\n"
             "CHECKPOINT;\n",
             PARTITIONS / 10, ROWS_EACH * 10 - 1, ROWS_EACH - 1, ROWS_EACH / 2,
             ROWS_EACH * SH_BENCH_RUN_OFFSETS, ROWS_EACH * SH_BENCH_RUN_OFFSETS,
             ROWS_EACH * SH_BENCH_RUN_BYTES);
    run_sql(sql);
}

static void measure(ShBenchOwner *owner, int64_t samples[CALLS])
{
    for (int i = 0; i < CALLS; i++) {
        if (i % 100 == 0)
            sh_bench_owner_heartbeat(owner);
        samples[i] = sh_bench_owner_publish(owner, (size_t)i * RUNS % PARTITIONS, RUNS);
        nanosleep(&(struct timespec){.tv_nsec = CALL_PAUSE_NS}, NULL);
    }
}

static void *compact(void *arg)
{
    Compactor *compactor = arg;
    while (!atomic_load(&compactor->stopping)) {
        ShError err;
        ShPgSource *sources = NULL;
        size_t count = 0;
        bool swapped = false;
        sh_bench_check(sh_pg_compaction_claim(compactor->pg, compactor->incarnation, COMPACTION_MAX, &sources,
                                              &count, &err),
                       &err, "compaction claim");
        if (count > 0) {
            char key[64] = "bench/compact-";
            const ShPgSource *last = &sources[count - 1];
            ShPgCompacted row = {.first_offset = sources[0].first_offset,
                                 .base_offset = sources[0].base_offset,
                                 .last_offset = last->last_offset,
                                 .epoch = last->epoch,
                                 .position = 80,
                                 .length = count * SH_BENCH_RUN_BYTES};
            ShPgSwap swap = {.incarnation = compactor->incarnation,
                             .object_key = key,
                             .object_bytes = row.length + 300,
                             .sources = sources,
                             .source_count = count,
                             .rows = &row,
                             .row_count = 1};
            sh_bench_check(sh_uuid_random(&swap.object_id, &err), &err, "object id");
            sh_uuid_format(&swap.object_id, key + 14);
            sh_bench_check(sh_pg_announce_object(compactor->pg, swap.incarnation, &swap.object_id, key,
                                                 swap.object_bytes, &err),
                           &err, "announce");
            sh_bench_check(sh_pg_compaction_swap(compactor->pg, &swap, &swapped, &err), &err, "swap");
        }
        /* An agent reads and writes that many bytes meanwhile. */
        nanosleep(&(struct timespec){.tv_nsec = (long)count * SH_BENCH_RUN_BYTES * NS_PER_BYTE + IDLE_NS},
                  NULL);
        compactor->swaps += swapped;
        compactor->segments += swapped ? (int64_t)count : 0;
        free(sources);
    }
    return NULL;
}

int main(void)
{
    ShError err;
    ShBenchOwner owner;
    static int64_t alone[CALLS], beside[CALLS];
    sh_bench_owner_start(&owner, "bench-garbage");
    sh_bench_owner_own(&owner, "garbage", PARTITIONS);
    seed();
    for (size_t i = 0; i < PARTITIONS; i++) {
        owner.runs[i].first_offset = ROWS_EACH * SH_BENCH_RUN_OFFSETS;
        owner.runs[i].min_timestamp_ms = owner.runs[i].max_timestamp_ms = sh_clock_wall_ms();
    }
    measure(&owner, alone);

    run_sql("SELECT streamhouse.alter_topic('garbage', retention => '1 hour');\n"
            "ALTER SYSTEM SET streamhouse.retention_interval = '10ms';\n"
            "SELECT pg_reload_conf();\n"
            "SELECT format('ALTER DATABASE %I SET streamhouse.compaction_delay = 0', current_database())\n"
            "\\gexec\n");
    int64_t segments = count_segments();
    Compactor compactor = {.incarnation = owner.incarnation};
    sh_bench_check(sh_pg_new(sh_bench_environment("SH_BENCH_POSTGRES"), "bench compaction", TIMEOUT_MS,
                             &compactor.pg, &err),
                   &err, "PostgreSQL");
    int64_t begun = sh_bench_now_us();
    sh_bench_check(sh_thread_start(&compactor.thread, "compaction", compact, &compactor, &err), &err,
                   "thread");
    measure(&owner, beside);
    double seconds = (double)(sh_bench_now_us() - begun) / 1e6;
    atomic_store(&compactor.stopping, true);
    pthread_join(compactor.thread, NULL);
    int64_t removed = segments + (int64_t)CALLS * RUNS - count_segments();

    sh_bench_line("garbage", "segments at the start", (double)segments, "rows");
    sh_bench_line_against("garbage", "publish beside retention and compaction: p50",
                          (double)sh_bench_percentile(beside, CALLS, 50) / 1e3, "ms", "alone",
                          (double)sh_bench_percentile(alone, CALLS, 50) / 1e3);
    sh_bench_line_against("garbage", "publish beside retention and compaction: p99",
                          (double)sh_bench_percentile(beside, CALLS, 99) / 1e3, "ms", "alone",
                          (double)sh_bench_percentile(alone, CALLS, 99) / 1e3);
    sh_bench_line("garbage", "segments retired",
                  (double)(removed - compactor.segments + compactor.swaps) / seconds, "rows/s");
    sh_bench_line("garbage", "segments compacted", (double)compactor.segments / seconds, "rows/s");
    sh_bench_line("garbage", "compactions", (double)compactor.swaps / seconds, "1/s");
    sh_pg_free(compactor.pg);
    sh_bench_owner_end(&owner);
    return 0;
}
