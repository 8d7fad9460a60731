/*
 * access.h - who may ask for what, as far as it can be told without authentication.
 *
 * A browser reaches this port on its user's machine or network for any page that the user opens. It cannot
 * be made to send a name of our own in Host, nor, without asking first, a content type that we take; so the
 * two are looked at. What changes more than what is registered is left to those that a setting names.
 */
#ifndef SH_AGENT_REGISTRY_ACCESS_H
#define SH_AGENT_REGISTRY_ACCESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "agent/base/config.h"

typedef struct ShRegistryAccess {
    const char *hosts; /* schema_registry_hosts, borrowed */
    bool is_loopback;  /* it listens on a loopback address alone */
    ShChangesFrom changes;
} ShRegistryAccess;

/* `bound_address` is where the server listens. */
ShRegistryAccess sh_registry_access(const ShConfig *config, const char *bound_address);

/* May a request have this Host header? NULL: it has none, as no browser's. */
bool sh_registry_access_host(const ShRegistryAccess *access, const char *host);

/* May a client at this address use a method that changes or deletes? NULL: it is not known where it is. */
bool sh_registry_access_changes(const ShRegistryAccess *access, const struct sockaddr *client);

#endif
