/*
 * answer.h - an answer of the REST API: a status, and a body in JSON.
 */
#ifndef SH_AGENT_REGISTRY_ANSWER_H
#define SH_AGENT_REGISTRY_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/pg/pg_schema.h"
#include "core/status.h"

typedef struct ShRegistryAnswer {
    unsigned status;   /* of HTTP; 0: there is no answer yet */
    const char *allow; /* of 405: the methods that the path has */
    int retry_after_s; /* 0: nothing is said */
    char *body;        /* from malloc; NULL when memory was short */
    size_t body_bytes;
} ShRegistryAnswer;

/* A zeroed one is fine. */
void sh_registry_answer_free(ShRegistryAnswer *answer);

/* Answer with a text, copied. */
void sh_registry_answer_text(ShRegistryAnswer *answer, unsigned status, const char *text);

/* Answer with an error: {"error_code": ..., "message": ...}. `code` begins with the digits of the status. */
void sh_registry_answer_error(ShRegistryAnswer *answer, int code, const char *fmt, ...) SH_PRINTF(3, 4);

/* Answer with what PostgreSQL said when it refused. `for_own_setting`: that a subject has no setting of its
 * own is, as published, that there is no such subject. */
void sh_registry_answer_refusal(ShRegistryAnswer *answer, const ShPgSchemaAnswer *refusal,
                                bool for_own_setting);

/* Answer with an error of the agent's own: PostgreSQL away, late, or failing. Says nothing of the inside. */
void sh_registry_answer_failure(ShRegistryAnswer *answer, const ShError *err);

#endif
