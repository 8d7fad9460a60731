#include <string.h>

#include "agent/base/config_table.h"

static bool is_wildcard(const char *address);

static ShStatus check_agent_id(const ShConfig *config, ShError *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (config->agent_id[strspn(config->agent_id, allowed)] != '\0')
        return sh_fail(err, SH_INVALID,
                       "agent_id: \"%s\" has other characters than letters, digits, '.', '_', '-'",
                       config->agent_id);
    return SH_OK;
}

static ShStatus check_wildcard(const ShConfig *config, ShError *err)
{
    if (config->advertised_address[0] == '\0' && is_wildcard(config->listen_address))
        return sh_fail(
            err, SH_INVALID,
            "listen_address: \"%s\" is every address of the host, so advertised_address must say which "
            "one clients shall use",
            config->listen_address);
    return SH_OK;
}

static ShStatus check_advertised_port(const ShConfig *config, ShError *err)
{
    size_t length = strlen(config->advertised_address);
    if (length >= 2 && strcmp(config->advertised_address + length - 2, ":0") == 0)
        return sh_fail(err, SH_INVALID, "advertised_address: \"%s\" has port 0, to which nobody can connect",
                       config->advertised_address);
    return SH_OK;
}

static ShStatus check_wal_file(const ShConfig *config, ShError *err)
{
    if (config->wal_file_bytes > config->wal_budget_bytes / 4)
        return sh_fail(err, SH_INVALID,
                       "wal_file_size (%lld bytes) must be at most a quarter of wal_budget (%lld bytes)",
                       (long long)config->wal_file_bytes, (long long)config->wal_budget_bytes);
    return SH_OK;
}

static ShStatus check_message(const ShConfig *config, ShError *err)
{
    if (config->batch_bytes_max >= config->message_bytes_max)
        return sh_fail(err, SH_INVALID, "batch_bytes_max (%lld) must be below message_bytes_max (%lld)",
                       (long long)config->batch_bytes_max, (long long)config->message_bytes_max);
    return SH_OK;
}

static ShStatus check_decompressed(const ShConfig *config, ShError *err)
{
    if (config->batch_decompressed_bytes_max < config->batch_bytes_max)
        return sh_fail(err, SH_INVALID,
                       "batch_decompressed_bytes_max (%lld) must not be below batch_bytes_max (%lld)",
                       (long long)config->batch_decompressed_bytes_max, (long long)config->batch_bytes_max);
    return SH_OK;
}

static ShStatus check_flush(const ShConfig *config, ShError *err)
{
    if (config->flush_bytes > config->memory_budget_bytes / 2)
        return sh_fail(err, SH_INVALID,
                       "flush_size (%lld bytes) must be at most half of memory_budget (%lld bytes)",
                       (long long)config->flush_bytes, (long long)config->memory_budget_bytes);
    return SH_OK;
}

static ShStatus check_bucket(const ShConfig *config, ShError *err)
{
    if (config->store == SH_STORE_S3 && config->s3_bucket[0] == '\0')
        return sh_fail(err, SH_INVALID, "s3_bucket: must be set when store is s3");
    return SH_OK;
}

static ShStatus check_keys(const ShConfig *config, ShError *err)
{
    if (config->store != SH_STORE_S3 || sh_config_s3_credentials(config) != SH_S3_CREDENTIALS_KEYS)
        return SH_OK;
    if (config->s3_access_key[0] == '\0')
        return sh_fail(err, SH_INVALID,
                       "s3_access_key: must be set when store is s3 (or the variable AWS_ACCESS_KEY_ID), "
                       "unless s3_credentials says where else the keys come from");
    if (config->s3_secret_key[0] == '\0')
        return sh_fail(err, SH_INVALID,
                       "s3_secret_key: must be set when store is s3 (or the variable AWS_SECRET_ACCESS_KEY)");
    return SH_OK;
}

static ShStatus check_temporary_keys(const ShConfig *config, ShError *err)
{
    if (config->store != SH_STORE_S3)
        return SH_OK;
    ShS3CredentialsFrom from = sh_config_s3_credentials(config);
    if (from == SH_S3_CREDENTIALS_WEB_IDENTITY &&
        (config->s3_role_arn[0] == '\0' || config->s3_web_identity_token_file[0] == '\0'))
        return sh_fail(err, SH_INVALID,
                       "s3_credentials: web-identity wants s3_role_arn and s3_web_identity_token_file");
    if (from == SH_S3_CREDENTIALS_CONTAINER && config->s3_container_uri[0] == '\0')
        return sh_fail(err, SH_INVALID, "s3_credentials: container wants s3_container_uri");
    const char *const urls[] = {config->s3_sts_endpoint, config->s3_container_uri,
                                config->s3_instance_endpoint};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        if (urls[i][0] != '\0' && strncmp(urls[i], "http://", 7) != 0 && strncmp(urls[i], "https://", 8) != 0)
            return sh_fail(err, SH_INVALID,
                           "s3_sts_endpoint, s3_container_uri, s3_instance_endpoint: \"%s\" does not "
                           "start with http:// or https://",
                           urls[i]);
    return SH_OK;
}

static ShStatus check_deadline(const ShConfig *config, ShError *err)
{
    if (config->store == SH_STORE_S3 && config->s3_deadline_ms < config->s3_timeout_ms)
        return sh_fail(err, SH_INVALID,
                       "s3_deadline (%lld ms), which all attempts of a request share, must not be below "
                       "s3_timeout (%lld ms), which one may take",
                       (long long)config->s3_deadline_ms, (long long)config->s3_timeout_ms);
    return SH_OK;
}

static ShStatus check_kms_key(const ShConfig *config, ShError *err)
{
    if (config->store == SH_STORE_S3 && config->s3_kms_key[0] != '\0' &&
        config->s3_encryption != SH_S3_ENCRYPTION_KMS)
        return sh_fail(err, SH_INVALID, "s3_kms_key: is of no use without s3_encryption: sse-kms");
    return SH_OK;
}

static ShStatus check_endpoint(const ShConfig *config, ShError *err)
{
    const char *endpoint = config->s3_endpoint;
    if (config->store != SH_STORE_S3 || endpoint[0] == '\0')
        return SH_OK;
    /* What may be a password is not repeated. */
    if (strchr(endpoint, '@') != NULL)
        return sh_fail(
            err, SH_INVALID,
            "s3_endpoint: holds an '@', as before a host a user's name or password; credentials belong "
            "in s3_access_key and s3_secret_key");
    if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
        return sh_fail(err, SH_INVALID, "s3_endpoint: \"%s\" does not start with http:// or https://",
                       endpoint);
    return SH_OK;
}

const ShSettingRule sh_setting_rules[] = {
    {"`agent_id` holds letters, digits, `.`, `_` and `-` alone", check_agent_id},
    {"`advertised_address` is set where `listen_address` is every address of the host (`0.0.0.0`, `[::]`, "
     "`*`)",
     check_wildcard},
    {"`advertised_address` has a port other than 0", check_advertised_port},
    {"`wal_file_size` is at most a quarter of `wal_budget`", check_wal_file},
    {"`batch_bytes_max` is below `message_bytes_max`", check_message},
    {"`batch_decompressed_bytes_max` is not below `batch_bytes_max`", check_decompressed},
    {"`flush_size` is at most half of `memory_budget`", check_flush},
    {"`store: s3`: `s3_bucket` is set", check_bucket},
    {"`store: s3`: `s3_access_key` and `s3_secret_key` are set, or their variables, unless the keys come "
     "from elsewhere (`s3_credentials`)",
     check_keys},
    {"`store: s3`: where `s3_credentials` says that keys come from has its settings: `s3_role_arn` and "
     "`s3_web_identity_token_file`, or `s3_container_uri`; their URLs begin with `http://` or `https://`",
     check_temporary_keys},
    {"`store: s3`: `s3_deadline` is not below `s3_timeout`", check_deadline},
    {"`store: s3`: `s3_kms_key` is set with `s3_encryption: sse-kms` alone", check_kms_key},
    {"`store: s3`: `s3_endpoint` begins with `http://` or `https://` and holds no user's name or password",
     check_endpoint},
};
const size_t sh_setting_rule_count = sizeof sh_setting_rules / sizeof sh_setting_rules[0];

ShS3CredentialsFrom sh_config_s3_credentials(const ShConfig *config)
{
    if (config->s3_credentials != SH_S3_CREDENTIALS_AUTO)
        return config->s3_credentials;
    bool has_keys = config->s3_access_key[0] != '\0' || config->s3_secret_key[0] != '\0';
    if (!has_keys && config->s3_role_arn[0] != '\0' && config->s3_web_identity_token_file[0] != '\0')
        return SH_S3_CREDENTIALS_WEB_IDENTITY;
    return !has_keys && config->s3_container_uri[0] != '\0' ? SH_S3_CREDENTIALS_CONTAINER
                                                            : SH_S3_CREDENTIALS_KEYS;
}

ShStatus sh_config_check(const ShConfig *config, ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t i = 0; i < sh_setting_rule_count && status == SH_OK; i++)
        status = sh_setting_rules[i].check(config, err);
    return status;
}

static bool is_wildcard(const char *address)
{
    static const char *const wildcards[] = {"0.0.0.0:", "[::]:", "*:"};
    for (size_t i = 0; i < sizeof wildcards / sizeof wildcards[0]; i++) {
        if (strncmp(address, wildcards[i], strlen(wildcards[i])) == 0)
            return true;
    }
    return false;
}
