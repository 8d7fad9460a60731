#include "agent/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/config_table.h"

#define SUGGESTION_DISTANCE_MAX 4 /* and no more than a third of the name: short names are alike by chance */
#define NAME_BYTES              64

static ShStatus set_defaults(ShConfig *config, ShError *err);
static ShStatus compute_defaults(ShConfig *config, ShError *err);
static ShStatus default_below(char **place, const char *dir, const char *name, ShError *err);
static bool is_text(const ShSetting *setting);
static size_t edit_distance(const char *a, const char *b);
static size_t least(size_t a, size_t b, size_t c);

ShStatus sh_config_load(const char *path, char **environ_list, ShConfig **out, ShError *err)
{
    ShConfig *config = calloc(1, sizeof *config);
    if (config == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the settings");

    ShStatus status = set_defaults(config, err);
    if (status == SH_OK)
        status = sh_config_read_aws_region(environ_list, config, err);
    if (status == SH_OK && path != NULL)
        status = sh_config_read_file(path, config, err);
    if (status == SH_OK)
        status = sh_config_read_environment(environ_list, config, err);
    if (status == SH_OK)
        status = compute_defaults(config, err);
    if (status == SH_OK)
        status = sh_config_check(config, err);
    if (status != SH_OK) {
        sh_config_free(config);
        return status;
    }
    *out = config;
    return SH_OK;
}

void sh_config_free(ShConfig *config)
{
    if (config == NULL)
        return;
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        if (is_text(setting))
            free(*sh_setting_text(setting, config));
    }
    free(config);
}

const char *sh_wal_sync_name(ShWalSync sync)
{
    static const char *const names[] = {"always", "interval", "never"};
    return names[sync];
}

ShStatus sh_config_find(const char *name, const char *prefix, const ShSetting **out, ShError *err)
{
    *out = sh_setting_find(name);
    if (*out != NULL)
        return SH_OK;

    const char *nearest = sh_setting_nearest(name);
    if (nearest == NULL)
        return sh_fail(err, SH_INVALID, "there is no setting \"%s\"", name);

    char shown[NAME_BYTES];
    snprintf(shown, sizeof shown, "%s%s", prefix, nearest);
    for (char *c = shown; prefix[0] != '\0' && *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return sh_fail(err, SH_INVALID, "there is no setting \"%s\"; did you mean %s?", name, shown);
}

const char *sh_setting_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t third = strlen(name) / 3;
    size_t nearest_distance = (third < SUGGESTION_DISTANCE_MAX ? third : SUGGESTION_DISTANCE_MAX) + 1;
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        size_t distance = edit_distance(name, setting->name);
        if (distance < nearest_distance) {
            nearest = setting->name;
            nearest_distance = distance;
        }
    }
    return nearest;
}

static ShStatus set_defaults(ShConfig *config, ShError *err)
{
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        if (is_text(setting)) {
            char **place = sh_setting_text(setting, config);
            *place = strdup(setting->default_text);
            if (*place == NULL)
                return sh_fail(err, SH_NO_MEMORY, "memory is short for the settings");
        } else {
            ShStatus status = sh_setting_set(setting, setting->default_text, config, err);
            if (status != SH_OK)
                return status;
        }
    }
    return SH_OK;
}

/* Defaults that depend on the host or on other settings. */
static ShStatus compute_defaults(ShConfig *config, ShError *err)
{
    if (config->agent_id[0] == '\0') {
        char host[128];
        if (gethostname(host, sizeof host) != 0)
            return sh_fail(err, SH_INVALID, "agent_id: is not set, and the host's name is not usable: %s",
                           strerror(errno));
        host[sizeof host - 1] = '\0';
        ShStatus status = sh_setting_set(sh_setting_find("agent_id"), host, config, err);
        if (status != SH_OK)
            return status;
    }
    ShStatus status = default_below(&config->wal_dir, config->data_dir, "wal", err);
    if (status == SH_OK)
        status = default_below(&config->store_dir, config->data_dir, "store", err);
    return status;
}

static ShStatus default_below(char **place, const char *dir, const char *name, ShError *err)
{
    if (**place != '\0')
        return SH_OK;
    char *path;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the settings");
    free(*place);
    *place = path;
    return SH_OK;
}

static bool is_text(const ShSetting *setting)
{
    return setting->kind == SH_SETTING_TEXT || setting->kind == SH_SETTING_SECRET ||
           setting->kind == SH_SETTING_CONNINFO || setting->kind == SH_SETTING_ADDRESS;
}

/* Levenshtein's distance, one row at a time; names too long to be a slip of the finger are far from
 * everything. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES];
    size_t columns = strlen(b);
    if (strlen(a) >= NAME_BYTES || columns >= NAME_BYTES)
        return NAME_BYTES;
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[columns];
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}
