/*
 * herd.h - agents without records: each a thread that renews its lease and one that follows the cluster, over
 * the same calls and at the same times as an agent's. For what many agents cost PostgreSQL. All functions
 * exit with a word on failure.
 */
#ifndef SH_BENCH_HERD_H
#define SH_BENCH_HERD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/pg/pg.h"

typedef struct ShBenchBeast {
    char agent_id[32];
    int64_t incarnation;
    pthread_t lease_thread;
    pthread_t control_thread;
    ShPg *lease_pg;
    ShPg *control_pg;
    atomic_bool stopping;
    atomic_bool is_dead;
    atomic_int_fast64_t calls;
    atomic_int_fast64_t assignment_version; /* as heartbeats tell */
    atomic_int_fast64_t metadata_version;
    atomic_int_fast64_t owned; /* grants that were opened */
    atomic_int_fast64_t rows;  /* of assignments and metadata that it was told */
} ShBenchBeast;

/* Register agent number `n`, and let it live. */
void sh_bench_beast_start(ShBenchBeast *beast, int n);
/* End it without a word to PostgreSQL, as a crash does. */
void sh_bench_beast_kill(ShBenchBeast *beast);

#endif
