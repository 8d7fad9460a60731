/*
 * The S3 store against a real server, which the environment names: STREAMHOUSE_TEST_S3_ENDPOINT, _ACCESS_KEY,
 * _SECRET_KEY and _BUCKET, as tests/harness/radosgw.sh writes them. Without them the tests fail.
 */
#include "tests/unit/agent/store/contract.h"

#include "agent/base/fault.h"
#include "agent/store/s3_store.h"

#define PART_BYTES  (5 * 1024 * 1024)
#define LARGE_BYTES (12 * 1024 * 1024 + 345)

static const ShS3Options quick = {.list_keys_max = 4, .backoff_base_ms = 2};

static char *setting(const char *name)
{
    char *value = getenv(name);
    if (value == NULL || value[0] == '\0')
        fail_msg("%s is not set: start a server with tests/harness/radosgw.sh", name);
    return value;
}

/* Each test works below a prefix of its own, so that tests and runs do not meet. */
static ShConfig server_config(char prefix[64])
{
    ShUuid id;
    char id_text[SH_UUID_TEXT_BYTES];
    ShError err;
    assert_int_equal(sh_uuid_random(&id, &err), SH_OK);
    sh_uuid_format(&id, id_text);
    snprintf(prefix, 64, "run %s", id_text);
    return (ShConfig){.store = SH_STORE_S3,
                      .s3_endpoint = setting("STREAMHOUSE_TEST_S3_ENDPOINT"),
                      .s3_access_key = setting("STREAMHOUSE_TEST_S3_ACCESS_KEY"),
                      .s3_secret_key = setting("STREAMHOUSE_TEST_S3_SECRET_KEY"),
                      .s3_bucket = setting("STREAMHOUSE_TEST_S3_BUCKET"),
                      .s3_prefix = prefix,
                      .s3_region = "us-east-1",
                      .s3_ca_file = "",
                      .s3_session_token = "",
                      .s3_path_style = true,
                      .s3_sign_payload = SH_SIGN_AUTO,
                      .s3_multipart_bytes = PART_BYTES,
                      .s3_timeout_ms = 60000,
                      .s3_retries_max = 5};
}

static ShStore *open_store(const ShConfig *config)
{
    ShStore *store = NULL;
    ShError err = {0};
    contract_assert_status(sh_s3_store_open_with(config, &quick, &store, &err), SH_OK, &err);
    return store;
}

static bool delete_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    ShError err = {0};
    contract_assert_status(sh_store_delete(arg, key, &err), SH_OK, &err);
    return true;
}

static void empty_and_close(ShStore *store)
{
    ShError err = {0};
    contract_assert_status(sh_store_list(store, "", delete_listed, store, &err), SH_OK, &err);
    sh_store_close(store);
}

static void test_keeps_the_contract_in_path_style(void **state)
{
    (void)state;
    char prefix[64];
    ShConfig config = server_config(prefix);
    ShStore *store = open_store(&config);
    contract_all(store, LARGE_BYTES);
    empty_and_close(store);
}

/* Names below "localhost" lead to this host, so the bucket can be part of the host's name. */
static void test_keeps_the_contract_in_virtual_host_style(void **state)
{
    (void)state;
    char prefix[64];
    char endpoint[64];
    ShConfig config = server_config(prefix);
    snprintf(endpoint, sizeof endpoint, "http://localhost%s", strrchr(config.s3_endpoint, ':'));
    config.s3_endpoint = endpoint;
    config.s3_path_style = false;
    ShStore *store = open_store(&config);
    assert_non_null(strstr(sh_store_describe(store), config.s3_bucket));
    contract_all(store, LARGE_BYTES);
    empty_and_close(store);
}

static void test_takes_unsigned_payloads(void **state)
{
    (void)state;
    char prefix[64];
    ShError err = {0};
    ShConfig config = server_config(prefix);
    config.s3_sign_payload = SH_SIGN_NEVER;
    ShStore *store = open_store(&config);
    contract_assert_status(contract_put_text(store, "unsigned", "payload", &err), SH_OK, &err);
    contract_assert_content(store, "unsigned", 0, 100, "payload", 7);
    empty_and_close(store);
}

/* The answer to a put is lost after the server has stored the object; the retry meets it. */
static void test_lost_replies(void **state)
{
    (void)state;
    char prefix[64];
    ShError err = {0};
    ShConfig config = server_config(prefix);
    ShStore *store = open_store(&config);
    contract_assert_status(sh_fault_arm("store.put.reply=error:1", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(store, "lost", "payload", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(store, "lost", "another payload", &err), SH_EXISTS, &err);

    uint8_t *large = contract_pattern(LARGE_BYTES);
    const struct iovec piece = {.iov_base = large, .iov_len = LARGE_BYTES};
    contract_assert_status(sh_fault_arm("store.put.reply=error:1", &err), SH_OK, &err);
    contract_assert_status(sh_store_put(store, "lost in parts", &piece, 1, LARGE_BYTES, &err), SH_OK, &err);
    contract_assert_content(store, "lost in parts", PART_BYTES - 10, 20, large + PART_BYTES - 10, 20);
    free(large);
    assert_int_equal(sh_fault_arm(NULL, &err), SH_OK);
    empty_and_close(store);
}

static void test_takes_checksums(void **state)
{
    (void)state;
    char prefix[64];
    ShError err = {0};
    ShConfig config = server_config(prefix);
    uint8_t *large = contract_pattern(LARGE_BYTES);
    const struct iovec piece = {.iov_base = large, .iov_len = LARGE_BYTES};
    for (config.s3_checksum = SH_S3_CHECKSUM_CRC32C; config.s3_checksum <= SH_S3_CHECKSUM_MD5;
         config.s3_checksum++) {
        char key[32];
        ShStore *store = open_store(&config);
        snprintf(key, sizeof key, "sum/%d", (int)config.s3_checksum);
        contract_assert_status(contract_put_text(store, key, "payload", &err), SH_OK, &err);
        snprintf(key, sizeof key, "sum/large/%d", (int)config.s3_checksum);
        contract_assert_status(sh_store_put(store, key, &piece, 1, LARGE_BYTES, &err), SH_OK, &err);
        contract_assert_content(store, key, PART_BYTES - 10, 20, large + PART_BYTES - 10, 20);
        empty_and_close(store);
    }
    free(large);
}

/* An upload whose completion and abort both fail is left with the server, and ended later by whoever looks.
 */
static void test_uploads_left_behind_are_ended(void **state)
{
    (void)state;
    char prefix[64];
    ShError err = {0};
    ShConfig config = server_config(prefix);
    ShStore *store = open_store(&config);
    ShS3Client *client = ((ShS3Store *)store)->client;
    const ShS3Parameter parameter = {"uploads", ""};
    const ShS3Request begin = {.operation = SH_S3_UPLOAD_CREATE,
                               .key = "left/behind",
                               .parameters = &parameter,
                               .parameter_count = 1,
                               .reply_bytes_max = 65536};
    ShS3Reply reply;
    contract_assert_status(sh_s3_request(client, &begin, &reply, &err), SH_OK, &err);
    sh_s3_reply_clear(&reply);
    size_t count = 7;
    contract_assert_status(sh_store_end_uploads(store, 60 * 60 * 1000, &count, &err), SH_OK, &err);
    assert_int_equal(count, 0); /* young */
    contract_assert_status(sh_store_end_uploads(store, -60 * 1000, &count, &err), SH_OK, &err);
    assert_int_equal(count, 1);
    contract_assert_status(sh_store_end_uploads(store, -60 * 1000, &count, &err), SH_OK, &err);
    assert_int_equal(count, 0);
    empty_and_close(store);
}

/* A server that lost its knowledge of conditions is still not overwritten. */
static void test_does_without_conditions(void **state)
{
    (void)state;
    char prefix[64];
    ShConfig config = server_config(prefix);
    ShStore *store = open_store(&config);
    sh_s3_remember_conditions_refused((ShS3Store *)store, "does not know");
    contract_put_and_read(store);
    contract_never_overwritten(store);
    empty_and_close(store);
}

static void check_fails(const ShConfig *config, ShStatus want, const char *setting_name, const char *more)
{
    ShError err = {0};
    ShStore *store = open_store(config);
    contract_assert_status(sh_store_check(store, &err), want, &err);
    sh_store_close(store);
    if (strstr(err.message, setting_name) == NULL || strstr(err.message, more) == NULL)
        fail_msg("\"%s\" does not name %s and %s", err.message, setting_name, more);
    if (config->s3_secret_key[0] != '\0')
        assert_null(strstr(err.message, config->s3_secret_key));
}

static void test_check_tells_what_is_wrong(void **state)
{
    (void)state;
    char prefix[64];
    const ShConfig good = server_config(prefix);

    ShConfig wrong_secret = good;
    wrong_secret.s3_secret_key = "not-the-secret";
    check_fails(&wrong_secret, SH_DENIED, "s3_secret_key", "SignatureDoesNotMatch");

    ShConfig unknown_key = good;
    unknown_key.s3_access_key = "nobody";
    check_fails(&unknown_key, SH_DENIED, "s3_access_key", "does not know this key");

    ShConfig no_bucket = good;
    no_bucket.s3_bucket = "no-such-bucket";
    check_fails(&no_bucket, SH_DENIED, "s3_bucket", "create it");

    ShConfig refused = good;
    refused.s3_endpoint = "http://127.0.0.1:1";
    check_fails(&refused, SH_UNAVAILABLE, "s3_endpoint", "127.0.0.1:1");

    ShConfig no_host = good;
    no_host.s3_endpoint = "http://no-such-host.invalid";
    check_fails(&no_host, SH_UNAVAILABLE, "s3_endpoint", "no-such-host.invalid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_contract_in_path_style),
        cmocka_unit_test(test_keeps_the_contract_in_virtual_host_style),
        cmocka_unit_test(test_takes_unsigned_payloads),
        cmocka_unit_test(test_lost_replies),
        cmocka_unit_test(test_takes_checksums),
        cmocka_unit_test(test_uploads_left_behind_are_ended),
        cmocka_unit_test(test_does_without_conditions),
        cmocka_unit_test(test_check_tells_what_is_wrong),
    };
    /* Of servers that are not told the host names of their buckets. */
    cmocka_set_skip_filter(getenv("STREAMHOUSE_TEST_S3_SKIP"));
    return cmocka_run_group_tests_name("S3 store against a server", tests, NULL, NULL);
}
