#include "agent/store/s3_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define IDLE_HANDLES_MAX     64
#define CONNECT_TIMEOUT_MS   10000
#define ERROR_BODY_BYTES_MAX (64 * 1024)
#define FIRST_BODY_BYTES     (16 * 1024) /* when the server does not announce a length */
#define SOCKET_BUFFER_BYTES  (256 * 1024)
#define HTTP_ERROR_FIRST     300

/* A libcurl handle keeps its connections, so handles are kept; the one that was used last is used next. */
struct ShS3Http {
    char *ca_file; /* "" : the system's */
    pthread_mutex_t mutex;
    CURL *idle[IDLE_HANDLES_MAX]; /* guarded by mutex, as is idle_count */
    size_t idle_count;
};

/* One exchange under way, seen from libcurl's callbacks. */
typedef struct Transfer {
    const ShS3HttpRequest *request;
    ShS3HttpReply *reply;
    CURL *curl;
    size_t piece; /* where the next bytes of the body come from */
    size_t piece_position;
    bool announced; /* the server gave a Content-Length */
    bool too_large;
    bool no_memory;
} Transfer;

static void init_library(void);
static CURL *take_handle(ShS3Http *http);
static void give_back_handle(ShS3Http *http, CURL *curl);
static struct curl_slist *build_header_list(const ShS3HttpRequest *request);
static void set_options(CURL *curl, const ShS3HttpRequest *request, Transfer *transfer);
static void set_body_options(CURL *curl, const ShS3HttpRequest *request, Transfer *transfer);
static size_t on_header(char *line, size_t size, size_t count, void *arg);
static bool read_header(const char *line, const char *name, char *value, size_t value_bytes);
static void copy_plain(char out[80], const char *value);
static size_t on_reply_bytes(char *bytes, size_t size, size_t count, void *arg);
static bool reserve_body(Transfer *transfer, size_t more);
static size_t on_body_wanted(char *out, size_t size, size_t count, void *arg);
static int on_body_rewind(void *arg, curl_off_t position, int origin);
static const char *tls_hint(const Transfer *transfer);
static ShStatus fail_transfer(const Transfer *transfer, CURLcode code, const char *detail, ShError *err);

ShStatus sh_s3_http_new(const char *ca_file, ShS3Http **out, ShError *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);

    if (ca_file[0] != '\0' && access(ca_file, R_OK) != 0)
        return sh_fail(err, SH_INVALID, "s3_ca_file (or the variable SSL_CERT_FILE) %s cannot be read: %s",
                       ca_file, strerror(errno));
    ShS3Http *http = calloc(1, sizeof *http);
    if (http != NULL)
        http->ca_file = strdup(ca_file);
    if (http == NULL || http->ca_file == NULL) {
        free(http);
        return sh_fail(err, SH_NO_MEMORY, "no memory for the HTTP client");
    }
    pthread_mutex_init(&http->mutex, NULL);
    *out = http;
    return SH_OK;
}

void sh_s3_http_free(ShS3Http *http)
{
    if (http == NULL)
        return;
    for (size_t i = 0; i < http->idle_count; i++)
        curl_easy_cleanup(http->idle[i]);
    pthread_mutex_destroy(&http->mutex);
    free(http->ca_file);
    free(http);
}

ShStatus sh_s3_http_exchange(ShS3Http *http, const ShS3HttpRequest *request, ShS3HttpReply *reply,
                             ShError *err)
{
    ShStatus status = SH_OK;
    ShS3HttpReply got = {0};
    Transfer transfer = {.request = request, .reply = &got};
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = build_header_list(request);
    transfer.curl = take_handle(http);
    if (transfer.curl == NULL || headers == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for an HTTP request");
        goto done;
    }
    set_options(transfer.curl, request, &transfer);
    curl_easy_setopt(transfer.curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(transfer.curl, CURLOPT_ERRORBUFFER, detail);
    if (http->ca_file[0] != '\0')
        curl_easy_setopt(transfer.curl, CURLOPT_CAINFO, http->ca_file);

    CURLcode code = curl_easy_perform(transfer.curl);
    if (code != CURLE_OK) {
        status = fail_transfer(&transfer, code, detail[0] != '\0' ? detail : curl_easy_strerror(code), err);
        goto done;
    }
    curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &got.code);
    *reply = got;
    got.body = NULL;

done:
    sh_buf_unref(got.body);
    curl_slist_free_all(headers);
    give_back_handle(http, transfer.curl);
    return status;
}

static void init_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* NULL when memory is short. */
static CURL *take_handle(ShS3Http *http)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&http->mutex);
    if (http->idle_count > 0)
        curl = http->idle[--http->idle_count];
    pthread_mutex_unlock(&http->mutex);
    return curl != NULL ? curl : curl_easy_init();
}

static void give_back_handle(ShS3Http *http, CURL *curl)
{
    if (curl == NULL)
        return;
    curl_easy_reset(curl); /* forgets options, and with them the pointers; keeps connections */
    pthread_mutex_lock(&http->mutex);
    bool kept = http->idle_count < IDLE_HANDLES_MAX;
    if (kept)
        http->idle[http->idle_count++] = curl;
    pthread_mutex_unlock(&http->mutex);
    if (!kept)
        curl_easy_cleanup(curl);
}

/* NULL when memory is short. The empty "Expect" sends large bodies without asking for permission first. */
static struct curl_slist *build_header_list(const ShS3HttpRequest *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "expect:");
    for (size_t i = 0; list != NULL && i < request->header_count; i++) {
        char *line = NULL;
        struct curl_slist *longer = NULL;
        if (asprintf(&line, "%s: %s", request->headers[i].name, request->headers[i].value) >= 0) {
            longer = curl_slist_append(list, line);
            explicit_bzero(line, strlen(line)); /* may hold a session token */
            free(line);
        }
        if (longer == NULL)
            curl_slist_free_all(list);
        list = longer;
    }
    return list;
}

static void set_options(CURL *curl, const ShS3HttpRequest *request, Transfer *transfer)
{
    int64_t connect_timeout_ms = request->timeout_ms < CONNECT_TIMEOUT_MS ? request->timeout_ms
                                                                          : CONNECT_TIMEOUT_MS;
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "streamhouse");
    if (request->direct)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* the path is what was signed */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)SOCKET_BUFFER_BYTES);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)SOCKET_BUFFER_BYTES);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_reply_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    set_body_options(curl, request, transfer);
}

static void set_body_options(CURL *curl, const ShS3HttpRequest *request, Transfer *transfer)
{
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_body_wanted);
        curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_body_rewind);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, transfer);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    Transfer *transfer = arg;
    ShS3HttpReply *reply = transfer->reply;
    char text[256];
    char value[80];
    snprintf(text, sizeof text, "%.*s", (int)(size * count), line);
    if (read_header(text, "etag", value, sizeof value)) {
        snprintf(reply->etag, sizeof reply->etag, "%s", value);
    } else if (read_header(text, "content-range", value, sizeof value)) {
        snprintf(reply->content_range, sizeof reply->content_range, "%s", value);
    } else if (read_header(text, "x-amz-bucket-region", value, sizeof value)) {
        copy_plain(reply->region, value);
    } else if (read_header(text, "x-amz-request-id", value, sizeof value)) {
        copy_plain(reply->request_id, value);
    } else if (read_header(text, "retry-after", value, sizeof value)) {
        reply->retry_after_s = atoi(value);
    } else if (read_header(text, "content-length", value, sizeof value)) {
        reply->content_length = strtoull(value, NULL, 10);
        reply->has_length = transfer->announced = true;
    }
    return size * count;
}

static bool read_header(const char *line, const char *name, char *value, size_t value_bytes)
{
    size_t name_length = strlen(name);
    if (strncasecmp(line, name, name_length) != 0 || line[name_length] != ':')
        return false;
    const char *start = line + name_length + 1;
    start += strspn(start, " \t");
    snprintf(value, value_bytes, "%.*s", (int)strcspn(start, "\r\n"), start);
    return true;
}

/* What will stand in messages: "" where it holds anything but letters, digits and "-._:+/=". */
static void copy_plain(char out[80], const char *value)
{
    static const char plain[] = "-._:+/=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    bool is_plain = value[strspn(value, plain)] == '\0';
    snprintf(out, 80, "%s", is_plain ? value : "");
}

static size_t on_reply_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    Transfer *transfer = arg;
    size_t length = size * count;
    if (!reserve_body(transfer, length))
        return 0; /* libcurl gives up on the transfer */
    ShBuf *body = transfer->reply->body;
    memcpy(body->data + body->length, bytes, length);
    body->length += length;
    return length;
}

/* Make room for `more` bytes: at once for all that the server announced, else by doubling, never beyond the
 * bound. */
static bool reserve_body(Transfer *transfer, size_t more)
{
    ShBuf *old = transfer->reply->body;
    size_t used = old != NULL ? old->length : 0;
    long code = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &code);
    uint64_t bound = code >= HTTP_ERROR_FIRST ? ERROR_BODY_BYTES_MAX : transfer->request->reply_bytes_max;
    uint64_t wanted = transfer->announced ? transfer->reply->content_length : used + more;
    if (wanted > bound || used + more > bound) {
        transfer->too_large = true;
        return false;
    }
    if (old != NULL && used + more <= old->capacity)
        return true;
    size_t capacity = (size_t)wanted;
    if (!transfer->announced) {
        capacity = old != NULL ? old->capacity * 2 : FIRST_BODY_BYTES;
        while (capacity < used + more)
            capacity *= 2;
        if (capacity > bound)
            capacity = (size_t)bound;
    }

    ShBuf *body = sh_buf_new(capacity);
    if (body == NULL) {
        transfer->no_memory = true;
        return false;
    }
    if (used > 0)
        memcpy(body->data, old->data, used);
    body->length = used;
    transfer->reply->body = body;
    sh_buf_unref(old);
    return true;
}

static size_t on_body_wanted(char *out, size_t size, size_t count, void *arg)
{
    Transfer *transfer = arg;
    const ShS3HttpRequest *request = transfer->request;
    size_t room = size * count;
    size_t given = 0;
    while (given < room && transfer->piece < request->body_count) {
        const struct iovec *piece = &request->body[transfer->piece];
        size_t left = piece->iov_len - transfer->piece_position;
        size_t length = left < room - given ? left : room - given;
        if (length > 0)
            memcpy(out + given, (const char *)piece->iov_base + transfer->piece_position, length);
        given += length;
        transfer->piece_position += length;
        if (transfer->piece_position == piece->iov_len) {
            transfer->piece++;
            transfer->piece_position = 0;
        }
    }
    return given;
}

/* libcurl rewinds a body to send it again, over a new connection, and only ever to its start. */
static int on_body_rewind(void *arg, curl_off_t position, int origin)
{
    Transfer *transfer = arg;
    if (origin != SEEK_SET || position != 0)
        return CURL_SEEKFUNC_CANTSEEK;
    transfer->piece = 0;
    transfer->piece_position = 0;
    return CURL_SEEKFUNC_OK;
}

/* A server that expects TLS closes, or answers with an alert, when it gets a request in plain text. */
static const char *tls_hint(const Transfer *transfer)
{
    return strncmp(transfer->request->url, "http://", 7) == 0
               ? ", which must begin with https:// if the server speaks TLS"
               : "";
}

static ShStatus fail_transfer(const Transfer *transfer, CURLcode code, const char *detail, ShError *err)
{
    ShStatus status;
    if (transfer->too_large)
        return sh_fail(err, SH_TOO_LARGE, "the reply is longer than what was asked for");
    if (transfer->no_memory || code == CURLE_OUT_OF_MEMORY)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the reply");
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return sh_fail(err, SH_TIMEOUT, "no complete answer within %lld ms (%s)",
                       (long long)transfer->request->timeout_ms, detail);
    case CURLE_URL_MALFORMAT:
        return sh_fail(err, SH_INVALID, "%s; see the setting s3_endpoint", detail);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        status = sh_fail(
            err, SH_UNAVAILABLE,
            "the server's certificate is not trusted: %s; see the settings s3_ca_file and s3_endpoint",
            detail);
        break;
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer without HTTP's first line */
    case CURLE_WEIRD_SERVER_REPLY:
        status = sh_fail(err, SH_UNAVAILABLE,
                         "what answers there is no HTTP server: %s; see the setting s3_endpoint%s", detail,
                         tls_hint(transfer));
        break;
    case CURLE_SSL_CONNECT_ERROR:
        return sh_fail(err, SH_UNAVAILABLE,
                       "%s; see the setting s3_endpoint: it begins with https://, does the server speak TLS?",
                       detail);
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
        return sh_fail(err, SH_UNAVAILABLE, "%s; see the setting s3_endpoint%s", detail, tls_hint(transfer));
    default:
        return sh_fail(err, SH_UNAVAILABLE, "%s; see the setting s3_endpoint", detail);
    }
    if (err != NULL)
        err->retriable = false;
    return status;
}
