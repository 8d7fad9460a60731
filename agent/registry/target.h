/*
 * target.h - what a request is for: the path's segments and the query's parameters, decoded.
 */
#ifndef SH_AGENT_REGISTRY_TARGET_H
#define SH_AGENT_REGISTRY_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

#define SH_REGISTRY_SEGMENTS_MAX   8
#define SH_REGISTRY_PARAMETERS_MAX 16

typedef struct ShRegistryParameter {
    const char *name;
    const char *value;
} ShRegistryParameter;

typedef struct ShRegistryTarget {
    char *storage; /* the texts below lie in it */
    const char *segments[SH_REGISTRY_SEGMENTS_MAX];
    int segment_count;
    ShRegistryParameter parameters[SH_REGISTRY_PARAMETERS_MAX];
    int parameter_count;
} ShRegistryTarget;

/* Take a request's target apart, "/subjects/a%2Fb/versions?deleted=true", as it stands in the request: a
 * segment may hold any character, escaped. A slash at the end is ignored; a plus is a blank only in the
 * query. SH_INVALID for escapes that are none, bytes that are no UTF-8, a NUL, and too many parts. */
ShStatus sh_registry_target_parse(const char *text, ShRegistryTarget *out, ShError *err) SH_MUST_CHECK;
/* A zeroed one is fine. */
void sh_registry_target_free(ShRegistryTarget *target);

/* The first value of a parameter, NULL when it is not there. */
const char *sh_registry_parameter(const ShRegistryTarget *target, const char *name);
/* "true" or "false". As in Confluent's registry, whatever is not the word true, in any case, is false. */
const char *sh_registry_flag(const ShRegistryTarget *target, const char *name);
/* The text of an integer of 32 bits, `otherwise` when the parameter is not there. SH_INVALID names it. */
ShStatus sh_registry_number(const ShRegistryTarget *target, const char *name, const char *otherwise,
                            const char **out, ShError *err) SH_MUST_CHECK;
/* Is a text a decimal integer of 32 bits, with or without a minus? */
bool sh_registry_is_int(const char *text, int32_t *out);

#endif
