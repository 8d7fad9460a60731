#include "schema/hash.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define ODD_1 UINT64_C(0x9e3779b97f4a7c15)
#define ODD_2 UINT64_C(0xbf58476d1ce4e5b9)

__extension__ typedef unsigned __int128 Wide;

static uint64_t drawn(void);

/* Both halves of the product: each bit of one factor reaches all others. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    Wide product = (Wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t sh_schema_hash(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    uint64_t secret = drawn();
    uint64_t hash = secret ^ length;
    uint64_t word;
    for (; length > sizeof word; length -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = mix(hash ^ word, secret ^ ODD_1);
    }
    word = 0;
    if (length > 0)
        memcpy(&word, at, length);
    return mix(hash ^ word, secret ^ ODD_2);
}

uint64_t sh_schema_hash_pair(uint64_t a, uint64_t b)
{
    uint64_t secret = drawn();
    return mix(mix(a ^ secret, ODD_1) ^ b, secret ^ ODD_2);
}

/* The process's number; two threads that are first together agree on one. */
static uint64_t drawn(void)
{
    static _Atomic uint64_t number;
    uint64_t known = atomic_load_explicit(&number, memory_order_relaxed);
    if (known != 0)
        return known;
    uint64_t fresh = 0;
    if (getrandom(&fresh, sizeof fresh, GRND_NONBLOCK) != (ssize_t)sizeof fresh)
        fresh = (uint64_t)time(NULL) * ODD_1 ^ (uint64_t)(uintptr_t)&fresh;
    fresh |= 1;
    return atomic_compare_exchange_strong(&number, &known, fresh) ? fresh : known;
}
