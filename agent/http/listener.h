/*
 * listener.h - a listening socket for a server of HTTP.
 */
#ifndef SH_AGENT_HTTP_LISTENER_H
#define SH_AGENT_HTTP_LISTENER_H

#include "agent/base/address.h"
#include "core/status.h"

/* Listen on `address` (host:port; port 0: any free one); `setting` is where it comes from, for messages.
 * `bound_address` receives where it listens. SH_INVALID for an address that is none; SH_UNAVAILABLE when it
 * cannot be bound, naming it. The caller closes `*out`. */
ShStatus sh_http_listen(const char *setting, const char *address, int *out,
                        char bound_address[SH_ADDRESS_TEXT_BYTES], ShError *err) SH_MUST_CHECK;

#endif
