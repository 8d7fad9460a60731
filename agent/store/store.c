#include "agent/store/store_internal.h"

#include <stdio.h>
#include <string.h>

#define COMPONENT_BYTES_MAX 255 /* what a file name may have */
#define SETTLE_BYTES        (1u << 20)

static ShStatus probe_put(ShStore *store, const char *content, size_t bytes, ShError *err);
static ShStatus settle(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                       uint64_t total_bytes, ShError *err);
static bool holds(const struct iovec *pieces, size_t piece_count, uint64_t position, const ShBuf *bytes);
static ShStatus check_key(const char *key, ShError *err);
static ShStatus check_prefix(const char *prefix, ShError *err);
static ShStatus check_components(const char *text, bool is_prefix, ShError *err);

ShStatus sh_store_open(const ShConfig *config, ShStore **out, ShError *err)
{
    if (config->store == SH_STORE_S3)
        return sh_s3_store_open(config, out, err);
    return sh_dir_store_open(config, out, err);
}

void sh_store_close(ShStore *store)
{
    if (store != NULL)
        store->ops->close(store);
}

const char *sh_store_describe(const ShStore *store)
{
    return store->description;
}

bool sh_store_is_away(ShStore *store, int *retry_after_ms)
{
    return store->ops->is_away != NULL && store->ops->is_away(store, retry_after_ms);
}

ShStatus sh_store_check(ShStore *store, ShError *err)
{
    return store->ops->check(store, err);
}

ShStatus sh_store_put(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                      uint64_t total_bytes, ShError *err)
{
    ShStatus status = check_key(key, err);
    if (status != SH_OK)
        return status;

    uint64_t sum = 0;
    for (size_t i = 0; i < piece_count; i++)
        sum += pieces[i].iov_len;
    if (sum != total_bytes)
        return sh_fail(err, SH_INTERNAL, "object %s: its pieces are %llu bytes, %llu were announced", key,
                       (unsigned long long)sum, (unsigned long long)total_bytes);
    status = store->ops->put(store, key, pieces, piece_count, total_bytes, err);
    return status == SH_EXISTS ? settle(store, key, pieces, piece_count, total_bytes, err) : status;
}

ShStatus sh_store_get(ShStore *store, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                      ShError *err)
{
    ShStatus status = check_key(key, err);
    return status == SH_OK ? store->ops->get(store, key, position, length, out, err) : status;
}

ShStatus sh_store_size(ShStore *store, const char *key, uint64_t *bytes, ShError *err)
{
    ShStatus status = check_key(key, err);
    return status == SH_OK ? store->ops->size(store, key, bytes, err) : status;
}

ShStatus sh_store_delete(ShStore *store, const char *key, ShError *err)
{
    ShStatus status = check_key(key, err);
    return status == SH_OK ? store->ops->delete (store, key, err) : status;
}

ShStatus sh_store_list(ShStore *store, const char *prefix, ShStoreListFn fn, void *arg, ShError *err)
{
    ShStatus status = check_prefix(prefix, err);
    return status == SH_OK ? store->ops->list(store, prefix, fn, arg, err) : status;
}

ShStatus sh_store_end_uploads(ShStore *store, int64_t age_ms, size_t *count, ShError *err)
{
    *count = 0;
    return store->ops->end_uploads != NULL ? store->ops->end_uploads(store, age_ms, count, err) : SH_OK;
}

ShStatus sh_store_set_check_key(ShStore *store, const ShConfig *config, ShError *err)
{
    const char *name = config->agent_id != NULL && config->agent_id[0] != '\0' ? config->agent_id : "agent";
    if (asprintf(&store->check_key, "check/agent-%s", name) >= 0)
        return SH_OK;
    store->check_key = NULL;
    return sh_fail(err, SH_NO_MEMORY, "no memory for the store");
}

ShStatus sh_store_probe(ShStore *store, ShError *err)
{
    static const char content[] = "StreamHouse was here";
    static const char other[] = "StreamHouse is here!";
    const char *key = store->check_key;
    ShBuf *got = NULL;

    ShStatus status = probe_put(store, content, sizeof content, err);
    if (status != SH_OK)
        return status;
    /* A key that is taken must be refused. Who takes it anyway overwrites, here the test object alone. */
    ShError refusal = {0};
    status = probe_put(store, other, sizeof other, &refusal);
    if (status == SH_OK && store->ops->on_overwritten == NULL)
        return sh_fail(err, SH_INTERNAL, "%s overwrites objects", sh_store_describe(store));
    if (status == SH_OK) {
        store->ops->on_overwritten(store);
        status = sh_store_delete(store, key, err);
        if (status == SH_OK)
            status = probe_put(store, content, sizeof content, err);
        if (status != SH_OK)
            return status;
    } else if (status != SH_EXISTS) {
        if (err != NULL)
            *err = refusal;
        return status;
    }

    status = sh_store_get(store, key, 0, sizeof content, &got, err);
    if (status == SH_NOT_FOUND) /* a second agent of this name, that is being started, has deleted it */
        status = sh_fail(err, SH_UNAVAILABLE, "the test object is gone");
    if (status != SH_OK) {
        (void)sh_fail_prefix(err, status, "%s does not give a test object back", sh_store_describe(store));
    } else if (got->length != sizeof content || memcmp(got->data, content, sizeof content) != 0) {
        status = sh_fail(err, SH_CORRUPT, "%s gives other bytes back than were stored",
                         sh_store_describe(store));
    }
    sh_buf_unref(got);

    /* The object goes even when it could not be read; the first failure is the one to report. */
    ShError delete_err;
    ShStatus deleted = sh_store_delete(store, key, status == SH_OK ? err : &delete_err);
    if (status == SH_OK && deleted != SH_OK)
        status = sh_fail_prefix(err, deleted, "%s does not delete a test object", sh_store_describe(store));
    return status;
}

static ShStatus probe_put(ShStore *store, const char *content, size_t bytes, ShError *err)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)content, .iov_len = bytes};
    ShStatus status = sh_store_put(store, store->check_key, &piece, 1, bytes, err);
    return status == SH_OK || status == SH_EXISTS
               ? status
               : sh_fail_prefix(err, status, "%s does not take a test object", sh_store_describe(store));
}

/* The key is taken: by another's object, or by ours, which an earlier put stored whose answer was lost, in
 * this call or in one before. The bytes tell, at no other price than reading them in a case that is rare.
 * `err` says already that the object exists. */
static ShStatus settle(ShStore *store, const char *key, const struct iovec *pieces, size_t piece_count,
                       uint64_t total_bytes, ShError *err)
{
    uint64_t stored_bytes = 0;
    ShError why = {0};
    ShStatus status = store->ops->size(store, key, &stored_bytes, &why);
    bool is_same = stored_bytes == total_bytes;
    for (uint64_t at = 0; status == SH_OK && is_same && at < total_bytes;) {
        ShBuf *bytes = NULL;
        status = store->ops->get(store, key, at, SETTLE_BYTES, &bytes, &why);
        if (status == SH_OK) {
            is_same = bytes->length > 0 && holds(pieces, piece_count, at, bytes);
            at += bytes->length;
        }
        sh_buf_unref(bytes);
    }
    if (status == SH_OK && !is_same)
        return SH_EXISTS;
    if (status == SH_OK) {
        sh_error_clear(err);
        return SH_OK;
    }
    if (status == SH_NOT_FOUND)
        return sh_fail(err, SH_UNAVAILABLE, "object %s was there and is gone, or did not arrive in %s", key,
                       store->description);
    if (err != NULL)
        *err = why;
    return status;
}

/* Whether the pieces' bytes from `position` on are these. */
static bool holds(const struct iovec *pieces, size_t piece_count, uint64_t position, const ShBuf *bytes)
{
    size_t compared = 0;
    for (size_t i = 0; i < piece_count && compared < bytes->length; i++) {
        if (position >= pieces[i].iov_len) {
            position -= pieces[i].iov_len;
            continue;
        }
        size_t left = pieces[i].iov_len - (size_t)position;
        size_t length = left < bytes->length - compared ? left : bytes->length - compared;
        if (memcmp((const uint8_t *)pieces[i].iov_base + position, bytes->data + compared, length) != 0)
            return false;
        compared += length;
        position = 0;
    }
    return compared == bytes->length;
}

static ShStatus check_key(const char *key, ShError *err)
{
    if (key[0] == '\0')
        return sh_fail(err, SH_INVALID, "an object's key is empty");
    return check_components(key, false, err);
}

/* A prefix is the beginning of a key: it may be empty, and its last component may be. */
static ShStatus check_prefix(const char *prefix, ShError *err)
{
    return prefix[0] == '\0' ? SH_OK : check_components(prefix, true, err);
}

static ShStatus check_components(const char *text, bool is_prefix, ShError *err)
{
    size_t length = strnlen(text, SH_STORE_KEY_BYTES_MAX + 1);
    if (length > SH_STORE_KEY_BYTES_MAX)
        return sh_fail(err, SH_INVALID, "an object's key is longer than %d bytes", SH_STORE_KEY_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return sh_fail(err, SH_INVALID, "an object's key holds a control character at byte %zu", i);

    /* No component may begin with a dot: that refuses "..", and keeps the directory store's own names free.
     */
    for (const char *component = text;;) {
        size_t component_length = strcspn(component, "/");
        bool last = component[component_length] == '\0';
        bool may_be_empty = is_prefix && last;
        if (component[0] == '.' || (component_length == 0 && !may_be_empty))
            return sh_fail(err, SH_INVALID,
                           "the object key \"%s\" has a component that is empty or begins with a dot", text);
        if (component_length > COMPONENT_BYTES_MAX)
            return sh_fail(err, SH_INVALID, "the object key \"%s\" has a component of more than %d bytes",
                           text, COMPONENT_BYTES_MAX);
        if (last)
            return SH_OK;
        component += component_length + 1;
    }
}
