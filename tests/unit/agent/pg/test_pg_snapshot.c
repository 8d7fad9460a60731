/* The index out of one database and into another, all or nothing. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include "agent/pg/pg_snapshot.h"

typedef struct Stream {
    char *bytes;
    size_t length;
    size_t given;
    size_t ends_at; /* the source finds damage there */
} Stream;

typedef struct Taken {
    ShPgOrigin origin;
    ShPgSection sections[SH_SNAPSHOT_SECTIONS_MAX];
    size_t count;
    Stream stream;
} Taken;

static char other_conninfo[1024];

static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err)
{
    (void)err;
    Stream *stream = arg;
    stream->bytes = realloc(stream->bytes, stream->length + count);
    assert_non_null(stream->bytes);
    memcpy(stream->bytes + stream->length, bytes, count);
    stream->length += count;
    return SH_OK;
}

/* In pieces that fit nothing. */
static ShStatus give(void *arg, size_t max, const char **bytes, size_t *count, ShError *err)
{
    Stream *stream = arg;
    size_t left = stream->length - stream->given;
    if (left == 0 || stream->given >= stream->ends_at)
        return sh_fail(err, SH_CORRUPT, "damaged here");
    *count = max < 7 ? max : 7;
    if (*count > left)
        *count = left;
    *bytes = stream->bytes + stream->given;
    stream->given += *count;
    return SH_OK;
}

static Taken *take_all(const char *conninfo)
{
    ShError err;
    Taken *taken = calloc(1, sizeof *taken);
    ShPg *pg = fixture_pg(conninfo, 10000);
    assert_ok(
        sh_pg_snapshot_read(pg, &taken->origin, taken->sections, &taken->count, take, &taken->stream, &err));
    taken->stream.ends_at = SIZE_MAX;
    sh_pg_free(pg);
    return taken;
}

static void taken_free(Taken *taken)
{
    free(taken->stream.bytes);
    free(taken);
}

static ShStatus rebuild(const char *conninfo, Taken *taken, int64_t *term)
{
    ShError err;
    ShPg *pg = fixture_pg(conninfo, 10000);
    taken->stream.given = 0;
    ShStatus status = sh_pg_rebuild(pg, 5, 1, taken->sections, taken->count, give, &taken->stream, term,
                                    &err);
    sh_pg_free(pg);
    return status;
}

static void test_there_and_back(void **state)
{
    (void)state;
    int64_t term = 0;
    fixture_sql("SELECT streamhouse.create_topic(E't', partitions => 3)");
    fixture_sql("SELECT nextval('streamhouse.producer_number') FROM generate_series(1, 41)");
    Taken *taken = take_all(fixture_conninfo);
    assert_int_equal(taken->origin.term, 1);
    assert_string_equal(taken->origin.version, "0.1.0");
    uint64_t bytes = 0;
    for (size_t i = 0; i < taken->count; i++)
        bytes += taken->sections[i].bytes;
    assert_int_equal(bytes, taken->stream.length);

    /* Nothing is left of one that breaks off. */
    taken->stream.ends_at = taken->stream.length - 8;
    assert_int_equal(rebuild(other_conninfo, taken, &term), SH_CORRUPT);
    assert_string_equal(fixture_sql_in(other_conninfo, "SELECT count(*) FROM streamhouse.topic"), "0");
    taken->stream.ends_at = SIZE_MAX;

    /* Names that are not the extension's own get into no statement. */
    taken->sections[0].name[0] ^= 1;
    assert_int_equal(rebuild(other_conninfo, taken, &term), SH_UNSUPPORTED);
    taken->sections[0].name[0] ^= 1;
    taken->count--;
    assert_int_equal(rebuild(other_conninfo, taken, &term), SH_UNSUPPORTED);
    taken->count++;

    assert_int_equal(rebuild(other_conninfo, taken, &term), SH_OK);
    assert_int_equal(term, 2);
    assert_string_equal(
        fixture_sql_in(other_conninfo, "SELECT partition_count FROM streamhouse.topic WHERE name = 't'"),
        "3");
    assert_string_equal(fixture_sql_in(other_conninfo, "SELECT nextval('streamhouse.producer_number')"),
                        "42");
    /* It is in use now, and says so. */
    assert_int_equal(rebuild(other_conninfo, taken, &term), SH_UNAVAILABLE);
    taken_free(taken);
}

static int begin(void **state)
{
    char sql[128];
    int status = fixture_make_database(state);
    snprintf(sql, sizeof sql, "CREATE DATABASE agent_pg_other_%d", (int)getpid());
    fixture_sql_in(fixture_server(), sql);
    snprintf(other_conninfo, sizeof other_conninfo, "%s dbname=agent_pg_other_%d", fixture_server(),
             (int)getpid());
    fixture_sql_in(other_conninfo, "CREATE EXTENSION streamhouse");
    return status;
}

static int end(void **state)
{
    char sql[128];
    snprintf(sql, sizeof sql, "DROP DATABASE agent_pg_other_%d WITH (FORCE)", (int)getpid());
    fixture_sql_in(fixture_server(), sql);
    return fixture_drop_database(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
