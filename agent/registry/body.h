/*
 * body.h - the JSON bodies of requests.
 */
#ifndef SH_AGENT_REGISTRY_BODY_H
#define SH_AGENT_REGISTRY_BODY_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/registry/answer.h"

/* Text of a schema may have 4 MB; in JSON its quotes and line ends take two bytes; and there are references.
 */
#define SH_REGISTRY_BODY_BYTES_MAX ((size_t)9 << 20)
/* What a body may take while it is read, by a bound that is known before: the longest as it came, and of
 * objects, arrays and members seven times as many as a thousand references have. */
#define SH_REGISTRY_BODY_MEMORY_MAX ((size_t)16 << 20)

typedef struct ShRegistryNumberText {
    char text[12];
} ShRegistryNumberText;

/* A schema on its way in: what is asked with, which is never longer than the body was, and no more of it. */
typedef struct ShRegistrySchemaBody {
    json_t *texts;    /* where `schema` and `type` lie */
    char *references; /* JSON, from malloc */
    const char *schema;
    const char *type;
    const char *id; /* NULL: none, as the next */
    const char *version;
    ShRegistryNumberText numbers[2];
} ShRegistrySchemaBody;

/* Read {"schema", "schemaType", "references", "id", "version"}. Returns false with an error as the answer. */
bool sh_registry_body_schema(const char *bytes, size_t length, ShRegistrySchemaBody *out,
                             ShRegistryAnswer *answer);
/* A zeroed one is fine. */
void sh_registry_body_schema_free(ShRegistrySchemaBody *body);

/* Read an object with one setting, a string called `name` or `other_name`. `*out` is from malloc; if the body
 * has none it is "". Returns false with an error as the answer. */
bool sh_registry_body_setting(const char *bytes, size_t length, const char *name, const char *other_name,
                              char **out, ShRegistryAnswer *answer);

#endif
