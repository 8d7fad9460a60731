/* Waiting for news, and connections that die between calls. */
#include "tests/unit/agent/pg/pg_fixture.h"

#include <pthread.h>

#include "agent/base/clock.h"

#define LONG_MS 30000

static void *notify(void *arg)
{
    (void)arg;
    PGconn *conn = PQconnectdb(fixture_conninfo);
    PQclear(PQexec(conn, "NOTIFY streamhouse"));
    PQfinish(conn);
    return NULL;
}

static void *wake(void *pg)
{
    sh_pg_wake(pg);
    return NULL;
}

static ShPg *listening_pg(void)
{
    ShError err;
    bool news;
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    assert_ok(sh_pg_wait_news(pg, LONG_MS, &news, &err));
    assert_true(news);
    return pg;
}

static void test_news_end_the_wait(void **state)
{
    (void)state;
    ShError err;
    bool news;
    ShPg *pg = listening_pg();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, notify, NULL), 0);
    int64_t started_ms = sh_clock_now_ms();
    assert_ok(sh_pg_wait_news(pg, LONG_MS, &news, &err));
    assert_true(news);
    assert_true(sh_clock_now_ms() - started_ms < LONG_MS);
    pthread_join(thread, NULL);

    assert_ok(sh_pg_wait_news(pg, 1, &news, &err));
    assert_false(news);
    sh_pg_free(pg);
}

static void test_a_wake_ends_the_wait_without_news(void **state)
{
    (void)state;
    ShError err;
    bool news;
    ShPg *pg = listening_pg();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake, pg), 0);
    int64_t started_ms = sh_clock_now_ms();
    assert_ok(sh_pg_wait_news(pg, LONG_MS, &news, &err));
    assert_false(news);
    assert_true(sh_clock_now_ms() - started_ms < LONG_MS);
    pthread_join(thread, NULL);
    sh_pg_free(pg);
}

static void kill_backends(void)
{
    fixture_sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'unit test'");
}

static void test_a_lost_connection_ends_the_wait_and_is_made_again(void **state)
{
    (void)state;
    ShError err;
    bool news;
    ShPg *pg = listening_pg();
    kill_backends();
    assert_ok(sh_pg_wait_news(pg, LONG_MS, &news, &err));
    assert_true(news);
    assert_ok(sh_pg_check(pg, &err));
    sh_pg_free(pg);
}

static void test_a_call_after_a_restart_finds_a_connection(void **state)
{
    (void)state;
    ShError err;
    ShPgMetadata *metadata;
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    for (int i = 0; i < 3; i++) {
        assert_ok(sh_pg_metadata(pg, 0, &metadata, &err));
        sh_pg_metadata_free(metadata);
        kill_backends();
    }
    sh_pg_free(pg);
}

static void test_the_server_gives_up_what_the_agent_gave_up(void **state)
{
    (void)state;
    ShError err;
    PGconn *blocker = fixture_connect(fixture_conninfo);
    PQclear(PQexec(blocker, "BEGIN; LOCK TABLE streamhouse.cluster"));
    ShPg *pg = fixture_pg(fixture_conninfo, 300);
    ShPgMetadata *metadata;
    assert_int_equal(sh_pg_metadata(pg, 0, &metadata, &err), SH_UNAVAILABLE);
    assert_true(err.retriable);
    PQfinish(blocker);
    assert_ok(sh_pg_metadata(pg, 0, &metadata, &err));
    sh_pg_metadata_free(metadata);
    sh_pg_free(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_news_end_the_wait),
        cmocka_unit_test(test_a_wake_ends_the_wait_without_news),
        cmocka_unit_test(test_a_lost_connection_ends_the_wait_and_is_made_again),
        cmocka_unit_test(test_a_call_after_a_restart_finds_a_connection),
        cmocka_unit_test(test_the_server_gives_up_what_the_agent_gave_up),
    };
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
