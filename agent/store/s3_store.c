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
    bool strayed; /* a key does not begin as was asked for */
    uint64_t pages;
    uint64_t marked_page;            /* the page after which `mark` came, a power of two */
    char mark[SH_S3_TEXT_BYTES_MAX]; /* a token of before */
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
static void on_overwritten(ShStore *base);
static void s3_close(ShStore *base);

static ShStatus put_once(ShS3Store *store, const ShS3Request *request, bool *is_unknown, ShError *err);
static ShStatus put_after_look(ShS3Store *store, const ShS3Request *conditional, ShError *err);
static ShStatus read_range(ShS3Store *store, const char *key, uint64_t position, uint64_t length,
                           ShS3Reply *reply, ShError *err);
static bool is_cycle(Listing *listing, const char *token);
static ShStatus empty_range(ShBuf **out, ShError *err);
static ShStatus list_page(ShS3Store *store, const char *prefix, const char *token, bool fail_fast,
                          ShS3Reply *reply, ShError *err);
static bool pass_on_listed(void *arg, const char *key, uint64_t bytes);

static const ShStoreOps s3_ops = {.check = s3_check,
                                  .put = s3_put,
                                  .get = s3_get,
                                  .size = s3_size,
                                  .delete = s3_delete,
                                  .list = s3_list,
                                  .end_uploads = sh_s3_end_uploads,
                                  .is_away = s3_is_away,
                                  .on_overwritten = on_overwritten,
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
    status = sh_store_set_check_key(&store->base, config, err);
    if (status != SH_OK)
        goto done;
    *out = &store->base;
    store = NULL;

done:
    if (store != NULL)
        s3_close(&store->base);
    return status;
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

void sh_s3_remember_conditions_refused(ShS3Store *store, const char *how)
{
    if (!atomic_exchange(&store->conditions_refused, true))
        sh_log_warn(
            "s3_without_conditions",
            "store=\"%s\" reason=\"the server %s If-None-Match: existing keys are looked up before a put "
            "instead\"",
            store->base.description, how);
}

static void on_overwritten(ShStore *base)
{
    sh_s3_remember_conditions_refused((ShS3Store *)base, "takes no notice of");
}

static void s3_close(ShStore *base)
{
    ShS3Store *store = (ShS3Store *)base;
    sh_s3_client_free(store->client);
    free(base->description);
    free(base->check_key);
    free(store);
}

/* A list of one key proves endpoint, credentials and bucket with an answer that has words, which HEAD has
 * not. */
static ShStatus s3_check(ShStore *base, ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    ShS3Reply reply;
    ShStatus status = list_page(store, "", "", true, &reply, err);
    sh_s3_reply_clear(&reply);
    if (status != SH_OK)
        return status;
    store->is_checking = true;
    status = sh_store_probe(base, err);
    store->is_checking = false;
    return status;
}

static ShStatus s3_put(ShStore *base, const char *key, const struct iovec *pieces, size_t piece_count,
                       uint64_t total_bytes, ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    if (total_bytes > (uint64_t)store->part_bytes)
        return sh_s3_multipart_put(store, key, pieces, piece_count, total_bytes, err);

    const ShS3Request request = {.operation = SH_S3_PUT,
                                 .key = key,
                                 .if_none_match = true,
                                 .body = pieces,
                                 .body_count = piece_count,
                                 .body_bytes = total_bytes};
    if (atomic_load(&store->conditions_refused))
        return put_after_look(store, &request, err);
    bool is_unknown = false;
    ShStatus status = put_once(store, &request, &is_unknown, err);
    if (status == SH_OK || !is_unknown)
        return status;
    /* Whether it was the condition, the put without it shows. */
    ShError why = {0};
    ShStatus without = put_after_look(store, &request, &why);
    if (without == SH_OK || without == SH_EXISTS)
        sh_s3_remember_conditions_refused(store, "does not know");
    if (status != SH_UNSUPPORTED && without != SH_OK && without != SH_EXISTS)
        return status;
    if (without != SH_OK && err != NULL)
        *err = why;
    return without;
}

static ShStatus s3_get(ShStore *base, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                       ShError *err)
{
    ShS3Store *store = (ShS3Store *)base;
    ShS3Reply reply;
    if (length == 0) { /* HTTP has no empty ranges */
        uint64_t bytes;
        ShStatus found = s3_size(base, key, &bytes, err);
        return found == SH_OK ? empty_range(out, err) : found;
    }
    if (length > INT64_MAX || position > INT64_MAX - length)
        return sh_fail(err, SH_INVALID, "object %s: the range to read is out of all bounds", key);
    ShStatus status = read_range(store, key, position, length, &reply, err);
    if (status == SH_OUT_OF_RANGE || (status == SH_OK && reply.http.body == NULL)) {
        status = empty_range(out, err);
    } else if (status == SH_OK) {
        *out = reply.http.body;
        reply.http.body = NULL;
    }
    sh_s3_reply_clear(&reply);
    return status;
}

/* By reading the first byte: the answer's range tells the whole size, and a refusal has words, which an
 * answer to HEAD has not. */
static ShStatus s3_size(ShStore *base, const char *key, uint64_t *bytes, ShError *err)
{
    ShS3Reply reply;
    ShStatus status = read_range((ShS3Store *)base, key, 0, 1, &reply, err);
    if (status == SH_OK)
        *bytes = reply.total_bytes;
    sh_s3_reply_clear(&reply);
    if (status != SH_OUT_OF_RANGE)
        return status;
    *bytes = 0; /* no byte at 0 */
    sh_error_clear(err);
    return SH_OK;
}

/* SH_OUT_OF_RANGE beyond the object's end. That an object is absent decides what becomes of records, so it is
 * asked for twice. */
static ShStatus read_range(ShS3Store *store, const char *key, uint64_t position, uint64_t length,
                           ShS3Reply *reply, ShError *err)
{
    const ShS3Request request = {.operation = SH_S3_GET,
                                 .key = key,
                                 .position = position,
                                 .length = length,
                                 .reply_bytes_max = length};
    ShStatus status = sh_s3_request(store->client, &request, reply, err);
    if (status != SH_NOT_FOUND)
        return status;
    sh_s3_reply_clear(reply);
    sh_error_clear(err);
    return sh_s3_request(store->client, &request, reply, err);
}

/* S3 answers 204 for what is not there; servers that answer 404 name the key, and not the bucket. */
static ShStatus s3_delete(ShStore *base, const char *key, ShError *err)
{
    ShS3Reply reply;
    const ShS3Request request = {.operation = SH_S3_DELETE, .key = key};
    ShStatus status = sh_s3_request(((ShS3Store *)base)->client, &request, &reply, err);
    if (status != SH_OK && reply.http.code == 404 && strcmp(reply.complaint.code, "NoSuchKey") == 0)
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
        if (status == SH_OK)
            status = sh_s3_xml_list(reply.http.body, pass_on_listed, &listing, token, err);
        sh_s3_reply_clear(&reply);
        if (status == SH_OK && listing.strayed)
            status = sh_fail(err, SH_UNAVAILABLE,
                             "list of %s: the server lists other keys than those below %s", base->description,
                             listing.key_prefix);
        if (status == SH_OK && token[0] != '\0' && is_cycle(&listing, token))
            status = sh_fail(err, SH_UNAVAILABLE,
                             "list of %s: the server gives the same continuation again, so it has no end",
                             base->description);
        if (status != SH_OK)
            return status;
    } while (token[0] != '\0' && !listing.stopped);
    return SH_OK;
}

/* Whether the token came before. One is remembered, and exchanged after twice as many pages each time, so a
 * cycle is found however long it is (Brent). */
static bool is_cycle(Listing *listing, const char *token)
{
    if (listing->pages > 0 && strcmp(listing->mark, token) == 0)
        return true;
    if (++listing->pages > 2 * listing->marked_page) {
        listing->marked_page = listing->pages;
        snprintf(listing->mark, sizeof listing->mark, "%s", token);
    }
    return false;
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

/* `*is_unknown`: it may be the condition that the server refuses. Only a check takes any 400 for that; later
 * a proxy may have said so. */
static ShStatus put_once(ShS3Store *store, const ShS3Request *request, bool *is_unknown, ShError *err)
{
    ShS3Reply reply;
    ShStatus status = sh_s3_request(store->client, request, &reply, err);
    *is_unknown = status == SH_UNSUPPORTED || (store->is_checking && reply.http.code == 400);
    sh_s3_reply_clear(&reply);
    return status;
}

static ShStatus put_after_look(ShS3Store *store, const ShS3Request *conditional, ShError *err)
{
    ShS3Request request = *conditional;
    bool is_unknown;
    ShStatus status = sh_s3_refuse_existing(store, request.key, err);
    if (status != SH_OK)
        return status;
    request.if_none_match = false;
    return put_once(store, &request, &is_unknown, err);
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
    if (strncmp(key, listing->key_prefix, prefix_length) != 0)
        listing->strayed = true;
    else if (!listing->stopped)
        listing->stopped = !listing->fn(listing->arg, key + prefix_length, bytes);
    return !listing->stopped && !listing->strayed;
}
