/*
 * contract.h - what every kind of store promises in store.h, as tests that take an open store.
 *
 * Included by one test program per kind, each of which runs contract_all() on stores of its own.
 */
#ifndef SH_TESTS_STORE_CONTRACT_H
#define SH_TESTS_STORE_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/store/store.h"

#define CONTRACT_RACERS 8

static inline ShStatus contract_put_text(ShStore *store, const char *key, const char *text, ShError *err)
{
    const struct iovec piece = {.iov_base = (void *)text, .iov_len = strlen(text)};
    return sh_store_put(store, key, &piece, 1, piece.iov_len, err);
}

static inline void contract_assert_status(ShStatus got, ShStatus want, const ShError *err)
{
    if (got != want)
        fail_msg("status %s instead of %s: %s", sh_status_name(got), sh_status_name(want), err->message);
}

static inline void contract_assert_content(ShStore *store, const char *key, uint64_t position,
                                           uint64_t length, const void *want, size_t want_length)
{
    ShError err = {0};
    ShBuf *got = NULL;
    contract_assert_status(sh_store_get(store, key, position, length, &got, &err), SH_OK, &err);
    assert_int_equal(got->length, want_length);
    assert_memory_equal(got->data, want, want_length);
    sh_buf_unref(got);
}

/* Pieces are joined in order, empty ones too, and ranges are cut at the object's end. */
static inline void contract_put_and_read(ShStore *store)
{
    ShError err = {0};
    struct iovec pieces[] = {{.iov_base = "alpha ", .iov_len = 6},
                             {.iov_base = NULL, .iov_len = 0},
                             {.iov_base = "beta ", .iov_len = 5},
                             {.iov_base = "gamma", .iov_len = 5}};
    contract_assert_status(sh_store_put(store, "read/one", pieces, 4, 16, &err), SH_OK, &err);

    uint64_t bytes = 0;
    contract_assert_status(sh_store_size(store, "read/one", &bytes, &err), SH_OK, &err);
    assert_int_equal(bytes, 16);
    contract_assert_content(store, "read/one", 0, 16, "alpha beta gamma", 16);
    contract_assert_content(store, "read/one", 6, 4, "beta", 4);
    contract_assert_content(store, "read/one", 11, 1000000, "gamma", 5);
    contract_assert_content(store, "read/one", 16, 10, "", 0);
    contract_assert_content(store, "read/one", 1000, 10, "", 0);
    contract_assert_content(store, "read/one", 3, 0, "", 0);

    contract_assert_status(contract_put_text(store, "read/empty", "", &err), SH_OK, &err);
    contract_assert_content(store, "read/empty", 0, 10, "", 0);
    contract_assert_status(sh_store_size(store, "read/empty", &bytes, &err), SH_OK, &err);
    assert_int_equal(bytes, 0);
}

static inline void contract_absent_objects(ShStore *store)
{
    ShError err = {0};
    ShBuf *got = NULL;
    uint64_t bytes = 0;
    contract_assert_status(sh_store_get(store, "absent/x", 0, 1, &got, &err), SH_NOT_FOUND, &err);
    contract_assert_status(sh_store_get(store, "absent/x", 0, 0, &got, &err), SH_NOT_FOUND, &err);
    assert_null(got);
    contract_assert_status(sh_store_size(store, "absent/x", &bytes, &err), SH_NOT_FOUND, &err);
    assert_false(err.retriable);
    contract_assert_status(sh_store_delete(store, "absent/x", &err), SH_OK, &err);
}

static inline void contract_never_overwritten(ShStore *store)
{
    ShError err = {0};
    contract_assert_status(contract_put_text(store, "once/k", "first", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(store, "once/k", "other", &err), SH_EXISTS, &err);
    contract_assert_status(contract_put_text(store, "once/k", "a longer one", &err), SH_EXISTS, &err);
    contract_assert_status(contract_put_text(store, "once/k", "first", &err), SH_OK, &err);
    contract_assert_content(store, "once/k", 0, 100, "first", 5);

    contract_assert_status(sh_store_delete(store, "once/k", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(store, "once/k", "again", &err), SH_OK, &err);
    contract_assert_content(store, "once/k", 0, 100, "again", 5);
}

/* Keys that need quoting in a URL or a signature. */
static inline void contract_odd_keys(ShStore *store)
{
    static const char *const keys[] = {
        "odd/with blank", "odd/plus+and&equals=",     "odd/per%20cent",    "odd/caf\xc3\xa9",
        "odd/a~b-c_d.e",  "odd/quote'\"<x>;:@,!$*()", "odd/quest?ion#hash"};
    ShError err = {0};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        contract_assert_status(contract_put_text(store, keys[i], keys[i], &err), SH_OK, &err);
        contract_assert_content(store, keys[i], 0, 100, keys[i], strlen(keys[i]));
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        contract_assert_status(sh_store_delete(store, keys[i], &err), SH_OK, &err);
}

static inline void contract_refused_keys(ShStore *store)
{
    char long_component[300];
    char long_key[SH_STORE_KEY_BYTES_MAX + 10];
    memset(long_component, 'x', sizeof long_component - 1);
    long_component[sizeof long_component - 1] = '\0';
    for (size_t i = 0; i < sizeof long_key - 1; i++)
        long_key[i] = i % 2 == 0 ? 'x' : '/';
    long_key[sizeof long_key - 1] = '\0';
    const char *keys[] = {"",          "/etc/passwd", "../up",   "a/../../up",   "a/..",
                          ".",         "a/./b",       "a//b",    "a/",           ".tmp/x",
                          "a/.hidden", "line\nbreak", "del\x7f", long_component, long_key};

    ShError err = {0};
    ShBuf *got = NULL;
    uint64_t bytes;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        contract_assert_status(contract_put_text(store, keys[i], "x", &err), SH_INVALID, &err);
        contract_assert_status(sh_store_get(store, keys[i], 0, 1, &got, &err), SH_INVALID, &err);
        contract_assert_status(sh_store_size(store, keys[i], &bytes, &err), SH_INVALID, &err);
        contract_assert_status(sh_store_delete(store, keys[i], &err), SH_INVALID, &err);
    }
    const struct iovec piece = {.iov_base = "x", .iov_len = 1};
    contract_assert_status(sh_store_put(store, "short", &piece, 1, 2, &err), SH_INTERNAL, &err);
}

typedef struct ContractList {
    size_t count;
    size_t stop_after;
    char keys[64][64];
    uint64_t bytes[64];
} ContractList;

static inline bool contract_collect(void *arg, const char *key, uint64_t bytes)
{
    ContractList *list = arg;
    assert_true(list->count < 64);
    snprintf(list->keys[list->count], sizeof list->keys[0], "%s", key);
    list->bytes[list->count] = bytes;
    list->count++;
    return list->count != list->stop_after;
}

/* "list/b-x" sorts before "list/b/1", and that before "list/b0": a directory sorts by its name with the
 * slash. */
static inline void contract_list_in_order(ShStore *store)
{
    static const char *const sorted[] = {"list/B",   "list/a",     "list/b b&<c>", "list/b-x",
                                         "list/b/1", "list/b/2/3", "list/b0",      "list/c/d/e"};
    const size_t count = sizeof sorted / sizeof sorted[0];
    ShError err = {0};
    for (size_t i = 0; i < count; i++)
        contract_assert_status(contract_put_text(store, sorted[(i * 5) % count], "12345", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(store, "listing", "", &err), SH_OK, &err);

    ContractList all = {0};
    contract_assert_status(sh_store_list(store, "list/", contract_collect, &all, &err), SH_OK, &err);
    assert_int_equal(all.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(all.keys[i], sorted[i]);
        assert_int_equal(all.bytes[i], 5);
    }

    ContractList some = {0};
    contract_assert_status(sh_store_list(store, "list/b", contract_collect, &some, &err), SH_OK, &err);
    assert_int_equal(some.count, 5);
    assert_string_equal(some.keys[0], "list/b b&<c>");
    assert_string_equal(some.keys[4], "list/b0");

    ContractList first_two = {.stop_after = 2};
    contract_assert_status(sh_store_list(store, "list/", contract_collect, &first_two, &err), SH_OK, &err);
    assert_int_equal(first_two.count, 2);

    ContractList none = {0};
    contract_assert_status(sh_store_list(store, "nothing/here", contract_collect, &none, &err), SH_OK, &err);
    assert_int_equal(none.count, 0);
    contract_assert_status(sh_store_list(store, "../", contract_collect, &none, &err), SH_INVALID, &err);
}

/* Many keys, so that a store that pages has several pages. */
static inline void contract_list_pages(ShStore *store)
{
    ShError err = {0};
    char key[64];
    for (int i = 0; i < 25; i++) {
        snprintf(key, sizeof key, "pages/%02d", i);
        contract_assert_status(contract_put_text(store, key, "x", &err), SH_OK, &err);
    }
    ContractList all = {0};
    contract_assert_status(sh_store_list(store, "pages/", contract_collect, &all, &err), SH_OK, &err);
    assert_int_equal(all.count, 25);
    for (int i = 0; i < 25; i++) {
        snprintf(key, sizeof key, "pages/%02d", i);
        assert_string_equal(all.keys[i], key);
    }
}

typedef struct ContractRacer {
    ShStore *store;
    pthread_barrier_t *start;
    const char *key;
    char text[24];
    ShStatus status;
    ShError err;
} ContractRacer;

static inline void *contract_race(void *arg)
{
    ContractRacer *racer = arg;
    pthread_barrier_wait(racer->start);
    racer->status = contract_put_text(racer->store, racer->key, racer->text, &racer->err);
    return NULL;
}

static inline void contract_one_racer_wins(ShStore *store)
{
    for (int round = 0; round < 5; round++) {
        char key[32];
        pthread_t threads[CONTRACT_RACERS];
        ContractRacer racers[CONTRACT_RACERS];
        pthread_barrier_t start;
        snprintf(key, sizeof key, "race/%d/deep/er", round);
        pthread_barrier_init(&start, NULL, CONTRACT_RACERS);
        for (int i = 0; i < CONTRACT_RACERS; i++) {
            racers[i] = (ContractRacer){.store = store, .start = &start, .key = key};
            snprintf(racers[i].text, sizeof racers[i].text, "racer %d", i);
            assert_int_equal(pthread_create(&threads[i], NULL, contract_race, &racers[i]), 0);
        }
        int winner = -1;
        for (int i = 0; i < CONTRACT_RACERS; i++) {
            pthread_join(threads[i], NULL);
            if (racers[i].status == SH_OK) {
                assert_int_equal(winner, -1);
                winner = i;
            } else {
                contract_assert_status(racers[i].status, SH_EXISTS, &racers[i].err);
            }
        }
        pthread_barrier_destroy(&start);
        assert_int_not_equal(winner, -1);
        contract_assert_content(store, key, 0, 100, racers[winner].text, strlen(racers[winner].text));
    }
}

/* Bytes that differ everywhere, so that a misplaced piece shows. */
static inline uint8_t *contract_pattern(size_t length)
{
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < length; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (uint8_t)x;
    }
    return bytes;
}

/* A large object of many unequal pieces, more than one writev takes. */
static inline void contract_large_object(ShStore *store, size_t length)
{
    enum { PIECE_COUNT = 3000 };
    ShError err = {0};
    uint8_t *bytes = contract_pattern(length);
    struct iovec *pieces = calloc(PIECE_COUNT, sizeof *pieces);
    assert_non_null(pieces);
    size_t position = 0;
    for (size_t i = 0; i < PIECE_COUNT; i++) {
        size_t piece = i + 1 == PIECE_COUNT ? length - position : (length / PIECE_COUNT / 2) + i % 97;
        pieces[i] = (struct iovec){.iov_base = bytes + position, .iov_len = piece};
        position += piece;
    }
    contract_assert_status(sh_store_put(store, "large/one", pieces, PIECE_COUNT, length, &err), SH_OK, &err);
    contract_assert_content(store, "large/one", 0, length, bytes, length);
    contract_assert_content(store, "large/one", length / 2 - 100, 1000, bytes + length / 2 - 100, 1000);
    contract_assert_content(store, "large/one", length - 7, 1000, bytes + length - 7, 7);
    /* Put again it is there already; with its last byte changed it is another object. */
    contract_assert_status(sh_store_put(store, "large/one", pieces, PIECE_COUNT, length, &err), SH_OK, &err);
    bytes[length - 1] ^= 1;
    contract_assert_status(sh_store_put(store, "large/one", pieces, PIECE_COUNT, length, &err), SH_EXISTS,
                           &err);
    free(pieces);
    free(bytes);
}

/* One byte, and sizes on both sides of sectors, pages and larger blocks, in pieces of three sizes in turn. */
static inline void contract_odd_sizes(ShStore *store)
{
    static const size_t sizes[] = {1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1048575, 1048577};
    static const size_t piece_sizes[] = {7, 4096, 1 << 20};
    ShError err = {0};
    char key[64];
    uint8_t *bytes = contract_pattern(1048577);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t length = sizes[i];
        size_t piece_bytes = piece_sizes[i % 3];
        struct iovec *pieces = calloc(length / piece_bytes + 1, sizeof *pieces);
        assert_non_null(pieces);
        size_t count = 0;
        for (size_t at = 0; at < length; at += pieces[count++].iov_len)
            pieces[count] = (struct iovec){.iov_base = bytes + at,
                                           .iov_len = length - at < piece_bytes ? length - at : piece_bytes};
        snprintf(key, sizeof key, "sizes/%zu", length);
        contract_assert_status(sh_store_put(store, key, pieces, count, length, &err), SH_OK, &err);
        free(pieces);
        uint64_t stored = 0;
        contract_assert_status(sh_store_size(store, key, &stored, &err), SH_OK, &err);
        assert_int_equal(stored, length);
        contract_assert_content(store, key, 0, length + 1, bytes, length);
        contract_assert_content(store, key, length - 1, 10, bytes + length - 1, 1);
    }
    free(bytes);
}

static inline void contract_all(ShStore *store, size_t large_bytes)
{
    ShError err = {0};
    contract_assert_status(sh_store_check(store, &err), SH_OK, &err);
    contract_put_and_read(store);
    contract_absent_objects(store);
    contract_never_overwritten(store);
    contract_odd_keys(store);
    contract_refused_keys(store);
    contract_list_in_order(store);
    contract_list_pages(store);
    contract_one_racer_wins(store);
    contract_odd_sizes(store);
    contract_large_object(store, large_bytes);
}

#endif
