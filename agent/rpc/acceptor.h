/*
 * acceptor.h - the door of gRPC: connections are accepted, counted, handed to gRPC and, where need be, ended.
 *
 * gRPC's own listener knows no bound on connections, and when the process has no descriptor left it stops to
 * accept for ever. So one thread of the agent's own accepts. It takes at most as many connections as files
 * and memory allow (sh_acceptor_connections_max). At that bound some of the host that has most make room,
 * if that is more than twice what the newcomer's has; else those that have said nothing, then those without a
 * call, longest silent first, unless their host has fewer than the newcomer's. Where calls are refused
 * because all that may be open are, the host that has most calls loses a connection likewise. Where no
 * descriptor is to be had the thread drops what comes, and goes on.
 *
 * What has ended keeps its descriptor, and some memory of gRPC's, as long as a call of it goes on. Of such
 * connections there may be half as many besides: the more there are, the fewer a host may have that connects.
 *
 * A connection has 10 s to say its first word. What connections have sent and gRPC has not handed over as
 * calls or messages is memory that gRPC holds: where all together have more than a quarter of the memory
 * budget, those that have most are ended. So are, while the process has more than that quarter, those that
 * give up calls by the thousand (HTTP/2's "rapid reset"), which gRPC keeps until the agent has taken them;
 * and those that have sent frames which gRPC should not read (frames.h).
 */
#ifndef SH_AGENT_RPC_ACCEPTOR_H
#define SH_AGENT_RPC_ACCEPTOR_H

#include <grpc/grpc.h>

#include "agent/base/config.h"
#include "agent/log/engine.h"
#include "agent/rpc/connection.h"
#include "core/status.h"

typedef struct ShAcceptor ShAcceptor;

/* Listen, and accept nothing yet. `*bound` is the "host:port", owned by the acceptor. */
ShStatus sh_acceptor_bind(const ShConfig *config, ShAcceptor **out, const char **bound,
                          ShError *err) SH_MUST_CHECK;

/* Begin to accept for the server, which is started. */
ShStatus sh_acceptor_start(ShAcceptor *acceptor, grpc_server *server, ShEngine *engine,
                           ShError *err) SH_MUST_CHECK;

/* Accept no more; connections that stand are gRPC's. NULL allowed. */
void sh_acceptor_stop(ShAcceptor *acceptor);
/* After the last call has ended. NULL allowed. */
void sh_acceptor_free(ShAcceptor *acceptor);

/* The connection that a call came over, with a reference; NULL when it is unknown. Any thread. */
ShConnection *sh_acceptor_connection_of(ShAcceptor *acceptor, grpc_call *call);

/* A call of the connection was refused, whose host has `of_host`. Where another host has far more, that one
 * may have to make room; else it is this host's own doing (offenders.h). Any thread. */
void sh_acceptor_call_refused(ShAcceptor *acceptor, ShConnection *connection, int64_t of_host);

/* Connections that may stand at once. */
int64_t sh_acceptor_connections_max(const ShAcceptor *acceptor);

/* A connection from this local port is the agent's own look at itself: it is taken at the bound too. */
void sh_acceptor_expect_own(ShAcceptor *acceptor, int port);
/* Where to connect to, for that look. */
void sh_acceptor_address(const ShAcceptor *acceptor, struct sockaddr_storage *address, socklen_t *length);

#endif
