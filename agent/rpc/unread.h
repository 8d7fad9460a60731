/*
 * unread.h - what a connection has sent that nobody has taken, near enough.
 *
 * gRPC tells nobody what it has received of calls and messages that are not whole. The kernel counts what
 * came, the agent what it was handed. In between are messages that are under way, what was sent to calls
 * that read nothing more, calls that wait to be taken, and what the peer says of what it is sent (window
 * updates, pings): all of it within bounds. What is beyond is headers without an end, which gRPC gathers at a
 * cost by the square of their length, or headers that belong to no call, which it reads and forgets: both
 * keep a thread for as long as they come.
 */
#ifndef SH_AGENT_RPC_UNREAD_H
#define SH_AGENT_RPC_UNREAD_H

#include "agent/rpc/connection.h"

/* Look at a connection, now and then, by one thread: `*waiting_bytes` is what gRPC holds of it. False: for a
 * second and several looks it was seen to have sent what can be no message, and too much of it. */
bool sh_unread_look(ShConnection *connection, const ShTraffic *traffic, int64_t message_bytes_max,
                    int64_t now_ms, int64_t *waiting_bytes);

#endif
