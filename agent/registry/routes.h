/*
 * routes.h - from a request to the question that PostgreSQL is asked, or to an answer at once.
 */
#ifndef SH_AGENT_REGISTRY_ROUTES_H
#define SH_AGENT_REGISTRY_ROUTES_H

#include "agent/registry/answer.h"
#include "agent/registry/body.h"
#include "agent/registry/cache.h"
#include "agent/registry/target.h"

#define SH_REGISTRY_ROUTES_MAX 64
#define SH_REGISTRY_CAPTURES   2

/* What a call costs. What is slow must not keep what is fast from its turn. */
typedef enum ShRegistryKind {
    SH_REGISTRY_LOOK_UP, /* reads one thing */
    SH_REGISTRY_WORK,    /* parses, compares or changes something, or lists names and numbers */
    SH_REGISTRY_SCHEMAS, /* lists schemas, with their texts */
    SH_REGISTRY_KINDS
} ShRegistryKind;

typedef struct ShRegistryCall {
    ShRegistryTarget target;
    const char
        *captured[SH_REGISTRY_CAPTURES]; /* segments that stand for names: subject and version, or id */
    const char *body;                    /* borrowed while it is read */
    size_t body_bytes;
    int route; /* its number; that of sh_registry_no_route() when there is none */

    ShRegistryKind kind;

    /* What is asked. The texts of values belong to what follows, or to the target. */
    ShPgSchemaQuestion question;
    const char *values[SH_PG_SCHEMA_VALUES_MAX];
    ShRegistrySchemaBody schema;
    char *setting;
    bool for_own_setting; /* as sh_registry_answer_refusal takes it */
    bool deletes_for_good;

    /* When the answer may be kept: under which id and form. */
    bool is_cacheable;
    int32_t id;
    ShRegistryForm form;
} ShRegistryCall;

/* Find the route of a method and a target ("/subjects?deleted=true"). False with an error as the answer: 400,
 * 404, 405. The call is freed with sh_registry_call_free in any case. */
bool sh_registry_call_route(ShRegistryCall *call, const char *method, const char *target,
                            ShRegistryAnswer *answer);
/* Read parameters and body, which is borrowed. True: ask the question. False: there is an answer. */
bool sh_registry_call_prepare(ShRegistryCall *call, const char *body, size_t body_bytes,
                              ShRegistryAnswer *answer);
void sh_registry_call_free(ShRegistryCall *call);
/* What was kept of the body, once the question is answered. */
void sh_registry_call_free_body(ShRegistryCall *call);

/* What stands in metrics: "GET /schemas/ids/{id}", or "none". */
const char *sh_registry_route_name(int route);
int sh_registry_no_route(void);

/* May a body of this content type be read? NULL: none is given, and it may not. */
bool sh_registry_takes_content_type(const char *content_type);
/* The content type of an answer to a request with this Accept header, which may be NULL; NULL: none fits. */
const char *sh_registry_choose_content_type(const char *accept);

#endif
