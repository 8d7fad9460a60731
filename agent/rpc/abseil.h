/*
 * abseil.h - gRPC's locks without the checks that are for debugging them.
 *
 * gRPC locks by Abseil, and Debian builds Abseil with its debugging on: each lock then searches a graph of
 * all lock orders for deadlocks, which made a fifth of a small request's CPU time. A build without debugging
 * does not look.
 */
#ifndef SH_AGENT_RPC_ABSEIL_H
#define SH_AGENT_RPC_ABSEIL_H

/* Switch them off for the process; without effect on an Abseil whose name for it is another. Any thread. */
void sh_abseil_stop_lock_checks(void);

#endif
