/*
 * owner.h - an incarnation that owns partitions and publishes to them, as an agent would, without one: for
 * what publishing costs PostgreSQL alone. All functions exit with a word on failure.
 */
#ifndef SH_BENCH_OWNER_H
#define SH_BENCH_OWNER_H

#include <stddef.h>
#include <stdint.h>

#include "agent/pg/pg.h"

#define SH_BENCH_RUN_OFFSETS 100
#define SH_BENCH_RUN_BYTES   10000

typedef struct ShBenchOwner {
    ShPg *pg;
    int64_t incarnation;
    int64_t calls_seen;
    int64_t publish_no;
    size_t count;
    ShPgPartition *partitions; /* those owned, and one run of each */
    ShPgRun *runs;
    ShPgRunResult *results;
} ShBenchOwner;

/* Connect to the database that SH_BENCH_POSTGRES names, and register under `agent_id`. */
void sh_bench_owner_start(ShBenchOwner *owner, const char *agent_id);
/* Make a topic, and have its partitions granted and opened. Those of an earlier topic are forgotten. */
void sh_bench_owner_own(ShBenchOwner *owner, const char *topic, size_t count);
/* Publish one object with the next run of each of `count` partitions from `first` on; microseconds. */
int64_t sh_bench_owner_publish(ShBenchOwner *owner, size_t first, size_t count);
void sh_bench_owner_heartbeat(ShBenchOwner *owner);
void sh_bench_owner_end(ShBenchOwner *owner);

#endif
