/*
 * murmur2.h - the hash by which Kafka's clients spread keys over partitions.
 *
 * It is the 32-bit MurmurHash2 of the key with the seed that the Java client uses, so that a key lands in the
 * same partition whichever client wrote it.
 */
#ifndef SH_CORE_MURMUR2_H
#define SH_CORE_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

/* The hash of `length` bytes; `key` may be NULL when `length` is 0. */
uint32_t sh_murmur2(const void *key, size_t length);

/* The partition of a key among `partitions` (at least 1): the hash without its sign bit, modulo. */
int32_t sh_murmur2_partition(const void *key, size_t length, int32_t partitions);

#endif
