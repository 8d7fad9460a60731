#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_retriable(ShStatus status);
static void set_message(ShError *err, const char *text);
static size_t cut_at_character(const char *text, size_t length);

ShStatus sh_fail(ShError *err, ShStatus status, const char *fmt, ...)
{
    if (err == NULL)
        return status;

    /* The arguments may point into err->message, so the text is built beside it. */
    char text[2 * SH_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    err->status = status;
    err->retriable = is_retriable(status);
    err->retry_after_ms = 0;
    set_message(err, text);
    return status;
}

ShStatus sh_fail_prefix(ShError *err, ShStatus status, const char *fmt, ...)
{
    if (err == NULL)
        return status;

    char prefix[SH_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);

    char text[2 * SH_ERROR_MESSAGE_BYTES + 2];
    snprintf(text, sizeof text, "%s: %s", prefix, err->message);
    set_message(err, text);
    return err->status;
}

ShStatus sh_fail_retry_after(ShError *err, ShStatus status, int retry_after_ms)
{
    if (err != NULL) {
        err->retriable = true;
        err->retry_after_ms = retry_after_ms;
    }
    return status;
}

void sh_error_clear(ShError *err)
{
    if (err == NULL)
        return;
    err->status = SH_OK;
    err->retriable = false;
    err->retry_after_ms = 0;
    err->message[0] = '\0';
}

const char *sh_status_name(ShStatus status)
{
    switch (status) {
    case SH_OK:
        return "OK";
    case SH_INVALID:
        return "INVALID";
    case SH_CORRUPT:
        return "CORRUPT";
    case SH_TOO_LARGE:
        return "TOO_LARGE";
    case SH_UNSUPPORTED:
        return "UNSUPPORTED";
    case SH_NOT_FOUND:
        return "NOT_FOUND";
    case SH_EXISTS:
        return "EXISTS";
    case SH_OUT_OF_RANGE:
        return "OUT_OF_RANGE";
    case SH_NOT_OWNER:
        return "NOT_OWNER";
    case SH_FENCED:
        return "FENCED";
    case SH_OUT_OF_ORDER_SEQUENCE:
        return "OUT_OF_ORDER_SEQUENCE";
    case SH_DUPLICATE_SEQUENCE:
        return "DUPLICATE_SEQUENCE";
    case SH_INVALID_PRODUCER_EPOCH:
        return "INVALID_PRODUCER_EPOCH";
    case SH_UNKNOWN_PRODUCER_ID:
        return "UNKNOWN_PRODUCER_ID";
    case SH_OUTDATED:
        return "OUTDATED";
    case SH_DENIED:
        return "DENIED";
    case SH_EXHAUSTED:
        return "EXHAUSTED";
    case SH_UNAVAILABLE:
        return "UNAVAILABLE";
    case SH_TIMEOUT:
        return "TIMEOUT";
    case SH_CANCELLED:
        return "CANCELLED";
    case SH_IO:
        return "IO";
    case SH_NO_MEMORY:
        return "NO_MEMORY";
    case SH_INTERNAL:
        return "INTERNAL";
    }
    return "UNKNOWN";
}

static bool is_retriable(ShStatus status)
{
    return status == SH_EXHAUSTED || status == SH_UNAVAILABLE || status == SH_TIMEOUT;
}

static void set_message(ShError *err, const char *text)
{
    size_t length = strlen(text);
    if (length >= sizeof err->message)
        length = cut_at_character(text, sizeof err->message - 1);
    memcpy(err->message, text, length);
    err->message[length] = '\0';
}

/* The longest prefix of at most `length` bytes that does not end inside a UTF-8 character. */
static size_t cut_at_character(const char *text, size_t length)
{
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    return length;
}
