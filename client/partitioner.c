#include "client/partitioner.h"

#include "core/murmur2.h"

void sh_partitioner_init(ShPartitioner *partitioner, int32_t partition_count, uint64_t seed)
{
    *partitioner = (ShPartitioner){.partition_count = partition_count, .random = seed | 1};
    sh_partitioner_turn(partitioner);
}

int32_t sh_partitioner_pick(const ShPartitioner *partitioner, const void *key, size_t key_length)
{
    if (key == NULL)
        return partitioner->sticky;
    return sh_murmur2_partition(key, key_length, partitioner->partition_count);
}

void sh_partitioner_turn(ShPartitioner *partitioner)
{
    uint64_t others = (uint64_t)partitioner->partition_count - 1;
    if (others == 0)
        return;
    uint64_t step = 1 + sh_client_random(&partitioner->random) % others;
    partitioner->sticky = (int32_t)(((uint64_t)partitioner->sticky + step) %
                                    (uint64_t)partitioner->partition_count);
}

uint64_t sh_client_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}
