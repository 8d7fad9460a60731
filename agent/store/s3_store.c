#include "agent/store/s3_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

#define LIST_KEYS_MAX        1000 /* what S3 gives at most */
#define LIST_REPLY_BYTES_MAX (8 * 1024 * 1024)
#define BACKOFF_BASE_MS      50

/* Hands a list's keys on to the caller, without the store's prefix. */
typedef struct Listing {
    ShStoreListFn fn;
    void *arg;
    const char *key_prefix;
    bool stopped;
} Listing;

static ShStatus s3_check(ShStore *base, ShError *err);
static ShStatus s3_put(ShStore *base, const char *key, const struct iovec *pieces, size_t piece_count,
                       uint64_t total_bytes, ShError *err);
static ShStatus s3_get(ShStore *base, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                       ShError *err);
static ShStatus s3_size(ShStore *base, const char *key, uint64_t *bytes, ShError *err);
static ShStatus s3_delete(ShStore *base, const char *key, ShError *err);
static ShStatus s3_list(ShStore *base, const char *prefix, ShStoreListFn fn, void *arg, ShError *err);
static bool s3_is_away(ShStore *base, int *retry_after_ms);
static void s3_close(ShStore *base);

static ShStatus put_once(ShS3Store *store, const ShS3Request *request, ShError *err);
static ShStatus check_range(const ShS3HttpReply *reply, const char *key, uint64_t position, uint64_t length,
                            ShError *err);
static ShStatus empty_range(ShBuf **out, ShError *err);
static ShStatus list_page(ShS3Store *store, const char *prefix, const char *token, bool fail_fast,
                          ShS3Reply *reply, ShError *err);
static bool pass_on_listed(void *arg, const char *key, uint64_t bytes);
static bool ignore_listed(void *arg, const char *key, uint64_t bytes);

static const ShStoreOps s3_ops = {.check = s3_check,
                                  .put = s3_put,
                                  .get = s3_get,
                                  .size = s3_size,
                                  .delete = s3_delete,
                                  .list = s3_list,
                                  .is_away = s3_is_away,
                                  .close = s3_close};

ShStatus sh_s3_store_open(const ShConfig *config, ShStore **out, ShError *err)
{
    const ShS3Options options = {.list_keys_max = LIST_KEYS_MAX, .backoff_base_ms = BACKOFF_BASE_MS};
    return sh_s3_store_open_with(config, &options, out, err);
}

ShStatus sh_s3_store_open_with(const ShConfig *config, const ShS3Options *options, ShStore **out,
                               ShError *err)
{
    ShS3Store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the store");
    store->base.ops = &s3_ops;
    store->part_bytes = config->s3_multipart_bytes;
    store->list_keys_max = options->list_keys_max;

    ShStatus status = sh_s3_client_new(config, options->backoff_base_ms, &store->client, err);
    if (status != SH_OK)
        goto done;
    if (asprintf(&store->base.description, "bucket %s at %s", store->client->address.bucket,
                 store->client->address.origin) < 0) {
        store->base.description = NULL;
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the store");
        goto done;
    }
    *out = &store->base;
    store = NULL;

done:
    if (store != NULL)
        s3_close(&store->base);
    return status;
}

ShStatus sh_s3_confirm_stored(ShS3Store *store, const char *key, uint64_t total_bytes, ShError *err)
{
    uint64_t bytes;
    ShStatus status = s3_size(&store->base, key, &bytes, err);
    if (status == SH_NOT_FOUND)
        return sh_fail(err, SH_UNAVAILABLE, "object %s did not arrive in %s", key, store->base.description);
    if (status != SH_OK)
        return status;
    if (bytes != total_bytes)
        return sh_fail(err, SH_EXISTS, "object %s exists in %s", key, store->base.description);
    return SH_OK;
}

ShStatus sh_s3_refuse_existing(ShS3Store *store, const char *key, ShError *err)
{
    uint64_t bytes;
    ShError lookup = {0};
    ShStatus status = s3_size(&store->base, key, &bytes, &lookup);
    if (status == SH_OK)
        return sh_fail(err, SH_EXISTS, "object %s exists in %s", key, store->base.description);
    if (status == SH_NOT_FOUND)
        return SH_OK;
    if (err != NULL)
        *err = lookup;
    return status;
}

void sh_s3_remember_conditions_refused(ShS3Store *store)
{
    if (!atomic_exchange(&store->conditions_refused, true))
        sh_log_warn("s3_without_conditions",
                    "store=\"%s\" reason=\"the server does not know If-None-Match: existing "
                    "keys are looked up before a put instead\"",
                    store->base.description);
}

static void s3_close(ShStore *base)
{
    ShS3Store *store = (ShS3Store *)base;
    sh_s3_client_free(store->client);
    free(base->description);
    free(store);
}

/* A list of one key proves endpoint, credentials and bucket with an answer that has words, which HEAD has
 * not. */
static ShStatus s3_check(ShStore *base, ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    ShS3Reply reply;
    char token[SH_S3_TEXT_BYTES_MAX];
    ShStatus status = list_page(store, "", "", true, &reply, err);
    if (status == SH_OK && sh_s3_xml_list(reply.http.body, ignore_listed, NULL, token, NULL) != SH_OK)
        status = sh_fail(err, SH_UNAVAILABLE,
                         "%s: what answers there is no S3 server; see the setting s3_endpoint",
                         base->description);
    else if (status == SH_NOT_FOUND && reply.complaint.code[0] == '\0')
        status = sh_fail(err, SH_UNAVAILABLE,
                         "%s: what answers there (HTTP 404) is no S3 server; see the setting s3_endpoint",
                         base->description);
    sh_s3_reply_clear(&reply);
    return status == SH_OK ? sh_store_probe(base, err) : status;
}

static ShStatus s3_put(ShStore *base, const char *key, const struct iovec *pieces, size_t piece_count,
                       uint64_t total_bytes, ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    if (total_bytes > (uint64_t)store->part_bytes)
        return sh_s3_multipart_put(store, key, pieces, piece_count, total_bytes, err);

    ShS3Request request = {.operation = SH_S3_PUT,
                           .key = key,
                           .if_none_match = true,
                           .body = pieces,
                           .body_count = piece_count,
                           .body_bytes = total_bytes};
    if (!atomic_load(&store->conditions_refused)) {
        ShStatus status = put_once(store, &request, err);
        if (status != SH_UNSUPPORTED)
            return status;
        sh_s3_remember_conditions_refused(store);
    }
    ShStatus status = sh_s3_refuse_existing(store, key, err);
    if (status != SH_OK)
        return status;
    request.if_none_match = false;
    return put_once(store, &request, err);
}

static ShStatus s3_get(ShStore *base, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                       ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    ShS3Reply reply;
    char range[64];
    if (length == 0) { /* HTTP has no empty ranges */
        uint64_t bytes;
        ShStatus found = s3_size(base, key, &bytes, err);
        return found == SH_OK ? empty_range(out, err) : found;
    }
    if (length > INT64_MAX || position > INT64_MAX - length)
        return sh_fail(err, SH_INVALID, "object %s: the range to read is out of all bounds", key);
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)position,
             (unsigned long long)(position + length - 1));

    const ShS3Request request = {
        .operation = SH_S3_GET, .key = key, .range = range, .reply_bytes_max = length};
    ShStatus status = sh_s3_request(store->client, &request, &reply, err);
    if (status == SH_OUT_OF_RANGE) {
        status = empty_range(out, err);
        goto done;
    }
    if (status == SH_OK)
        status = check_range(&reply.http, key, position, length, err);
    if (status != SH_OK)
        goto done;
    if (reply.http.body == NULL) {
        status = empty_range(out, err);
        goto done;
    }
    *out = reply.http.body;
    reply.http.body = NULL;

done:
    sh_s3_reply_clear(&reply);
    return status;
}

static ShStatus s3_size(ShStore *base, const char *key, uint64_t *bytes, ShError *err)
{
    ShS3Reply reply;
    const ShS3Request request = {.operation = SH_S3_HEAD, .key = key};
    ShStatus status = sh_s3_request(((ShS3Store *)base)->client, &request, &reply, err);
    if (status == SH_OK)
        *bytes = reply.http.content_length;
    sh_s3_reply_clear(&reply);
    return status;
}

/* S3 answers 204 for what is not there; servers that answer 404 name the key, and not the bucket. */
static ShStatus s3_delete(ShStore *base, const char *key, ShError *err)
{
    ShS3Reply reply;
    const ShS3Request request = {.operation = SH_S3_DELETE, .key = key};
    ShStatus status = sh_s3_request(((ShS3Store *)base)->client, &request, &reply, err);
    if (status == SH_NOT_FOUND && strcmp(reply.complaint.code, "NoSuchKey") == 0)
        status = SH_OK;
    sh_s3_reply_clear(&reply);
    return status;
}

static ShStatus s3_list(ShStore *base, const char *prefix, ShStoreListFn fn, void *arg, ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    Listing listing = {.fn = fn, .arg = arg, .key_prefix = store->client->address.key_prefix};
    char token[SH_S3_TEXT_BYTES_MAX] = "";
    do {
        ShS3Reply reply;
        ShStatus status = list_page(store, prefix, token, false, &reply, err);
        if (status == SH_OK) {
            status = sh_s3_xml_list(reply.http.body, pass_on_listed, &listing, token, err);
            if (status != SH_OK)
                (void)sh_fail_prefix(err, status, "list of %s", base->description);
        }
        sh_s3_reply_clear(&reply);
        if (status != SH_OK)
            return status;
    } while (token[0] != '\0' && !listing.stopped);
    return SH_OK;
}

static bool s3_is_away(ShStore *base, int *retry_after_ms)
{
    ShThrottle *throttle = ((ShS3Store *)base)->client->throttle;
    int64_t wait_us = 0;
    /* The state first: while all is well this is asked for each call, and a clock costs more than the answer.
     */
    if (throttle == NULL || sh_throttle_state(throttle, SH_THROTTLE_PUT) == SH_BREAKER_CLOSED ||
        !sh_throttle_is_open(throttle, SH_THROTTLE_PUT, sh_clock_now_us(), &wait_us))
        return false;
    *retry_after_ms = (int)((wait_us + 999) / 1000);
    return true;
}

static ShStatus put_once(ShS3Store *store, const ShS3Request *request, ShError *err)
{
    ShS3Reply reply;
    ShStatus status = sh_s3_request(store->client, request, &reply, err);
    if (status == SH_EXISTS && reply.uncertain)
        status = sh_s3_confirm_stored(store, request->key, request->body_bytes, err);
    sh_s3_reply_clear(&reply);
    return status;
}

/* The bytes must be the ones that were asked for, and fewer only where the object ends. */
static ShStatus check_range(const ShS3HttpReply *reply, const char *key, uint64_t position, uint64_t length,
                            ShError *err)
{
    unsigned long long first;
    unsigned long long last;
    unsigned long long total;
    uint64_t got = reply->body != NULL ? reply->body->length : 0;
    if (reply->code == 200)
        return position == 0 ? SH_OK
                             : sh_fail(err, SH_UNSUPPORTED, "object %s: the server ignores ranges", key);
    if (sscanf(reply->content_range, "bytes %llu-%llu/%llu", &first, &last, &total) != 3 ||
        first != position || got > total || (got < length && position + got != total))
        return sh_fail(err, SH_CORRUPT,
                       "object %s: the server sent %llu bytes, Content-Range \"%s\", for %llu at %llu", key,
                       (unsigned long long)got, reply->content_range, (unsigned long long)length,
                       (unsigned long long)position);
    return SH_OK;
}

static ShStatus empty_range(ShBuf **out, ShError *err)
{
    ShBuf *buf = sh_buf_new(0);
    if (buf == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for an object's bytes");
    *out = buf;
    return SH_OK;
}

/* One page, from its beginning when `token` is "". Of a fast failing request's page one key is enough. */
static ShStatus list_page(ShS3Store *store, const char *prefix, const char *token, bool fail_fast,
                          ShS3Reply *reply, ShError *err)
{
    char keys_max[16];
    char full_prefix[1024];
    ShS3Parameter parameters[4];
    size_t count = 0;
    snprintf(keys_max, sizeof keys_max, "%d", fail_fast ? 1 : store->list_keys_max);
    snprintf(full_prefix, sizeof full_prefix, "%s%s", store->client->address.key_prefix, prefix);
    if (token[0] != '\0')
        parameters[count++] = (ShS3Parameter){"continuation-token", token};
    parameters[count++] = (ShS3Parameter){"list-type", "2"};
    parameters[count++] = (ShS3Parameter){"max-keys", keys_max};
    parameters[count++] = (ShS3Parameter){"prefix", full_prefix};

    const ShS3Request request = {.operation = SH_S3_LIST,
                                 .parameters = parameters,
                                 .parameter_count = count,
                                 .reply_bytes_max = LIST_REPLY_BYTES_MAX,
                                 .fail_fast = fail_fast};
    return sh_s3_request(store->client, &request, reply, err);
}

static bool pass_on_listed(void *arg, const char *key, uint64_t bytes)
{
    Listing *listing = arg;
    size_t prefix_length = strlen(listing->key_prefix);
    if (!listing->stopped && strncmp(key, listing->key_prefix, prefix_length) == 0)
        listing->stopped = !listing->fn(listing->arg, key + prefix_length, bytes);
    return !listing->stopped;
}

static bool ignore_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)arg;
    (void)key;
    (void)bytes;
    return true;
}
