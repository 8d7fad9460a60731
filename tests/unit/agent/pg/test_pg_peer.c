/* Servers that are absent, silent, old or hostile: played by a script, no PostgreSQL is needed. */
#include "tests/unit/agent/pg/scripted_peer.h"

#include "agent/base/clock.h"
#include "agent/base/fault.h"

#define SHORT_MS 200

/* AuthenticationOk, ParameterStatus server_version, ReadyForQuery. */
#define GREETING(version_digit)                                                                              \
    {                                                                                                        \
        'R', 0, 0, 0, 8, 0, 0, 0, 0, 'S', 0, 0, 0, 24, 's', 'e', 'r', 'v', 'e', 'r', '_', 'v', 'e', 'r',     \
            's', 'i', 'o', 'n', 0, '1', version_digit, '.', '9', 0, 'Z', 0, 0, 0, 5, 'I'                     \
    }
static const uint8_t greeting_14[] = GREETING('4');
static const uint8_t greeting_15[] = GREETING('5');
static const uint8_t garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

static void test_a_silent_server_cannot_hold_a_call(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, NULL, 0);
    ShPg *pg = fixture_pg(peer.conninfo, SHORT_MS);
    int64_t started_ms = sh_clock_now_ms();
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    int64_t took_ms = sh_clock_now_ms() - started_ms;
    assert_true(took_ms >= SHORT_MS && took_ms < 20 * SHORT_MS);
    assert_true(err.retriable);
    assert_message("within 200 ms");
    assert_null(strstr(err.message, "opensesame"));
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_a_server_that_falls_silent_after_the_greeting(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, greeting_15, sizeof greeting_15);
    ShPg *pg = fixture_pg(peer.conninfo, SHORT_MS);
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    assert_message("does not answer within 200 ms");
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_an_old_server_is_refused(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, greeting_14, sizeof greeting_14);
    ShPg *pg = fixture_pg(peer.conninfo, 10000);
    assert_int_equal(sh_pg_check(pg, &err), SH_UNSUPPORTED);
    assert_message("14.9");
    assert_message("15 or newer");
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_a_server_that_speaks_something_else(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, garbage, sizeof garbage - 1);
    ShPg *pg = fixture_pg(peer.conninfo, SHORT_MS);
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    assert_null(strstr(err.message, "opensesame"));
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_an_absent_server_is_named(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, NULL, 0);
    scripted_peer_stop(&peer);
    ShPg *pg = fixture_pg(peer.conninfo, SHORT_MS);
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    assert_message("127.0.0.1");
    assert_message("refused");
    assert_null(strstr(err.message, "opensesame"));
    sh_pg_free(pg);
}

/* An ErrorResponse as a server sends it instead of a greeting. */
static size_t write_refusal(uint8_t *out, const char *severity, const char *sqlstate, const char *message)
{
    uint8_t *at = out + 5;
    at += sprintf((char *)at, "S%s", severity) + 1;
    at += sprintf((char *)at, "VFATAL") + 1;
    at += sprintf((char *)at, "C%s", sqlstate) + 1;
    at += sprintf((char *)at, "M%s", message) + 1;
    at += sprintf((char *)at, "Fauth.c") + 1;
    *at++ = 0;
    out[0] = 'E';
    out[1] = out[2] = out[3] = 0;
    out[4] = (uint8_t)(at - out - 1);
    return (size_t)(at - out);
}

/* A server that starts, ends or is full is one to wait for, and one that knows neither role nor database is
 * not; the words are those of its language. */
static void test_a_refusal_says_whether_to_wait(void **state)
{
    (void)state;
    static const struct {
        const char *severity, *sqlstate, *message;
        ShStatus status;
    } refusals[] = {
        {"FATAL", "57P03", "the database system is starting up", SH_UNAVAILABLE},
        {"FATAL", "57P01", "terminating connection", SH_UNAVAILABLE},
        {"FATAL", "53300", "sorry, too many clients already", SH_UNAVAILABLE},
        {"FATAL", "XX000", "something: else", SH_UNAVAILABLE},
        {"FATAL", "08P01", "what a pooler says", SH_UNAVAILABLE},
        {"FATAL", "28P01", "password authentication failed for user \"u\"", SH_DENIED},
        {"FATAL", "28000", "role \"u\" does not exist", SH_DENIED},
        {"FATAL", "3D000", "database \"d\" does not exist", SH_DENIED},
        {"FATAL", "42501", "permission denied for database \"d\"", SH_DENIED},
        {"FATAL\xc3\x84", "3D000", "Datenbank:  \"d\" existiert nicht", SH_DENIED},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        ShError err;
        ScriptedPeer peer;
        uint8_t bytes[200];
        scripted_peer_start(
            &peer, bytes,
            write_refusal(bytes, refusals[i].severity, refusals[i].sqlstate, refusals[i].message));
        ShPg *pg = fixture_pg(peer.conninfo, 10000);
        assert_int_equal(sh_pg_check(pg, &err), refusals[i].status);
        assert_int_equal(err.retriable, refusals[i].status == SH_UNAVAILABLE);
        assert_message(refusals[i].message);
        assert_null(strstr(err.message, refusals[i].sqlstate));
        assert_int_equal(strstr(err.message, "setting postgres") != NULL, refusals[i].status == SH_DENIED);
        assert_null(strstr(err.message, "opensesame"));
        sh_pg_free(pg);
        scripted_peer_stop(&peer);
    }
}

/* The calls of an agent that runs go on: the role may be back. */
static void test_a_call_is_told_to_come_back(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    ShPgHeartbeat answer;
    uint8_t bytes[200];
    scripted_peer_start(&peer, bytes, write_refusal(bytes, "FATAL", "28P01", "no"));
    ShPg *pg = fixture_pg(peer.conninfo, 10000);
    assert_int_equal(sh_pg_heartbeat(pg, 1, 1, 0, &answer, &err), SH_UNAVAILABLE);
    assert_true(err.retriable);
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_a_malformed_connection_string_keeps_its_password(void **state)
{
    (void)state;
    ShError err;
    ShPg *pg = NULL;
    assert_int_equal(sh_pg_new("password = open sesame", "test", SHORT_MS, &pg, &err), SH_INVALID);
    assert_message("postgres");
    assert_null(strstr(err.message, "sesame"));
    assert_int_equal(sh_pg_new("hosst=x", "test", SHORT_MS, &pg, &err), SH_INVALID);
    assert_message("hosst");
    assert_null(pg);
}

static void *cancel_call(void *pg)
{
    sh_pg_cancel(pg);
    return NULL;
}

static void test_a_call_is_broken_off(void **state)
{
    (void)state;
    ShError err;
    ScriptedPeer peer;
    scripted_peer_start(&peer, NULL, 0);
    ShPg *pg = fixture_pg(peer.conninfo, 60000);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_call, pg), 0);
    int64_t started_ms = sh_clock_now_ms();
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    assert_true(sh_clock_now_ms() - started_ms < 30000);
    assert_message("broken off");
    pthread_join(thread, NULL);
    sh_pg_free(pg);
    scripted_peer_stop(&peer);
}

static void test_the_fault_point_fails_the_connection(void **state)
{
    (void)state;
    ShError err;
    ShPg *pg = fixture_pg("host=127.0.0.1 port=1", SHORT_MS);
    assert_ok(sh_fault_arm("pg.connect=error", &err));
    assert_int_equal(sh_pg_check(pg, &err), SH_UNAVAILABLE);
    assert_message("pg.connect");
    assert_ok(sh_fault_arm(NULL, &err));
    sh_pg_free(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_silent_server_cannot_hold_a_call),
        cmocka_unit_test(test_a_server_that_falls_silent_after_the_greeting),
        cmocka_unit_test(test_an_old_server_is_refused),
        cmocka_unit_test(test_a_server_that_speaks_something_else),
        cmocka_unit_test(test_an_absent_server_is_named),
        cmocka_unit_test(test_a_refusal_says_whether_to_wait),
        cmocka_unit_test(test_a_call_is_told_to_come_back),
        cmocka_unit_test(test_a_malformed_connection_string_keeps_its_password),
        cmocka_unit_test(test_a_call_is_broken_off),
        cmocka_unit_test(test_the_fault_point_fails_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
