#include "cli/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *base64(const uint8_t *data, size_t length);

const char *sh_format_count(int64_t value, char out[SH_FORMAT_BYTES])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%" PRIu64,
                         value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    char *p = out;
    if (value < 0)
        *p++ = '-';
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

const char *sh_format_size(int64_t bytes, char out[SH_FORMAT_BYTES])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(out, SH_FORMAT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

bool sh_format_json_bytes(json_t *object, const char *name, const uint8_t *data, size_t length)
{
    if (data == NULL)
        return json_object_set_new(object, name, json_null()) == 0;
    json_t *text = json_stringn((const char *)data, length); /* NULL unless it is UTF-8 */
    if (text != NULL)
        return json_object_set_new(object, name, text) == 0;
    char marker[64];
    snprintf(marker, sizeof marker, "%s_encoding", name);
    return json_object_set_new(object, name, base64(data, length)) == 0 &&
           json_object_set_new(object, marker, json_string("base64")) == 0;
}

static json_t *base64(const uint8_t *data, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t encoded = (length + 2) / 3 * 4;
    char *text = malloc(encoded + 1);
    if (text == NULL)
        return NULL;
    char *p = text;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t three = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        *p++ = digits[three >> 18];
        *p++ = digits[three >> 12 & 63];
        *p++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *p++ = left > 2 ? digits[three & 63] : '=';
    }
    json_t *result = json_stringn(text, encoded);
    free(text);
    return result;
}
