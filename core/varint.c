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

ShVarlong sh_varlong_read_long(const uint8_t *p)
{
    uint64_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    bytes = le64toh(bytes);
    /* Its last byte is the first whose high bit is clear. */
    uint64_t last = ~bytes & UINT64_C(0x8080808080808080);
    if (last == 0)
        return (ShVarlong){.next = NULL};
    return (ShVarlong){.next = p + (unsigned)__builtin_ctzll(last) / 8 + 1,
                       .packed = bytes & (last ^ (last - 1))};
}

bool sh_varlong_unpack(uint64_t packed, uint64_t *raw)
{
    uint64_t value = 0;
    int bits = 0;
    uint64_t byte = packed & 0xFF;
    for (; packed != 0; packed >>= 8, bits += 7) {
        byte = packed & 0xFF;
        value |= (byte & 0x7F) << bits;
    }
    *raw = value;
    return byte < 0x80;
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
