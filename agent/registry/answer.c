#include "agent/registry/answer.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_S 1

static void answer_message(ShRegistryAnswer *answer, int code, const char *message);
static int code_of(const char *sqlstate, bool for_own_setting);

void sh_registry_answer_free(ShRegistryAnswer *answer)
{
    free(answer->body);
    *answer = (ShRegistryAnswer){.status = 0};
}

void sh_registry_answer_text(ShRegistryAnswer *answer, unsigned status, const char *text)
{
    sh_registry_answer_free(answer);
    answer->status = status;
    answer->body = strdup(text);
    answer->body_bytes = answer->body == NULL ? 0 : strlen(text);
}

void sh_registry_answer_error(ShRegistryAnswer *answer, int code, const char *fmt, ...)
{
    char message[SH_ERROR_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(message, sizeof message, fmt, arguments);
    va_end(arguments);
    answer_message(answer, code, message);
}

void sh_registry_answer_refusal(ShRegistryAnswer *answer, const ShPgSchemaAnswer *refusal,
                                bool for_own_setting)
{
    size_t length = strlen(refusal->text) + strlen(refusal->detail) + 3;
    char *message = malloc(length);
    if (message == NULL) {
        sh_registry_answer_error(answer, 50001, "memory is short");
        return;
    }
    snprintf(message, length, "%s%s%s", refusal->text, refusal->detail[0] == '\0' ? "" : ": ",
             refusal->detail);
    answer_message(answer, code_of(refusal->sqlstate, for_own_setting), message);
    free(message);
}

void sh_registry_answer_failure(ShRegistryAnswer *answer, const ShError *err)
{
    if (err->status == SH_TIMEOUT)
        sh_registry_answer_error(answer, 50002, "the operation timed out; try again");
    else if (err->retriable)
        sh_registry_answer_error(answer, 50001,
                                 "PostgreSQL, which holds the schemas, does not answer; try again");
    else
        sh_registry_answer_error(answer, 50001,
                                 "PostgreSQL, which holds the schemas, failed; the agent's log says why");
    answer->retry_after_s = err->retriable ? RETRY_AFTER_S : 0;
}

/* A message may have been cut within a character: what is no UTF-8 at its end is left out. */
static void answer_message(ShRegistryAnswer *answer, int code, const char *message)
{
    sh_registry_answer_free(answer);
    size_t length = strlen(message);
    json_t *text = NULL;
    for (size_t cut = 0; cut < 4 && cut <= length && text == NULL; cut++)
        text = json_stringn(message, length - cut);
    json_t *body = text == NULL ? json_pack("{s:i,s:s}", "error_code", code, "message", "unknown error")
                                : json_pack("{s:i,s:o}", "error_code", code, "message", text);
    answer->status = (unsigned)(code < 1000 ? code : code / 100);
    answer->body = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    answer->body_bytes = answer->body == NULL ? 0 : strlen(answer->body);
    json_decref(body);
}

/* The codes of the extension are made from those of the API; docs/reference/schema-registry.md lists them. */
static int code_of(const char *sqlstate, bool for_own_setting)
{
    if (for_own_setting && (strcmp(sqlstate, "SH408") == 0 || strcmp(sqlstate, "SH409") == 0))
        return 40401;
    if (strcmp(sqlstate, "SH490") == 0)
        return 409;
    int number = sqlstate[0] == 'S' ? atoi(sqlstate + 3) : 0;
    if (strncmp(sqlstate, "SH2", 3) == 0)
        return 42200 + number;
    if (strncmp(sqlstate, "SH4", 3) == 0)
        return 40400 + number;
    return 422; /* of class 22: what no database can take; 54000: what takes too much work */
}
