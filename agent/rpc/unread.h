/*
 * unread.h - what a connection has sent that nobody has taken: gRPC holds it, and tells nobody.
 *
 * What came is counted (receive.h), and so is what the agent was handed. In between are messages that are
 * under way, calls that wait to be taken, and what was sent to calls that read nothing more, which goes with
 * these calls: of each of them no more than HTTP/2's windows let in.
 */
#ifndef SH_AGENT_RPC_UNREAD_H
#define SH_AGENT_RPC_UNREAD_H

#include "agent/rpc/connection.h"
#include "agent/rpc/receive.h"

/* Look at a connection, now and then, by one thread: bytes. */
int64_t sh_unread_look(ShConnection *connection, const ShReceived *received, int64_t message_bytes_max);

#endif
