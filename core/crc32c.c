#include "core/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L counts in int and never writes to the buffer, though it does not say const. */
#define CHUNK_BYTES_MAX (1 << 30)

uint32_t sh_crc32c(const void *data, size_t length)
{
    return sh_crc32c_extend(0, data, length);
}

uint32_t sh_crc32c_extend(uint32_t crc, const void *data, size_t length)
{
    /* crc32_iscsi works on the bare remainder; the inversions before and after make it a CRC-32C. */
    unsigned char *next = (unsigned char *)data;
    uint32_t remainder = ~crc;
    for (; length > CHUNK_BYTES_MAX; length -= CHUNK_BYTES_MAX) {
        remainder = crc32_iscsi(next, CHUNK_BYTES_MAX, remainder);
        next += CHUNK_BYTES_MAX;
    }
    return ~crc32_iscsi(next, (int)length, remainder);
}
