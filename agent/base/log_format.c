#include "agent/base/log_format.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEY_BYTES   64
#define VALUE_BYTES 600 /* escaped, one fits into a line */
#define TAIL_BYTES  2   /* the closing brace and the newline always have room */

/* va_list may be an array type: inside a struct it can be handed on by pointer. */
typedef struct Arguments {
    va_list list;
} Arguments;

typedef struct Value {
    bool is_number; /* one numeric conversion and nothing else */
    size_t length;
    char text[VALUE_BYTES];
} Value;

static const char *next_pair(const char *fmt, Arguments *args, char key[KEY_BYTES], Value *value);
static const char *read_value(const char *fmt, Arguments *args, Value *value);
static const char *print_conversion(const char *fmt, Arguments *args, Value *value);
static void print_integer(Value *value, const char *spec, int longs, bool is_signed, Arguments *args);
static void add_to_value(Value *value, const char *text, size_t length);
static void add_pair(ShLogLine *line, const char *key, const char *value, size_t length, bool is_number);
static bool needs_quotes(const char *value, size_t length);
static bool add_escaped(ShLogLine *line, const char *value, size_t length);
static bool add_text(ShLogLine *line, const char *text, size_t length);
static size_t character_bytes(const char *text, size_t length);

void sh_log_line_begin(ShLogLine *line, ShLogFormat format, int64_t wall_ms, ShLogLevel level,
                       const char *event)
{
    static const char *const levels[] = {"DEBUG", "INFO", "WARN", "ERROR"};
    line->json = format == SH_LOG_JSON;
    line->length = 0;

    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char stamp[64];
    size_t length = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + length, sizeof stamp - length, ".%03dZ", (int)(wall_ms % 1000));

    char start[256];
    const char *shape = line->json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%.128s\""
                                   : "%s %s %.128s";
    int bytes = snprintf(start, sizeof start, shape, stamp, levels[level], event);
    add_text(line, start, (size_t)bytes);
}

void sh_log_line_pairs(ShLogLine *line, const char *fmt, va_list args)
{
    Arguments arguments;
    va_copy(arguments.list, args);
    char key[KEY_BYTES];
    Value value;
    while ((fmt = next_pair(fmt, &arguments, key, &value)) != NULL)
        add_pair(line, key, value.text, value.length, value.is_number);
    va_end(arguments.list);
}

void sh_log_line_number(ShLogLine *line, const char *key, int64_t value)
{
    char text[32];
    int bytes = snprintf(text, sizeof text, "%lld", (long long)value);
    add_pair(line, key, text, (size_t)bytes, true);
}

void sh_log_line_end(ShLogLine *line)
{
    if (line->json)
        line->text[line->length++] = '}';
    line->text[line->length++] = '\n';
}

/* Reads one key=value of the format; NULL after the last. */
static const char *next_pair(const char *fmt, Arguments *args, char key[KEY_BYTES], Value *value)
{
    fmt += strspn(fmt, " ");
    if (*fmt == '\0')
        return NULL;
    size_t length = strcspn(fmt, "= %");
    size_t kept = length < KEY_BYTES ? length : KEY_BYTES - 1;
    memcpy(key, fmt, kept);
    key[kept] = '\0';
    fmt += length;
    if (*fmt == '=')
        fmt++;
    return read_value(fmt, args, value);
}

/* A value ends at a blank, or at the closing quote when the format quotes it. */
static const char *read_value(const char *fmt, Arguments *args, Value *value)
{
    bool quoted = *fmt == '"';
    char end = quoted ? '"' : ' ';
    if (quoted)
        fmt++;
    value->length = 0;
    value->is_number = !quoted && *fmt == '%';
    const char *start = fmt;
    while (*fmt != '\0' && *fmt != end) {
        if (*fmt == '%') {
            value->is_number = value->is_number && fmt == start;
            fmt = print_conversion(fmt, args, value);
        } else {
            value->is_number = false;
            add_to_value(value, fmt++, 1);
        }
    }
    return quoted && *fmt == end ? fmt + 1 : fmt;
}

/* Prints one conversion with the argument that belongs to it; returns what follows it in the format. */
static const char *print_conversion(const char *fmt, Arguments *args, Value *value)
{
    char spec[32];
    size_t length = 0;
    int longs = 0;
    int precision = -1;
    spec[length++] = *fmt++;
    while (*fmt != '\0' && strchr("-+ #0123456789.*hlzjtL", *fmt) != NULL && length < sizeof spec - 2) {
        longs += *fmt == 'l' || *fmt == 'z' || *fmt == 'j' || *fmt == 't';
        if (*fmt == '*' && spec[length - 1] == '.')
            precision = va_arg(args->list, int);
        spec[length++] = *fmt++;
    }
    char conversion = *fmt;
    if (conversion == '\0')
        return fmt;
    spec[length++] = conversion;
    spec[length] = '\0';

    char text[64];
    switch (conversion) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        value->is_number = value->is_number && conversion != 'x' && conversion != 'X' && conversion != 'o';
        print_integer(value, spec, longs, conversion == 'd' || conversion == 'i', args);
        break;
    case 'e':
    case 'f':
    case 'g':
        snprintf(text, sizeof text, spec, va_arg(args->list, double));
        value->is_number = value->is_number && strpbrk(text, "in") == NULL; /* inf and nan are words */
        add_to_value(value, text, strlen(text));
        break;
    case 's': {
        const char *string = va_arg(args->list, const char *);
        value->is_number = false;
        if (string == NULL)
            string = "(null)";
        if (precision < 0 && strchr(spec, '.') != NULL)
            sscanf(strchr(spec, '.'), ".%d", &precision);
        add_to_value(value, string, precision < 0 ? strlen(string) : strnlen(string, (size_t)precision));
        break;
    }
    case 'c':
        text[0] = (char)va_arg(args->list, int);
        value->is_number = false;
        add_to_value(value, text, 1);
        break;
    case 'p':
        snprintf(text, sizeof text, "%p", va_arg(args->list, void *));
        value->is_number = false;
        add_to_value(value, text, strlen(text));
        break;
    default: /* %% */
        value->is_number = false;
        add_to_value(value, fmt, 1);
    }
    return fmt + 1;
}

static void print_integer(Value *value, const char *spec, int longs, bool is_signed, Arguments *args)
{
    char text[64];
    if (longs == 0)
        snprintf(text, sizeof text, spec, va_arg(args->list, int));
    else if (is_signed)
        snprintf(text, sizeof text, spec, va_arg(args->list, long long));
    else
        snprintf(text, sizeof text, spec, va_arg(args->list, unsigned long long));
    add_to_value(value, text, strlen(text));
}

static void add_to_value(Value *value, const char *text, size_t length)
{
    size_t room = sizeof value->text - value->length;
    size_t kept = length < room ? length : room;
    memcpy(value->text + value->length, text, kept);
    value->length += kept;
}

static void add_pair(ShLogLine *line, const char *key, const char *value, size_t length, bool is_number)
{
    size_t before = line->length;
    bool quoted = line->json ? !is_number : needs_quotes(value, length);
    bool fits = add_text(line, line->json ? ",\"" : " ", line->json ? 2 : 1) &&
                add_text(line, key, strlen(key)) &&
                add_text(line, line->json ? "\":" : "=", line->json ? 2 : 1) &&
                add_text(line, "\"", quoted ? 1 : 0) &&
                (quoted ? add_escaped(line, value, length) : add_text(line, value, length)) &&
                add_text(line, "\"", quoted ? 1 : 0);
    if (!fits)
        line->length = before;
}

static bool needs_quotes(const char *value, size_t length)
{
    if (length == 0)
        return true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return true;
    }
    return false;
}

/* Escapes for both forms: what is not a printable character of UTF-8 becomes \u00XX. */
static bool add_escaped(ShLogLine *line, const char *value, size_t length)
{
    bool fits = true;
    for (size_t i = 0; i < length && fits;) {
        unsigned char c = (unsigned char)value[i];
        size_t bytes = character_bytes(value + i, length - i);
        char escaped[8];
        if (c == '"' || c == '\\')
            fits = add_text(line, (char[]){'\\', (char)c}, 2);
        else if (c == '\n')
            fits = add_text(line, "\\n", 2);
        else if (c == '\t')
            fits = add_text(line, "\\t", 2);
        else if (c < ' ' || c == 0x7f || bytes == 0)
            fits = add_text(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        else
            fits = add_text(line, value + i, bytes);
        i += bytes == 0 ? 1 : bytes;
    }
    return fits;
}

static bool add_text(ShLogLine *line, const char *text, size_t length)
{
    if (length > sizeof line->text - TAIL_BYTES - line->length)
        return false;
    memcpy(line->text + line->length, text, length);
    line->length += length;
    return true;
}

/* Bytes of the UTF-8 character that starts here; 0 when there is none. */
static size_t character_bytes(const char *text, size_t length)
{
    unsigned char first = (unsigned char)text[0];
    size_t bytes = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : (first & 0xf0) == 0xe0 ? 3 : 0;
    if (first >= 0xf0 && first < 0xf5)
        bytes = 4;
    if (bytes > length)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    }
    return bytes;
}
