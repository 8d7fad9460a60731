/*
 * store.h - where objects rest: an S3 bucket, or a directory with the same semantics.
 *
 * Calls block and may be made from several threads at once. Keys are relative ("a3/agent-1/..."), the store
 * puts its own prefix before them. Objects are never overwritten: a put of a key that holds other
 * bytes fails with SH_EXISTS.
 *
 * A store that did not answer lately refuses at once: SH_UNAVAILABLE, with a retry delay.
 */
#ifndef SH_AGENT_STORE_STORE_H
#define SH_AGENT_STORE_STORE_H

#include <stdint.h>
#include <sys/uio.h>

#include "agent/base/config.h"
#include "core/bytes.h"
#include "core/status.h"

typedef struct ShStore ShStore;

/* Keys are 1 to SH_STORE_KEY_BYTES_MAX bytes: components of at most 255 bytes, joined by '/', none of them
 * empty or beginning with a dot, and no control characters. Anything else is SH_INVALID. */
#define SH_STORE_KEY_BYTES_MAX 512

/* Open the store that the settings name. No request is made; a directory is made where its parent exists. */
ShStatus sh_store_open(const ShConfig *config, ShStore **out, ShError *err) SH_MUST_CHECK;
void sh_store_close(ShStore *store);

/* Try the store out, at start: reach the endpoint, prove the credentials, find the bucket, write, read and
 * delete a small object. The error names endpoint, bucket and the setting to look at: SH_DENIED (wrong key or
 * secret), SH_NOT_FOUND (no bucket, no directory), SH_UNAVAILABLE (endpoint does not answer). */
ShStatus sh_store_check(ShStore *store, ShError *err) SH_MUST_CHECK;

/* Store an object from pieces, whole or not at all, durable on return. SH_EXISTS when the key holds
 * other bytes. What holds these bytes already is SH_OK: an earlier put, of this call or another, stored them
 * and its answer was lost. So a put that failed may be made again with the same key until it is settled. */
ShStatus sh_store_put(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                      uint64_t total_bytes, ShError *err) SH_MUST_CHECK;

/* Read `length` bytes at `position`; fewer only where the object ends, none at or beyond its end.
 * SH_NOT_FOUND: the store itself said, twice, that there is no such object; whatever else it answers is
 * another status. The buffer is the caller's to release. */
ShStatus sh_store_get(ShStore *store, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                      ShError *err) SH_MUST_CHECK;

/* The size of an object; SH_NOT_FOUND. */
ShStatus sh_store_size(ShStore *store, const char *key, uint64_t *bytes, ShError *err) SH_MUST_CHECK;

/* Delete an object; one that does not exist is SH_OK. */
ShStatus sh_store_delete(ShStore *store, const char *key, ShError *err) SH_MUST_CHECK;

/* Call `fn` for each object whose key begins with `prefix`, in key order; `fn` returns false to stop. */
typedef bool (*ShStoreListFn)(void *arg, const char *key, uint64_t bytes);
ShStatus sh_store_list(ShStore *store, const char *prefix, ShStoreListFn fn, void *arg,
                       ShError *err) SH_MUST_CHECK;

/* End uploads in parts that began `age_ms` ago or earlier and have become no object: what an agent left
 * behind that died, or could not end them itself. A put that is under way still begins again. `*count` tells
 * how many; a directory has none. */
ShStatus sh_store_end_uploads(ShStore *store, int64_t age_ms, size_t *count, ShError *err) SH_MUST_CHECK;

/* Did the store not answer puts lately? Then `*retry_after_ms` tells when it is tried again; 0: by the next
 * put. Does not block. */
bool sh_store_is_away(ShStore *store, int *retry_after_ms);

/* For logs and errors: "directory /data/store" or "bucket b at http://...". Owned by the store. */
const char *sh_store_describe(const ShStore *store);

#endif
