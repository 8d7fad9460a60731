#include "cli/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

static bool parse_with_unit(const char *text, const Unit *units, size_t count, int64_t *out);
static bool parse_time(const char *text, int64_t *out_ms);
static const char *parse_fraction_ms(const char *p, int64_t *out);
static bool parse_zone_ms(const char *p, int64_t *out);

bool sh_parse_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || text[0] == ' ' || text[0] == '+' || value < min ||
        value > max)
        return false;
    *out = value;
    return true;
}

bool sh_parse_bytes(const char *text, int64_t *out)
{
    static const Unit units[] = {{"", 1},          {"B", 1},         {"kB", 1 << 10},
                                 {"KB", 1 << 10},  {"KiB", 1 << 10}, {"MB", 1 << 20},
                                 {"MiB", 1 << 20}, {"GB", 1 << 30},  {"GiB", 1 << 30}};
    return parse_with_unit(text, units, sizeof units / sizeof units[0], out);
}

bool sh_parse_duration_ms(const char *text, int64_t *out)
{
    static const Unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}};
    return parse_with_unit(text, units, sizeof units / sizeof units[0], out);
}

bool sh_parse_retention(const char *text, char *out, size_t out_bytes)
{
    static const struct {
        const char *unit;
        const char *word;
    } words[] = {{"s", "seconds"}, {"m", "minutes"}, {"h", "hours"}, {"d", "days"}, {"w", "weeks"}};

    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (digits > 0 && strcmp(text + digits, words[i].unit) == 0)
            return snprintf(out, out_bytes, "%.*s %s", (int)digits, text, words[i].word) < (int)out_bytes;
    }
    return snprintf(out, out_bytes, "%s", text) < (int)out_bytes;
}

bool sh_parse_start(const char *text, ShStart *out)
{
    int64_t value = 0;
    if (strcmp(text, "earliest") == 0)
        *out = (ShStart){SH_START_EARLIEST, 0};
    else if (strcmp(text, "latest") == 0)
        *out = (ShStart){SH_START_LATEST, 0};
    else if (sh_parse_number(text, 0, INT64_MAX, &value))
        *out = (ShStart){SH_START_OFFSET, value};
    else if (text[0] == '@' && sh_parse_number(text + 1, 0, INT64_MAX, &value))
        *out = (ShStart){SH_START_TIMESTAMP, value};
    else if (parse_time(text, &value))
        *out = (ShStart){SH_START_TIMESTAMP, value};
    else
        return false;
    return true;
}

static bool parse_with_unit(const char *text, const Unit *units, size_t count, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    char number[20];
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    for (size_t i = 0; i < count; i++) {
        int64_t value = 0;
        if (strcmp(text + digits, units[i].name) == 0 &&
            sh_parse_number(number, 0, INT64_MAX / units[i].factor, &value)) {
            *out = value * units[i].factor;
            return true;
        }
    }
    return false;
}

static bool parse_time(const char *text, int64_t *out_ms)
{
    struct tm parts = {0};
    int64_t fraction_ms = 0;
    int64_t zone_ms = 0;
    const char *rest = strptime(text, "%Y-%m-%d", &parts);
    if (rest == NULL)
        return false;
    if (*rest == 'T' || *rest == ' ') {
        const char *clock = rest + 1;
        rest = strptime(clock, "%H:%M:%S", &parts);
        if (rest == NULL)
            rest = strptime(clock, "%H:%M", &parts);
        if (rest == NULL)
            return false;
        rest = parse_fraction_ms(rest, &fraction_ms);
        if (!parse_zone_ms(rest, &zone_ms))
            return false;
    } else if (*rest != '\0') {
        return false;
    }
    int64_t seconds = timegm(&parts);
    *out_ms = seconds * 1000 + fraction_ms - zone_ms;
    return *out_ms >= 0;
}

/* ".123456" or nothing; returns what follows. */
static const char *parse_fraction_ms(const char *p, int64_t *out)
{
    *out = 0;
    if (*p != '.')
        return p;
    p++;
    for (int64_t scale = 100; *p >= '0' && *p <= '9'; p++, scale /= 10)
        *out += (*p - '0') * scale;
    return p;
}

/* "", "Z", "+01:00" or "-0530". */
static bool parse_zone_ms(const char *p, int64_t *out)
{
    *out = 0;
    if (*p == '\0' || strcmp(p, "Z") == 0)
        return true;
    int hours = 0;
    int minutes = 0;
    int used = 0;
    if (*p != '+' && *p != '-')
        return false;
    if (sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 &&
        sscanf(p + 1, "%2d%2d%n", &hours, &minutes, &used) != 2)
        return false;
    if (p[1 + used] != '\0' || hours < 0 || hours > 15 || minutes < 0 || minutes > 59)
        return false;
    *out = (int64_t)(hours * 60 + minutes) * 60 * 1000 * (*p == '-' ? -1 : 1);
    return true;
}
