/* The index out of one database and into another, all or nothing. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include "agent/pg/pg_snapshot.h"

typedef struct Stream {
    char *bytes;
    size_t length;
    size_t capacity;
    size_t given;
    size_t ends_at; /* the source finds damage there */
    size_t slow_at; /* there whoever gives or takes is slower than the time-out */
} Stream;

typedef struct Taken {
    ShPgOrigin origin;
    ShPgSection sections[SH_SNAPSHOT_SECTIONS_MAX];
    size_t count;
    Stream stream;
} Taken;

static char other_conninfo[1024];

#define TIMEOUT_MS 500
#define SLOW_MS    700

static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err)
{
    (void)err;
    Stream *stream = arg;
    if (stream->length + count > stream->capacity) {
        stream->capacity = 2 * (stream->length + count);
        stream->bytes = realloc(stream->bytes, stream->capacity);
        assert_non_null(stream->bytes);
    }
    if (stream->slow_at > 0 && stream->length / stream->slow_at < (stream->length + count) / stream->slow_at)
        usleep(SLOW_MS * 1000);
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
    if (stream->slow_at > 0 && stream->given >= stream->slow_at) {
        usleep(SLOW_MS * 1000);
        stream->slow_at = 0;
    }
    size_t piece = stream->length > 1 << 20 ? 4093 : 7;
    *count = max < piece ? max : piece;
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

/* More than the buffers in between take, so that the server is busy for as long as the reader is slow. */
static void test_no_time_is_too_long(void **state)
{
    (void)state;
    ShError err;
    int64_t term = 0;
    fixture_sql("INSERT INTO streamhouse.compaction_cursor "
                "SELECT n || repeat('x', 1000), gen_random_uuid(), 0 FROM generate_series(1, 40000) AS n");
    Taken *taken = calloc(1, sizeof *taken);
    taken->stream.slow_at = 10 << 20;
    ShPg *pg = fixture_pg(fixture_conninfo, TIMEOUT_MS);
    assert_ok(
        sh_pg_snapshot_read(pg, &taken->origin, taken->sections, &taken->count, take, &taken->stream, &err));
    sh_pg_free(pg);
    assert_true(taken->stream.length > 40 * 1000 * 1000);

    taken->stream.ends_at = SIZE_MAX;
    taken->stream.slow_at = taken->stream.length / 2;
    fixture_sql_in(other_conninfo, "DROP EXTENSION streamhouse CASCADE");
    fixture_sql_in(other_conninfo, "CREATE EXTENSION streamhouse");
    pg = fixture_pg(other_conninfo, TIMEOUT_MS);
    assert_ok(sh_pg_rebuild(pg, 5, 1, taken->sections, taken->count, give, &taken->stream, &term, &err));
    sh_pg_free(pg);
    assert_string_equal(fixture_sql_in(other_conninfo, "SELECT count(*) FROM streamhouse.compaction_cursor"),
                        "40000");
    taken_free(taken);
}

static void test_the_calls_of_a_writer(void **state)
{
    (void)state;
    ShError err;
    ShPgSnapshotClaim claim;
    int64_t keep_from = -1;
    bool held = true;
    fixture_sql("DO $$ BEGIN "
                "EXECUTE format('ALTER DATABASE %I SET streamhouse.snapshot_interval = 3600000', "
                "current_database()); EXECUTE format('ALTER DATABASE %I SET streamhouse.require_store_marker "
                "= off', current_database()); END $$");
    fixture_sql("SELECT count(*) "
                "FROM streamhouse.agent_register('writer', gen_random_uuid(), 1, 'a:1', '', '', '', '', 0)");
    int64_t incarnation = strtoll(
        fixture_sql("SELECT incarnation_id FROM streamhouse.agent WHERE agent_id = 'writer'"), NULL, 10);
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    assert_ok(sh_pg_snapshot_claim(pg, incarnation, &claim, &err));
    assert_int_equal(claim.number, 1);
    assert_int_equal(claim.give_up_below, 0);
    assert_ok(sh_pg_snapshot_renew(pg, incarnation, 1, &held, &err));
    assert_true(held);
    assert_ok(sh_pg_snapshot_renew(pg, incarnation, 2, &held, &err));
    assert_false(held);
    assert_ok(sh_pg_snapshot_done(pg, incarnation, 2, 10, &keep_from, &err));
    assert_int_equal(keep_from, 0);
    assert_ok(sh_pg_snapshot_failed(pg, incarnation, 1, "no \"room\"", &err));
    assert_string_equal(fixture_sql("SELECT failures || failure FROM streamhouse.snapshot_status"),
                        "1no \"room\"");
    fixture_sql("UPDATE streamhouse.index_snapshot SET waits_since = waits_since - interval '3 days'");
    assert_ok(sh_pg_snapshot_claim(pg, incarnation, &claim, &err));
    assert_int_equal(claim.number, 0);
    assert_int_equal(claim.give_up_below, 2);
    assert_ok(sh_pg_snapshots_gone(pg, incarnation, 2, &err));
    assert_string_equal(fixture_sql("SELECT given_up_at IS NOT NULL FROM streamhouse.snapshot_status"), "t");
    sh_pg_free(pg);
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
        cmocka_unit_test(test_no_time_is_too_long),
        cmocka_unit_test(test_the_calls_of_a_writer),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
