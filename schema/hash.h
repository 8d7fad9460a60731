/*
 * hash.h - the hash of names that others choose. It depends on a number that each process draws, so that
 * nobody can choose names that meet in one place.
 *
 * Include it instead of uthash.h where the keys are not pointers.
 */
#ifndef SH_SCHEMA_HASH_H
#define SH_SCHEMA_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Any thread may call it. */
uint64_t sh_schema_hash(const void *bytes, size_t length);
/* The hash of two numbers, in their order. */
uint64_t sh_schema_hash_pair(uint64_t a, uint64_t b);

#define HASH_FUNCTION(key, length, hash) ((hash) = (unsigned)sh_schema_hash((key), (length)))
#include <uthash.h>

#endif
