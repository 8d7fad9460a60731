#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/registry/routes.h"

/* The first that fits is answered with. */
static const char *const answered[] = {"application/vnd.schemaregistry.v1+json",
                                       "application/vnd.schemaregistry+json", "application/json"};
#define ANSWERED_COUNT (sizeof answered / sizeof answered[0])

static bool is_type(const char *text, size_t length, const char *type);
static double quality_of(const char *parameters, size_t length);
static bool fits(const char *range, size_t length, const char *type);
static size_t trim(const char **text, size_t length);

bool sh_registry_takes_content_type(const char *content_type)
{
    if (content_type == NULL)
        return false; /* a page of any origin may send a body without one */
    size_t length = trim(&content_type, strcspn(content_type, ";"));
    for (size_t i = 0; i < ANSWERED_COUNT; i++) {
        if (is_type(content_type, length, answered[i]))
            return true;
    }
    return is_type(content_type, length, "application/octet-stream");
}

const char *sh_registry_choose_content_type(const char *accept)
{
    if (accept == NULL || accept[0] == '\0')
        return answered[0];
    const char *best = NULL;
    double best_quality = 0;
    for (size_t i = 0; i < ANSWERED_COUNT; i++) {
        for (const char *range = accept; *range != '\0';) {
            size_t length = strcspn(range, ",");
            const char *name = range;
            size_t name_length = trim(&name, strcspn(range, ";,"));
            double quality = quality_of(range, length);
            if (fits(name, name_length, answered[i]) && quality > best_quality) {
                best = answered[i];
                best_quality = quality;
            }
            range += length + (range[length] == ',');
        }
    }
    return best;
}

static bool is_type(const char *text, size_t length, const char *type)
{
    return length == strlen(type) && strncasecmp(text, type, length) == 0;
}

/* The q of one range of an Accept header; 1 unless it is given. */
static double quality_of(const char *parameters, size_t length)
{
    for (size_t i = 0; i + 1 < length; i++) {
        if (parameters[i] != ';')
            continue;
        const char *name = parameters + i + 1;
        name += strspn(name, " \t");
        if (name + 2 <= parameters + length && (*name | 0x20) == 'q' && name[1] == '=')
            return strtod(name + 2, NULL);
    }
    return 1;
}

static bool fits(const char *range, size_t length, const char *type)
{
    return is_type(range, length, type) || is_type(range, length, "*/*") ||
           is_type(range, length, "application/*");
}

static size_t trim(const char **text, size_t length)
{
    while (length > 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        length--;
    }
    while (length > 0 && ((*text)[length - 1] == ' ' || (*text)[length - 1] == '\t'))
        length--;
    return length;
}
