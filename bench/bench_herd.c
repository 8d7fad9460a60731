/*
 * bench_herd.c - 100 agents and 10,000 partitions: PostgreSQL's processor time while nothing happens, for one
 * change that all are told of, and for ten agents that are killed, until others own all; and whether anybody
 * else's lease ran out meanwhile. Agents are threads over the calls of real ones.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/herd.h"
#include "bench/json_line.h"
#include "bench/session.h"

#define AGENTS     100
#define KILLED     10
#define TOPICS     10
#define PARTITIONS 10000
#define IDLE_S     10
#define SETTLE_S   240

static ShBenchBeast herd[AGENTS];

/* The first number that psql prints. */
static long long ask(const char *sql)
{
    char command[1024];
    long long value = 0;
    snprintf(command, sizeof command, "psql -qXAt -v ON_ERROR_STOP=1 -d \"$SH_BENCH_POSTGRES\" -c \"%s\"",
             sql);
    FILE *psql = popen(command, "r");
    if (psql == NULL || fscanf(psql, "%lld", &value) != 1 || pclose(psql) != 0) {
        fprintf(stderr, "bench: psql does not answer: %s\n", sql);
        exit(1);
    }
    return value;
}

/* Of one process, and of the children that it has waited for. Fields are counted behind the name's ')'. */
static bool read_stat(const char *pid, long *parent, double *own_s, double *waited_s)
{
    char path[300], text[1024];
    unsigned long ticks[4];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *rest = strrchr(text, ')');
    if (rest == NULL || sscanf(rest + 2, "%*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
                               parent, &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 5)
        return false;
    double hertz = (double)sysconf(_SC_CLK_TCK);
    *own_s = (double)(ticks[0] + ticks[1]) / hertz;
    *waited_s = (double)(ticks[2] + ticks[3]) / hertz;
    return true;
}

/* Of the server: its first process, those that it has waited for, and those that live. */
static double cpu_seconds(long server)
{
    DIR *directory = opendir("/proc");
    double sum = 0;
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        long parent;
        double own_s, waited_s;
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            !read_stat(entry->d_name, &parent, &own_s, &waited_s))
            continue;
        if (atol(entry->d_name) == server)
            sum += own_s + waited_s;
        else if (parent == server)
            sum += own_s;
    }
    if (directory != NULL)
        closedir(directory);
    return sum;
}

static int64_t told_rows(void)
{
    int64_t sum = 0;
    for (int i = 0; i < AGENTS; i++)
        sum += atomic_load(&herd[i].rows);
    return sum;
}

/* Wait until live agents have opened all partitions, and all know the newest version; the leases of live
 * agents that were seen to have run out. */
static long long settle(void)
{
    long long expired = 0;
    int64_t begun = sh_bench_now_us();
    for (;;) {
        int64_t owned = 0;
        for (int i = 0; i < AGENTS; i++)
            owned += atomic_load(&herd[i].is_dead) ? 0 : atomic_load(&herd[i].owned);
        long long now = ask(
            "SELECT count(*) FROM streamhouse.lease AS l JOIN streamhouse.incarnation AS i USING "
            "(incarnation_id) WHERE l.ticks_left = 0 AND substr(i.agent_id, 6)::int >= 10");
        expired = now > expired ? now : expired;
        if (owned == PARTITIONS)
            return expired;
        if (sh_bench_now_us() - begun > SETTLE_S * 1000000ll) {
            fprintf(stderr, "bench: %lld of %d partitions are owned\n", (long long)owned, PARTITIONS);
            exit(1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

static void pause_s(int seconds)
{
    nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
}

int main(void)
{
    char sql[256];
    ask("SELECT count(*) FROM (SELECT set_config('log_min_messages', 'error', false)) AS s");
    long server = (long)ask("SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)");
    if (system("psql -qX -d \"$SH_BENCH_POSTGRES\" -c \"ALTER SYSTEM SET streamhouse.tick_interval = '1s'\" "
               "-c \"SELECT "
               "pg_reload_conf()\" >/dev/null") != 0)
        return 1;
    for (int i = 0; i < AGENTS; i++)
        sh_bench_beast_start(&herd[i], i);
    for (int i = 0; i < TOPICS; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM (SELECT streamhouse.create_topic('herd-%d', partitions => %d)) AS t",
                 i, PARTITIONS / TOPICS);
        ask(sql);
    }
    settle();
    pause_s(3);

    double before = cpu_seconds(server);
    pause_s(IDLE_S);
    double idle = (cpu_seconds(server) - before) / IDLE_S;
    sh_bench_line("herd", "100 agents, 10,000 partitions: PostgreSQL's processor while nothing happens",
                  idle * 100, "%");

    before = cpu_seconds(server);
    int64_t rows = told_rows();
    ask("SELECT count(*) FROM (SELECT streamhouse.alter_topic('herd-0', retention => '1 day')) AS t");
    pause_s(5);
    double change = cpu_seconds(server) - before - 5 * idle;
    sh_bench_line_against("herd", "a change that all agents are told of: PostgreSQL's processor", change, "s",
                          "target", 1);
    sh_bench_line("herd", "a change that all agents are told of: rows told", (double)(told_rows() - rows),
                  "rows");

    before = cpu_seconds(server);
    rows = told_rows();
    int64_t begun = sh_bench_now_us();
    for (int i = 0; i < KILLED; i++)
        sh_bench_beast_kill(&herd[i]);
    long long expired = settle();
    double took = (double)(sh_bench_now_us() - begun) / 1e6;
    pause_s(3);
    double takeover = cpu_seconds(server) - before - (took + 3) * idle;
    sh_bench_line("herd", "10 of 100 agents killed: until others own all", took, "s");
    sh_bench_line_against("herd", "10 of 100 agents killed: PostgreSQL's processor", takeover, "s", "target",
                          12);
    sh_bench_line("herd", "10 of 100 agents killed: rows told", (double)(told_rows() - rows), "rows");
    sh_bench_line_against("herd", "10 of 100 agents killed: leases of others that ran out", (double)expired,
                          "leases", "target", 0);
    return expired > 0;
}
