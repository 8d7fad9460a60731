/*
 * store_internal.h - what a kind of store implements. For the files of agent/store only.
 */
#ifndef SH_AGENT_STORE_STORE_INTERNAL_H
#define SH_AGENT_STORE_STORE_INTERNAL_H

#include "agent/store/store.h"

/* One kind of store. Keys and prefixes were checked by store.c; the rest is as store.h says. */
typedef struct ShStoreOps {
    ShStatus (*check)(ShStore *store, ShError *err);
    ShStatus (*put)(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                    uint64_t total_bytes, ShError *err);
    ShStatus (*get)(ShStore *store, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                    ShError *err);
    ShStatus (*size)(ShStore *store, const char *key, uint64_t *bytes, ShError *err);
    ShStatus (*delete)(ShStore *store, const char *key, ShError *err);
    ShStatus (*list)(ShStore *store, const char *prefix, ShStoreListFn fn, void *arg, ShError *err);
    ShStatus (*end_uploads)(ShStore *store, int64_t age_ms, size_t *count, ShError *err); /* NULL: none */
    bool (*is_away)(ShStore *store, int *retry_after_ms);                                 /* NULL: never */
    /* A put has overwritten an object in a check: from now on the kind looks before it puts. NULL: cannot be.
     */
    void (*on_overwritten)(ShStore *store);
    void (*close)(ShStore *store);
} ShStoreOps;

/* The first member of each kind's own struct. */
struct ShStore {
    const ShStoreOps *ops;
    char *description; /* what sh_store_describe returns; freed by the kind's close */
    /* Of the object that checks put and delete, one for each agent: what a check leaves behind, the next one
     * finds. sh_store_set_check_key makes it, the kind's close frees it. */
    char *check_key;
};

ShStatus sh_dir_store_open(const ShConfig *config, ShStore **out, ShError *err) SH_MUST_CHECK;
ShStatus sh_s3_store_open(const ShConfig *config, ShStore **out, ShError *err) SH_MUST_CHECK;

ShStatus sh_store_set_check_key(ShStore *store, const ShConfig *config, ShError *err) SH_MUST_CHECK;

/* Write, try to overwrite, read back and delete a small object: the common end of every check. */
ShStatus sh_store_probe(ShStore *store, ShError *err) SH_MUST_CHECK;

#endif
