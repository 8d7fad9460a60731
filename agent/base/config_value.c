#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/address.h"
#include "agent/base/config_table.h"

#define HIDDEN "(hidden)"

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

/* From small to large; the first is that of a bare number. */
static const Unit size_units[] = {{"B", 1},          {"kB", 1LL << 10}, {"MB", 1LL << 20},
                                  {"GB", 1LL << 30}, {"TB", 1LL << 40}, {NULL, 0}};
static const Unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0}};
static const Unit no_units[] = {{"", 1}, {NULL, 0}};

static ShStatus set_text(const ShSetting *setting, const char *text, ShConfig *config, ShError *err);
static ShStatus set_flag(const ShSetting *setting, const char *text, ShConfig *config, ShError *err);
static ShStatus set_choice(const ShSetting *setting, const char *text, ShConfig *config, ShError *err);
static ShStatus set_number(const ShSetting *setting, const char *text, ShConfig *config, ShError *err);
static const Unit *units_of(const ShSetting *setting);
static bool find_unit(const Unit *units, const char *text, int64_t *factor);
static void print_quoted(const char *text, FILE *to);
static bool may_hold_password(const char *conninfo);

ShStatus sh_setting_set(const ShSetting *setting, const char *text, ShConfig *config, ShError *err)
{
    switch (setting->kind) {
    case SH_SETTING_TEXT:
    case SH_SETTING_SECRET:
    case SH_SETTING_CONNINFO:
    case SH_SETTING_ADDRESS:
        return set_text(setting, text, config, err);
    case SH_SETTING_FLAG:
        return set_flag(setting, text, config, err);
    case SH_SETTING_CHOICE:
        return set_choice(setting, text, config, err);
    case SH_SETTING_NUMBER:
    case SH_SETTING_SIZE:
    case SH_SETTING_DURATION:
        return set_number(setting, text, config, err);
    }
    return sh_fail(err, SH_INTERNAL, "%s: a setting of no kind", setting->name);
}

bool sh_setting_is_secret(const ShSetting *setting, const ShConfig *config)
{
    const char *const *text = (const char *const *)(const void *)((const char *)config + setting->offset);
    return (setting->kind == SH_SETTING_SECRET && **text != '\0') ||
           (setting->kind == SH_SETTING_CONNINFO && may_hold_password(*text));
}

void sh_setting_print(const ShSetting *setting, const ShConfig *config, FILE *to)
{
    const void *place = (const char *)config + setting->offset;
    char text[32];
    int choice;
    switch (setting->kind) {
    case SH_SETTING_TEXT:
    case SH_SETTING_ADDRESS:
        print_quoted(*(char *const *)place, to);
        break;
    case SH_SETTING_SECRET:
        print_quoted(sh_setting_is_secret(setting, config) ? HIDDEN : "", to);
        break;
    case SH_SETTING_CONNINFO:
        print_quoted(sh_setting_is_secret(setting, config) ? HIDDEN : *(char *const *)place, to);
        break;
    case SH_SETTING_FLAG:
        fputs(*(const bool *)place ? "true" : "false", to);
        break;
    case SH_SETTING_CHOICE:
        memcpy(&choice, place, sizeof choice);
        fputs(setting->choices[choice], to);
        break;
    case SH_SETTING_NUMBER:
    case SH_SETTING_SIZE:
    case SH_SETTING_DURATION:
        sh_setting_format_number(setting, *(const int64_t *)place, text);
        fputs(text, to);
        break;
    }
}

void sh_setting_format_number(const ShSetting *setting, int64_t value, char text[32])
{
    const Unit *best = units_of(setting);
    for (const Unit *unit = best; unit->name != NULL; unit++) {
        if (value != 0 && value % unit->factor == 0)
            best = unit;
    }
    snprintf(text, 32, "%lld%s", (long long)(value / best->factor), best->name);
}

static ShStatus set_text(const ShSetting *setting, const char *text, ShConfig *config, ShError *err)
{
    size_t length = strlen(text);
    if ((int64_t)length < setting->min)
        return sh_fail(err, SH_INVALID, "%s: must not be empty", setting->name);
    if ((int64_t)length > setting->max)
        return sh_fail(err, SH_INVALID, "%s: has %zu characters, at most %lld are allowed", setting->name,
                       length, (long long)setting->max);
    if (setting->kind == SH_SETTING_ADDRESS && length > 0) {
        ShAddress address;
        ShStatus status = sh_address_parse(text, &address, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "%s", setting->name);
    }

    char *copy = strdup(text);
    if (copy == NULL)
        return sh_fail(err, SH_NO_MEMORY, "%s: memory is short", setting->name);
    char **place = sh_setting_text(setting, config);
    free(*place);
    *place = copy;
    return SH_OK;
}

static ShStatus set_flag(const ShSetting *setting, const char *text, ShConfig *config, ShError *err)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *(bool *)((char *)config + setting->offset) = i % 2 == 1;
            return SH_OK;
        }
    }
    return sh_fail(err, SH_INVALID, "%s: \"%s\" is not true or false", setting->name, text);
}

static ShStatus set_choice(const ShSetting *setting, const char *text, ShConfig *config, ShError *err)
{
    char all[128] = "";
    for (int i = 0; setting->choices[i] != NULL; i++) {
        if (strcmp(text, setting->choices[i]) == 0) {
            memcpy((char *)config + setting->offset, &i, sizeof i);
            return SH_OK;
        }
        size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i == 0 ? "" : ", ", setting->choices[i]);
    }
    return sh_fail(err, SH_INVALID, "%s: \"%s\" is not one of %s", setting->name, text, all);
}

/* A whole number and, for sizes and durations, a unit, with or without a blank between them. */
static ShStatus set_number(const ShSetting *setting, const char *text, ShConfig *config, ShError *err)
{
    static const char *const expected[] = {
        [SH_SETTING_NUMBER] = "a whole number",
        [SH_SETTING_SIZE] = "a size in bytes, or with a unit of kB, MB, GB, TB",
        [SH_SETTING_DURATION] = "a duration in milliseconds, or with a unit of ms, s, min, h",
    };
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool parsed = end != text && !isspace((unsigned char)text[0]);
    int64_t factor = 1;
    if (parsed && *end != '\0')
        parsed = find_unit(units_of(setting), end + strspn(end, " "), &factor);
    if (!parsed)
        return sh_fail(err, SH_INVALID, "%s: \"%s\" is not %s", setting->name, text, expected[setting->kind]);

    int64_t value;
    bool in_range = errno == 0 && !__builtin_mul_overflow(number, factor, &value) && value >= setting->min &&
                    value <= setting->max;
    if (!in_range) {
        char min[32];
        char max[32];
        sh_setting_format_number(setting, setting->min, min);
        sh_setting_format_number(setting, setting->max, max);
        return sh_fail(err, SH_INVALID, "%s: \"%s\" is not between %s and %s", setting->name, text, min, max);
    }
    *sh_setting_number(setting, config) = value;
    return SH_OK;
}

static const Unit *units_of(const ShSetting *setting)
{
    return setting->kind == SH_SETTING_SIZE       ? size_units
           : setting->kind == SH_SETTING_DURATION ? duration_units
                                                  : no_units;
}

static bool find_unit(const Unit *units, const char *text, int64_t *factor)
{
    for (const Unit *unit = units; unit->name != NULL; unit++) {
        if (unit->name[0] != '\0' && strcmp(unit->name, text) == 0) {
            *factor = unit->factor;
            return true;
        }
    }
    return false;
}

/* YAML's double-quoted form. */
static void print_quoted(const char *text, FILE *to)
{
    fputc('"', to);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            fprintf(to, "\\x%02x", (unsigned char)*c);
        else
            fputc(*c, to);
    }
    fputc('"', to);
}

/* The string's grammar belongs to libpq: whatever may hold a password is hidden as a whole. */
static bool may_hold_password(const char *conninfo)
{
    return strcasestr(conninfo, "password") != NULL || strchr(conninfo, '@') != NULL;
}
