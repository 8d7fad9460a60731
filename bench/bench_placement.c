/*
 * bench_placement.c - placing 200,000 partitions over 100 agents, with the control lock held: all of them at
 * once, and when an agent joins; then topics of 10,000 partitions made and dropped one after the other, while
 * PostgreSQL's statistics still tell of what was there before.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/json_line.h"
#include "bench/owner.h"
#include "bench/session.h"

#define AGENTS     100
#define TOPICS     20
#define PARTITIONS 10000
#define TARGET_S   2

static ShBenchOwner owner;

static void run(const char *sql)
{
    char command[512];
    snprintf(command, sizeof command,
             "psql -qXAt -v ON_ERROR_STOP=1 -d \"$SH_BENCH_POSTGRES\" -c \"%s\" >/dev/null", sql);
    if (system(command) != 0) {
        fprintf(stderr, "bench: psql failed\n");
        exit(1);
    }
}

static double seconds_of(const char *sql)
{
    int64_t begun = sh_bench_now_us();
    run(sql);
    return (double)(sh_bench_now_us() - begun) / 1e6;
}

static double create(int number)
{
    char name[32];
    ShError err;
    ShUuid id;
    snprintf(name, sizeof name, "placed-%d", number);
    ShPgCreateTopic request = {
        .name = name, .partitions = PARTITIONS, .durability = "", .retention = "", .segment_size = ""};
    int64_t begun = sh_bench_now_us();
    sh_bench_check(sh_pg_create_topic(owner.pg, &request, &id, &err), &err, "create topic");
    return (double)(sh_bench_now_us() - begun) / 1e6;
}

static double drop(int number)
{
    char name[32];
    ShError err;
    snprintf(name, sizeof name, "placed-%d", number);
    int64_t begun = sh_bench_now_us();
    sh_bench_check(sh_pg_drop_topic(owner.pg, name, &err), &err, "drop topic");
    return (double)(sh_bench_now_us() - begun) / 1e6;
}

/* Agents that nobody plays live on, and the lease worker has placed partitions for that: it would hold the
 * lock while what follows is measured. */
static void revive(void)
{
    run("UPDATE streamhouse.lease SET ticks_left = 3600");
    run("DO \\$\\$ BEGIN WHILE streamhouse.agents_changed() LOOP COMMIT; PERFORM pg_sleep(0.01); END LOOP; "
        "END \\$\\$");
}

int main(void)
{
    double slowest = 0;
    sh_bench_owner_start(&owner, "placement-0");
    run("SELECT incarnation_id FROM generate_series(1, 99) AS n, streamhouse.agent_register('placement-' || "
        "n, "
        "gen_random_uuid(), 1, '127.0.0.1:1', '', '', '', '', 0)");
    for (int i = 0; i < 5; i++) {
        double took = create(i);
        slowest = took > slowest ? took : slowest;
    }
    sh_bench_line("placement", "topic of 10,000 partitions made, of five: the slowest", slowest, "s");
    double took = drop(0) + drop(1);
    sh_bench_line_against("placement", "two of them dropped", took, "s", "target", 2 * TARGET_S);
    create(0);
    create(1);
    for (int i = 5; i < TOPICS; i++)
        create(i);

    revive();
    took = seconds_of("UPDATE streamhouse.partition SET target_agent = NULL");
    sh_bench_line("placement", "one plain UPDATE of these 200,000 rows: the least it could take", took, "s");
    run("VACUUM streamhouse.partition"); /* as autovacuum leaves it, soon after such a change */
    sh_bench_line_against("placement", "200,000 partitions placed over 100 agents",
                          seconds_of("SELECT streamhouse.rebalance()"), "s", "target", TARGET_S);
    sh_bench_line_against(
        "placement", "an agent joins at 200,000 partitions",
        seconds_of("SELECT incarnation_id FROM streamhouse.agent_register('late', gen_random_uuid(), 1, "
                   "'127.0.0.1:1', '', '', '', '', 0)"),
        "s", "target", TARGET_S);
    sh_bench_line_against("placement", "placed again, when nothing moves",
                          seconds_of("SELECT streamhouse.rebalance()"), "s", "target", TARGET_S);
    sh_bench_owner_end(&owner);
    return 0;
}
