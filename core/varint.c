#include "core/varint.h"

static const uint8_t *read_bytes(const uint8_t *p, const uint8_t *end, int bytes_max, uint64_t *raw);

const uint8_t *sh_varint_read_slow(const uint8_t *p, const uint8_t *end, uint32_t *raw)
{
    uint64_t value;
    p = read_bytes(p, end, SH_VARINT_BYTES_MAX, &value);
    if (p == NULL || value > UINT32_MAX)
        return NULL;
    *raw = (uint32_t)value;
    return p;
}

const uint8_t *sh_varlong_read_slow(const uint8_t *p, const uint8_t *end, uint64_t *raw)
{
    return read_bytes(p, end, SH_VARLONG_BYTES_MAX, raw);
}

static const uint8_t *read_bytes(const uint8_t *p, const uint8_t *end, int bytes_max, uint64_t *raw)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes_max && p < end; i++) {
        uint64_t byte = *p++;
        if (i == SH_VARLONG_BYTES_MAX - 1 && byte > 1)
            return NULL; /* the tenth byte has one bit left to give */
        value |= (byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *raw = value;
            return p;
        }
    }
    return NULL;
}
