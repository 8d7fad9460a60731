/*
 * crowd.h - which connection goes first where there is too much of something.
 *
 * The functions choose, the acceptor ends. Connections come as the acceptor's table by descriptor, in which
 * places may be NULL. The agent's own look at itself is never chosen, nor what has ended.
 */
#ifndef SH_AGENT_RPC_CROWD_H
#define SH_AGENT_RPC_CROWD_H

#include <stddef.h>

#include "agent/rpc/connection.h"

typedef struct ShCrowd {
    ShConnection *const *by_fd;
    int fd_end; /* above the last */
} ShCrowd;

bool sh_crowd_same_host(const ShConnection *left, const ShConnection *right);

/* What there is too much of: how much of it a connection has, at least 0. */
typedef int64_t (*ShCrowdMeasure)(const ShConnection *connection);

/* Measures. */
int64_t sh_crowd_one(const ShConnection *connection);   /* the connection itself */
int64_t sh_crowd_calls(const ShConnection *connection); /* those admitted: others take nobody's place */
int64_t sh_crowd_waiting(const ShConnection *connection);
int64_t sh_crowd_torn(const ShConnection *connection);

/* The connection that has most; NULL when none has any. */
ShConnection *sh_crowd_most(const ShCrowd *crowd, ShCrowdMeasure measure);

/* Up to `wanted` connections that go without harm, into `out`: first those that have said nothing, then those
 * without a call, silent for the longest, of hosts that have at least as many connections as the
 * newcomer's. `newcomer` may be NULL: of any host. Their number. */
size_t sh_crowd_idle(const ShCrowd *crowd, const ShConnection *newcomer, ShConnection **out, size_t wanted);

/* Where a host has more than twice what the newcomer's has, and more than one: of the host that has
 * most, up to `wanted` connections into `out`, as long as it has so much more: those that have most, of equal
 * ones those with the fewest calls, then the latest. `newcomer` NULL: as if it had nothing. Their number. */
size_t sh_crowd_richest(const ShCrowd *crowd, ShCrowdMeasure measure, const ShConnection *newcomer,
                        ShConnection **out, size_t wanted);

/* Of some connections, which need not be of the crowd any more, the one whose host has least; NULL when
 * there are none. */
const ShConnection *sh_crowd_poorest(const ShCrowd *crowd, ShCrowdMeasure measure, ShConnection *const *some,
                                     size_t count);

#endif
