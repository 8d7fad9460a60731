#include "bench/herd.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "bench/agent.h"
#include "bench/json_line.h"
#include "bench/session.h"

#define TIMEOUT_MS  15000
#define CONTROL_MS  120000 /* nobody is hurried: what counts is the server's processor time */
#define INTERVAL_MS 1000   /* heartbeat_interval */
#define NEWS_MS     200    /* as in agent/log/control.c */
#define SLICE_MS    50     /* a thread notices so soon that it is to end */

static void *renew(void *arg);
static void *follow(void *arg);
static void take_up(ShBenchBeast *beast, const ShPgAssignments *told);

void sh_bench_beast_start(ShBenchBeast *beast, int n)
{
    ShError err;
    ShPgRegistered registered;
    *beast = (ShBenchBeast){0};
    snprintf(beast->agent_id, sizeof beast->agent_id, "herd-%d", n);
    ShPgRegister request = {.agent_id = beast->agent_id,
                            .incarnation_no = 1,
                            .address = "127.0.0.1:1",
                            .http_address = "127.0.0.1:2",
                            .zone = "",
                            .boot_id = "bench",
                            .version = "bench"};
    const char *conninfo = sh_bench_environment("SH_BENCH_POSTGRES");
    sh_bench_check(sh_uuid_random(&request.wal_uuid, &err), &err, "uuid");
    sh_bench_check(sh_pg_new(conninfo, "herd lease", TIMEOUT_MS, &beast->lease_pg, &err), &err, "PostgreSQL");
    sh_bench_check(sh_pg_new(conninfo, "herd control", CONTROL_MS, &beast->control_pg, &err), &err,
                   "PostgreSQL");
    sh_bench_check(sh_pg_register(beast->control_pg, &request, &registered, &err), &err, "register");
    beast->incarnation = registered.incarnation;
    atomic_store(&beast->calls, registered.calls);
    if (pthread_create(&beast->lease_thread, NULL, renew, beast) != 0 ||
        pthread_create(&beast->control_thread, NULL, follow, beast) != 0) {
        fprintf(stderr, "bench: cannot make a thread\n");
        exit(1);
    }
}

void sh_bench_beast_kill(ShBenchBeast *beast)
{
    atomic_store(&beast->stopping, true);
    pthread_join(beast->lease_thread, NULL);
    pthread_join(beast->control_thread, NULL);
    sh_pg_free(beast->lease_pg);
    sh_pg_free(beast->control_pg);
    atomic_store(&beast->is_dead, true);
}

static void *renew(void *arg)
{
    ShBenchBeast *beast = arg;
    int64_t next_ms = 0;
    while (!atomic_load(&beast->stopping)) {
        if (sh_clock_now_ms() < next_ms) {
            nanosleep(&(struct timespec){.tv_nsec = SLICE_MS * 1000000L}, NULL);
            continue;
        }
        ShError err;
        ShPgHeartbeat beat;
        next_ms = sh_clock_now_ms() + INTERVAL_MS;
        sh_bench_check(
            sh_pg_heartbeat(beast->lease_pg, beast->incarnation, atomic_load(&beast->calls), 0, &beat, &err),
            &err, "heartbeat");
        atomic_store(&beast->calls, beat.calls);
        atomic_store(&beast->assignment_version, beat.assignment_version);
        atomic_store(&beast->metadata_version, beat.metadata_version);
    }
    return NULL;
}

/* What the control thread of an agent does, see agent/log/control.c. */
static void *follow(void *arg)
{
    ShBenchBeast *beast = arg;
    int64_t assigned = 0, heard = 0, known = 0, looked_ms = 0;
    ShError err;
    while (!atomic_load(&beast->stopping)) {
        ShPgVersions versions = {.assignment_version = atomic_load(&beast->assignment_version),
                                 .metadata_version = atomic_load(&beast->metadata_version)};
        bool news = false;
        sh_bench_check(sh_pg_wait_news(beast->control_pg, SLICE_MS, &news, &err), &err, "wait for news");
        if (news) {
            int64_t early_ms = looked_ms + NEWS_MS - sh_clock_now_ms();
            if (early_ms > 0)
                nanosleep(&(struct timespec){.tv_nsec = early_ms * 1000000L}, NULL);
            looked_ms = sh_clock_now_ms();
            sh_bench_check(sh_pg_versions(beast->control_pg, beast->incarnation, &versions, &err), &err,
                           "versions");
        }
        if (versions.assignment_version > heard) {
            ShPgAssignments told;
            sh_bench_check(sh_pg_assignments(beast->control_pg, beast->incarnation, assigned, &told, &err),
                           &err, "assignments");
            take_up(beast, &told);
            heard = versions.assignment_version;
            assigned = told.version;
            free(told.rows);
        }
        if (versions.metadata_version > known) {
            ShPgMetadata *metadata;
            sh_bench_check(sh_pg_metadata(beast->control_pg, known, &metadata, &err), &err, "metadata");
            known = metadata->version;
            atomic_fetch_add(&beast->rows, (int64_t)metadata->partition_count);
            sh_pg_metadata_free(metadata);
        }
    }
    return NULL;
}

/* Grants and opens. What is to be released it seals: nothing of it waits for a publish. */
static void take_up(ShBenchBeast *beast, const ShPgAssignments *told)
{
    ShError err;
    ShPgPartition *grants = calloc(told->count + 1, sizeof *grants);
    ShPgSeal *seals = calloc(told->count + 1, sizeof *seals);
    ShPgEpoch *epochs = calloc(told->count + 1, sizeof *epochs);
    size_t grant_count = 0, open_count = 0, seal_count = 0;
    if (grants == NULL || seals == NULL || epochs == NULL)
        exit(1);
    atomic_fetch_add(&beast->rows, (int64_t)told->count);
    for (size_t i = 0; i < told->count; i++) {
        const ShPgAssignment *row = &told->rows[i];
        ShPgPartition partition = {
            .topic_id = row->topic_id, .partition = row->partition, .epoch = row->epoch};
        if (row->action == SH_ACTION_GRANT)
            grants[grant_count++] = partition;
        else if (row->action == SH_ACTION_RELEASE)
            seals[seal_count++] = (ShPgSeal){.partition = partition, .end_offset = row->published_end};
    }
    if (seal_count > 0)
        sh_bench_check(sh_pg_seal(beast->control_pg, beast->incarnation, seals, seal_count, epochs, &err),
                       &err, "seal");
    atomic_fetch_sub(&beast->owned, (int64_t)seal_count);
    if (grant_count > 0)
        sh_bench_check(sh_pg_grant(beast->control_pg, beast->incarnation, grants, grant_count, epochs, &err),
                       &err, "grant");
    for (size_t i = 0; i < grant_count; i++)
        if (epochs[i].result == SH_EPOCH_GRANTED) {
            grants[open_count] = grants[i];
            grants[open_count++].epoch = epochs[i].epoch;
        }
    if (open_count > 0)
        sh_bench_check(sh_pg_open(beast->control_pg, beast->incarnation, grants, open_count, epochs, &err),
                       &err, "open");
    atomic_fetch_add(&beast->owned, (int64_t)open_count);
    free(epochs);
    free(seals);
    free(grants);
}
