#include "agent/store/s3_keys_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS       5000
#define REPLY_BYTES_MAX  (64 * 1024)
#define TOKEN_BYTES_MAX  (16 * 1024)
#define TOKEN_TTL        "21600" /* seconds, of the metadata service's own token */
#define INSTANCE_ADDRESS "http://169.254.169.254"

static ShStatus fetch_by_web_identity(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out,
                                      ShError *err);
static ShStatus fetch_from_container(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out,
                                     ShError *err);
static ShStatus fetch_from_instance(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out, ShError *err);
static char *web_identity_form(const ShS3KeySource *source, const char *token);
static ShStatus read_token(const char *path, char token[TOKEN_BYTES_MAX], ShError *err);
static ShStatus ask(ShS3Http *http, const char *who, const ShS3HttpRequest *request, ShBuf **out,
                    ShError *err);
static ShStatus refuse(const char *who, const ShS3HttpReply *reply, ShError *err);
static ShStatus read_xml(const ShBuf *body, ShS3Keys *out, ShError *err);
static ShStatus read_json(const ShBuf *body, ShS3Keys *out, ShError *err);
static bool find_element(const ShBuf *body, const char *name, char *out, size_t out_bytes);
static bool take_member(const json_t *root, const char *name, char *out, size_t out_bytes);
static bool is_plain(const char *text);
static bool parse_time(const char *text, int64_t *out_ms);

ShStatus sh_s3_key_source_init(const ShConfig *config, ShS3KeySource *out, ShError *err)
{
    const char *endpoint = "";
    const char *token_file = "";
    char sts[128];
    out->from = sh_config_s3_credentials(config);
    if (out->from == SH_S3_CREDENTIALS_WEB_IDENTITY) {
        snprintf(sts, sizeof sts, "https://sts.%s.amazonaws.com", config->s3_region);
        endpoint = config->s3_sts_endpoint[0] != '\0' ? config->s3_sts_endpoint : sts;
        token_file = config->s3_web_identity_token_file;
    } else if (out->from == SH_S3_CREDENTIALS_CONTAINER) {
        endpoint = config->s3_container_uri;
        token_file = config->s3_container_token_file;
    } else if (out->from == SH_S3_CREDENTIALS_INSTANCE) {
        endpoint = config->s3_instance_endpoint[0] != '\0' ? config->s3_instance_endpoint : INSTANCE_ADDRESS;
    }
    bool has_role = out->from == SH_S3_CREDENTIALS_WEB_IDENTITY;
    out->role_arn = strdup(has_role ? config->s3_role_arn : "");
    out->token_file = strdup(token_file);
    out->endpoint = strdup(endpoint);
    const char *name = config->agent_id != NULL ? config->agent_id : "";
    if (asprintf(&out->session_name, "streamhouse-%.40s", name) < 0)
        out->session_name = NULL;
    if (out->role_arn == NULL || out->token_file == NULL || out->endpoint == NULL ||
        out->session_name == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the keys of S3");
    return SH_OK;
}

void sh_s3_key_source_clear(ShS3KeySource *source)
{
    free(source->role_arn);
    free(source->session_name);
    free(source->token_file);
    free(source->endpoint);
}

ShStatus sh_s3_keys_fetch(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out, ShError *err)
{
    switch (source->from) {
    case SH_S3_CREDENTIALS_WEB_IDENTITY:
        return fetch_by_web_identity(http, source, out, err);
    case SH_S3_CREDENTIALS_CONTAINER:
        return fetch_from_container(http, source, out, err);
    case SH_S3_CREDENTIALS_INSTANCE:
        return fetch_from_instance(http, source, out, err);
    case SH_S3_CREDENTIALS_AUTO:
    case SH_S3_CREDENTIALS_KEYS:
        break;
    }
    return sh_fail(err, SH_INTERNAL, "the keys of the settings are not fetched");
}

static ShStatus fetch_by_web_identity(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out,
                                      ShError *err)
{
    char token[TOKEN_BYTES_MAX];
    ShStatus status = read_token(source->token_file, token, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, status, "s3_web_identity_token_file");
    char *form = web_identity_form(source, token);
    explicit_bzero(token, sizeof token);
    if (form == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the keys of S3");
    const ShS3Header headers[] = {{"content-type", "application/x-www-form-urlencoded"}};
    struct iovec body = {.iov_base = form, .iov_len = strlen(form)};
    char url[640];
    snprintf(url, sizeof url, "%s/", source->endpoint);
    ShBuf *reply = NULL;
    status = ask(http, "STS (s3_sts_endpoint, s3_role_arn)",
                 &(ShS3HttpRequest){.method = "POST",
                                    .url = url,
                                    .headers = headers,
                                    .header_count = 1,
                                    .body = &body,
                                    .body_count = 1,
                                    .body_bytes = body.iov_len},
                 &reply, err);
    explicit_bzero(form, strlen(form));
    free(form);
    if (status == SH_OK)
        status = read_xml(reply, out, err);
    sh_buf_unref(reply);
    return status;
}

/* NULL when memory is short. */
static char *web_identity_form(const ShS3KeySource *source, const char *token)
{
    char *form = NULL;
    size_t length;
    FILE *to = open_memstream(&form, &length);
    if (to == NULL)
        return NULL;
    fputs("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=", to);
    sh_s3_write_encoded(to, source->role_arn, false);
    fputs("&RoleSessionName=", to);
    sh_s3_write_encoded(to, source->session_name, false);
    fputs("&WebIdentityToken=", to);
    sh_s3_write_encoded(to, token, false);
    if (fclose(to) == 0)
        return form;
    free(form);
    return NULL;
}

static ShStatus fetch_from_container(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out, ShError *err)
{
    char token[TOKEN_BYTES_MAX] = "";
    ShStatus status = SH_OK;
    if (source->token_file[0] != '\0')
        status = read_token(source->token_file, token, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, status, "s3_container_token_file");
    const ShS3Header headers[] = {{"authorization", token}};
    ShBuf *reply = NULL;
    status = ask(http, "the container's credentials (s3_container_uri)",
                 &(ShS3HttpRequest){.method = "GET",
                                    .direct = true,
                                    .url = source->endpoint,
                                    .headers = headers,
                                    .header_count = token[0] != '\0' ? 1 : 0},
                 &reply, err);
    explicit_bzero(token, sizeof token);
    if (status == SH_OK)
        status = read_json(reply, out, err);
    sh_buf_unref(reply);
    return status;
}

/* A token first, so that no request that somebody made the agent pass on gets keys. */
static ShStatus fetch_from_instance(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out, ShError *err)
{
    static const char who[] = "the instance's metadata (s3_instance_endpoint)";
    static const char path[] = "/latest/meta-data/iam/security-credentials/";
    char url[1024];
    char token[TOKEN_BYTES_MAX];
    char role[128];
    ShBuf *reply = NULL;
    const ShS3Header wish[] = {{"x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL}};
    snprintf(url, sizeof url, "%s/latest/api/token", source->endpoint);
    ShS3HttpRequest request = {
        .method = "PUT", .direct = true, .url = url, .headers = wish, .header_count = 1};
    ShStatus status = ask(http, who, &request, &reply, err);
    if (status != SH_OK)
        return status;
    snprintf(token, sizeof token, "%.*s", (int)reply->length, (const char *)reply->data);
    sh_buf_unref(reply);
    reply = NULL;

    const ShS3Header shown[] = {{"x-aws-ec2-metadata-token", token}};
    snprintf(url, sizeof url, "%s%s", source->endpoint, path);
    request.method = "GET";
    request.headers = shown;
    status = is_plain(token) ? ask(http, who, &request, &reply, err)
                             : sh_fail(err, SH_UNAVAILABLE, "%s gave no token", who);
    if (status != SH_OK)
        return status;
    snprintf(role, sizeof role, "%.*s", (int)reply->length, (const char *)reply->data);
    role[strcspn(role, "\r\n")] = '\0';
    sh_buf_unref(reply);
    reply = NULL;
    if (role[0] == '\0' || !is_plain(role))
        return sh_fail(err, SH_DENIED, "%s knows no role: give the instance one", who);

    snprintf(url, sizeof url, "%s%s%s", source->endpoint, path, role);
    status = ask(http, who, &request, &reply, err);
    explicit_bzero(token, sizeof token);
    if (status == SH_OK)
        status = read_json(reply, out, err);
    sh_buf_unref(reply);
    return status;
}

/* Without white space at its end. */
static ShStatus read_token(const char *path, char token[TOKEN_BYTES_MAX], ShError *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, token, TOKEN_BYTES_MAX - 1) : -1;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return sh_fail(err, SH_DENIED, "%s cannot be read: %s", path, strerror(error));
    while (length > 0 && strchr(" \t\r\n", token[length - 1]) != NULL)
        length--;
    token[length] = '\0';
    if (length == 0 || !is_plain(token))
        return sh_fail(err, SH_DENIED, "%s holds no token", path);
    return SH_OK;
}

/* An answer with a body; its refusals in words. */
static ShStatus ask(ShS3Http *http, const char *who, const ShS3HttpRequest *request, ShBuf **out,
                    ShError *err)
{
    ShS3HttpReply reply = {0};
    ShS3HttpRequest bounded = *request;
    bounded.reply_bytes_max = REPLY_BYTES_MAX;
    bounded.timeout_ms = TIMEOUT_MS;
    ShStatus status = sh_s3_http_exchange(http, &bounded, &reply, err);
    if (status != SH_OK)
        return sh_fail_prefix(err, SH_UNAVAILABLE, "%s", who);
    if (reply.code != 200 || reply.body == NULL) {
        status = refuse(who, &reply, err);
        sh_buf_unref(reply.body);
        return status;
    }
    *out = reply.body;
    return SH_OK;
}

static ShStatus refuse(const char *who, const ShS3HttpReply *reply, ShError *err)
{
    char code[80] = "";
    char message[200] = "";
    (void)find_element(reply->body, "Code", code, sizeof code);
    (void)find_element(reply->body, "Message", message, sizeof message);
    bool is_final = reply->code >= 400 && reply->code < 500 && reply->code != 408 && reply->code != 429 &&
                    strcmp(code, "IDPCommunicationError") != 0;
    return sh_fail(err, is_final ? SH_DENIED : SH_UNAVAILABLE, "%s answered %ld %s %s", who, reply->code,
                   code, message);
}

/* Of AssumeRoleWithWebIdentity. None of the values holds what XML would have to escape. */
static ShStatus read_xml(const ShBuf *body, ShS3Keys *out, ShError *err)
{
    char until[40];
    if (!find_element(body, "AccessKeyId", out->access_key, sizeof out->access_key) ||
        !find_element(body, "SecretAccessKey", out->secret_key, sizeof out->secret_key) ||
        !find_element(body, "SessionToken", out->session_token, sizeof out->session_token) ||
        !find_element(body, "Expiration", until, sizeof until) || !parse_time(until, &out->expires_ms) ||
        out->access_key[0] == '\0' || out->secret_key[0] == '\0')
        return sh_fail(err, SH_UNAVAILABLE, "STS (s3_sts_endpoint) gave an answer without keys");
    return SH_OK;
}

static ShStatus read_json(const ShBuf *body, ShS3Keys *out, ShError *err)
{
    char until[40];
    json_t *root = json_loadb((const char *)body->data, body->length, 0, NULL);
    bool good = take_member(root, "AccessKeyId", out->access_key, sizeof out->access_key) &&
                take_member(root, "SecretAccessKey", out->secret_key, sizeof out->secret_key) &&
                take_member(root, "Token", out->session_token, sizeof out->session_token) &&
                take_member(root, "Expiration", until, sizeof until) && parse_time(until, &out->expires_ms) &&
                out->access_key[0] != '\0' && out->secret_key[0] != '\0';
    json_decref(root);
    if (good)
        return SH_OK;
    return sh_fail(err, SH_UNAVAILABLE,
                   "s3_container_uri or s3_instance_endpoint gave an answer without keys");
}

/* The text of the first element of this name; false when there is none, or it is not plain, or too long. */
static bool find_element(const ShBuf *body, const char *name, char *out, size_t out_bytes)
{
    char mark[64];
    int mark_length = snprintf(mark, sizeof mark, "<%s>", name);
    if (body == NULL)
        return false;
    const char *end = (const char *)body->data + body->length;
    const char *start = memmem(body->data, body->length, mark, (size_t)mark_length);
    if (start == NULL)
        return false;
    start += mark_length;
    const char *stop = memchr(start, '<', (size_t)(end - start));
    if (stop == NULL || (size_t)(stop - start) >= out_bytes)
        return false;
    snprintf(out, out_bytes, "%.*s", (int)(stop - start), start);
    if (is_plain(out))
        return true;
    out[0] = '\0';
    return false;
}

static bool take_member(const json_t *root, const char *name, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL && is_plain(text) && (size_t)snprintf(out, out_bytes, "%s", text) < out_bytes;
}

/* What may stand in a header or a line of the log. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E || *c == '&')
            return false;
    return true;
}

/* 2026-01-31T12:00:00Z, with a fraction too. */
static bool parse_time(const char *text, int64_t *out_ms)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL)
        return false;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
        return false;
    *out_ms = (int64_t)timegm(&parts) * 1000;
    return true;
}
