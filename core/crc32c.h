/*
 * crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of batches, WAL frames and objects.
 */
#ifndef SH_CORE_CRC32C_H
#define SH_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `length` bytes; sh_crc32c("123456789", 9) is 0xE3069283. */
uint32_t sh_crc32c(const void *data, size_t length);

/* Continue a CRC: sh_crc32c_extend(sh_crc32c(a), b) is the CRC of a followed by b; start with 0. */
uint32_t sh_crc32c_extend(uint32_t crc, const void *data, size_t length);

#endif
