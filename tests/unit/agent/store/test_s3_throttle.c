/* The S3 store behind its gate: a server that takes so many PUTs a second, one that asks for a pause, and one
 * that is not there. */
#include "tests/unit/agent/store/contract.h"
#include "tests/unit/agent/store/scripted_server.h"

#include "agent/store/s3_store.h"
#include "tests/harness/throttling_server.h"

#define OK "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nContent-Length: 0\r\n\r\n"
#define SLOW_DOWN_1_S                                                                                        \
    "HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 36\r\n\r\n"                                 \
    "<Error><Code>SlowDown</Code></Error>"

#define FAILURES_MAX 4
#define OPEN_MS      300

static const ShS3Options quick = {.list_keys_max = 4, .backoff_base_ms = 1};

static ShStore *open_store(const char *endpoint, int64_t put_rate, int64_t deadline_ms, int64_t retries_max)
{
    ShConfig config = {.store = SH_STORE_S3,
                       .s3_endpoint = (char *)(uintptr_t)endpoint,
                       .s3_access_key = "key",
                       .s3_secret_key = "secret",
                       .s3_ca_file = "",
                       .s3_session_token = "",
                       .s3_bucket = "bucket",
                       .s3_prefix = "",
                       .s3_region = "us-east-1",
                       .s3_path_style = true,
                       .s3_sign_payload = SH_SIGN_AUTO,
                       .s3_multipart_bytes = 1 << 20,
                       .s3_timeout_ms = 5000,
                       .s3_deadline_ms = deadline_ms,
                       .s3_retries_max = retries_max,
                       .throttle_enabled = true,
                       .throttle_put_rate = put_rate,
                       .throttle_get_rate = 1000,
                       .throttle_delete_rate = 1000,
                       .throttle_list_rate = 1000,
                       .breaker_failures_max = FAILURES_MAX,
                       .breaker_failure_percent = 100,
                       .breaker_window_ms = 10000,
                       .breaker_open_ms = OPEN_MS};
    ShStore *store = NULL;
    ShError err;
    contract_assert_status(sh_s3_store_open_with(&config, &quick, &store, &err), SH_OK, &err);
    return store;
}

static ShThrottle *throttle_of(ShStore *store)
{
    return ((ShS3Store *)store)->client->throttle;
}

static void put_some(ShStore *store, int count)
{
    ShError err;
    for (int i = 0; i < count; i++)
        contract_assert_status(contract_put_text(store, "a", "12345", &err), SH_OK, &err);
}

/* Puts are never refused, only late; and after the first refusals hardly one is sent in vain. */
static void test_puts_go_on_at_the_servers_rate(void **state)
{
    (void)state;
    ThrottlingServer server;
    assert_true(throttling_start(&server, 400));
    ShStore *store = open_store(server.endpoint, 600, 0, 20);
    put_some(store, 300);
    long refused = atomic_load(&server.refused);
    assert_true(refused > 0);
    assert_in_range(sh_throttle_rate(throttle_of(store), SH_THROTTLE_PUT), 300, 350);
    put_some(store, 150);
    assert_int_equal(atomic_load(&server.refused), refused);
    assert_int_equal(atomic_load(&server.taken), 450);
    sh_store_close(store);
    throttling_stop(&server);
}

static void test_configured_rate_holds(void **state)
{
    (void)state;
    ThrottlingServer server;
    assert_true(throttling_start(&server, 1e6));
    ShStore *store = open_store(server.endpoint, 100, 0, 0);
    int64_t start_ms = sh_clock_now_ms();
    put_some(store, 41); /* eleven at once, the others 10 ms apart */
    assert_true(sh_clock_now_ms() - start_ms >= 299);
    assert_int_equal(atomic_load(&server.refused), 0);
    sh_store_close(store);
    throttling_stop(&server);
}

/* The server asks for a pause: all puts keep it, whoever they are. */
static void test_retry_after_pauses_everybody(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, SLOW_DOWN_1_S}, {SCRIPT_REPLY, OK}};
    ScriptedServer server;
    ShError err;
    script_start(&server, steps, 2);
    ShStore *store = open_store(server.endpoint, 1000, 0, 0);
    int64_t start_ms = sh_clock_now_ms();
    contract_assert_status(contract_put_text(store, "a", "1", &err), SH_UNAVAILABLE, &err);
    assert_true(sh_clock_now_ms() - start_ms < 900);
    contract_assert_status(contract_put_text(store, "b", "1", &err), SH_OK, &err);
    assert_true(sh_clock_now_ms() - start_ms >= 999);
    sh_store_close(store);
    script_stop(&server);
}

static void test_waiting_ends_at_the_deadline(void **state)
{
    (void)state;
    static const ScriptStep steps[] = {{SCRIPT_REPLY, SLOW_DOWN_1_S}};
    ScriptedServer server;
    ShError err;
    script_start(&server, steps, 1);
    ShStore *store = open_store(server.endpoint, 1000, 200, 20);
    int64_t start_ms = sh_clock_now_ms();
    contract_assert_status(contract_put_text(store, "a", "1", &err), SH_UNAVAILABLE, &err);
    contract_assert_status(contract_put_text(store, "b", "1", &err), SH_UNAVAILABLE, &err);
    assert_non_null(strstr(err.message, "requests a second"));
    assert_true(err.retriable);
    assert_in_range(err.retry_after_ms, 100, 1000);
    assert_true(sh_clock_now_ms() - start_ms < 900);
    sh_store_close(store);
    script_stop(&server);
}

static void test_dead_endpoint_opens_the_circuit_and_recovers(void **state)
{
    (void)state;
    ThrottlingServer server;
    ShError err;
    int retry_after_ms = 0;
    assert_true(throttling_start(&server, 1e6));
    throttling_stop(&server); /* nobody listens there any more */
    ShStore *store = open_store(server.endpoint, 1000, 0, 20);

    assert_false(sh_store_is_away(store, &retry_after_ms));
    contract_assert_status(contract_put_text(store, "a", "1", &err), SH_UNAVAILABLE, &err);
    assert_true(err.retriable);
    assert_in_range(err.retry_after_ms, 1,
                    OPEN_MS); /* its own retries opened the circuit, and were stopped by it */
    assert_non_null(strstr(err.message, "s3_endpoint")); /* the reason is not lost by that */
    contract_assert_status(contract_put_text(store, "a", "1", &err), SH_UNAVAILABLE, &err);
    assert_non_null(strstr(err.message, "did not answer"));
    assert_non_null(strstr(err.message, "s3_endpoint")); /* nor while it is open */
    assert_in_range(err.retry_after_ms, 1, OPEN_MS);
    assert_true(sh_store_is_away(store, &retry_after_ms));
    assert_in_range(retry_after_ms, 1, OPEN_MS);
    assert_int_equal(sh_throttle_state(throttle_of(store), SH_THROTTLE_GET), SH_BREAKER_CLOSED);

    ThrottlingServer again;
    assert_true(throttling_start_at(&again, 1e6, server.port));
    int64_t deadline_ms = sh_clock_now_ms() + 20000;
    ShStatus status;
    while ((status = contract_put_text(store, "a", "1", &err)) != SH_OK && sh_clock_now_ms() < deadline_ms)
        usleep((useconds_t)err.retry_after_ms * 1000);
    contract_assert_status(status, SH_OK, &err);
    assert_int_equal(sh_throttle_state(throttle_of(store), SH_THROTTLE_PUT), SH_BREAKER_CLOSED);
    assert_int_equal(atomic_load(&again.taken), 1);
    assert_false(sh_store_is_away(store, &retry_after_ms));
    sh_store_close(store);
    throttling_stop(&again);
}

static void test_answers_do_not_open_the_circuit(void **state)
{
    (void)state;
    ThrottlingServer server;
    ShError err;
    uint64_t bytes;
    assert_true(throttling_start(&server, 1e6));
    ShStore *store = open_store(server.endpoint, 1000, 0, 0);
    for (int i = 0; i < 3 * FAILURES_MAX; i++)
        contract_assert_status(sh_store_size(store, "a", &bytes, &err), SH_NOT_FOUND, &err);
    assert_int_equal(sh_throttle_state(throttle_of(store), SH_THROTTLE_GET), SH_BREAKER_CLOSED);
    sh_store_close(store);
    throttling_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_puts_go_on_at_the_servers_rate),
        cmocka_unit_test(test_configured_rate_holds),
        cmocka_unit_test(test_retry_after_pauses_everybody),
        cmocka_unit_test(test_waiting_ends_at_the_deadline),
        cmocka_unit_test(test_dead_endpoint_opens_the_circuit_and_recovers),
        cmocka_unit_test(test_answers_do_not_open_the_circuit),
    };
    return cmocka_run_group_tests_name("S3 store behind its gate", tests, NULL, NULL);
}
