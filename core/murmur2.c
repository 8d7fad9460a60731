#include "core/murmur2.h"

#define SEED       0x9747b28cu
#define MULTIPLIER 0x5bd1e995u

static uint32_t get_u32_little_endian(const uint8_t *p);

uint32_t sh_murmur2(const void *key, size_t length)
{
    const uint8_t *p = key;
    uint32_t hash = SEED ^ (uint32_t)length;

    for (; length >= 4; p += 4, length -= 4) {
        uint32_t word = get_u32_little_endian(p) * MULTIPLIER;
        word ^= word >> 24;
        hash = (hash * MULTIPLIER) ^ (word * MULTIPLIER);
    }
    if (length > 0) {
        for (size_t i = 0; i < length; i++)
            hash ^= (uint32_t)p[i] << (8 * i);
        hash *= MULTIPLIER;
    }
    hash ^= hash >> 13;
    hash *= MULTIPLIER;
    return hash ^ (hash >> 15);
}

int32_t sh_murmur2_partition(const void *key, size_t length, int32_t partitions)
{
    return (int32_t)(sh_murmur2(key, length) & INT32_MAX) % partitions;
}

static uint32_t get_u32_little_endian(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
