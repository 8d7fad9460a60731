/* Where settings come from, and what is said of wrong ones. */
#include "tests/unit/agent/base/base_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/config.h"
#include "agent/base/config_table.h"

static char path[] = "/tmp/sh-config-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static const char *file_of(const char *yaml)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(yaml, file);
    fclose(file);
    return path;
}

static ShConfig *load(const char *yaml, char **environ_list)
{
    ShError err;
    ShConfig *config = NULL;
    if (sh_config_load(yaml == NULL ? NULL : file_of(yaml), environ_list, &config, &err) != SH_OK)
        fail_msg("%s", err.message);
    return config;
}

static char *no_variables[] = {NULL};

static void test_defaults(void **state)
{
    (void)state;
    ShConfig *config = load(NULL, no_variables);
    char host[256];
    assert_int_equal(gethostname(host, sizeof host), 0);
    assert_string_equal(config->agent_id, host);
    assert_string_equal(config->listen_address, "127.0.0.1:50051");
    assert_string_equal(config->advertised_address, "");
    assert_string_equal(config->wal_dir, "/var/lib/streamhouse/wal");
    assert_string_equal(config->store_dir, "/var/lib/streamhouse/store");
    assert_int_equal(config->wal_sync, SH_WAL_SYNC_ALWAYS);
    assert_int_equal(config->wal_file_bytes, 64 << 20);
    assert_int_equal(config->wal_budget_bytes, 4LL << 30);
    assert_int_equal(config->flush_bytes, 8 << 20);
    assert_int_equal(config->flush_interval_ms, 1000);
    assert_int_equal(config->memory_budget_bytes, 512 << 20);
    assert_int_equal(config->store, SH_STORE_DIRECTORY);
    assert_int_equal(config->log_level, SH_LOG_INFO);
    assert_false(config->s3_path_style);
    assert_string_equal(sh_wal_sync_name(config->wal_sync), "always");
    sh_config_free(config);
}

static void test_the_environment_wins_over_the_file_and_the_file_over_defaults(void **state)
{
    (void)state;
    char *variables[] = {"PATH=/bin",
                         "STREAMHOUSE_FLUSH_INTERVAL=2500",
                         "STREAMHOUSE_WAL_DIR=/w",
                         "STREAMHOUSE_FAULTS=x",
                         "STREAMHOUSE_CONFIG=y",
                         "STREAMHOUSE_TEST_PG=z",
                         "STREAMHOUSE_SERVICE_HOST=10.0.0.1",
                         "STREAMHOUSE_PORT=tcp://10.0.0.1:50051",
                         "STREAMHOUSE_AGENT_PORT=tcp://10.0.0.1:50051",
                         "STREAMHOUSE_AGENT_PORT_50051_TCP_ADDR=10.0.0.1",
                         "STREAMHOUSE_HOME=/opt",
                         "STREAMHOUSE_LOG=x",
                         NULL};
    ShConfig *config = load("# a comment\n"
                            "data_dir: /d\nflush_interval: 1500ms\nwal_sync: interval\nzone: 'a ''b'' c'\n"
                            "s3_path_style: yes\nmemory_budget: 1 GB\nfetch_wait_max: 2min\nport_file:\n",
                            variables);
    assert_int_equal(config->flush_interval_ms, 2500);
    assert_string_equal(config->wal_dir, "/w");
    assert_string_equal(config->store_dir, "/d/store");
    assert_int_equal(config->wal_sync, SH_WAL_SYNC_INTERVAL);
    assert_string_equal(config->zone, "a 'b' c");
    assert_true(config->s3_path_style);
    assert_int_equal(config->memory_budget_bytes, 1 << 30);
    assert_int_equal(config->fetch_wait_max_ms, 120000);
    assert_string_equal(config->port_file, "");
    sh_config_free(config);
}

static void test_aws_variables_are_a_fall_back(void **state)
{
    (void)state;
    char *variables[] = {"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=token",
                         "AWS_REGION=eu-west-1", NULL};
    ShConfig *config = load("store: s3\ns3_bucket: b\n", variables);
    assert_string_equal(config->s3_access_key, "key");
    assert_string_equal(config->s3_secret_key, "secret");
    assert_string_equal(config->s3_session_token, "token");
    assert_string_equal(config->s3_region, "eu-west-1");
    sh_config_free(config);

    /* Credentials do not mix. */
    config = load("store: s3\ns3_bucket: b\ns3_access_key: k\ns3_secret_key: s\ns3_region: x\n", variables);
    assert_string_equal(config->s3_access_key, "k");
    assert_string_equal(config->s3_secret_key, "s");
    assert_string_equal(config->s3_session_token, "");
    assert_string_equal(config->s3_region, "x");
    sh_config_free(config);
}

static void test_where_keys_come_from(void **state)
{
    (void)state;
    char *by_role[] = {"AWS_ROLE_ARN=arn:r", "AWS_WEB_IDENTITY_TOKEN_FILE=/token", NULL};
    char *by_container[] = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/keys", NULL};
    char *by_both[] = {"AWS_ROLE_ARN=arn:r", "AWS_WEB_IDENTITY_TOKEN_FILE=/token", "AWS_ACCESS_KEY_ID=k",
                       "AWS_SECRET_ACCESS_KEY=s", NULL};
    static const char store[] = "store: s3\ns3_bucket: b\n";
    ShConfig *config = load(store, by_role);
    assert_int_equal(sh_config_s3_credentials(config), SH_S3_CREDENTIALS_WEB_IDENTITY);
    sh_config_free(config);
    config = load(store, by_container);
    assert_int_equal(sh_config_s3_credentials(config), SH_S3_CREDENTIALS_CONTAINER);
    assert_string_equal(config->s3_container_uri, "http://169.254.170.2/v2/keys");
    sh_config_free(config);
    config = load(store, by_both);
    assert_int_equal(sh_config_s3_credentials(config), SH_S3_CREDENTIALS_KEYS);
    sh_config_free(config);
    config = load("store: s3\ns3_bucket: b\ns3_credentials: instance\n", by_both);
    assert_int_equal(sh_config_s3_credentials(config), SH_S3_CREDENTIALS_INSTANCE);
    sh_config_free(config);
}

static void test_protection_variables_may_go_without_prefix(void **state)
{
    (void)state;
    char *variables[] = {"THROTTLE_ENABLED=false",      "THROTTLE_PUT_RATE=77",
                         "STREAMHOUSE_BREAKER_OPEN=5s", "BREAKER_OPEN=6s",
                         "THROTTLE_OF_SOMEBODY_ELSE=x", "THROTTLE_",
                         "FLUSH_INTERVAL=7s",           NULL};
    ShConfig *config = load("throttle_put_rate: 5\nthrottle_get_rate: 6\n", variables);
    assert_false(config->throttle_enabled);
    assert_int_equal(config->throttle_put_rate, 77);
    assert_int_equal(config->throttle_get_rate, 6);
    assert_int_equal(config->breaker_open_ms, 5000);
    assert_int_equal(config->flush_interval_ms, 1000);
    sh_config_free(config);

    ShError err;
    ShConfig *none = NULL;
    char *bad[] = {"THROTTLE_PUT_RATE=0", NULL};
    assert_int_equal(sh_config_load(NULL, bad, &none, &err), SH_INVALID);
    assert_contains(err.message, "variable THROTTLE_PUT_RATE: throttle_put_rate: \"0\" is not between");
}

/* What a file with this text is answered; %s stands for the file's name. */
typedef struct BadFile {
    const char *yaml;
    const char *message;
} BadFile;

static void test_wrong_files_are_answered_with_line_and_reason(void **state)
{
    (void)state;
    static const BadFile files[] = {
        {"zone: a\nflush_intervall: 1s\n",
         ":2: there is no setting \"flush_intervall\"; did you mean flush_interval?"},
        {"qqqqqqqqqqqq: 1\n", ":1: there is no setting \"qqqqqqqqqqqq\""},
        {"zone: a\n\nzone: b\n", ":3: zone was given in line 1 already"},
        {"flush_interval: soon\n", ":1: flush_interval: \"soon\" is not a duration"},
        {"flush_interval: 1 day\n", "is not a duration"},
        {"flush_interval: 1.5s\n", "is not a duration"},
        {"flush_interval: 1ms\n", "\"1ms\" is not between 10ms and 1h"},
        {"flush_interval: -1s\n", "is not between"},
        {"flush_size: 9223372036854775807GB\n", "is not between 64kB and 1GB"},
        {"flush_size: 99999999999999999999\n", "is not between"},
        {"flush_size: 8mb\n", "is not a size in bytes, or with a unit of kB, MB, GB, TB"},
        {"uploads_max: 4MB\n", "is not a whole number"},
        {"uploads_max: ''\n", "is not a whole number"},
        {"wal_sync: sometimes\n", "\"sometimes\" is not one of always, interval, never"},
        {"s3_path_style: perhaps\n", "is not true or false"},
        {"listen_address: nowhere\n", ":1: listen_address: \"nowhere\" is not host:port"},
        {"http_address: 127.0.0.1:99999\n", "http_address"},
        {"postgres: ''\n", "postgres: must not be empty"},
        {"zone: 0123456789012345678901234567890123456789012345678901234567890123\n", "at most 63"},
        {"zone: [a, b]\n", ":1: zone: a single value is expected"},
        {"zone: &x a\nport_file: *x\n", ":2: port_file: a single value is expected"},
        {"- zone\n", ":1: expected \"name: value\""},
        {"zone\n", ":1: expected \"name: value\""},
        {"zone: a\n---\nzone: b\n", "a second document"},
        {"zone: 'a\n", "unexpected end of stream"},
        {"zone: \"a\\0b\"\n", "a single value is expected"},
        {"? [zone]\n: a\n", "a setting's name is expected"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        ShError err;
        ShConfig *config = NULL;
        if (sh_config_load(file_of(files[i].yaml), no_variables, &config, &err) != SH_INVALID)
            fail_msg("accepted: %s", files[i].yaml);
        assert_null(config);
        assert_contains(err.message, files[i].message);
        assert_contains(err.message, path);
    }
}

#define S3_KEYS "store: s3\ns3_bucket: b\ns3_access_key: k\ns3_secret_key: s\n"

static void test_settings_that_do_not_fit_together(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *message;
        const char *rule; /* the beginning of its text, or what follows `store: s3` */
    } files[] = {
        {"agent_id: 'a b'\n", "agent_id", "`agent_id` holds"},
        {"listen_address: '0.0.0.0:50051'\n", "advertised_address must say", "`advertised_address` is set"},
        {"advertised_address: host:0\n", "advertised_address", "`advertised_address` has a port"},
        {"wal_file_size: 64MB\nwal_budget: 255MB\n", "at most a quarter of wal_budget", "`wal_file_size` is"},
        {"batch_bytes_max: 16MB\n", "batch_bytes_max (16777216) must be below message_bytes_max (16777216)",
         "`batch_bytes_max` is"},
        {"batch_decompressed_bytes_max: 1kB\n", "must not be below batch_bytes_max",
         "`batch_decompressed_bytes_max` is"},
        {"flush_size: 64MB\nmemory_budget: 100MB\n", "at most half of memory_budget", "`flush_size` is"},
        {"store: s3\n", "s3_bucket: must be set", "`s3_bucket` is"},
        {"store: s3\ns3_bucket: b\n", "AWS_ACCESS_KEY_ID", "`s3_access_key` and"},
        {"store: s3\ns3_bucket: b\ns3_access_key: k\n", "AWS_SECRET_ACCESS_KEY", "`s3_access_key` and"},
        {"store: s3\ns3_bucket: b\ns3_credentials: container\n", "wants s3_container_uri",
         "where `s3_credentials` says"},
        {"store: s3\ns3_bucket: b\ns3_credentials: web-identity\ns3_role_arn: r\n", "web-identity wants",
         "where `s3_credentials` says"},
        {"store: s3\ns3_bucket: b\ns3_container_uri: 'file:///keys'\n", "does not start with",
         "where `s3_credentials` says"},
        {S3_KEYS "s3_deadline: 1s\ns3_timeout: 2s\n", "s3_deadline (1000 ms)", "`s3_deadline` is"},
        {S3_KEYS "s3_kms_key: k\n", "s3_kms_key: is of no use", "`s3_kms_key` is"},
        {S3_KEYS "s3_endpoint: 'host:80'\n", "http://", "`s3_endpoint` begins"},
        {S3_KEYS "s3_endpoint: 'http://u:p@h'\n", "s3_access_key", "`s3_endpoint` begins"},
    };
    bool broken[64] = {false};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        ShError err;
        ShConfig *config = NULL;
        if (sh_config_load(file_of(files[i].yaml), no_variables, &config, &err) != SH_INVALID)
            fail_msg("accepted: %s", files[i].yaml);
        assert_contains(err.message, files[i].message);
        for (size_t rule = 0; rule < sh_setting_rule_count; rule++)
            broken[rule] |= strstr(sh_setting_rules[rule].text, files[i].rule) != NULL;
    }
    for (size_t rule = 0; rule < sh_setting_rule_count; rule++) {
        if (!broken[rule])
            fail_msg("no file breaks the rule \"%s\"", sh_setting_rules[rule].text);
    }
}

static void test_wrong_variables_are_named(void **state)
{
    (void)state;
    ShError err;
    ShConfig *config = NULL;
    char *unknown[] = {"STREAMHOUSE_WAL_BUDGT=1GB", NULL};
    assert_int_equal(sh_config_load(NULL, unknown, &config, &err), SH_INVALID);
    assert_contains(err.message, "variable STREAMHOUSE_WAL_BUDGT");
    assert_contains(err.message, "did you mean STREAMHOUSE_WAL_BUDGET?");
    char *bad[] = {"STREAMHOUSE_WAL_BUDGET=lots", NULL};
    assert_int_equal(sh_config_load(NULL, bad, &config, &err), SH_INVALID);
    assert_contains(err.message, "variable STREAMHOUSE_WAL_BUDGET: wal_budget: \"lots\"");
    assert_null(config);
}

static void test_a_missing_file_is_named(void **state)
{
    (void)state;
    ShError err;
    ShConfig *config = NULL;
    assert_int_equal(sh_config_load("/nowhere/agent.yaml", no_variables, &config, &err), SH_INVALID);
    assert_contains(err.message, "/nowhere/agent.yaml: No such file");
}

static void test_a_pipe_is_no_settings_file(void **state)
{
    (void)state;
    ShError err;
    ShConfig *config = NULL;
    char dir[] = "/tmp/sh-config-dir-XXXXXX";
    char pipe[64];
    assert_non_null(mkdtemp(dir));
    snprintf(pipe, sizeof pipe, "%s/agent.yaml", dir);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(sh_config_load(pipe, no_variables, &config, &err), SH_INVALID);
    assert_contains(err.message, "is no regular file");
    assert_int_equal(sh_config_load(dir, no_variables, &config, &err), SH_INVALID);
    unlink(pipe);
    rmdir(dir);
}

/* What is logged while the file is loaded. */
static const char *log_of(const char *yaml, mode_t mode)
{
    static char logged[4096];
    FILE *to = tmpfile();
    assert_non_null(to);
    file_of(yaml);
    assert_int_equal(chmod(path, mode), 0);
    int terminal = dup(STDERR_FILENO);
    dup2(fileno(to), STDERR_FILENO);
    ShError err;
    ShConfig *config = NULL;
    ShStatus status = sh_config_load(path, no_variables, &config, &err);
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    assert_int_equal(status, SH_OK);
    sh_config_free(config);
    ssize_t length = pread(fileno(to), logged, sizeof logged - 1, 0);
    logged[length > 0 ? length : 0] = '\0';
    fclose(to);
    return logged;
}

static void test_secrets_that_everybody_may_read_are_told(void **state)
{
    (void)state;
    static const char secret[] = "s3_secret_key: sesame\npostgres: 'host=x password=sesame'\n";
    const char *logged = log_of(secret, 0644);
    assert_contains(logged, "settings_readable");
    assert_contains(logged, "setting=s3_secret_key");
    assert_contains(logged, "setting=postgres");
    assert_lacks(logged, "sesame");
    assert_string_equal(log_of(secret, 0640), "");
    assert_string_equal(log_of("postgres: 'host=x passfile=/etc/x'\ns3_secret_key: ''\n", 0644), "");
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_printing_hides_secrets_and_can_be_loaded_again(void **state)
{
    (void)state;
    ShConfig *config = load("s3_secret_key: sesame1\ns3_session_token: sesame2\nzone: \"q\\\"\\\\\\t\"\n"
                            "postgres: 'host=x password=sesame3'\nflush_interval: 90s\nwal_budget: 5000MB\n",
                            no_variables);
    char *text = NULL;
    size_t length;
    FILE *to = open_memstream(&text, &length);
    sh_config_print(config, to);
    fclose(to);
    assert_lacks(text, "sesame");
    assert_contains(text, "s3_secret_key: \"(hidden)\"\n");
    assert_contains(text, "postgres: \"(hidden)\"\n");
    assert_contains(text, "flush_interval: 90s\n");
    assert_contains(text, "wal_budget: 5000MB\n");
    ShConfig *again = load(text, no_variables);
    assert_string_equal(again->zone, config->zone);
    assert_int_equal(again->wal_budget_bytes, config->wal_budget_bytes);
    free(text);
    sh_config_free(again);
    sh_config_free(config);

    config = load("postgres: 'postgresql://u:sesame@h/d'\n", no_variables);
    to = open_memstream(&text, &length);
    sh_config_print(config, to);
    fclose(to);
    assert_lacks(text, "sesame");
    free(text);
    sh_config_free(config);
}

/* STREAMHOUSE_TEST_UPDATE=1 writes the page anew. */
static void test_the_reference_is_up_to_date(void **state)
{
    (void)state;
    static const char page_path[] = "docs/reference/settings.md";
    char *expected = NULL;
    size_t length;
    FILE *to = open_memstream(&expected, &length);
    sh_config_print_reference(to);
    fclose(to);
    if (getenv("STREAMHOUSE_TEST_UPDATE") != NULL) {
        FILE *page = fopen(page_path, "w");
        assert_non_null(page);
        fputs(expected, page);
        fclose(page);
    }
    static char found[65536];
    FILE *page = fopen(page_path, "r");
    assert_non_null(page);
    found[fread(found, 1, sizeof found - 1, page)] = '\0';
    fclose(page);
    if (strcmp(found, expected) != 0)
        fail_msg("%s is not what the table prints; run this test with STREAMHOUSE_TEST_UPDATE=1", page_path);
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_the_environment_wins_over_the_file_and_the_file_over_defaults),
        cmocka_unit_test(test_aws_variables_are_a_fall_back),
        cmocka_unit_test(test_where_keys_come_from),
        cmocka_unit_test(test_protection_variables_may_go_without_prefix),
        cmocka_unit_test(test_wrong_files_are_answered_with_line_and_reason),
        cmocka_unit_test(test_settings_that_do_not_fit_together),
        cmocka_unit_test(test_wrong_variables_are_named),
        cmocka_unit_test(test_a_missing_file_is_named),
        cmocka_unit_test(test_a_pipe_is_no_settings_file),
        cmocka_unit_test(test_secrets_that_everybody_may_read_are_told),
        cmocka_unit_test(test_printing_hides_secrets_and_can_be_loaded_again),
        cmocka_unit_test(test_the_reference_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
