/*
 * adopt.h - threads that hand connections to gRPC.
 *
 * gRPC begins to read from a connection on the thread that hands it over, and goes on there for as long as
 * something is to be read: its peer can keep that thread. So the one that accepts and looks after connections
 * must not be it. Here are some, each kept by one connection at most; what would keep one without end is
 * found as it comes (frames.h). Hosts take turns.
 */
#ifndef SH_AGENT_RPC_ADOPT_H
#define SH_AGENT_RPC_ADOPT_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "agent/rpc/connection.h"
#include "core/status.h"

#define SH_ADOPTERS 4

typedef struct ShAdopters ShAdopters;

/* Threads for a server that is started. */
ShStatus sh_adopters_start(ShAdopters **out, grpc_server *server, ShError *err) SH_MUST_CHECK;

/* Hand the connection over, soon, and with it its descriptor. One at a time may call this. */
void sh_adopters_take(ShAdopters *adopters, ShConnection *connection);

/* Close a connection that waits to be handed over; false: none of it waits any more. */
bool sh_adopters_withdraw(ShAdopters *adopters, ShConnection *connection);

/* Close what was not handed over, end what keeps a thread for longer than a moment, and free. NULL allowed.
 */
void sh_adopters_stop(ShAdopters *adopters);

#endif
