/*
 * listener.h - listening sockets of the agent's servers.
 */
#ifndef SH_AGENT_BASE_LISTENER_H
#define SH_AGENT_BASE_LISTENER_H

#include <stddef.h>

#include "agent/base/address.h"
#include "core/status.h"

/* Listen on `address` (host:port; port 0: any free one); `setting` is where it comes from, for messages.
 * `bound_address` receives where it listens. SH_INVALID for an address that is none; SH_UNAVAILABLE when it
 * cannot be bound, naming it. The caller closes `*out`. */
ShStatus sh_listen(const char *setting, const char *address, int *out,
                   char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err) SH_MUST_CHECK;

/* Listen on each of the addresses, at most `room`, that the host's name stands for, all at the port of the
 * first:
 * `*count` sockets. Addresses behind the first that cannot be bound are left out. */
ShStatus sh_listen_all(const char *setting, const char *address, int *out, size_t room, size_t *count,
                       char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err) SH_MUST_CHECK;

#endif
