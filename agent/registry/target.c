#include "agent/registry/target.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static ShStatus split_path(char *path, ShRegistryTarget *target, ShError *err);
static ShStatus split_query(char *query, ShRegistryTarget *target, ShError *err);
static ShStatus decode(char *text, bool plus_is_blank, ShError *err);
static int hex_digit(char c);

ShStatus sh_registry_target_parse(const char *text, ShRegistryTarget *out, ShError *err)
{
    ShRegistryTarget target = {.storage = strdup(text)};
    if (target.storage == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for a request");
    char *query = strchr(target.storage, '?');
    if (query != NULL)
        *query++ = '\0';
    ShStatus status = split_path(target.storage, &target, err);
    if (status == SH_OK && query != NULL)
        status = split_query(query, &target, err);
    if (status == SH_OK)
        *out = target;
    else
        sh_registry_target_free(&target);
    return status;
}

void sh_registry_target_free(ShRegistryTarget *target)
{
    free(target->storage);
    *target = (ShRegistryTarget){.segment_count = 0};
}

const char *sh_registry_parameter(const ShRegistryTarget *target, const char *name)
{
    for (int i = 0; i < target->parameter_count; i++) {
        if (strcmp(target->parameters[i].name, name) == 0)
            return target->parameters[i].value;
    }
    return NULL;
}

const char *sh_registry_flag(const ShRegistryTarget *target, const char *name)
{
    const char *value = sh_registry_parameter(target, name);
    return value != NULL && strcasecmp(value, "true") == 0 ? "true" : "false";
}

ShStatus sh_registry_number(const ShRegistryTarget *target, const char *name, const char *otherwise,
                            const char **out, ShError *err)
{
    const char *value = sh_registry_parameter(target, name);
    int32_t number;
    if (value == NULL)
        value = otherwise;
    if (!sh_registry_is_int(value, &number))
        return sh_fail(err, SH_INVALID, "the parameter %s is \"%.100s\"; it takes a whole number of 32 bits",
                       name, value);
    *out = value;
    return SH_OK;
}

bool sh_registry_is_int(const char *text, int32_t *out)
{
    size_t sign = text[0] == '-' ? 1 : 0;
    if (text[sign] == '\0' || strspn(text + sign, "0123456789") != strlen(text + sign))
        return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0 || value < INT32_MIN || value > INT32_MAX)
        return false;
    *out = (int32_t)value;
    return true;
}

static ShStatus split_path(char *path, ShRegistryTarget *target, ShError *err)
{
    if (path[0] != '/')
        return sh_fail(err, SH_INVALID, "the path does not begin with a slash");
    size_t length = strlen(path);
    if (length > 1 && path[length - 1] == '/')
        path[length - 1] = '\0';
    char *rest = path[1] == '\0' ? NULL : path + 1;
    while (rest != NULL) {
        if (target->segment_count == SH_REGISTRY_SEGMENTS_MAX)
            return sh_fail(err, SH_INVALID, "the path has more than %d parts", SH_REGISTRY_SEGMENTS_MAX);
        char *segment = strsep(&rest, "/");
        ShStatus status = decode(segment, false, err);
        if (status != SH_OK)
            return status;
        target->segments[target->segment_count++] = segment;
    }
    return SH_OK;
}

static ShStatus split_query(char *query, ShRegistryTarget *target, ShError *err)
{
    char *rest = query;
    while (rest != NULL) {
        char *value = strsep(&rest, "&");
        char *name = strsep(&value, "=");
        if (name[0] == '\0')
            continue;
        if (target->parameter_count == SH_REGISTRY_PARAMETERS_MAX)
            return sh_fail(err, SH_INVALID, "the query has more than %d parameters",
                           SH_REGISTRY_PARAMETERS_MAX);
        ShStatus status = decode(name, true, err);
        if (status == SH_OK && value != NULL)
            status = decode(value, true, err);
        if (status != SH_OK)
            return status;
        target->parameters[target->parameter_count++] = (ShRegistryParameter){name,
                                                                              value != NULL ? value : ""};
    }
    return SH_OK;
}

/* In place: what is decoded is never longer. */
static ShStatus decode(char *text, bool plus_is_blank, ShError *err)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '+' && plus_is_blank) {
            *to++ = ' ';
        } else if (*from == '%') {
            int high = hex_digit(from[1]);
            int low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0)
                return sh_fail(err, SH_INVALID,
                               "\"%.20s\" is no escape in a URL; a percent sign is written %%25", from);
            if (high == 0 && low == 0)
                return sh_fail(err, SH_INVALID, "the URL has a NUL character");
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    json_t *checked = json_string(text);
    if (checked == NULL)
        return sh_fail(err, SH_INVALID, "the URL has bytes that are not UTF-8");
    json_decref(checked);
    return SH_OK;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(digits, c | 0x20);
    return found == NULL || (c & 0x60) == 0 ? -1 : (int)(found - digits);
}
