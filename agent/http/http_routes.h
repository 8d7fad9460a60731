/*
 * http_routes.h - which handler answers which path. Only the files of http/ include it.
 */
#ifndef SH_AGENT_HTTP_HTTP_ROUTES_H
#define SH_AGENT_HTTP_HTTP_ROUTES_H

#include "agent/http/http.h"
#include "agent/http/metrics_text.h"
#include "core/codec.h"

/* What handlers may ask of the agent. */
typedef struct ShHttpContext {
    ShHttpReadyFn ready;
    void *ready_arg;
    ShMetricsText *metrics;
} ShHttpContext;

/* An answer under construction: the body is appended to. */
typedef struct ShHttpAnswer {
    unsigned code;
    const char *content_type;
    const char *allow; /* for 405: the methods that the path has; else NULL */
    ShScratch body;
} ShHttpAnswer;

/* Find the handler and let it fill the answer. Does not fail: a handler's error becomes a 500. */
void sh_http_route(const ShHttpContext *context, const char *method, const char *path, ShHttpAnswer *answer);

#endif
