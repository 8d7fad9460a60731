/* Temporary keys: what is taken for an answer, who asks, and what a renewal that fails leaves. */
#include "tests/unit/agent/store/scripted_server.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "agent/base/log.h"
#include "agent/store/s3_keys.h"

#define JSON_OF(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define READERS       4

static char keys_text[512];

/* An answer with keys that hold for so long. */
static const char *keys_for(int64_t life_s)
{
    char until[40];
    struct tm parts;
    time_t at = (time_t)(sh_clock_wall_ms() / 1000 + life_s);
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &parts));
    snprintf(
        keys_text, sizeof keys_text,
        JSON_OF(
            "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"TOKEN\",\"Expiration\":\"%s\"}"),
        until);
    return keys_text;
}

static ShS3Keyring *keyring_at(const char *endpoint)
{
    ShConfig config = {.store = SH_STORE_S3,
                       .s3_credentials = SH_S3_CREDENTIALS_CONTAINER,
                       .s3_container_uri = (char *)endpoint,
                       .s3_container_token_file = "",
                       .s3_ca_file = ""};
    ShError err;
    ShS3Keyring *keyring = NULL;
    assert_int_equal(sh_s3_keyring_new(&config, &keyring, &err), SH_OK);
    return keyring;
}

static void *read_keys(void *arg)
{
    ShS3Keys keys;
    ShError err;
    bool good = sh_s3_keyring_get(arg, &keys, &err) == SH_OK && strcmp(keys.access_key, "AK") == 0 &&
                strcmp(keys.secret_key, "SK") == 0 && strcmp(keys.session_token, "TOKEN") == 0;
    return good ? arg : NULL;
}

static void test_one_asks_for_all(void **state)
{
    (void)state;
    ScriptedServer server;
    const ScriptStep steps[] = {{SCRIPT_CUT, keys_for(3600)}};
    script_start(&server, steps, 1);
    ShS3Keyring *keyring = keyring_at(server.endpoint);
    pthread_t threads[READERS];
    ShError err;
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(sh_thread_start(&threads[i], "reader", read_keys, keyring, &err), SH_OK);
    for (size_t i = 0; i < READERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, keyring);
    }
    sh_s3_keyring_free(keyring);
    script_stop(&server);
}

/* They hold for three to four seconds, and are due when a quarter of that is left. */
static void test_a_renewal_that_fails_leaves_the_keys(void **state)
{
    (void)state;
    ScriptedServer server;
    char first[sizeof keys_text];
    snprintf(first, sizeof first, "%s", keys_for(4));
    const ScriptStep steps[] = {{SCRIPT_CUT, first}, {SCRIPT_CUT, "HTTP/1.1 500 Sorry\r\n\r\n"}};
    script_start(&server, steps, 2);
    ShS3Keyring *keyring = keyring_at(server.endpoint);
    ShS3Keys keys;
    ShError err = {0};
    assert_int_equal(sh_s3_keyring_get(keyring, &keys, &err), SH_OK);
    int64_t ends_ms = keys.expires_ms;
    ShStatus status;
    bool after_failure = false;
    while ((status = sh_s3_keyring_get(keyring, &keys, &err)) == SH_OK) {
        assert_true(sh_clock_wall_ms() < ends_ms + 100);
        assert_int_equal(keys.expires_ms, ends_ms);
        after_failure |= sh_clock_wall_ms() > ends_ms - 600;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_true(after_failure);
    assert_true(sh_clock_wall_ms() >= ends_ms);
    assert_int_equal(status, SH_UNAVAILABLE);
    assert_true(err.retriable);
    sh_s3_keyring_free(keyring);
    close(server.stop_fds[1]);
    pthread_join(server.thread, NULL);
    close(server.stop_fds[0]);
    close(server.listen_fd);
    assert_int_equal(server.request_count, 2);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        ShStatus status;
        const char *says;
    } cases[] = {
        {JSON_OF("<html>hello</html>"), SH_UNAVAILABLE, "without keys"},
        {JSON_OF("[]"), SH_UNAVAILABLE, "without keys"},
        {JSON_OF("{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"s\",\"Token\":\"\",\"Expiration\":"
                 "\"2099-01-01T00:00:00Z\"}"),
         SH_UNAVAILABLE, "without keys"},
        {JSON_OF("{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Token\":\"x\\r\\ny: z\",\"Expiration\":"
                 "\"2099-01-01T00:00:00Z\"}"),
         SH_UNAVAILABLE, "without keys"},
        {JSON_OF("{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Token\":\"\",\"Expiration\":\"soon\"}"),
         SH_UNAVAILABLE, "without keys"},
        {JSON_OF("{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Token\":\"\",\"Expiration\":"
                 "\"2001-01-01T00:00:00Z\"}"),
         SH_UNAVAILABLE, "ended already"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "answered 200"},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", SH_UNAVAILABLE, "answered 503"},
        {"HTTP/1.1 403 No\r\nConnection: "
         "close\r\n\r\n<Error><Code>Nope</Code><Message>no\r\nX</Message></Error>",
         SH_DENIED, "answered 403 Nope"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ScriptedServer server;
        const ScriptStep step = {SCRIPT_CUT, cases[i].reply};
        script_start(&server, &step, 1);
        ShS3Keyring *keyring = keyring_at(server.endpoint);
        ShS3Keys keys;
        ShError err = {0};
        if (sh_s3_keyring_get(keyring, &keys, &err) != cases[i].status ||
            strstr(err.message, cases[i].says) == NULL)
            fail_msg("case %zu: %s", i, err.message);
        assert_null(strpbrk(err.message, "\r\n"));
        sh_s3_keyring_free(keyring);
        script_stop(&server);
    }
}

/* Whoever answers there is not trusted with memory. */
static void test_an_endless_answer(void **state)
{
    (void)state;
    static char reply[512 + (64 << 10)];
    for (size_t beyond = 0; beyond < 2; beyond++) {
        const char *keys = keys_for(3600);
        const char *body = strstr(keys, "\r\n\r\n") + 4;
        size_t head = (size_t)(body - keys);
        size_t body_bytes = (64 << 10) + beyond;
        memcpy(reply, keys, head);
        memset(reply + head, ' ', body_bytes);
        memcpy(reply + head, body, strlen(body));
        reply[head + body_bytes] = '\0';
        ScriptedServer server;
        const ScriptStep step = {SCRIPT_CUT, reply};
        script_start(&server, &step, 1);
        ShS3Keyring *keyring = keyring_at(server.endpoint);
        ShS3Keys got;
        ShError err = {0};
        ShStatus status = sh_s3_keyring_get(keyring, &got, &err);
        assert_int_equal(status == SH_OK, beyond == 0);
        assert_true(beyond == 0 || strstr(err.message, "longer than what was asked for") != NULL);
        sh_s3_keyring_free(keyring);
        script_stop(&server);
    }
}

int main(void)
{
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_asks_for_all),
        cmocka_unit_test(test_a_renewal_that_fails_leaves_the_keys),
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_an_endless_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
