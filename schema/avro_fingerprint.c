#include "schema/avro_fingerprint.h"

#define EMPTY UINT64_C(0xc15d213aa4d7a795)

uint64_t sh_avro_fingerprint(const void *bytes, size_t length)
{
    uint64_t fingerprint = EMPTY;
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++) {
        uint64_t entry = (fingerprint ^ at[i]) & 0xFF;
        for (int bit = 0; bit < 8; bit++)
            entry = (entry >> 1) ^ (EMPTY & -(entry & 1));
        fingerprint = (fingerprint >> 8) ^ entry;
    }
    return fingerprint;
}
