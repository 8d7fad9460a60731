#include "agent/http/http_routes.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

typedef ShStatus (*Handler)(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err);

typedef struct Route {
    const char *path;
    const char *method;
    Handler handle;
} Route;

static ShStatus get_health(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err);
static ShStatus get_ready(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err);
static ShStatus get_metrics(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err);
static bool method_fits(const Route *route, const char *method);
static ShStatus set_text(ShHttpAnswer *answer, unsigned code, const char *text, ShError *err);

static const Route routes[] = {
    {"/health", "GET", get_health},
    {"/ready", "GET", get_ready},
    {"/metrics", "GET", get_metrics},
};

void sh_http_route(const ShHttpContext *context, const char *method, const char *path, ShHttpAnswer *answer)
{
    ShError err;
    ShStatus status;
    const Route *same_path = NULL;
    const Route *route = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0] && route == NULL; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        same_path = &routes[i];
        if (method_fits(&routes[i], method))
            route = &routes[i];
    }

    if (route != NULL) {
        status = route->handle(context, answer, &err);
    } else if (same_path != NULL) {
        answer->allow = same_path->method;
        status = set_text(answer, 405, "the path does not have this method\n", &err);
    } else {
        status = set_text(answer, 404, "no such path; there are /health, /ready and /metrics\n", &err);
    }
    if (status != SH_OK) {
        sh_log_warn("http_failed", "path=%s error=\"%s\"", path, err.message);
        answer->code = 500;
        answer->body.length = 0;
    }
}

static ShStatus get_health(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err)
{
    (void)context;
    return set_text(answer, 200, "ok\n", err);
}

static ShStatus get_ready(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err)
{
    char reason[SH_ERROR_MESSAGE_BYTES + 64] = ""; /* what is waited for, and an error */
    bool ready = context->ready(context->ready_arg, reason, sizeof reason - 1);
    if (ready)
        return set_text(answer, 200, "ready\n", err);
    strcat(reason, "\n");
    return set_text(answer, 503, reason, err);
}

static ShStatus get_metrics(const ShHttpContext *context, ShHttpAnswer *answer, ShError *err)
{
    answer->code = 200;
    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return sh_metrics_text_append(context->metrics, sh_clock_now_ms(), &answer->body, err);
}

/* The server leaves out the body of an answer to HEAD by itself. */
static bool method_fits(const Route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static ShStatus set_text(ShHttpAnswer *answer, unsigned code, const char *text, ShError *err)
{
    size_t length = strlen(text);
    answer->code = code;
    answer->content_type = "text/plain; charset=utf-8";
    ShStatus status = sh_scratch_reserve(&answer->body, length, err);
    if (status != SH_OK)
        return status;
    memcpy(answer->body.data, text, length);
    answer->body.length = length;
    return SH_OK;
}
