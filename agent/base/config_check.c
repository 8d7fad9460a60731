#include <string.h>

#include "agent/base/config_table.h"

static bool is_wildcard(const char *address);
static ShStatus check_identity(const ShConfig *config, ShError *err);
static bool is_wildcard(const char *address)
{
    static const char *const wildcards[] = {"0.0.0.0:", "[::]:", "*:"};
    for (size_t i = 0; i < sizeof wildcards / sizeof wildcards[0]; i++) {
        if (strncmp(address, wildcards[i], strlen(wildcards[i])) == 0)
            return true;
    }
    return false;
}

static ShStatus check_bounds(const ShConfig *config, ShError *err);
static ShStatus check_s3(const ShConfig *config, ShError *err);

ShStatus sh_config_check(const ShConfig *config, ShError *err)
{
    ShStatus status = check_identity(config, err);
    if (status == SH_OK)
        status = check_bounds(config, err);
    if (status == SH_OK && config->store == SH_STORE_S3)
        status = check_s3(config, err);
    return status;
}

static ShStatus check_identity(const ShConfig *config, ShError *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (config->agent_id[strspn(config->agent_id, allowed)] != '\0')
        return sh_fail(err, SH_INVALID,
                       "agent_id: \"%s\" has other characters than letters, digits, '.', '_', '-'",
                       config->agent_id);
    if (config->advertised_address[0] == '\0' && is_wildcard(config->listen_address))
        return sh_fail(
            err, SH_INVALID,
            "listen_address: \"%s\" is every address of the host, so advertised_address must say which "
            "one clients shall use",
            config->listen_address);
    size_t length = strlen(config->advertised_address);
    if (length >= 2 && strcmp(config->advertised_address + length - 2, ":0") == 0)
        return sh_fail(err, SH_INVALID, "advertised_address: \"%s\" has port 0, to which nobody can connect",
                       config->advertised_address);
    return SH_OK;
}

static ShStatus check_bounds(const ShConfig *config, ShError *err)
{
    if (config->wal_file_bytes > config->wal_budget_bytes / 2)
        return sh_fail(err, SH_INVALID,
                       "wal_file_size (%lld bytes) must be at most half of wal_budget (%lld bytes)",
                       (long long)config->wal_file_bytes, (long long)config->wal_budget_bytes);
    if (config->batch_bytes_max >= config->message_bytes_max)
        return sh_fail(err, SH_INVALID, "batch_bytes_max (%lld) must be below message_bytes_max (%lld)",
                       (long long)config->batch_bytes_max, (long long)config->message_bytes_max);
    if (config->batch_decompressed_bytes_max < config->batch_bytes_max)
        return sh_fail(err, SH_INVALID,
                       "batch_decompressed_bytes_max (%lld) must not be below batch_bytes_max (%lld)",
                       (long long)config->batch_decompressed_bytes_max, (long long)config->batch_bytes_max);
    if (config->flush_bytes > config->memory_budget_bytes / 2)
        return sh_fail(err, SH_INVALID,
                       "flush_size (%lld bytes) must be at most half of memory_budget (%lld bytes)",
                       (long long)config->flush_bytes, (long long)config->memory_budget_bytes);
    return SH_OK;
}

static ShStatus check_s3(const ShConfig *config, ShError *err)
{
    if (config->s3_bucket[0] == '\0')
        return sh_fail(err, SH_INVALID, "s3_bucket: must be set when store is s3");
    if (config->s3_access_key[0] == '\0')
        return sh_fail(err, SH_INVALID,
                       "s3_access_key: must be set when store is s3 (or the variable AWS_ACCESS_KEY_ID)");
    if (config->s3_secret_key[0] == '\0')
        return sh_fail(err, SH_INVALID,
                       "s3_secret_key: must be set when store is s3 (or the variable AWS_SECRET_ACCESS_KEY)");
    if (config->s3_deadline_ms < config->s3_timeout_ms)
        return sh_fail(err, SH_INVALID,
                       "s3_deadline (%lld ms), which all attempts of a request share, must not be below "
                       "s3_timeout (%lld ms), which one may take",
                       (long long)config->s3_deadline_ms, (long long)config->s3_timeout_ms);
    if (config->s3_kms_key[0] != '\0' && config->s3_encryption != SH_S3_ENCRYPTION_KMS)
        return sh_fail(err, SH_INVALID, "s3_kms_key: is of no use without s3_encryption: sse-kms");
    const char *endpoint = config->s3_endpoint;
    /* What may be a password is not repeated. */
    if (strchr(endpoint, '@') != NULL)
        return sh_fail(
            err, SH_INVALID,
            "s3_endpoint: holds an '@', as before a host a user's name or password; credentials belong "
            "in s3_access_key and s3_secret_key");
    if (endpoint[0] != '\0' && strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
        return sh_fail(err, SH_INVALID, "s3_endpoint: \"%s\" does not start with http:// or https://",
                       endpoint);
    return SH_OK;
}
