#include "agent/registry/routes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SH_VERSION
#define SH_VERSION "0.1.0"
#endif

/* Fill the call's values. False: there is an answer already. */
typedef bool (*Prepare)(ShRegistryCall *call, ShRegistryAnswer *answer);

typedef struct Route {
    const char *method;
    const char *path; /* a segment in braces stands for any, and is captured */
    Prepare prepare;  /* NULL: `constant` is the answer */
    ShPgSchemaQuestion question;
    const char *constant;
} Route;

static bool list_subjects(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool list_versions(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool list_schemas(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool get_version(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool list_referrers(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool register_schema(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool look_up_schema(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool delete_version(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool delete_subject(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool get_by_id(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool get_text_by_id(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool list_uses_of_id(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool check_compatibility(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool get_setting(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool set_level(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool set_mode(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool reset_setting(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool get_cluster(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool matches(const Route *route, ShRegistryCall *call);
static void make_names(void);
static void answer_no_route(const ShRegistryCall *call, ShRegistryAnswer *answer);
static bool read_page(ShRegistryCall *call, int at, ShRegistryAnswer *answer);
static bool read_schema(ShRegistryCall *call, ShRegistryAnswer *answer);
static bool read_id(ShRegistryCall *call, ShRegistryAnswer *answer);
static const char *prefix_of(const ShRegistryCall *call);
static bool is_serialized(const ShRegistryCall *call);

static const Route routes[] = {
    {"GET", "/", NULL, 0, "{}"},
    {"POST", "/", NULL, 0, "{}"},
    {"GET", "/subjects", list_subjects, SH_PG_SCHEMA_SUBJECTS, NULL},
    {"POST", "/subjects/{subject}", look_up_schema, SH_PG_SCHEMA_LOOKUP, NULL},
    {"DELETE", "/subjects/{subject}", delete_subject, SH_PG_SCHEMA_DELETE_SUBJECT, NULL},
    {"GET", "/subjects/{subject}/versions", list_versions, SH_PG_SCHEMA_VERSIONS, NULL},
    {"POST", "/subjects/{subject}/versions", register_schema, SH_PG_SCHEMA_REGISTER, NULL},
    {"GET", "/subjects/{subject}/versions/{version}", get_version, SH_PG_SCHEMA_VERSION, NULL},
    {"DELETE", "/subjects/{subject}/versions/{version}", delete_version, SH_PG_SCHEMA_DELETE_VERSION, NULL},
    {"GET", "/subjects/{subject}/versions/{version}/schema", get_version, SH_PG_SCHEMA_VERSION_TEXT, NULL},
    {"GET", "/subjects/{subject}/versions/{version}/referencedby", list_referrers, SH_PG_SCHEMA_REFERENCED_BY,
     NULL},
    {"GET", "/schemas", list_schemas, SH_PG_SCHEMA_LIST, NULL},
    {"GET", "/schemas/types", NULL, 0, "[\"JSON\",\"PROTOBUF\",\"AVRO\"]"},
    {"GET", "/schemas/ids/{id}", get_by_id, SH_PG_SCHEMA_BY_ID, NULL},
    {"GET", "/schemas/ids/{id}/schema", get_text_by_id, SH_PG_SCHEMA_TEXT_BY_ID, NULL},
    {"GET", "/schemas/ids/{id}/subjects", list_uses_of_id, SH_PG_SCHEMA_SUBJECTS_OF_ID, NULL},
    {"GET", "/schemas/ids/{id}/versions", list_uses_of_id, SH_PG_SCHEMA_VERSIONS_OF_ID, NULL},
    {"POST", "/compatibility/subjects/{subject}/versions", check_compatibility, SH_PG_SCHEMA_COMPATIBLE,
     NULL},
    {"POST", "/compatibility/subjects/{subject}/versions/{version}", check_compatibility,
     SH_PG_SCHEMA_COMPATIBLE, NULL},
    {"GET", "/config", get_setting, SH_PG_SCHEMA_GET_LEVEL, NULL},
    {"PUT", "/config", set_level, SH_PG_SCHEMA_SET_LEVEL, NULL},
    {"DELETE", "/config", reset_setting, SH_PG_SCHEMA_RESET_LEVEL, NULL},
    {"GET", "/config/{subject}", get_setting, SH_PG_SCHEMA_GET_LEVEL, NULL},
    {"PUT", "/config/{subject}", set_level, SH_PG_SCHEMA_SET_LEVEL, NULL},
    {"DELETE", "/config/{subject}", reset_setting, SH_PG_SCHEMA_RESET_LEVEL, NULL},
    {"GET", "/mode", get_setting, SH_PG_SCHEMA_GET_MODE, NULL},
    {"PUT", "/mode", set_mode, SH_PG_SCHEMA_SET_MODE, NULL},
    {"DELETE", "/mode", reset_setting, SH_PG_SCHEMA_RESET_MODE, NULL},
    {"GET", "/mode/{subject}", get_setting, SH_PG_SCHEMA_GET_MODE, NULL},
    {"PUT", "/mode/{subject}", set_mode, SH_PG_SCHEMA_SET_MODE, NULL},
    {"DELETE", "/mode/{subject}", reset_setting, SH_PG_SCHEMA_RESET_MODE, NULL},
    {"GET", "/contexts", NULL, 0, "[\".\"]"},
    {"GET", "/v1/metadata/id", get_cluster, SH_PG_SCHEMA_CLUSTER, NULL},
    {"GET", "/v1/metadata/version", NULL, 0, "{\"version\":\"" SH_VERSION "\",\"commitId\":\"\"}"},
};
#define ROUTE_COUNT ((int)(sizeof routes / sizeof routes[0]))

/* "GET /subjects"; made once. */
static char route_names[ROUTE_COUNT][80];
_Static_assert(sizeof routes / sizeof routes[0] < SH_REGISTRY_ROUTES_MAX, "metrics have no room for a route");

bool sh_registry_call_route(ShRegistryCall *call, const char *method, const char *target,
                            ShRegistryAnswer *answer)
{
    ShError err = {0};
    *call = (ShRegistryCall){.route = ROUTE_COUNT};
    if (sh_registry_target_parse(target, &call->target, &err) != SH_OK) {
        sh_registry_answer_error(answer, 400, "%s", err.message);
        return false;
    }
    if (strcmp(method, "HEAD") == 0)
        method = "GET"; /* the server leaves the body out */
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (strcmp(routes[i].method, method) == 0 && matches(&routes[i], call)) {
            call->route = i;
            call->question = routes[i].question;
            call->kind = strcmp(method, "GET") == 0 ? SH_REGISTRY_LOOK_UP : SH_REGISTRY_WORK;
            return true;
        }
    }
    answer_no_route(call, answer);
    return false;
}

bool sh_registry_call_prepare(ShRegistryCall *call, const char *body, size_t body_bytes,
                              ShRegistryAnswer *answer)
{
    const Route *route = &routes[call->route];
    call->body = body;
    call->body_bytes = body_bytes;
    bool asks = route->prepare != NULL && route->prepare(call, answer);
    call->body = NULL;
    if (route->prepare != NULL)
        return asks;
    sh_registry_answer_text(answer, 200, route->constant);
    return false;
}

void sh_registry_call_free(ShRegistryCall *call)
{
    sh_registry_target_free(&call->target);
    sh_registry_call_free_body(call);
}

void sh_registry_call_free_body(ShRegistryCall *call)
{
    sh_registry_body_schema_free(&call->schema);
    free(call->setting);
    call->setting = NULL;
}

const char *sh_registry_route_name(int route)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_names);
    return route < ROUTE_COUNT ? route_names[route] : "none";
}

static void make_names(void)
{
    for (int i = 0; i < ROUTE_COUNT; i++)
        snprintf(route_names[i], sizeof route_names[i], "%s %s", routes[i].method, routes[i].path);
}

int sh_registry_no_route(void)
{
    return ROUTE_COUNT;
}

static bool matches(const Route *route, ShRegistryCall *call)
{
    const char *rest = route->path + 1;
    int captured = 0;
    for (int i = 0; i < call->target.segment_count; i++) {
        size_t length = strcspn(rest, "/");
        const char *segment = call->target.segments[i];
        if (length == 0)
            return false;
        if (rest[0] == '{')
            call->captured[captured++] = segment;
        else if (strlen(segment) != length || strncmp(rest, segment, length) != 0)
            return false;
        rest += length;
        rest += *rest == '/';
    }
    return *rest == '\0';
}

static void answer_no_route(const ShRegistryCall *call, ShRegistryAnswer *answer)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    static const char *const allowed[16] = {NULL,
                                            "GET",
                                            "POST",
                                            "GET, POST",
                                            "PUT",
                                            "GET, PUT",
                                            "POST, PUT",
                                            "GET, POST, PUT",
                                            "DELETE",
                                            "GET, DELETE",
                                            "POST, DELETE",
                                            "GET, POST, DELETE",
                                            "PUT, DELETE",
                                            "GET, PUT, DELETE",
                                            "POST, PUT, DELETE",
                                            "GET, POST, PUT, DELETE"};
    ShRegistryCall copy = *call;
    unsigned found = 0;
    for (int i = 0; i < ROUTE_COUNT; i++) {
        for (unsigned m = 0; m < 4; m++) {
            if (strcmp(routes[i].method, methods[m]) == 0 && matches(&routes[i], &copy))
                found |= 1u << m;
        }
    }
    if (found == 0) {
        sh_registry_answer_error(answer, 404, "HTTP 404 Not Found");
    } else {
        sh_registry_answer_error(answer, 405, "HTTP 405 Method Not Allowed");
        answer->allow = allowed[found];
    }
}

static bool list_subjects(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    call->values[0] = sh_registry_flag(&call->target, "deleted");
    call->values[1] = sh_registry_flag(&call->target, "deletedOnly");
    call->values[2] = prefix_of(call);
    return read_page(call, 3, answer);
}

static bool list_versions(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    call->values[0] = call->captured[0];
    call->values[1] = sh_registry_flag(&call->target, "deleted");
    call->values[2] = sh_registry_flag(&call->target, "deletedOnly");
    return read_page(call, 3, answer);
}

static bool list_schemas(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    call->values[0] = prefix_of(call);
    call->values[1] = sh_registry_flag(&call->target, "deleted");
    call->values[2] = sh_registry_flag(&call->target, "latestOnly");
    if (!read_page(call, 3, answer))
        return false;
    call->kind = SH_REGISTRY_SCHEMAS;
    return true;
}

static bool get_version(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)answer;
    call->values[0] = call->captured[0];
    call->values[1] = call->captured[1];
    call->values[2] = sh_registry_flag(&call->target, "deleted");
    call->values[3] = sh_registry_parameter(&call->target, "format");
    return true;
}

static bool list_referrers(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    call->values[0] = call->captured[0];
    call->values[1] = call->captured[1];
    call->values[2] = sh_registry_flag(&call->target, "deleted");
    return read_page(call, 3, answer);
}

static bool register_schema(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_schema(call, answer))
        return false;
    call->values[5] = call->schema.id;
    call->values[6] = call->schema.version;
    return true;
}

static bool look_up_schema(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_schema(call, answer))
        return false;
    call->values[5] = sh_registry_flag(&call->target, "deleted");
    call->values[6] = sh_registry_parameter(&call->target, "format");
    return true;
}

static bool delete_version(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)answer;
    call->values[0] = call->captured[0];
    call->values[1] = call->captured[1];
    call->values[2] = sh_registry_flag(&call->target, "permanent");
    call->deletes_for_good = call->values[2][0] == 't';
    return true;
}

static bool delete_subject(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)answer;
    call->values[0] = call->captured[0];
    call->values[1] = sh_registry_flag(&call->target, "permanent");
    call->deletes_for_good = call->values[1][0] == 't';
    return true;
}

/* The parameter `subject` chooses among contexts, of which there is one. */
static bool get_by_id(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_id(call, answer))
        return false;
    call->values[1] = sh_registry_parameter(&call->target, "format");
    call->values[2] = sh_registry_flag(&call->target, "fetchMaxId");
    call->is_cacheable = call->values[2][0] == 'f';
    call->form = is_serialized(call) ? SH_REGISTRY_FORM_OBJECT_SERIALIZED : SH_REGISTRY_FORM_OBJECT;
    return true;
}

static bool get_text_by_id(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_id(call, answer))
        return false;
    call->values[1] = sh_registry_parameter(&call->target, "format");
    call->is_cacheable = true;
    call->form = is_serialized(call) ? SH_REGISTRY_FORM_TEXT_SERIALIZED : SH_REGISTRY_FORM_TEXT;
    return true;
}

static bool list_uses_of_id(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_id(call, answer))
        return false;
    call->values[1] = sh_registry_parameter(&call->target, "subject");
    call->values[2] = sh_registry_flag(&call->target, "deleted");
    return read_page(call, 3, answer);
}

static bool check_compatibility(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!read_schema(call, answer))
        return false;
    call->values[5] = call->captured[1];
    call->values[6] = sh_registry_flag(&call->target, "verbose");
    return true;
}

/* The common setting always holds; of a subject, its own is asked for unless the common one will do. */
static bool get_setting(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)answer;
    call->values[0] = call->captured[0];
    call->values[1] = call->captured[0] == NULL ? "true" : sh_registry_flag(&call->target, "defaultToGlobal");
    return true;
}

static bool set_level(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!sh_registry_body_setting(call->body, call->body_bytes, "compatibility", "compatibilityLevel",
                                  &call->setting, answer))
        return false;
    call->values[0] = call->captured[0];
    call->values[1] = call->setting;
    return true;
}

static bool set_mode(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!sh_registry_body_setting(call->body, call->body_bytes, "mode", "mode", &call->setting, answer))
        return false;
    call->values[0] = call->captured[0];
    call->values[1] = call->setting;
    call->values[2] = sh_registry_flag(&call->target, "force");
    return true;
}

static bool reset_setting(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)answer;
    call->values[0] = call->captured[0];
    call->for_own_setting = true;
    return true;
}

static bool get_cluster(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    (void)call;
    (void)answer;
    return true;
}

static bool read_page(ShRegistryCall *call, int at, ShRegistryAnswer *answer)
{
    ShError err = {0};
    call->kind = SH_REGISTRY_WORK;
    if (sh_registry_number(&call->target, "offset", "0", &call->values[at], &err) == SH_OK &&
        sh_registry_number(&call->target, "limit", "-1", &call->values[at + 1], &err) == SH_OK)
        return true;
    sh_registry_answer_error(answer, 400, "%s", err.message);
    return false;
}

/* The five values with which all questions about a schema begin. */
static bool read_schema(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!sh_registry_body_schema(call->body, call->body_bytes, &call->schema, answer))
        return false;
    call->values[0] = call->captured[0];
    call->values[1] = call->schema.schema;
    call->values[2] = call->schema.type;
    call->values[3] = call->schema.references;
    call->values[4] = sh_registry_flag(&call->target, "normalize");
    return true;
}

/* As published, a path that should have a number and has none leads nowhere. */
static bool read_id(ShRegistryCall *call, ShRegistryAnswer *answer)
{
    if (!sh_registry_is_int(call->captured[0], &call->id)) {
        sh_registry_answer_error(answer, 404, "HTTP 404 Not Found: \"%.100s\" is no id", call->captured[0]);
        return false;
    }
    call->values[0] = call->captured[0];
    return true;
}

/* ":*:" stands for every context. */
static const char *prefix_of(const ShRegistryCall *call)
{
    const char *prefix = sh_registry_parameter(&call->target, "subjectPrefix");
    if (prefix == NULL)
        return "";
    return strncmp(prefix, ":*:", 3) == 0 || strncmp(prefix, ":.:", 3) == 0 ? prefix + 3 : prefix;
}

static bool is_serialized(const ShRegistryCall *call)
{
    return call->values[1] != NULL && strcmp(call->values[1], "serialized") == 0;
}
