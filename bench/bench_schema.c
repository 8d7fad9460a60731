/*
 * bench_schema.c - time to register a subject's 1,000th version and those after it, when it is compared to
 * all that are there, each in a session of its own that has cached nothing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/json_line.h"

#define VERSIONS 999
#define SESSIONS 21

/* Version $1: ten fields as all have, and one of its own with a default, so that each reads the data of all.
 */
static const char setup[] =
    "CREATE FUNCTION pg_temp.schema(n int) RETURNS text LANGUAGE sql AS $$"
    "  SELECT format('{\"type\": \"record\", \"name\": \"n.R\", \"fields\": [%s]}',"
    "                string_agg(f, ', ')) FROM ("
    "    SELECT format('{\"name\": \"field_%s\", \"type\": [\"null\", \"string\"], \"default\": null}', i) "
    "AS f"
    "    FROM generate_series(1, 10) AS i"
    "    UNION ALL SELECT format('{\"name\": \"own_%s\", \"type\": \"long\", \"default\": 0}', n)) AS fields"
    "$$;\n";

static void run(const char *sql)
{
    FILE *psql = popen("psql -qXAt -v ON_ERROR_STOP=1 -d \"$SH_BENCH_POSTGRES\" >/dev/null", "w");
    if (psql == NULL || fputs(sql, psql) < 0 || pclose(psql) != 0) {
        fprintf(stderr, "bench: psql did not do: %.60s\n", sql);
        exit(1);
    }
}

static void fill(const char *subject)
{
    char sql[4096];
    snprintf(sql, sizeof sql,
             "%sSELECT streamhouse.set_compatibility('NONE', '%s');"
             "SELECT count(streamhouse.register_schema('%s', pg_temp.schema(n))) FROM generate_series(1, %d) "
             "AS n;\n",
             setup, subject, subject, VERSIONS);
    run(sql);
}

/* Microseconds that a registration takes the session that does nothing else. */
static int64_t register_one(const char *subject, int version)
{
    static const char command[] =
        "psql -qXAt -v ON_ERROR_STOP=1 -d \"$SH_BENCH_POSTGRES\" <<'SQL' | tail -1\n"
        "%sSELECT pg_temp.schema(%d) AS schema, clock_timestamp() AS begun \\gset\n"
        "SELECT streamhouse.register_schema('%s', :'schema');\n"
        "SELECT extract(epoch FROM clock_timestamp() - :'begun') * 1e6;\n"
        "SQL\n";
    char text[4096];
    snprintf(text, sizeof text, command, setup, version, subject);
    FILE *psql = popen(text, "r");
    double us = 0;
    if (psql == NULL || fscanf(psql, "%lf", &us) != 1 || pclose(psql) != 0) {
        fprintf(stderr, "bench: the registration of version %d failed\n", version);
        exit(1);
    }
    return (int64_t)us;
}

static double median_ms(const char *subject, const char *level)
{
    char sql[256];
    int64_t samples[SESSIONS];
    fill(subject);
    snprintf(sql, sizeof sql, "SELECT streamhouse.set_compatibility('%s', '%s');\n", level, subject);
    run(sql);
    for (int i = 0; i < SESSIONS; i++)
        samples[i] = register_one(subject, VERSIONS + 1 + i);
    return (double)sh_bench_percentile(samples, SESSIONS, 50) / 1000;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    double none = median_ms("none-value", "NONE");
    sh_bench_line_against("schema", "registering the 1,000th version, BACKWARD_TRANSITIVE",
                          median_ms("backward-value", "BACKWARD_TRANSITIVE"), "ms", "NONE", none);
    sh_bench_line_against("schema", "registering the 1,000th version, FULL_TRANSITIVE",
                          median_ms("full-value", "FULL_TRANSITIVE"), "ms", "NONE", none);
    return 0;
}
