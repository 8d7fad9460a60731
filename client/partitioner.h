/*
 * partitioner.h - which partition a record goes to. Pure; one per topic and producer.
 */
#ifndef SH_CLIENT_PARTITIONER_H
#define SH_CLIENT_PARTITIONER_H

#include <stddef.h>
#include <stdint.h>

typedef struct ShPartitioner {
    int32_t partition_count;
    int32_t sticky;  /* where records without a key go at the moment */
    uint64_t random; /* never 0 */
} ShPartitioner;

/* `seed` decides where records without a key go first. */
void sh_partitioner_init(ShPartitioner *partitioner, int32_t partition_count, uint64_t seed);

/* A key's partition is Kafka's: murmur2 modulo their number. Records without a key (NULL) stay together. */
int32_t sh_partitioner_pick(const ShPartitioner *partitioner, const void *key, size_t key_length);

/* A batch without keys is complete: the next one goes to another partition. */
void sh_partitioner_turn(ShPartitioner *partitioner);

/* The next number of a xorshift generator; `*state` is never 0. */
uint64_t sh_client_random(uint64_t *state);

#endif
