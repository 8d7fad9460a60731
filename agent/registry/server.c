/*
 * server.c - the registry's HTTP server: requests come in here, and answers go out.
 *
 * What the cache knows is answered in the server's threads. For the rest, the connection is suspended, a
 * thread of the pool asks PostgreSQL, and the connection goes on with the answer: so nobody waits who does
 * not need to.
 */
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/address.h"
#include "agent/base/clock.h"
#include "agent/base/listener.h"
#include "agent/base/log.h"
#include "agent/base/open_files.h"
#include "agent/http/framing.h"
#include "agent/http/http_target.h"
#include "agent/http/visitors.h"
#include "agent/registry/access.h"
#include "agent/registry/pool.h"
#include "agent/registry/registry.h"
#include "agent/registry/registry_metrics.h"
#include "core/codec.h"

#define SERVER_THREADS          2
#define CONNECTIONS_MAX         1000
#define CONNECTION_TIMEOUT_S    60
#define REQUEST_TIMEOUT_MS      120000 /* from its first byte to its last, and the silence before */
#define BODY_MS_MIN             1000   /* a body that makes room for others has had so long */
#define CONNECTION_MEMORY_BYTES ((size_t)16 * 1024)
#define BODIES_BYTES_MAX        ((int64_t)SH_REGISTRY_BODIES_BYTES_MAX)
#define ANSWERS_BYTES_MAX       ((int64_t)64 << 20) /* that are made and not taken yet */
#define ANSWER_MS_MIN           1000                /* after which one makes room for more others */
#define SMALL_BYTES             SH_REGISTRY_SMALL_BYTES
#define READ_HERE_BYTES_MAX     ((size_t)64 << 10) /* a millisecond or two of JSON */
#define UPLOAD_BYTES_MAX        ((size_t)64 << 20) /* after which a client that sends on is cut off */

struct ShRegistry {
    struct MHD_Daemon *daemon;
    ShVisitors *visitors;
    size_t connections_max;
    ShRegistryPool *pool;
    ShRegistryCache *cache;
    ShRegistryMetrics metrics;
    ShRegistryAccess access;
    _Atomic int64_t body_bytes;
    _Atomic int64_t answer_bytes;
};

typedef enum Stage { STAGE_NEW, STAGE_BODY, STAGE_ASKED } Stage;

typedef struct Request {
    ShRegistryJob job;
    ShRegistry *registry;
    struct MHD_Connection *connection;
    Stage stage;
    char *target; /* as it stands in the request */
    ShScratch body;
    size_t body_bytes;   /* that it has of the registry's, until it is answered */
    size_t answer_bytes; /* likewise, until its client has the answer */
    size_t upload_bytes; /* what came, kept or not */
    bool is_last;        /* the connection ends with the answer */
    int64_t started_us;
} Request;

static struct MHD_Daemon *start_daemon(ShRegistry *registry, int listener);
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection);
static size_t leave_escaped(void *arg, struct MHD_Connection *connection, char *text);
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state);
static bool is_sound(Request *request, const char *version);
static void begin(Request *request, const char *method);
static bool is_allowed(Request *request, const char *method, const ShHttpTarget *target);
static enum MHD_Result take_body(Request *request, const char *upload, size_t *upload_bytes);
static bool may_keep(Request *request, int64_t all_bytes);
static bool answer_or_ask(Request *request);
static void ask(Request *request);
static void tell_origin(Request *request);
static bool find_in_cache(Request *request);
static void on_answered(ShRegistryJob *job);
static void forget_body(Request *request);
static void hold_answer(Request *request);
static bool may_hold(Request *request, int64_t all_bytes);
static enum MHD_Result send_answer(Request *request);
static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why);

ShStatus sh_registry_start(const ShConfig *config, ShRegistry **out,
                           char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err)
{
    int listener;
    char name[64];
    ShStatus status = sh_listen("schema_registry_address", config->schema_registry_address, &listener,
                                bound_address, err);
    if (status != SH_OK)
        return status;
    ShRegistry *registry = calloc(1, sizeof *registry);
    snprintf(name, sizeof name, "streamhouse-agent %.32s", config->agent_id);
    if (registry == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for the schema registry");
    if (status == SH_OK)
        status = sh_registry_cache_new(config->schema_registry_cache_bytes, &registry->cache, err);
    if (status == SH_OK)
        status = sh_registry_pool_start(config->postgres, name, (int)config->schema_registry_connections,
                                        registry->cache, &registry->pool, err);
    if (status == SH_OK) {
        int64_t share = sh_open_files_of_registry();
        registry->connections_max = share < CONNECTIONS_MAX ? (size_t)share : CONNECTIONS_MAX;
        status = sh_visitors_start(registry->connections_max, REQUEST_TIMEOUT_MS, &registry->visitors, err);
    }
    if (status == SH_OK) {
        registry->access = sh_registry_access(config, bound_address);
        sh_registry_metrics_start(&registry->metrics, registry->cache);
        registry->daemon = start_daemon(registry, listener);
        if (registry->daemon == NULL)
            status = sh_fail(err, SH_EXHAUSTED, "cannot start the schema registry's server on %s",
                             bound_address);
    }
    if (status != SH_OK) {
        close(listener);
        sh_registry_stop(registry);
        return status;
    }
    *out = registry;
    return SH_OK;
}

void sh_registry_stop(ShRegistry *registry)
{
    if (registry == NULL)
        return;
    /* First the pool: MHD wants no connection suspended when it stops. */
    sh_registry_pool_stop(registry->pool);
    if (registry->daemon != NULL)
        MHD_stop_daemon(registry->daemon); /* closes the listening socket too */
    sh_visitors_stop(registry->visitors);
    sh_registry_metrics_stop(&registry->metrics);
    sh_registry_pool_free(registry->pool);
    sh_registry_cache_free(registry->cache);
    free(registry);
}

/* Signals belong to the main thread: the server's threads inherit a mask that blocks them all. */
static struct MHD_Daemon *start_daemon(ShRegistry *registry, int listener)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
        registry, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)registry->connections_max, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, MHD_OPTION_THREAD_POOL_SIZE,
        SERVER_THREADS, MHD_OPTION_URI_LOG_CALLBACK, on_uri, registry, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, registry,
        MHD_OPTION_NOTIFY_CONNECTION, sh_visitors_notify, registry->visitors, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

/* Called first, with the target as it was sent; what is returned is the request's state. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    Request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return NULL;
    request->registry = arg;
    request->connection = connection;
    request->job.owner = request;
    request->job.done = on_answered;
    request->started_us = sh_clock_now_us();
    request->target = strdup(uri);
    if (request->target == NULL) {
        free(request);
        return NULL;
    }
    return request;
}

/* A slash in a name must not become one of the path. */
static size_t leave_escaped(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

/* Called for the headers, then for each piece of a body, then for the answer, and again when the connection
 * goes on after it was suspended. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **state)
{
    (void)arg;
    (void)connection;
    (void)url;
    Request *request = *state;
    if (request == NULL)
        return MHD_NO; /* memory is short */
    if (request->stage == STAGE_NEW) {
        if (!is_sound(request, version))
            return send_answer(request);
        begin(request, method);
        return MHD_YES;
    }
    if (*upload_bytes > 0)
        return take_body(request, upload, upload_bytes);
    if (request->stage == STAGE_BODY && request->job.answer.status == 0) {
        request->stage = STAGE_ASKED;
        if (!answer_or_ask(request))
            return MHD_YES;
    }
    return send_answer(request);
}

/* False with 400 as the answer, after which nothing is read any more: it is not known where a request would
 * begin. */
static bool is_sound(Request *request, const char *version)
{
    const char *fault = sh_framing_fault(request->connection, request->target, version);
    if (fault == NULL)
        return true;
    request->job.call.route = sh_registry_no_route();
    request->is_last = true;
    sh_registry_answer_error(&request->job.answer, 400, "%s", fault);
    return false;
}

static void begin(Request *request, const char *method)
{
    ShRegistryCall *call = &request->job.call;
    ShRegistryAnswer *answer = &request->job.answer;
    ShHttpTarget target;
    request->stage = STAGE_BODY;
    (void)sh_http_target_split(request->target, &target);
    if (!sh_registry_call_route(call, method, target.path, answer) || !is_allowed(request, method, &target))
        return;
    const char *type = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                   MHD_HTTP_HEADER_CONTENT_TYPE);
    bool has_body = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    if (has_body && !sh_registry_takes_content_type(type))
        sh_registry_answer_error(answer, 415, "HTTP 415 Unsupported Media Type");
    else if (sh_registry_choose_content_type(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                                         MHD_HTTP_HEADER_ACCEPT)) == NULL)
        sh_registry_answer_error(answer, 406, "HTTP 406 Not Acceptable");
}

/* False with 403 as the answer. Where the target names a host, Host does not count. */
static bool is_allowed(Request *request, const char *method, const ShHttpTarget *target)
{
    const ShRegistryAccess *access = &request->registry->access;
    ShRegistryAnswer *answer = &request->job.answer;
    const char *host = target->host;
    if (host[0] == '\0')
        host = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    if (!sh_registry_access_host(access, host)) {
        sh_registry_answer_error(answer, 403,
                                 "the registry does not answer to the name \"%.100s\": the agent's "
                                 "setting schema_registry_hosts lists those that it does",
                                 host);
        return false;
    }
    bool is_change = strcmp(method, "PUT") == 0 || strcmp(method, "DELETE") == 0;
    const union MHD_ConnectionInfo *client = MHD_get_connection_info(request->connection,
                                                                     MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!is_change || sh_registry_access_changes(access, client == NULL ? NULL : client->client_addr))
        return true;
    sh_registry_answer_error(
        answer, 403,
        "settings are not changed, and nothing is deleted, from here: the agent's setting "
        "schema_registry_changes_from says from where");
    return false;
}

/* A body for which there is an answer already is read to its end and forgotten, so that the client gets it.
 */
static enum MHD_Result take_body(Request *request, const char *upload, size_t *upload_bytes)
{
    size_t length = *upload_bytes;
    *upload_bytes = 0;
    request->upload_bytes += length;
    if (request->upload_bytes > UPLOAD_BYTES_MAX)
        return MHD_NO;
    ShRegistryAnswer *answer = &request->job.answer;
    if (answer->status != 0)
        return MHD_YES;
    if (request->upload_bytes > SH_REGISTRY_BODY_BYTES_MAX) {
        sh_registry_answer_error(answer, 413, "the body has more than %zu bytes; a schema may have 4 MB",
                                 SH_REGISTRY_BODY_BYTES_MAX);
        forget_body(request);
        return MHD_YES;
    }
    int64_t all = atomic_fetch_add(&request->registry->body_bytes, (int64_t)length) + (int64_t)length;
    request->body_bytes += length;
    size_t wanted = request->body_bytes;
    if (wanted > request->body.capacity && wanted < 2 * request->body.capacity)
        wanted = 2 * request->body.capacity;
    sh_visitors_hold(request->registry->visitors, request->connection, request->body_bytes);
    if (!may_keep(request, all) || sh_scratch_reserve(&request->body, wanted, NULL) != SH_OK) {
        sh_registry_answer_error(answer, 503, "too many large requests are under way; try again");
        answer->retry_after_s = 1;
        forget_body(request);
        return MHD_YES;
    }
    memcpy(request->body.data + request->body.length, upload, length);
    request->body.length += length;
    return MHD_YES;
}

/* Is there room for a body, where all have so many bytes? Who has sent for long makes some, whose memory is
 * free a moment later. */
static bool may_keep(Request *request, int64_t all_bytes)
{
    return all_bytes <= BODIES_BYTES_MAX || request->body_bytes <= SMALL_BYTES ||
           (all_bytes <= 2 * BODIES_BYTES_MAX &&
            sh_visitors_end_slowest_body(request->registry->visitors, request->connection, BODY_MS_MIN));
}

/* False: the connection is suspended. What the question takes of the body is no more than that was, and
 * stays counted so. Some megabytes of JSON take as many hundred milliseconds, which everybody would wait for
 * here: the pool reads them, of each address in turn. */
static bool answer_or_ask(Request *request)
{
    ShRegistryJob *job = &request->job;
    if (request->body.length > READ_HERE_BYTES_MAX && job->call.kind != SH_REGISTRY_LOOK_UP) {
        job->body = request->body;
        request->body = (ShScratch){0};
        ask(request);
        return false;
    }
    bool asks = sh_registry_call_prepare(&job->call, (const char *)request->body.data, request->body.length,
                                         &job->answer);
    sh_scratch_free(&request->body);
    if (!asks || find_in_cache(request)) {
        forget_body(request);
        hold_answer(request);
        return true;
    }
    ask(request);
    return false;
}

static void ask(Request *request)
{
    ShRegistryJob *job = &request->job;
    job->bytes = request->body_bytes;
    tell_origin(request);
    sh_visitors_set_busy(request->registry->visitors, request->connection, true);
    MHD_suspend_connection(request->connection);
    if (!sh_registry_pool_ask(request->registry->pool, job))
        on_answered(job);
}

static void tell_origin(Request *request)
{
    const union MHD_ConnectionInfo *client = MHD_get_connection_info(request->connection,
                                                                     MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (client != NULL && client->client_addr != NULL)
        sh_address_key(client->client_addr, request->job.origin);
}

static bool find_in_cache(Request *request)
{
    ShRegistry *registry = request->registry;
    const ShRegistryCall *call = &request->job.call;
    ShRegistryAnswer *answer = &request->job.answer;
    if (!call->is_cacheable)
        return false;
    ShRegistryFound found = sh_registry_cache_get(registry->cache, call->id, call->form, &answer->body,
                                                  &answer->body_bytes);
    sh_registry_metrics_count_found(&registry->metrics, found);
    if (found == SH_REGISTRY_FOUND_FRESH)
        answer->status = 200;
    return found == SH_REGISTRY_FOUND_FRESH;
}

static void on_answered(ShRegistryJob *job)
{
    Request *request = job->owner;
    forget_body(request);
    hold_answer(request);
    sh_visitors_set_busy(request->registry->visitors, request->connection, false);
    MHD_resume_connection(request->connection);
}

static void forget_body(Request *request)
{
    if (request->body_bytes == 0)
        return;
    sh_scratch_free(&request->body);
    sh_scratch_free(&request->job.body);
    sh_registry_call_free_body(&request->job.call);
    atomic_fetch_sub(&request->registry->body_bytes, (int64_t)request->body_bytes);
    request->body_bytes = 0;
    sh_visitors_hold(request->registry->visitors, request->connection, 0);
}

/* The answer takes memory until its client has it, for which there may be no room: then there is another. */
static void hold_answer(Request *request)
{
    ShRegistry *registry = request->registry;
    ShRegistryAnswer *answer = &request->job.answer;
    int64_t bytes = (int64_t)answer->body_bytes;
    int64_t all = atomic_fetch_add(&registry->answer_bytes, bytes) + bytes;
    request->answer_bytes = answer->body_bytes;
    sh_visitors_hold_answer(registry->visitors, request->connection, answer->body_bytes);
    if (may_hold(request, all))
        return;
    atomic_fetch_sub(&registry->answer_bytes, bytes);
    request->answer_bytes = 0;
    sh_visitors_hold_answer(registry->visitors, request->connection, 0);
    sh_registry_answer_error(answer, 503, "too many large answers are not taken yet; try again");
    answer->retry_after_s = 1;
}

/* Is there room for an answer, where all have so many bytes? Others that are not taken make some, whose
 * memory is free a moment later. */
static bool may_hold(Request *request, int64_t all_bytes)
{
    if (all_bytes <= ANSWERS_BYTES_MAX || request->answer_bytes <= SMALL_BYTES)
        return true;
    if (all_bytes > 2 * ANSWERS_BYTES_MAX)
        return false;
    size_t excess = (size_t)(all_bytes - ANSWERS_BYTES_MAX);
    return sh_visitors_end_largest_answers(request->registry->visitors, request->connection,
                                           excess < request->answer_bytes ? excess : request->answer_bytes,
                                           ANSWER_MS_MIN);
}

static enum MHD_Result send_answer(Request *request)
{
    ShRegistryAnswer *answer = &request->job.answer;
    const char *type = sh_registry_choose_content_type(
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    if (answer->body == NULL)
        return MHD_NO; /* memory is short */
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->body_bytes, answer->body,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO;
    answer->body = NULL;
    char seconds[12];
    snprintf(seconds, sizeof seconds, "%d", answer->retry_after_s);
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                                     type != NULL ? type : "application/json");
    if (result == MHD_YES && answer->allow != NULL)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    if (result == MHD_YES && answer->retry_after_s > 0)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    if (result == MHD_YES && request->is_last)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, answer->status, response);
    MHD_destroy_response(response);
    sh_registry_metrics_count(&request->registry->metrics, request->job.call.route, answer->status,
                              sh_clock_now_us() - request->started_us);
    return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)why;
    Request *request = *state;
    sh_visitors_request_ended(((ShRegistry *)arg)->visitors, connection);
    if (request == NULL)
        return;
    forget_body(request);
    atomic_fetch_sub(&request->registry->answer_bytes, (int64_t)request->answer_bytes);
    sh_registry_call_free(&request->job.call);
    sh_registry_answer_free(&request->job.answer);
    free(request->target);
    free(request);
    *state = NULL;
}
