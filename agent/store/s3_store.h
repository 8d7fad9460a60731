/*
 * s3_store.h - the parts of the S3 store that its files share. For agent/store and its tests only.
 */
#ifndef SH_AGENT_STORE_S3_STORE_H
#define SH_AGENT_STORE_S3_STORE_H

#include <stdatomic.h>

#include "agent/store/s3_client.h"
#include "agent/store/store_internal.h"

/* What tests make smaller than anybody else would. */
typedef struct ShS3Options {
    int list_keys_max;       /* keys of one page of a list: 1 to 1000 */
    int64_t backoff_base_ms; /* the bound of the first retry's delay; it doubles */
} ShS3Options;

typedef struct ShS3Store {
    ShStore base;
    ShS3Client *client;
    int64_t part_bytes; /* larger objects go up in parts of this size */
    int list_keys_max;
    /* Set once the server has shown that it does not know If-None-Match: of a put, and at a completion. */
    atomic_bool conditions_refused;
    atomic_bool completion_conditions_refused;
    bool is_checking; /* at the start, when nobody else uses the store */
} ShS3Store;

ShStatus sh_s3_store_open_with(const ShConfig *config, const ShS3Options *options, ShStore **out,
                               ShError *err) SH_MUST_CHECK;

/* Put an object in parts. An upload that fails is aborted, so that the server keeps no parts of it. */
ShStatus sh_s3_multipart_put(ShS3Store *store, const char *key, const struct iovec *pieces,
                             size_t piece_count, uint64_t total_bytes, ShError *err) SH_MUST_CHECK;

/* As sh_store_end_uploads. */
ShStatus sh_s3_end_uploads(ShStore *base, int64_t age_ms, size_t *count, ShError *err) SH_MUST_CHECK;

/* SH_EXISTS when there is such an object. */
ShStatus sh_s3_refuse_existing(ShS3Store *store, const char *key, ShError *err) SH_MUST_CHECK;

/* Note that the server does without conditions, and say so in the log, once: `how` it showed. */
void sh_s3_remember_conditions_refused(ShS3Store *store, const char *how);

#endif
