/* What sh_pg_check says of a database that agents cannot work with. */
#include "tests/unit/agent/pg/pg_fixture.h"

static char role[64];

static void test_a_fitting_database_passes(void **state)
{
    (void)state;
    ShError err;
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    assert_ok(sh_pg_check(pg, &err));
    sh_pg_free(pg);
}

static void test_a_missing_extension_is_named_with_its_remedy(void **state)
{
    (void)state;
    ShError err;
    char conninfo[1200];
    snprintf(conninfo, sizeof conninfo, "%s dbname=template1", fixture_server());
    ShPg *pg = fixture_pg(conninfo, 10000);
    assert_int_equal(sh_pg_check(pg, &err), SH_UNSUPPORTED);
    assert_message("template1");
    assert_message("CREATE EXTENSION streamhouse");
    ShPgHeartbeat heartbeat;
    assert_int_equal(sh_pg_heartbeat(pg, 1, 1, 0, &heartbeat, &err), SH_UNSUPPORTED);
    assert_message("CREATE EXTENSION streamhouse");
    sh_pg_free(pg);
}

static void test_an_extension_of_another_version_is_refused(void **state)
{
    (void)state;
    static const char *const others[] = {"0.0.9", "0.2.0", "0.10", "1.0"};
    ShError err;
    ShPg *pg = fixture_pg(fixture_conninfo, 10000);
    for (size_t i = 0; i < 4; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE pg_extension SET extversion = '%s' WHERE extname = 'streamhouse'",
                 others[i]);
        fixture_sql(sql);
        assert_int_equal(sh_pg_check(pg, &err), SH_UNSUPPORTED);
        assert_message(others[i]);
        assert_message("ALTER EXTENSION streamhouse UPDATE");
    }
    fixture_sql("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'streamhouse'");
    assert_ok(sh_pg_check(pg, &err));
    sh_pg_free(pg);
}

static void test_a_role_without_rights_is_told_the_grant(void **state)
{
    (void)state;
    ShError err;
    char sql[256];
    snprintf(role, sizeof role, "agent_pg_role_%d", (int)getpid());
    snprintf(sql, sizeof sql, "CREATE ROLE %s LOGIN", role);
    fixture_sql(sql);
    char conninfo[1200];
    snprintf(conninfo, sizeof conninfo, "%s user=%s", fixture_conninfo, role);
    ShPg *pg = fixture_pg(conninfo, 10000);

    assert_int_equal(sh_pg_check(pg, &err), SH_DENIED);
    snprintf(sql, sizeof sql, "GRANT streamhouse_agent TO %s", role);
    assert_message(sql);
    ShPgHeartbeat heartbeat;
    assert_int_equal(sh_pg_heartbeat(pg, 1, 1, 0, &heartbeat, &err), SH_DENIED);

    fixture_sql(sql);
    assert_ok(sh_pg_check(pg, &err));
    assert_int_equal(sh_pg_heartbeat(pg, 1, 1, 0, &heartbeat, &err), SH_OUTDATED);
    sh_pg_free(pg);
    snprintf(sql, sizeof sql, "DROP ROLE %s", role);
    fixture_sql(sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fitting_database_passes),
        cmocka_unit_test(test_a_missing_extension_is_named_with_its_remedy),
        cmocka_unit_test(test_an_extension_of_another_version_is_refused),
        cmocka_unit_test(test_a_role_without_rights_is_told_the_grant),
    };
    return cmocka_run_group_tests(tests, fixture_make_database, fixture_drop_database);
}
