/*
 * registry.h - the REST API of the schema registry, on a port of its own.
 *
 * The API is the one that Confluent published, so that stock serializers work. What is registered stands in
 * PostgreSQL; the agent keeps nothing but copies of schemas that were asked for by id.
 */
#ifndef SH_AGENT_REGISTRY_REGISTRY_H
#define SH_AGENT_REGISTRY_REGISTRY_H

#include "agent/base/address.h"
#include "agent/base/config.h"
#include "core/status.h"

typedef struct ShRegistry ShRegistry;

/* Listen on schema_registry_address and serve in threads of its own. `bound_address` receives where it
 * listens. PostgreSQL is asked only when somebody asks for something that it must tell. SH_INVALID for an
 * address that is none; SH_UNAVAILABLE when it cannot be bound, naming it. `config` must live as long. */
ShStatus sh_registry_start(const ShConfig *config, ShRegistry **out,
                           char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err) SH_MUST_CHECK;

/* Stop listening, break off what waits for PostgreSQL, and free the server. NULL is allowed. */
void sh_registry_stop(ShRegistry *registry);

#endif
