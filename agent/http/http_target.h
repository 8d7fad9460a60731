/*
 * http_target.h - the target of a request: a path, "/subjects?deleted=true", or, as for a proxy, a whole URL.
 *
 * RFC 9112 wants servers to take both, and to go by the URL's host then, whatever stands in Host.
 */
#ifndef SH_AGENT_HTTP_TARGET_H
#define SH_AGENT_HTTP_TARGET_H

#include <stdbool.h>

#include "agent/base/address.h"

typedef struct ShHttpTarget {
    const char *path;                 /* with the query; it lies in the target, or is static */
    char host[SH_ADDRESS_TEXT_BYTES]; /* of a URL, with its port; else "" */
} ShHttpTarget;

/* Take a target apart. A URL without a path is for "/", its query goes with it. What is no URL of http or
 * https is a path as it stands. False: the URL's host is missing, too long, or has a user's name before it;
 * the whole target then is the path. */
bool sh_http_target_split(const char *target, ShHttpTarget *out);

#endif
