#include "core/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/buf_pool.h"

static bool is_hyphen_position(size_t position);
static int hex_digit_value(char c);

ShBuf *sh_buf_new(size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof(ShBuf))
        return NULL;
    ShBuf *buf = malloc(sizeof *buf + capacity);
    if (buf == NULL)
        return NULL;
    atomic_init(&buf->refs, 1);
    buf->capacity = capacity;
    buf->length = 0;
    buf->data = (uint8_t *)(buf + 1);
    buf->pool = NULL;
    return buf;
}

ShBuf *sh_buf_copy(const void *data, size_t length)
{
    ShBuf *buf = sh_buf_new(length);
    if (buf == NULL)
        return NULL;
    if (length > 0)
        memcpy(buf->data, data, length);
    buf->length = length;
    return buf;
}

ShBuf *sh_buf_ref(ShBuf *buf)
{
    if (buf != NULL)
        atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    return buf;
}

void sh_buf_unref(ShBuf *buf)
{
    /* Release and acquire order every holder's last access before the memory is given back. */
    if (buf == NULL || atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (buf->pool != NULL)
        sh_buf_pool_give_back(buf->pool, buf);
    else
        free(buf);
}

ShStatus sh_uuid_random(ShUuid *out, ShError *err)
{
    ShUuid uuid;
    ssize_t got;
    do
        got = getrandom(uuid.bytes, sizeof uuid.bytes, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof uuid.bytes)
        return sh_fail(err, SH_IO, "the kernel gave no random bytes: %s", strerror(errno));

    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0F) | 0x40); /* version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3F) | 0x80); /* the RFC 4122 variant */
    *out = uuid;
    return SH_OK;
}

ShStatus sh_uuid_parse(const char *text, ShUuid *out, ShError *err)
{
    ShUuid uuid = {{0}};
    size_t digits = 0;
    size_t length = strlen(text);
    bool valid = length == SH_UUID_TEXT_BYTES - 1;
    for (size_t i = 0; valid && i < length; i++) {
        if (is_hyphen_position(i)) {
            valid = text[i] == '-';
            continue;
        }
        int value = hex_digit_value(text[i]);
        valid = value >= 0;
        if (valid) {
            uuid.bytes[digits / 2] = (uint8_t)(uuid.bytes[digits / 2] << 4 | value);
            digits++;
        }
    }
    if (!valid)
        return sh_fail(err, SH_INVALID, "\"%.64s\" is not a UUID: 8-4-4-4-12 hexadecimal digits are expected",
                       text);
    *out = uuid;
    return SH_OK;
}

void sh_uuid_format(const ShUuid *uuid, char text[SH_UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t byte = 0; byte < sizeof uuid->bytes; byte++) {
        *text++ = digits[uuid->bytes[byte] >> 4];
        *text++ = digits[uuid->bytes[byte] & 0x0F];
        if (byte == 3 || byte == 5 || byte == 7 || byte == 9)
            *text++ = '-';
    }
    *text = '\0';
}

bool sh_uuid_is_zero(const ShUuid *uuid)
{
    static const ShUuid zero;
    return sh_uuid_equal(uuid, &zero);
}

static bool is_hyphen_position(size_t position)
{
    return position == 8 || position == 13 || position == 18 || position == 23;
}

static int hex_digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
