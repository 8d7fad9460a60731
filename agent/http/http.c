#include "agent/http/http.h"

#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/listener.h"
#include "agent/http/framing.h"
#include "agent/http/http_routes.h"
#include "agent/http/http_target.h"
#include "agent/http/visitors.h"

#define CONNECTIONS_MAX         64
#define CONNECTION_TIMEOUT_S    10
#define REQUEST_TIMEOUT_MS      20000 /* from its first byte to its last, and the silence before */
#define CONNECTION_MEMORY_BYTES ((size_t)32 * 1024)

struct ShHttp {
    ShHttpContext context;
    ShMetricsText metrics; /* of the server's one thread */
    ShVisitors *visitors;
    struct MHD_Daemon *daemon;
};

static struct MHD_Daemon *start_daemon(ShHttp *http, int listener);
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state);
static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why);
static enum MHD_Result refuse(struct MHD_Connection *connection, const char *fault);
static enum MHD_Result send_answer(struct MHD_Connection *connection, ShHttpAnswer *answer);

ShStatus sh_http_start(const char *address, ShHttpReadyFn ready, void *arg, ShHttp **out,
                       char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err)
{
    int listener;
    ShStatus status = sh_listen("http_address", address, &listener, bound_address, err);
    if (status != SH_OK)
        return status;

    ShHttp *http = calloc(1, sizeof *http);
    if (http == NULL) {
        close(listener);
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the HTTP server");
    }
    http->context = (ShHttpContext){ready, arg, &http->metrics};
    status = sh_visitors_start(CONNECTIONS_MAX, REQUEST_TIMEOUT_MS, &http->visitors, err);
    if (status == SH_OK) {
        http->daemon = start_daemon(http, listener);
        if (http->daemon == NULL)
            status = sh_fail(err, SH_EXHAUSTED, "cannot start the HTTP server on %s", bound_address);
    }
    if (status != SH_OK) {
        close(listener);
        sh_visitors_stop(http->visitors);
        free(http);
        return status;
    }
    *out = http;
    return SH_OK;
}

void sh_http_stop(ShHttp *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon); /* closes the listening socket too */
    sh_visitors_stop(http->visitors);
    sh_metrics_text_free(&http->metrics);
    free(http);
}

/* Signals belong to the main thread: the server's thread inherits a mask that blocks them all. */
static struct MHD_Daemon *start_daemon(ShHttp *http, int listener)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, sh_visitors_notify, http->visitors,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

/* Called for the headers, which may be refused, then for each piece of a body, which is thrown away, then for
 * the answer. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state)
{
    (void)upload;
    ShHttp *http = arg;
    if (*state == NULL) {
        const char *fault = sh_framing_fault(connection, url, version);
        *state = http;
        return fault == NULL ? MHD_YES : refuse(connection, fault);
    }
    if (*upload_bytes > 0) {
        *upload_bytes = 0;
        return MHD_YES;
    }
    ShHttpTarget target;
    (void)sh_http_target_split(url, &target);
    ShHttpAnswer answer = {.code = 500, .content_type = "text/plain; charset=utf-8"};
    sh_http_route(&http->context, method, target.path, &answer);
    enum MHD_Result result = send_answer(connection, &answer);
    sh_scratch_free(&answer.body);
    return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)state;
    (void)why;
    sh_visitors_request_ended(((ShHttp *)arg)->visitors, connection);
}

static enum MHD_Result refuse(struct MHD_Connection *connection, const char *fault)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(fault), (void *)(uintptr_t)fault,
                                                                    MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                                     "text/plain; charset=utf-8");
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, 400, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, ShHttpAnswer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->body.length, answer->body.data,
                                                                    MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                                     answer->content_type);
    if (result == MHD_YES && answer->allow != NULL)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    if (result == MHD_YES)
        result = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return result;
}
