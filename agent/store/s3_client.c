#include "agent/store/s3_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/store/s3_answer.h"

#define BACKOFF_MAX_MS        5000
#define RETRIES_MAX_WHEN_FAST 1
#define HEADERS_MAX           14 /* of one request */

/* One operation. A fault point makes an attempt fail before it is sent, or loses its answer. S3 limits the
 * rate of everything that writes as that of PUT, and of everything that reads as that of GET. */
typedef struct OperationInfo {
    const char *name;
    const char *method;
    ShThrottleKind kind;
    const char *fault;
    const char *reply_fault;
} OperationInfo;

static const OperationInfo operations[SH_S3_OPERATION_COUNT] = {
    [SH_S3_PUT] = {"put", "PUT", SH_THROTTLE_PUT, "store.put", "store.put.reply"},
    [SH_S3_GET] = {"get", "GET", SH_THROTTLE_GET, "store.get", NULL},
    [SH_S3_DELETE] = {"delete", "DELETE", SH_THROTTLE_DELETE, "store.delete", NULL},
    [SH_S3_LIST] = {"list", "GET", SH_THROTTLE_LIST, NULL, NULL},
    [SH_S3_UPLOAD_CREATE] = {"upload_create", "POST", SH_THROTTLE_PUT, "store.put", NULL},
    [SH_S3_UPLOAD_PART] = {"upload_part", "PUT", SH_THROTTLE_PUT, NULL, NULL},
    [SH_S3_UPLOAD_COMPLETE] = {"upload_complete", "POST", SH_THROTTLE_PUT, NULL, "store.put.reply"},
    [SH_S3_UPLOAD_ABORT] = {"upload_abort", "DELETE", SH_THROTTLE_DELETE, NULL, NULL},
    [SH_S3_UPLOAD_LIST] = {"upload_list", "GET", SH_THROTTLE_LIST, NULL, NULL},
};

/* A request in the form that is signed and sent; the same for all its attempts but for the time. */
typedef struct Prepared {
    char *path;
    char *query;
    char *url;
    char payload_hash[SH_S3_SHA256_HEX_BYTES];
    char checksum[SH_S3_CHECKSUM_BYTES]; /* of the body, in base64; "" : none is sent */
} Prepared;

static void warn_of_plain_http(const ShS3Address *address);
static void register_metrics(ShS3Client *client);
static ShStatus prepare(const ShS3Client *client, const ShS3Request *request, Prepared *out, ShError *err);
static char *build_path(const ShS3Client *client, const ShS3Request *request);
static char *build_query(const ShS3Request *request);
static void prepared_free(Prepared *prepared);
static ShStatus attempt(ShS3Client *client, const ShS3Request *request, const Prepared *prepared,
                        int64_t deadline_ms, ShS3Reply *reply, ShError *err);
static ShStatus pass_gate(ShS3Client *client, ShThrottleKind kind, int64_t deadline_ms,
                          ShThrottleTicket *ticket, ShError *err);
static void report_to_gate(ShS3Client *client, ShThrottleKind kind, const ShThrottleTicket *ticket,
                           ShS3ErrorClass class, int retry_after_s, const ShError *why);
static void note_failure(ShS3Client *client, ShThrottleKind kind, const char *why);
static ShStatus add_failure(ShS3Client *client, ShThrottleKind kind, ShStatus status, ShError *err);
static ShStatus send_once(ShS3Client *client, const ShS3Request *request, const Prepared *prepared,
                          const ShS3Keys *keys, int64_t deadline_ms, ShS3HttpReply *reply, ShError *err);
static bool keys_have_ended(const ShS3Complaint *complaint);
static ShStatus judge(ShS3Client *client, const ShS3Request *request, ShS3Reply *reply, ShS3ErrorClass *class,
                      ShError *err);
static int64_t backoff_ms(const ShS3Client *client, int64_t retry, int retry_after_s);
static int64_t asked_pause_ms(int retry_after_s);
static void wait_us(int64_t us);

ShStatus sh_s3_client_new(const ShConfig *config, int64_t backoff_base_ms, ShS3Client **out, ShError *err)
{
    ShS3Client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the S3 client");
    pthread_mutex_init(&client->failure_lock, NULL);

    ShStatus status = sh_s3_address_parse(config, &client->address, err);
    if (status != SH_OK)
        goto done;
    warn_of_plain_http(&client->address);
    status = sh_s3_http_new(config->s3_ca_file, &client->http, err);
    if (status != SH_OK)
        goto done;
    status = sh_s3_keyring_new(config, &client->keyring, err);
    if (status != SH_OK)
        goto done;
    client->sign_payload = config->s3_sign_payload == SH_SIGN_ALWAYS ||
                           (config->s3_sign_payload == SH_SIGN_AUTO && !client->address.https);
    client->encryption = config->s3_encryption;
    client->kms_key = strdup(config->s3_kms_key != NULL ? config->s3_kms_key : "");
    client->region = strdup(config->s3_region);
    client->checksum = config->s3_checksum;
    if (client->kms_key == NULL || client->region == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the S3 client");
        goto done;
    }
    client->timeout_ms = config->s3_timeout_ms;
    client->deadline_ms = config->s3_deadline_ms;
    client->retries_max = config->s3_retries_max;
    client->backoff_base_ms = backoff_base_ms;
    client->throttle = config->throttle_enabled ? sh_throttle_new(config) : NULL;
    if (config->throttle_enabled && client->throttle == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the S3 client");
        goto done;
    }
    register_metrics(client);
    *out = client;
    client = NULL;

done:
    sh_s3_client_free(client);
    return status;
}

/* Signatures keep the secret key, but whoever listens can read all records. */
static void warn_of_plain_http(const ShS3Address *address)
{
    static const char *const loopback[] = {"127.", "localhost", "[::1]"};
    if (address->https || strstr(address->host, ".localhost") != NULL)
        return;
    for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++)
        if (strncmp(address->host, loopback[i], strlen(loopback[i])) == 0)
            return;
    sh_log_warn(
        "s3_plain_http",
        "host=\"%s\" reason=\"records, and a session token if there is one, go to another host unencrypted; "
        "see the setting s3_endpoint\"",
        address->host);
}

void sh_s3_client_free(ShS3Client *client)
{
    if (client == NULL)
        return;
    sh_throttle_free(client->throttle);
    sh_s3_http_free(client->http);
    sh_s3_address_free(&client->address);
    sh_s3_keyring_free(client->keyring);
    pthread_mutex_destroy(&client->failure_lock);
    free(client->region);
    free(client->kms_key);
    free(client);
}

ShStatus sh_s3_request(ShS3Client *client, const ShS3Request *request, ShS3Reply *reply, ShError *err)
{
    const OperationInfo *info = &operations[request->operation];
    ShError why = {0};
    Prepared prepared = {0};
    *reply = (ShS3Reply){0};

    ShStatus status = prepare(client, request, &prepared, &why);
    if (status != SH_OK)
        goto done;
    int64_t retries_max = request->fail_fast && client->retries_max > RETRIES_MAX_WHEN_FAST
                              ? RETRIES_MAX_WHEN_FAST
                              : client->retries_max;
    int64_t deadline_ms = client->deadline_ms > 0 ? sh_clock_now_ms() + client->deadline_ms : INT64_MAX;
    for (int64_t retry = 0;; retry++) {
        ShError before = why;
        status = attempt(client, request, &prepared, deadline_ms, reply, &why);
        bool turned_away = why.retry_after_ms > 0;
        if (turned_away && retry > 0) {
            /* What went wrong before says more than that nothing is tried now. */
            before.retry_after_ms = why.retry_after_ms;
            why = before;
            status = why.status;
        }
        if (status == SH_OK || !why.retriable || turned_away || retry >= retries_max)
            break;
        int64_t delay_ms = backoff_ms(client, retry, reply->http.retry_after_s);
        if (delay_ms >= deadline_ms - sh_clock_now_ms())
            break;
        sh_log_warn("s3_retry", "operation=%s key=\"%s\" retry=%lld delay_ms=%lld reason=\"%s\"", info->name,
                    request->key != NULL ? request->key : "", (long long)retry + 1, (long long)delay_ms,
                    why.message);
        wait_us(delay_ms * 1000);
    }

done:
    prepared_free(&prepared);
    if (status != SH_OK && err != NULL) {
        *err = why;
        (void)sh_fail_prefix(err, status, "S3 %s %s in bucket %s at %s", info->name,
                             request->key != NULL ? request->key : "objects", client->address.bucket,
                             client->address.origin);
    }
    return status;
}

void sh_s3_reply_clear(ShS3Reply *reply)
{
    sh_buf_unref(reply->http.body);
    reply->http.body = NULL;
}

static void register_metrics(ShS3Client *client)
{
    char labels[80];
    for (int i = 0; i < SH_S3_OPERATION_COUNT; i++) {
        snprintf(labels, sizeof labels, "operation=\"%s\",result=\"ok\"", operations[i].name);
        client->requests_ok[i] = sh_metric_counter("streamhouse_s3_requests_total", labels,
                                                   "Requests to S3, each attempt counted.");
        snprintf(labels, sizeof labels, "operation=\"%s\",result=\"error\"", operations[i].name);
        client->requests_failed[i] = sh_metric_counter("streamhouse_s3_requests_total", labels,
                                                       "Requests to S3, each attempt counted.");
        snprintf(labels, sizeof labels, "operation=\"%s\"", operations[i].name);
        client->duration[i] = sh_metric_histogram("streamhouse_s3_request_duration_seconds", labels,
                                                  "Time of a request to S3, of each attempt.");
    }
    for (int i = SH_S3_ERROR_NONE + 1; i < SH_S3_ERROR_CLASS_COUNT; i++) {
        snprintf(labels, sizeof labels, "class=\"%s\"", sh_s3_error_class_name((ShS3ErrorClass)i));
        client->errors[i] = sh_metric_counter("streamhouse_s3_errors_total", labels,
                                              "Failures of S3 by class.");
    }
}

static ShStatus prepare(const ShS3Client *client, const ShS3Request *request, Prepared *out, ShError *err)
{
    out->path = build_path(client, request);
    out->query = build_query(request);
    if (out->path == NULL || out->query == NULL ||
        asprintf(&out->url, "%s%s%s%s", client->address.origin, out->path, out->query[0] != '\0' ? "?" : "",
                 out->query) < 0) {
        out->url = NULL;
        return sh_fail(err, SH_NO_MEMORY, "no memory for a request");
    }
    bool has_data = request->operation == SH_S3_PUT || request->operation == SH_S3_UPLOAD_PART;
    ShStatus status = has_data ? sh_s3_checksum(client->checksum, request->body, request->body_count,
                                                out->checksum, err)
                               : SH_OK;
    if (status != SH_OK)
        return status;
    if (request->body_bytes == 0)
        snprintf(out->payload_hash, sizeof out->payload_hash, "%s", SH_S3_EMPTY_SHA256);
    else if (!client->sign_payload)
        snprintf(out->payload_hash, sizeof out->payload_hash, "%s", SH_S3_UNSIGNED_PAYLOAD);
    else
        return sh_s3_sha256_hex(request->body, request->body_count, out->payload_hash, err);
    return SH_OK;
}

/* NULL when memory is short, as below. */
static char *build_path(const ShS3Client *client, const ShS3Request *request)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return NULL;
    fputs(client->address.bucket_path, out);
    if (request->key != NULL) {
        putc('/', out);
        sh_s3_write_encoded(out, client->address.key_prefix, true);
        sh_s3_write_encoded(out, request->key, true);
    } else if (client->address.bucket_path[0] == '\0') {
        putc('/', out);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static char *build_query(const ShS3Request *request)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < request->parameter_count; i++) {
        fprintf(out, "%s%s=", i == 0 ? "" : "&", request->parameters[i].name);
        sh_s3_write_encoded(out, request->parameters[i].value, false);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static void prepared_free(Prepared *prepared)
{
    free(prepared->path);
    free(prepared->query);
    free(prepared->url);
}

/* One attempt of any request: every exchange with the server passes through here, is let through by the gate
 * of its operation's kind, counted, timed and judged. */
static ShStatus attempt(ShS3Client *client, const ShS3Request *request, const Prepared *prepared,
                        int64_t deadline_ms, ShS3Reply *reply, ShError *err)
{
    const OperationInfo *info = &operations[request->operation];
    ShS3ErrorClass class = SH_S3_ERROR_NONE;
    sh_s3_reply_clear(reply);
    reply->http = (ShS3HttpReply){0};
    reply->complaint = (ShS3Complaint){0};

    ShThrottleTicket ticket;
    ShS3Keys keys;
    ShStatus status = sh_s3_keyring_get(client->keyring, &keys, err);
    if (status == SH_OK)
        status = pass_gate(client, info->kind, deadline_ms, &ticket, err);
    if (status != SH_OK)
        return status;

    int64_t start_us = sh_clock_now_us();
    status = info->fault != NULL && sh_fault_hit(info->fault)
                 ? sh_fail(err, SH_UNAVAILABLE, "fault point %s", info->fault)
                 : send_once(client, request, prepared, &keys, deadline_ms, &reply->http, err);
    if (status == SH_OK && info->reply_fault != NULL && sh_fault_hit(info->reply_fault))
        status = sh_fail(err, SH_UNAVAILABLE, "fault point %s", info->reply_fault);
    sh_metric_observe_us(client->duration[request->operation], sh_clock_now_us() - start_us);

    if (status == SH_OK)
        status = judge(client, request, reply, &class, err);
    else
        class = sh_s3_judge_transport(status);
    if (status == SH_TOO_LARGE && class == SH_S3_ERROR_TRANSPORT) /* an answer to another question */
        status = sh_fail(err, SH_UNAVAILABLE, "the reply is longer than what was asked for");

    if (status == SH_DENIED && keys_have_ended(&reply->complaint) &&
        sh_s3_keyring_drop(client->keyring, keys.access_key) && err != NULL) {
        err->status = status = SH_UNAVAILABLE;
        err->retriable = true; /* with others */
    }
    explicit_bzero(&keys, sizeof keys);

    bool failed = class != SH_S3_ERROR_NONE;
    sh_metric_add(
        failed ? client->requests_failed[request->operation] : client->requests_ok[request->operation], 1);
    if (failed)
        sh_metric_add(client->errors[class], 1);
    report_to_gate(client, info->kind, &ticket, class, reply->http.retry_after_s, err);
    return status;
}

/* Sooner than they said: taken back, or by another clock. */
static bool keys_have_ended(const ShS3Complaint *complaint)
{
    return strcmp(complaint->code, "ExpiredToken") == 0 || strcmp(complaint->code, "InvalidToken") == 0 ||
           strcmp(complaint->code, "InvalidAccessKeyId") == 0;
}

/* Wait for the rate. SH_UNAVAILABLE with a retry delay when the circuit is open, or the wait would pass the
 * deadline. */
static ShStatus pass_gate(ShS3Client *client, ShThrottleKind kind, int64_t deadline_ms,
                          ShThrottleTicket *ticket, ShError *err)
{
    while (client->throttle != NULL) {
        int64_t asked_us = 0;
        int64_t now_us = sh_clock_now_us();
        ShThrottleDecision decision = sh_throttle_ask(client->throttle, kind, now_us, ticket, &asked_us);
        if (decision == SH_THROTTLE_ALLOWED)
            break;
        int64_t asked_ms = (asked_us + 999) / 1000;
        ShStatus status = SH_OK;
        if (decision == SH_THROTTLE_CIRCUIT_OPEN)
            status = sh_fail(err, SH_UNAVAILABLE, "S3 did not answer lately, and is tried again in %lld ms",
                             (long long)asked_ms);
        else if (asked_ms >= deadline_ms - now_us / 1000)
            status = sh_fail(err, SH_UNAVAILABLE, "no room within the rate of %lld requests a second",
                             (long long)sh_throttle_rate(client->throttle, kind));
        if (status != SH_OK)
            return sh_fail_retry_after(err, add_failure(client, kind, status, err), (int)asked_ms);
        wait_us(asked_us);
    }
    return SH_OK;
}

static void report_to_gate(ShS3Client *client, ShThrottleKind kind, const ShThrottleTicket *ticket,
                           ShS3ErrorClass class, int retry_after_s, const ShError *why)
{
    static const ShThrottleResult results[SH_S3_ERROR_CLASS_COUNT] = {
        [SH_S3_ERROR_NONE] = SH_THROTTLE_ANSWERED,    [SH_S3_ERROR_TRANSPORT] = SH_THROTTLE_FAILED,
        [SH_S3_ERROR_TIMEOUT] = SH_THROTTLE_FAILED,   [SH_S3_ERROR_THROTTLED] = SH_THROTTLE_SLOW_DOWN,
        [SH_S3_ERROR_SERVER] = SH_THROTTLE_FAILED,    [SH_S3_ERROR_DENIED] = SH_THROTTLE_FAILED,
        [SH_S3_ERROR_REQUEST] = SH_THROTTLE_ANSWERED,
    };
    if (client->throttle == NULL)
        return;
    note_failure(client, kind, results[class] == SH_THROTTLE_ANSWERED ? "" : why->message);
    sh_throttle_report(client->throttle, kind, ticket, results[class], asked_pause_ms(retry_after_s) * 1000,
                       sh_clock_now_us());
}

static void note_failure(ShS3Client *client, ShThrottleKind kind, const char *why)
{
    pthread_mutex_lock(&client->failure_lock);
    snprintf(client->failures[kind], sizeof client->failures[kind], "%s", why);
    pthread_mutex_unlock(&client->failure_lock);
}

/* Who is turned away is told what made it so: it may be the setting to look at. */
static ShStatus add_failure(ShS3Client *client, ShThrottleKind kind, ShStatus status, ShError *err)
{
    char why[SH_ERROR_MESSAGE_BYTES];
    pthread_mutex_lock(&client->failure_lock);
    memcpy(why, client->failures[kind], sizeof why);
    pthread_mutex_unlock(&client->failure_lock);
    if (why[0] == '\0')
        return status;
    ShError turned_away = *err;
    return sh_fail(err, status, "%.100s: %s", turned_away.message, why);
}

/* Sign with the time of now and exchange. The headers stand in the order in which they are signed. */
static ShStatus send_once(ShS3Client *client, const ShS3Request *request, const Prepared *prepared,
                          const ShS3Keys *keys, int64_t deadline_ms, ShS3HttpReply *reply, ShError *err)
{
    int64_t left_ms = deadline_ms - sh_clock_now_ms();
    if (left_ms <= 0)
        return sh_fail(err, SH_TIMEOUT, "no answer within %lld ms", (long long)client->deadline_ms);
    const char *method = operations[request->operation].method;
    char timestamp[SH_S3_TIMESTAMP_BYTES];
    char authorization[SH_S3_AUTHORIZATION_BYTES];
    char range[64];
    ShS3Header headers[HEADERS_MAX];
    size_t count = 0;
    sh_s3_format_timestamp(sh_clock_wall_ms(), timestamp);
    bool begins = request->operation == SH_S3_PUT || request->operation == SH_S3_UPLOAD_CREATE;
    if (prepared->checksum[0] != '\0' && client->checksum == SH_S3_CHECKSUM_MD5)
        headers[count++] = (ShS3Header){"content-md5", prepared->checksum};
    headers[count++] = (ShS3Header){"host", client->address.host};
    if (request->if_none_match)
        headers[count++] = (ShS3Header){"if-none-match", "*"};
    if (request->length > 0) {
        snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)request->position,
                 (unsigned long long)(request->position + request->length - 1));
        headers[count++] = (ShS3Header){"range", range};
    }
    if (client->checksum == SH_S3_CHECKSUM_CRC32C && request->operation == SH_S3_UPLOAD_CREATE)
        headers[count++] = (ShS3Header){"x-amz-checksum-algorithm", "CRC32C"};
    if (prepared->checksum[0] != '\0' && client->checksum == SH_S3_CHECKSUM_CRC32C)
        headers[count++] = (ShS3Header){"x-amz-checksum-crc32c", prepared->checksum};
    headers[count++] = (ShS3Header){"x-amz-content-sha256", prepared->payload_hash};
    headers[count++] = (ShS3Header){"x-amz-date", timestamp};
    if (keys->session_token[0] != '\0')
        headers[count++] = (ShS3Header){"x-amz-security-token", keys->session_token};
    if (begins && client->encryption != SH_S3_ENCRYPTION_BUCKET)
        headers[count++] = (ShS3Header){"x-amz-server-side-encryption",
                                        client->encryption == SH_S3_ENCRYPTION_S3 ? "AES256" : "aws:kms"};
    if (begins && client->encryption == SH_S3_ENCRYPTION_KMS && client->kms_key[0] != '\0')
        headers[count++] = (ShS3Header){"x-amz-server-side-encryption-aws-kms-key-id", client->kms_key};

    const ShS3Signable signable = {.method = method,
                                   .path = prepared->path,
                                   .query = prepared->query,
                                   .headers = headers,
                                   .header_count = count,
                                   .payload_hash = prepared->payload_hash,
                                   .timestamp = timestamp};
    const ShS3Credentials credentials = {keys->access_key, keys->secret_key, client->region};
    ShStatus status = sh_s3_sign(&signable, &credentials, authorization, err);
    if (status != SH_OK)
        return status;
    headers[count++] = (ShS3Header){"authorization", authorization};

    const ShS3HttpRequest http_request = {.method = method,
                                          .url = prepared->url,
                                          .headers = headers,
                                          .header_count = count,
                                          .body = request->body,
                                          .body_count = request->body_count,
                                          .body_bytes = request->body_bytes,
                                          .reply_bytes_max = request->reply_bytes_max,
                                          .timeout_ms = client->timeout_ms < left_ms ? client->timeout_ms
                                                                                     : left_ms};
    return sh_s3_http_exchange(client->http, &http_request, reply, err);
}

/* What came of an exchange. Completing an upload takes long, so S3 may send 200 first and the error in the
 * body. Absence decides about data, so it must be the server's own word: an answer to a read that names the
 * key as missing, and comes with a request id if others do. */
static ShStatus judge(ShS3Client *client, const ShS3Request *request, ShS3Reply *reply, ShS3ErrorClass *class,
                      ShError *err)
{
    bool is_2xx = reply->http.code >= 200 && reply->http.code <= 299;
    bool may_complain = !is_2xx || request->operation == SH_S3_UPLOAD_COMPLETE;
    bool complains = may_complain && sh_s3_xml_complaint(reply->http.body, &reply->complaint);
    if (is_2xx && !complains) {
        ShStatus status = sh_s3_answer_check(request, &reply->http, &reply->total_bytes, err);
        *class = status == SH_OK ? SH_S3_ERROR_NONE : SH_S3_ERROR_SERVER;
        if (status == SH_OK && reply->http.request_id[0] != '\0')
            atomic_store(&client->gives_request_ids, true);
        return status;
    }
    static const char tls[] = "HTTPS";
    const ShBuf *body = reply->http.body;
    if (reply->http.code == 400 && !complains && !client->address.https && body != NULL &&
        memmem(body->data, body->length, tls, sizeof tls - 1) != NULL) {
        *class = SH_S3_ERROR_REQUEST;
        return sh_fail(err, SH_INVALID, "the server speaks TLS: s3_endpoint must begin with https://");
    }
    ShStatus status = sh_s3_judge(reply->http.code, &reply->complaint, reply->http.region, class, err);
    if (status != SH_NOT_FOUND)
        return status;
    bool is_unsigned = reply->http.request_id[0] == '\0' && atomic_load(&client->gives_request_ids);
    if (request->operation == SH_S3_GET && !is_unsigned)
        return status;
    *class = SH_S3_ERROR_SERVER;
    return sh_fail(err, SH_UNAVAILABLE, "HTTP %ld %s, but not as this server answers", reply->http.code,
                   reply->complaint.code);
}

/* Full jitter: anything between nothing and a bound that doubles, and not before the server wants to be
 * asked. */
static int64_t backoff_ms(const ShS3Client *client, int64_t retry, int retry_after_s)
{
    int64_t bound = client->backoff_base_ms;
    for (int64_t i = 0; i < retry && bound < BACKOFF_MAX_MS; i++)
        bound *= 2;
    bound = bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS;
    int64_t delay = (int64_t)arc4random_uniform((uint32_t)bound + 1);
    int64_t asked = asked_pause_ms(retry_after_s);
    return delay > asked ? delay : asked;
}

/* What the server asks for, as far as it is waited for. */
static int64_t asked_pause_ms(int retry_after_s)
{
    int64_t asked = retry_after_s > 0 ? (int64_t)retry_after_s * 1000 : 0;
    return asked < BACKOFF_MAX_MS ? asked : BACKOFF_MAX_MS;
}

static void wait_us(int64_t us)
{
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}
