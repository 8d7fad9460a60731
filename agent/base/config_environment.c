#include <ctype.h>
#include <string.h>

#include "agent/base/config_table.h"
#include "agent/base/log.h"

#define PREFIX     "STREAMHOUSE_"
#define NAME_BYTES 64

static ShStatus read_short_variables(char **environ_list, ShConfig *config, ShError *err);
static bool is_setting_variable(const char *name, size_t length);
static ShStatus read_variable(const char *name, size_t length, const char *value, ShConfig *config,
                              ShError *err);
static ShStatus take_aws_credentials(char **environ_list, ShConfig *config, ShError *err);
static ShStatus take_aws_sources(char **environ_list, ShConfig *config, ShError *err);
static ShStatus set_from_aws(char **environ_list, const char *variable, const char *setting, ShConfig *config,
                             ShError *err);

ShStatus sh_config_read_environment(char **environ_list, ShConfig *config, ShError *err)
{
    ShStatus status = read_short_variables(environ_list, config, err);
    if (status != SH_OK)
        return status;
    for (char **variable = environ_list; *variable != NULL; variable++) {
        const char *equals = strchr(*variable, '=');
        if (equals == NULL || !is_setting_variable(*variable, (size_t)(equals - *variable)))
            continue;
        status = read_variable(*variable, (size_t)(equals - *variable), equals + 1, config, err);
        if (status != SH_OK)
            return status;
    }
    status = take_aws_credentials(environ_list, config, err);
    return status == SH_OK ? take_aws_sources(environ_list, config, err) : status;
}

ShStatus sh_config_read_aws_region(char **environ_list, ShConfig *config, ShError *err)
{
    ShStatus status = set_from_aws(environ_list, "SSL_CERT_FILE", "s3_ca_file", config, err);
    if (status != SH_OK)
        return status;
    return set_from_aws(environ_list, "AWS_REGION", "s3_region", config, err);
}

/* THROTTLE_ENABLED and the like: the settings of these two families go without the prefix too. One with the
 * prefix is read after it and wins; a name that is no setting is somebody else's. */
static ShStatus read_short_variables(char **environ_list, ShConfig *config, ShError *err)
{
    char name[NAME_BYTES];
    for (char **variable = environ_list; *variable != NULL; variable++) {
        size_t length = strcspn(*variable, "=");
        bool is_family = strncmp(*variable, "THROTTLE_", 9) == 0 || strncmp(*variable, "BREAKER_", 8) == 0;
        if (!is_family || length >= sizeof name || (*variable)[length] != '=')
            continue;
        for (size_t i = 0; i < length; i++)
            name[i] = (char)tolower((unsigned char)(*variable)[i]);
        name[length] = '\0';
        const ShSetting *setting = sh_setting_find(name);
        if (setting == NULL)
            continue;
        ShStatus status = sh_setting_set(setting, *variable + length + 1, config, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "variable %.*s", (int)length, *variable);
    }
    return SH_OK;
}

/* Some names with the prefix are not settings: what main reads before them, what the `streamhouse` command
 * reads, and what tests are run with. */
static bool is_setting_variable(const char *name, size_t length)
{
    static const char *const others[] = {PREFIX "CONFIG", PREFIX "FAULTS", PREFIX "SERVER"};
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 ||
        strncmp(name, PREFIX "TEST_", strlen(PREFIX "TEST_")) == 0)
        return false;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strlen(others[i]) == length && strncmp(name, others[i], length) == 0)
            return false;
    }
    return true;
}

static ShStatus read_variable(const char *name, size_t length, const char *value, ShConfig *config,
                              ShError *err)
{
    char setting_name[NAME_BYTES];
    size_t kept = 0;
    for (size_t i = strlen(PREFIX); i < length && kept < sizeof setting_name - 1; i++)
        setting_name[kept++] = (char)tolower((unsigned char)name[i]);
    setting_name[kept] = '\0';

    /* A Kubernetes service named "streamhouse" puts STREAMHOUSE_SERVICE_HOST and the like here: not ours. */
    if (sh_setting_find(setting_name) == NULL && sh_setting_nearest(setting_name) == NULL) {
        sh_log_warn("variable_ignored", "name=%.*s reason=\"no setting has a name like it\"", (int)length,
                    name);
        return SH_OK;
    }
    const ShSetting *setting;
    ShStatus status = sh_config_find(setting_name, PREFIX, &setting, err);
    if (status == SH_OK)
        status = sh_setting_set(setting, value, config, err);
    return status == SH_OK ? SH_OK : sh_fail_prefix(err, status, "variable %.*s", (int)length, name);
}

/* Where temporary keys come from, by the names that AWS's platforms give to a process. */
static ShStatus take_aws_sources(char **environ_list, ShConfig *config, ShError *err)
{
    static const struct {
        const char *variable;
        const char *setting;
    } sources[] = {{"AWS_ROLE_ARN", "s3_role_arn"},
                   {"AWS_WEB_IDENTITY_TOKEN_FILE", "s3_web_identity_token_file"},
                   {"AWS_ENDPOINT_URL_STS", "s3_sts_endpoint"},
                   {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "s3_container_uri"},
                   {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "s3_container_token_file"},
                   {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "s3_instance_endpoint"}};
    static const char relative[] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/";
    ShStatus status = SH_OK;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0] && status == SH_OK; i++) {
        if ((*sh_setting_text(sh_setting_find(sources[i].setting), config))[0] == '\0')
            status = set_from_aws(environ_list, sources[i].variable, sources[i].setting, config, err);
    }
    for (char **entry = environ_list; *entry != NULL && status == SH_OK; entry++) {
        char uri[600];
        if (config->s3_container_uri[0] != '\0' || strncmp(*entry, relative, strlen(relative)) != 0)
            continue;
        snprintf(uri, sizeof uri, "http://169.254.170.2/%s", *entry + strlen(relative));
        status = sh_setting_set(sh_setting_find("s3_container_uri"), uri, config, err);
    }
    return status;
}

/* Keys, secrets and tokens belong together: the three come from one place. */
static ShStatus take_aws_credentials(char **environ_list, ShConfig *config, ShError *err)
{
    if (config->s3_access_key[0] != '\0' || config->s3_secret_key[0] != '\0' ||
        config->s3_session_token[0] != '\0')
        return SH_OK;
    ShStatus status = set_from_aws(environ_list, "AWS_ACCESS_KEY_ID", "s3_access_key", config, err);
    if (status == SH_OK)
        status = set_from_aws(environ_list, "AWS_SECRET_ACCESS_KEY", "s3_secret_key", config, err);
    if (status == SH_OK)
        status = set_from_aws(environ_list, "AWS_SESSION_TOKEN", "s3_session_token", config, err);
    return status;
}

static ShStatus set_from_aws(char **environ_list, const char *variable, const char *setting, ShConfig *config,
                             ShError *err)
{
    size_t length = strlen(variable);
    for (char **entry = environ_list; *entry != NULL; entry++) {
        if (strncmp(*entry, variable, length) != 0 || (*entry)[length] != '=' || (*entry)[length + 1] == '\0')
            continue;
        ShStatus status = sh_setting_set(sh_setting_find(setting), *entry + length + 1, config, err);
        return status == SH_OK ? SH_OK : sh_fail_prefix(err, status, "variable %s", variable);
    }
    return SH_OK;
}
