#include "agent/rpc/server.h"

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/rpc/abseil.h"

/* New calls that a worker is ready for: others wait inside gRPC until one of these is taken. */
#define EXPECTED_HOT            32
#define EXPECTED_OTHER          2
#define STOP_REPORT_INTERVAL_MS 5000
/* Below it gRPC has no room to work. */
#define QUOTA_BYTES_MIN (16 << 20)
/* A connection without calls is closed after so long, and one whose client answers no ping. */
#define CONNECTION_IDLE_MS   (10 * 60 * 1000)
#define KEEPALIVE_MS         (60 * 1000)
#define KEEPALIVE_TIMEOUT_MS (30 * 1000)

static const ShMethod *const all_methods[] = {
    &sh_method_produce,       &sh_method_produce_stream,     &sh_method_fetch,
    &sh_method_fetch_stream,  &sh_method_list_offsets,       &sh_method_metadata,
    &sh_method_create_topic,  &sh_method_delete_topic,       &sh_method_describe_topics,
    &sh_method_init_producer, &sh_method_health_check,       &sh_method_health_watch,
    &sh_method_reflection_v1, &sh_method_reflection_v1alpha, &sh_method_unknown,
};
#define METHOD_COUNT (sizeof all_methods / sizeof all_methods[0])

static void log_from_grpc(gpr_log_func_args *args);
static grpc_server *create_server(const ShConfig *config);
static grpc_arg integer_arg(const char *key, int value);
static void register_methods(ShRpc *rpc);
static void create_metrics(ShMethodEntry *entry);
static void enter_phase(ShRpc *rpc, ShPhase phase);
static void on_shut_down(void *owner, bool ok);
static bool wait_shut_down(ShRpc *rpc, int64_t timeout_ms);
static void wait_calls_closed(ShRpc *rpc);
static void drain_unserved(ShRpc *rpc);
static void free_rpc(ShRpc *rpc);

static const char *const code_names[17] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

ShStatus sh_rpc_bind(const ShConfig *config, ShRpc **out, const char **bound, ShError *err)
{
    gpr_set_log_function(log_from_grpc);
    sh_abseil_stop_lock_checks();
    grpc_init();
    ShRpc *rpc = gpr_zalloc(sizeof *rpc);
    rpc->config = config;
    rpc->shutdown_tag = (ShTag){.run = on_shut_down, .owner = rpc};
    pthread_mutex_init(&rpc->mutex, NULL);
    pthread_mutex_init(&rpc->lists.mutex, NULL);
    sh_rounds_init(&rpc->lists.waiting);
    sh_room_init(&rpc->calls_room, "calls", config->memory_budget_bytes / 4, false);
    sh_room_init(&rpc->answers_room, "answers", config->memory_budget_bytes / 4, false);
    sh_room_init(&rpc->streams_room, "streams", config->memory_budget_bytes / 4, true);
    ShStatus status = sh_cond_init(&rpc->changed, err);
    if (status != SH_OK)
        goto failed;

    rpc->server = create_server(config);
    rpc->worker_count = (size_t)config->rpc_threads;
    rpc->workers = gpr_zalloc(rpc->worker_count * sizeof *rpc->workers);
    for (size_t i = 0; i < rpc->worker_count; i++) {
        sh_worker_init(&rpc->workers[i], rpc);
        grpc_server_register_completion_queue(rpc->server, rpc->workers[i].queue, NULL);
    }
    register_methods(rpc);
    status = sh_acceptor_bind(config, &rpc->acceptor, bound, err);
    if (status != SH_OK)
        goto failed;
    rpc->calls_max = config->memory_budget_bytes / 4 / SH_RPC_CALL_BYTES;

    *out = rpc;
    return SH_OK;
failed:
    sh_rpc_stop(rpc, 0);
    return status;
}

ShStatus sh_rpc_serve(ShRpc *rpc, ShEngine *engine, ShError *err)
{
    rpc->engine = engine;
    ShStatus started = sh_checker_start((rpc->worker_count + 1) / 2, &rpc->checker, err);
    if (started != SH_OK)
        return started;
    grpc_server_start(rpc->server);
    rpc->serving = true;
    for (size_t i = 0; i < rpc->worker_count; i++) {
        for (size_t m = 0; m < METHOD_COUNT; m++) {
            int expected = all_methods[m]->hot ? EXPECTED_HOT : EXPECTED_OTHER;
            for (int n = 0; n < expected; n++)
                sh_call_expect(&rpc->workers[i], &rpc->methods[m]);
        }
        ShStatus status = sh_worker_start(&rpc->workers[i], i, err);
        if (status != SH_OK)
            return status;
        rpc->workers_started++;
    }
    ShStatus status = sh_acceptor_start(rpc->acceptor, rpc->server, engine, err);
    ShProbe *probe = NULL;
    if (status == SH_OK)
        status = sh_probe_start(rpc->acceptor, &rpc->answers, &probe, err);
    rpc->probe = probe;
    return status;
}

bool sh_rpc_reachable(const ShRpc *rpc, int64_t *failures, char *why, size_t why_bytes)
{
    ShProbe *probe = rpc->probe;
    if (failures != NULL)
        *failures = 0;
    return probe == NULL || sh_probe_result(probe, failures, why, why_bytes);
}

void sh_rpc_drain(ShRpc *rpc)
{
    enter_phase(rpc, SH_PHASE_DRAINING);
}

void sh_rpc_stop(ShRpc *rpc, int64_t grace_ms)
{
    if (rpc == NULL)
        return;
    sh_probe_stop(rpc->probe);
    sh_acceptor_stop(rpc->acceptor);
    if (rpc->server != NULL) {
        if (rpc->worker_count > 0)
            grpc_server_shutdown_and_notify(rpc->server, rpc->workers[0].queue, &rpc->shutdown_tag);
        if (rpc->workers_started == 0) {
            grpc_server_cancel_all_calls(rpc->server);
            drain_unserved(rpc);
        } else {
            enter_phase(rpc, SH_PHASE_STOPPING);
            if (!wait_shut_down(rpc, grace_ms)) {
                grpc_server_cancel_all_calls(rpc->server);
                while (!wait_shut_down(rpc, STOP_REPORT_INTERVAL_MS))
                    sh_log_warn("rpc_stop_waits", "calls=%ld", atomic_load(&rpc->calls_open));
            }
            wait_calls_closed(rpc);
        }
        grpc_server_destroy(rpc->server);
    }
    sh_checker_stop(rpc->checker);
    free_rpc(rpc);
}

void sh_rpc_call_closed(ShRpc *rpc)
{
    if (atomic_fetch_sub_explicit(&rpc->calls_open, 1, memory_order_acq_rel) > 1)
        return;
    if (sh_rpc_phase(rpc) != SH_PHASE_STOPPING)
        return;
    pthread_mutex_lock(&rpc->mutex);
    pthread_cond_broadcast(&rpc->changed);
    pthread_mutex_unlock(&rpc->mutex);
}

/* What gRPC finds worth an error is told to the caller as well; its text is for whoever debugs. */
static void log_from_grpc(gpr_log_func_args *args)
{
    sh_log_debug("grpc", "severity=%s message=\"%s\"", gpr_log_severity_string(args->severity),
                 args->message);
}

static grpc_server *create_server(const ShConfig *config)
{
    int message_bytes_max = config->message_bytes_max < INT32_MAX ? (int)config->message_bytes_max
                                                                  : INT32_MAX;
    /* What gRPC itself holds: the bounds of this folder should keep it below, and gRPC ends calls above. */
    int64_t quota_bytes = config->memory_budget_bytes / 2;
    grpc_resource_quota *quota = grpc_resource_quota_create("streamhouse");
    grpc_resource_quota_resize(quota,
                               (size_t)(quota_bytes > QUOTA_BYTES_MIN ? quota_bytes : QUOTA_BYTES_MIN));
    grpc_arg args[] = {
        integer_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_bytes_max),
        /* A stream that is not read holds what its window lets in and no more; probing would grow it. A
         * message that the agent waits for opens the window as far as it needs. */
        integer_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        integer_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, SH_RPC_WINDOW_BYTES),
        /* Batches come compressed, and a compressed message could unfold to any size before its limit is
         * seen: a client that asks for one is told that it is not supported. */
        integer_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
        integer_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        /* Clients that keep idle connections alive by pings are welcome, down to one in five seconds. */
        integer_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000),
        integer_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, SH_RPC_STREAMS_MAX),
        integer_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, CONNECTION_IDLE_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        {.type = GRPC_ARG_POINTER,
         .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof args[0], .args = args};
    grpc_server *server = grpc_server_create(&list, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

static grpc_arg integer_arg(const char *key, int value)
{
    /* gRPC copies keys; its struct has no const form. */
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static void register_methods(ShRpc *rpc)
{
    rpc->methods = gpr_zalloc(METHOD_COUNT * sizeof *rpc->methods);
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const ShMethod *method = all_methods[i];
        ShMethodEntry *entry = &rpc->methods[i];
        entry->method = method;
        if (method->path != NULL)
            entry->handle = grpc_server_register_method(rpc->server, method->path, NULL,
                                                        GRPC_SRM_PAYLOAD_NONE, 0);
        create_metrics(entry);
    }
}

static void create_metrics(ShMethodEntry *entry)
{
    char labels[128];
    for (size_t code = 0; code < sizeof code_names / sizeof code_names[0]; code++) {
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\"", entry->method->name, code_names[code]);
        entry->requests[code] = sh_metric_counter("streamhouse_rpc_requests_total", labels,
                                                  "gRPC requests answered, by method and status.");
    }
    snprintf(labels, sizeof labels, "method=\"%s\"", entry->method->name);
    entry->duration = sh_metric_histogram("streamhouse_rpc_duration_seconds", labels,
                                          "Time from a gRPC request's arrival to its answer.");
    if (entry->method->writes_stream)
        entry->streams = sh_metric_gauge("streamhouse_rpc_streams", labels, "gRPC streams that are open.");
}

static void enter_phase(ShRpc *rpc, ShPhase phase)
{
    atomic_store(&rpc->phase, (int)phase);
    for (size_t i = 0; i < rpc->workers_started; i++)
        sh_worker_announce(&rpc->workers[i]);
}

static void on_shut_down(void *owner, bool ok)
{
    (void)ok;
    ShRpc *rpc = owner;
    pthread_mutex_lock(&rpc->mutex);
    rpc->shut_down = true;
    pthread_cond_broadcast(&rpc->changed);
    pthread_mutex_unlock(&rpc->mutex);
}

/* Wait until gRPC has ended all calls; false when time is up. */
static bool wait_shut_down(ShRpc *rpc, int64_t timeout_ms)
{
    int64_t deadline_ms = sh_clock_now_ms() + timeout_ms;
    pthread_mutex_lock(&rpc->mutex);
    while (!rpc->shut_down) {
        int64_t left_ms = deadline_ms - sh_clock_now_ms();
        if (left_ms <= 0 || !sh_cond_wait_ms(&rpc->changed, &rpc->mutex, left_ms))
            break;
    }
    bool shut_down = rpc->shut_down;
    pthread_mutex_unlock(&rpc->mutex);
    return shut_down;
}

/* Wait until no call is held for the engine any more, so that none of its callbacks can come late. */
static void wait_calls_closed(ShRpc *rpc)
{
    pthread_mutex_lock(&rpc->mutex);
    while (atomic_load_explicit(&rpc->calls_open, memory_order_acquire) > 0) {
        if (!sh_cond_wait_ms(&rpc->changed, &rpc->mutex, STOP_REPORT_INTERVAL_MS))
            sh_log_warn("rpc_stop_waits", "calls=%ld", atomic_load(&rpc->calls_open));
    }
    pthread_mutex_unlock(&rpc->mutex);
}

/* A server that never served has its shutdown to wait for, and no thread to do it. */
static void drain_unserved(ShRpc *rpc)
{
    while (!rpc->shut_down && rpc->worker_count > 0) {
        grpc_event event = grpc_completion_queue_next(rpc->workers[0].queue,
                                                      gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        ShTag *tag = event.tag;
        tag->run(tag->owner, event.success != 0);
    }
}

static void free_rpc(ShRpc *rpc)
{
    for (size_t i = 0; i < rpc->worker_count; i++)
        sh_worker_stop(&rpc->workers[i], i < rpc->workers_started);
    gpr_free(rpc->workers);
    gpr_free(rpc->methods);
    sh_acceptor_free(rpc->acceptor);
    pthread_cond_destroy(&rpc->changed);
    sh_room_destroy(&rpc->calls_room);
    sh_room_destroy(&rpc->answers_room);
    sh_room_destroy(&rpc->streams_room);
    pthread_mutex_destroy(&rpc->lists.mutex);
    pthread_mutex_destroy(&rpc->mutex);
    gpr_free(rpc);
    grpc_shutdown();
}
